"""What retention removes, oldest first and in small numbers; the last statement of each kind is counted."""

from __future__ import annotations

_OLD_TASKS = "SELECT id FROM task WHERE finished_at > 0 AND finished_at < :before ORDER BY finished_at LIMIT :limit"


def _by_age(table: str, key: str, column: str) -> tuple[str, ...]:
    chosen = f"SELECT {key} FROM {table} WHERE {column} > 0 AND {column} < :before ORDER BY {column} LIMIT :limit"  # noqa: S608
    return (f"DELETE FROM {table} WHERE {key} IN ({chosen})",)  # noqa: S608


PURGES: dict[str, tuple[str, ...]] = {
    "task": (
        *(
            f"DELETE FROM {table} WHERE task_id IN ({_OLD_TASKS})"  # noqa: S608
            for table in ("task_body", "attempt", "result", "progress", "task_takeover")
        ),
        f"DELETE FROM task WHERE id IN ({_OLD_TASKS})",  # noqa: S608
    ),
    "dedup": (
        (
            "UPDATE task SET dedup_key = '' WHERE id IN (SELECT id FROM task WHERE dedup_key <> '' "
            "AND finished_at > 0 AND finished_at < :before ORDER BY finished_at LIMIT :limit)"
        ),
    ),
    "event": (
        (
            "DELETE FROM event WHERE id IN (SELECT id FROM (SELECT id, at FROM event ORDER BY id LIMIT :limit) "
            "WHERE at < :before)"
        ),
    ),
    "event_overflow": (
        (
            "DELETE FROM event WHERE id IN (SELECT id FROM event "
            "WHERE id <= (SELECT max(id) FROM event) - :before ORDER BY id LIMIT :limit)"
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
    "directive": _by_age("directive", "id", "ended_at"),
    "notice": (
        (
            "DELETE FROM notice WHERE id IN (SELECT id FROM notice WHERE created_at < :before "
            "AND state <> 'waiting' ORDER BY created_at LIMIT :limit)"
        ),
    ),
    "link": _by_age("link", "hash", "expires_at"),
    "memory": _by_age("memory", "id", "created_at"),
    "memory_overflow": (
        (
            "DELETE FROM memory WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER "
            "(PARTITION BY user_id ORDER BY created_at DESC, id DESC) AS nth FROM memory WHERE user_id IN "
            "(SELECT user_id FROM memory GROUP BY user_id HAVING count(*) > :before LIMIT 5)) "
            "WHERE nth > :before LIMIT :limit)"
        ),
    ),
}
