"""The deletions of retention, oldest first and in small numbers; the last statement of each kind is counted."""

from __future__ import annotations

# A recovery is reported where its alarm has gone: the rows that say so stay as long as the alarm is not over.
_IS_OVER = (
    "NOT (cause IN ('daemon.late', 'daemon.down', 'flapping') AND EXISTS "
    "(SELECT 1 FROM incident i WHERE i.id = notice.incident_id AND i.recovered_at = 0))"
)
_IS_WELL = (
    "NOT (substr(incident_id, 1, 6) = 'stuck:' AND EXISTS "
    "(SELECT 1 FROM daemon d WHERE d.id = notice.daemon_id AND d.state IN ('stuck', 'late', 'down', 'asleep')))"
)
_OLD_TASKS = "SELECT id FROM task WHERE finished_at > 0 AND finished_at < :before ORDER BY finished_at LIMIT :limit"


# The first event that is not dated after the newest one, if it is old; those before it were written by a clock that was
# ahead, and have their age from it.
_PAST_THE_FUTURE = (
    "SELECT CASE WHEN at < :before THEN id ELSE 0 END FROM event "
    "WHERE at <= (SELECT at FROM event ORDER BY id DESC LIMIT 1) ORDER BY id LIMIT 1"
)


def _newest_beyond(column: str) -> str:
    """Of the messages of one user that are more than `:before`, the newest one."""
    return (
        f"(SELECT n.{column} FROM memory n WHERE n.user_id = g.user_id AND n.owner = g.owner "  # noqa: S608
        "ORDER BY n.created_at DESC, n.id DESC LIMIT 1 OFFSET :before)"
    )


# All of it is read in the order of an index: nothing is sorted, however many messages a user has.
_OVERFULL = (
    f"SELECT user_id, owner, {_newest_beyond('created_at')} AS last_at, {_newest_beyond('id')} AS last_id "  # noqa: S608
    "FROM memory AS g GROUP BY user_id, owner HAVING count(*) > :before LIMIT 5"
)


def _by_age(table: str, key: str, column: str) -> tuple[str, ...]:
    chosen = f"SELECT {key} FROM {table} WHERE {column} > 0 AND {column} < :before ORDER BY {column} LIMIT :limit"  # noqa: S608
    return (f"DELETE FROM {table} WHERE {key} IN ({chosen})",)  # noqa: S608


def _beyond(table: str, column: str, condition: str = "1 = 1", key: str = "id") -> tuple[str, ...]:
    """The oldest of those that are more than `:before` rows."""
    surplus = f"least(:limit, greatest(0, (SELECT count(*) FROM {table}) - :before))"  # noqa: S608
    chosen = f"SELECT {key} FROM {table} WHERE {condition} ORDER BY {column} LIMIT {surplus}"  # noqa: S608
    return (f"DELETE FROM {table} WHERE {key} IN ({chosen})",)  # noqa: S608


PURGES: dict[str, tuple[str, ...]] = {
    "task": (
        *(
            f"DELETE FROM {table} WHERE task_id IN ({_OLD_TASKS})"  # noqa: S608
            for table in ("task_body", "attempt", "result", "progress", "task_takeover")
        ),
        f"DELETE FROM task WHERE id IN ({_OLD_TASKS})",  # noqa: S608
    ),
    "usage": (  # what stands for nothing is the same as no row
        (
            "DELETE FROM usage WHERE submitter IN "
            "(SELECT submitter FROM usage WHERE open_tasks = 0 AND size_bytes = 0 LIMIT :limit)"
        ),
    ),
    "dedup": (
        (
            "UPDATE task SET dedup_key = '' WHERE id IN (SELECT id FROM task WHERE dedup_key <> '' "
            "AND finished_at > 0 AND finished_at < :before ORDER BY finished_at LIMIT :limit)"
        ),
    ),
    "event": (
        (
            "DELETE FROM event WHERE id IN (SELECT id FROM (SELECT id, at FROM event ORDER BY id LIMIT :limit) AS e "  # noqa: S608
            f"WHERE at < :before OR id < ({_PAST_THE_FUTURE}))"
        ),
    ),
    "event_overflow": (
        (
            "DELETE FROM event WHERE id IN (SELECT id FROM event "
            "WHERE id <= (SELECT max(id) FROM event) - :before ORDER BY id LIMIT :limit)"
        ),
    ),
    "evidence_overflow": _beyond("evidence", "at"),
    "incident": (
        (
            "DELETE FROM incident WHERE id IN (SELECT id FROM incident WHERE opened_at < :before "
            "AND recovered_at > 0 ORDER BY opened_at LIMIT :limit)"
        ),
    ),
    "incident_overflow": _beyond("incident", "opened_at", "recovered_at > 0"),
    "deployment_overflow": _beyond("deployment", "seen_at, created_at", key="version_id"),  # none that runs
    "notice_overflow": _beyond("notice", "created_at", f"state <> 'waiting' AND {_IS_OVER} AND {_IS_WELL}"),
    "budget_overflow": _beyond("budget", "period", key="period"),
    "period_overflow": (
        (
            "DELETE FROM period WHERE (daemon_id, from_at) IN (SELECT daemon_id, from_at FROM period WHERE to_at > 0 "
            "ORDER BY to_at LIMIT least(:limit, greatest(0, (SELECT count(*) FROM period) - :before)))"
        ),
    ),
    "boot_overflow": (
        (
            "DELETE FROM boot WHERE (daemon_id, boot_id) IN (SELECT daemon_id, boot_id FROM boot "
            "ORDER BY superseded_at LIMIT least(:limit, greatest(0, (SELECT count(*) FROM boot) - :before)))"
        ),
    ),
    "evidence": _by_age("evidence", "id", "at"),
    "reservation": _by_age("reservation", "id", "settled_at"),
    "period": (
        (
            "DELETE FROM period WHERE (daemon_id, from_at) IN (SELECT daemon_id, from_at FROM period "
            "WHERE to_at > 0 AND to_at < :before ORDER BY to_at LIMIT :limit)"
        ),
    ),
    "boot": (
        (
            "DELETE FROM boot WHERE (daemon_id, boot_id) IN (SELECT daemon_id, boot_id FROM boot "
            "WHERE superseded_at < :before ORDER BY superseded_at LIMIT :limit)"
        ),
    ),
    "sample": _by_age("sample", "at", "at"),
    "sample_overflow": _beyond("sample", "at", key="at"),
    "directive": _by_age("directive", "id", "ended_at"),
    "notice": (
        (
            "DELETE FROM notice WHERE id IN (SELECT id FROM notice WHERE created_at < :before "  # noqa: S608
            f"AND state <> 'waiting' AND {_IS_OVER} AND {_IS_WELL} ORDER BY created_at LIMIT :limit)"
        ),
    ),
    "api_key": _by_age("api_key", "id", "revoked_at"),
    "api_key_overflow": (
        (
            "DELETE FROM api_key WHERE id IN (SELECT id FROM api_key WHERE revoked_at > 0 ORDER BY revoked_at LIMIT "
            "least(:limit, greatest(0, (SELECT count(*) FROM api_key WHERE revoked_at > 0) - :before)))"
        ),
    ),
    "link": _by_age("link", "hash", "expires_at"),
    "session": _by_age("session", "id", "expires_at"),
    "session_overflow": _beyond("session", "seen_at"),
    "memory": _by_age("memory", "id", "created_at"),
    "memory_overflow": (
        (
            f"DELETE FROM memory WHERE id IN (SELECT m.id FROM ({_OVERFULL}) AS o JOIN memory m "  # noqa: S608
            "ON m.user_id = o.user_id AND m.owner = o.owner "
            "AND (m.created_at, m.id) <= (o.last_at, o.last_id) LIMIT :limit)"
        ),
    ),
}
