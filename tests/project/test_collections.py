"""Every collection that an object keeps and can grow is known here with its bound (docs/limits.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import understudy
from tests.project.tree import nodes

ROOT = Path(understudy.__file__).parent
ROOMS = ("api", "cloudflare", "daemon", "dashboard", "hub", "notify", "runtime", "store", "wire", "worker")
COLLECTIONS = {"dict", "list", "set", "deque", "defaultdict", "OrderedDict", "Counter", "Queue", "SimpleQueue"}
OF_A_BATCH = {"Bounds", "ClaimRoom", "Needs", "TakeoverNeeds", "WorkingSet"}  # they live for one, which is bounded
KEYS = "keys that are valid: KEYS_MAX"
LINES = "open connections, and what each may hold"
RUNS = "runs: the daemon's capacity"
CODE = "names in our own code"

BOUNDED = {
    "api/past_asgi _Heads._by_status": "statuses",
    "api/auth Keys._callers": KEYS,
    "api/auth Keys._cache": KEYS,
    "api/auth RateLimit._buckets": "KEYS_MAX",
    "api/auth RateLimit._wrong": "ADDRESSES_MAX",
    "api/connections Connections._unknown": LINES,
    "api/connections Connections._known": LINES,
    "api/connections Connections._of_key": "keys with a connection: LINES",
    "api/connections Connections._unread": LINES,
    "api/connections Connections._waiting": LINES,
    "api/connections Connections._bodies": "keys with a body under way",
    "api/event_feed EventFeed._of_key": "streams: WAITING_POLLS_MAX",
    "api/event_feed EventFeed.followers": "streams: WAITING_POLLS_MAX, FOLLOWERS_OF_KEY_MAX",
    "api/event_feed EventFeed.listeners": CODE,
    "api/event_feed EventFeed.doubts": CODE,
    "api/event_feed EventFeed.elsewhere": CODE,
    "runtime/hub/others Others._namesakes": "HUBS_A_LOOK",
    "runtime/hub/hints Hints._ready": "KINDS_MAX",
    "api/event_feed EventFeed.endings": CODE,
    "api/event_feed EventFeed.live": "LIVE_KEPT",
    "api/event_feed Follower._queue": "FOLLOWER_QUEUED_MAX",
    "api/request_counts RequestCounts._answered": CODE,
    "api/waiting Waiting._groups": "WAITING_POLLS_MAX",
    "api/waiting Waiting._barred": "WAITING_POLLS_MAX",
    "daemon/assembly DaemonRuntime._ambient": "the daemon's own environment",
    "daemon/assembly DaemonRuntime._replaced": "the signals that end a daemon",
    "daemon/caffeinate Awake._running": RUNS,
    "daemon/guard_link GuardLink._heard": "a guard and the one before, half a line each",
    "daemon/guard_link GuardLink._killed": "KILLED_MAX",
    "daemon/hub_calls HubCalls._cuts": "calls under way, one a loop",
    "daemon/hub_calls HubCalls._kept": "CONNECTIONS_MAX",
    "daemon/machine Machine._children": RUNS,
    "daemon/survivors Survivors._trees": "runs of which a process lives: the system bounds those",
    "dashboard/asked Asked._cookies": "one answer: a session and a language",
    "dashboard/doorman Doorman._known": "KNOWN_MAX",
    "dashboard/live Live._looked": "streams: WAITING_POLLS_MAX, each with the fragments of a page",
    "dashboard/live Live._said": "SAID_MAX",
    "dashboard/live Live._line": "each of what is looked at, once",
    "dashboard/live Live._of_session": "streams: WAITING_POLLS_MAX",
    "dashboard/live Live._watchers": "streams: WAITING_POLLS_MAX, WATCHERS_OF_SESSION_MAX",
    "dashboard/live Looked.watchers": "streams: WAITING_POLLS_MAX",
    "dashboard/live Watcher._new": "the fragments of a page, the newest of each",
    "hub/batch Engine._reported": "REPORTED_MAX",
    "hub/alarm_loop Alarm._purges": "kinds of what is removed",
    "hub/periods Timelines._ended": "PERIODS_MAX, for one answer",
    "runtime/machine/drive Driver.threads": CODE,
    "runtime/machine/local_notice _Line._pauses_s": "PAUSES_S",
    "runtime/machine/local_notice _Line.waiting": "WAITING_MAX",
    "runtime/hub/reading ReaderPool._looks": "LOOKS_MAX",
    "runtime/hub/reading ReaderPool._searches": "SEARCHES_MAX",
    "runtime/hub/reading ReaderPool._under_way": "LOOKS_MAX",
    "runtime/hub/reading ReaderPool._waiting": "LOOKS_MAX",
    "runtime/hub/writer Writer._after": CODE,
    "runtime/one_loop/hub OneLoopHub._after": CODE,
    "runtime/one_loop/hub OneLoopHub._deliveries": "CHANNELS_MAX",
    "runtime/one_loop/turns Turns._turns": "CHANNELS_MAX, and three more",
    "runtime/one_loop/turns Turns._tasks": "a step of each loop, and calls_at_once",
    "runtime/one_loop/turns Turns._sleeps": "a step of each loop, and calls_at_once",
    "cloudflare/javascript CloudflareHost._tasks": "requests that are let in at once, streams: WAITING_POLLS_MAX",
    "cloudflare/fetching AnswerSoFar.headers": "the headers of one answer",
    "runtime/transport Exchange.heard": "ANSWER_BYTES_MAX",
    "runtime/hub/writer Writer._asked": "QUEUED_MAX",
    "runtime/hub/writer Writer._batches": "one batch, and the word to end",
    "store/lists Conditions.values": CODE,
    "store/check _Checkup._faults": "FAULTS_MAX",
    "store/check _Checkup._rows": CODE,
    "store/base Unreadable._known": "UNREADABLE_MAX",
    "store/base Unreadable.found": "UNREADABLE_MAX",
    "store/needs QueueLines._ended": "NEEDS_SETS_MAX, for the claims of one batch",
    "store/postgres PostgresStore._listeners": CODE,
    "store/postgres_fronts Fronts._open": "OPEN_MAX and the sets of a batch",
    "store/postgres_links Links._pools": CODE,
    "store/postgres_pipeline Pipeline._names": "STATEMENTS_MAX",
    "store/postgres_pipeline Pipeline._uses": "STATEMENTS_MAX",
    "store/postgres_rows PostgresTransaction.made": "the tasks of a batch",
    "store/postgres_wire PostgresConnection.warnings": "WARNINGS_MAX",
    "store/sqlite SqliteStore._readers": "READERS_MAX",
    "store/sqlite_files StoreFiles._known": CODE,
    "wire/dial Server.headers": CODE,
    "worker/executors/claude_reading ClaudeReading._used": "MESSAGES_MAX",
    "worker/executors/claude_reading ClaudeReading.retry": "one event",
    "worker/executors/codex_reading CodexReading._counted": CODE,
    "worker/executors/codex_reading CodexReading.declined": "DECLINED_MAX",
    "worker/guard GuardProcess._survived": RUNS,
    "worker/guard GuardProcess._trees": RUNS,
    "worker/guard_policy Guard.runs": RUNS,
    "worker/liveness Liveness._marks": CODE,
    "worker/process_tree ProcessTree._seen": "SEEN_MAX and what lives",
    "worker/result_batches ResultBatches._lone": "results",
    "worker/state Signals._raised": "loops and runs: forgotten with the run",
    "worker/state WorkerState.auth": "executors",
    "worker/state WorkerState.auth_asked": "executors",
    "worker/state WorkerState.places": "PLACES_MAX",
    "worker/state WorkerState.auth_shown": "executors",
    "worker/untouched Untouched._tasks": "TASKS_MAX",
    "worker/untouched Untouched._worked": "executors",
    "worker/state WorkerState.open_alarms": "two kinds of alarm, written here",
    "worker/state WorkerState.directives": "OPEN_MAX directives that the hub keeps open",
    "worker/state WorkerState.outcomes": "OUTCOMES_MAX",
    "worker/state WorkerState.results": "UNDELIVERED_MAX and the runs",
    "worker/state WorkerState.runs": RUNS,
    "worker/state WorkerState.sessions": "SESSIONS_MAX",
    "worker/state WorkerState.shortened": "results",
    "worker/state WorkerState.start_faults": "executors",
    "worker/state WorkerState.unkept": "results",
}
CACHED = {  # without a bound of their own
    "cloudflare/whole with_pages": "one application",
    "store/postgres_statements insert_one": CODE,
    "store/postgres_statements of_pairs": CODE,
    "store/reading _checked": "types of columns",
    "store/reading _shape": CODE,
    "store/reading is_sound": CODE,
    "store/search _other_forms": "the characters of Unicode, once",
    "runtime/hub/memory _of_glibc": CODE,
    "notify/fixes _sentences": CODE,
    "dashboard/render _environment": CODE,
    "dashboard/static_files static_files": CODE,
    "dashboard/static_files static_version": CODE,
    "store/sqlite_rows _event_insert": "powers of two",
    "store/statements counted": CODE,
    "store/statements gathered": CODE,
    "store/statements merged": CODE,
    "store/statements select": CODE,
    "store/statements upsert": "tables and seven sizes",
    "store/statements where": CODE,
    "store/statements where_key": CODE,
    "store/statements where_keys": CODE,
    "wire/decode _decoder": CODE,
    "wire/decode _fields": CODE,
}


def modules() -> Iterator[tuple[str, tuple[ast.AST, ...]]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield path.relative_to(ROOT).with_suffix("").as_posix(), nodes(path.read_text(encoding="utf-8"))


def begins_empty_or_copied(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Dict | ast.List | ast.Set):
        return not ast.unparse(value).strip("{}[]")
    return isinstance(value, ast.Call) and ast.unparse(value.func).split(".")[-1] in COLLECTIONS


def kept_by(made: ast.ClassDef) -> Iterator[str]:
    """Attributes that are given a collection when the object is made."""
    for node in ast.walk(made):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            for step in ast.walk(node):
                if isinstance(step, ast.Assign | ast.AnnAssign) and begins_empty_or_copied(step.value):
                    target = step.targets[0] if isinstance(step, ast.Assign) else step.target
                    if isinstance(target, ast.Attribute):
                        yield target.attr


def test_every_collection_has_a_bound() -> None:
    found = {
        f"{module} {node.name}.{name}"
        for module, found in modules()
        for node in found
        if isinstance(node, ast.ClassDef) and node.name not in OF_A_BATCH
        for name in kept_by(node)
    }
    assert found - set(BOUNDED) == set(), "say what bounds it, and in docs/limits.md if it grows with what comes in"
    assert set(BOUNDED) - found == set(), "it is gone"


def test_no_cache_grows_for_ever() -> None:
    found = {
        f"{module} {node.name}"
        for module, found in modules()
        for node in found
        if isinstance(node, ast.FunctionDef)
        for decorator in node.decorator_list
        if ast.unparse(decorator) in ("cache", "functools.cache", "lru_cache(None)", "lru_cache(maxsize=None)")
    }
    assert found == set(CACHED)
