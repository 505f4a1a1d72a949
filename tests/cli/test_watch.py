"""`status --watch`: the home page in a terminal, a line for each change elsewhere; each from an overview of the API."""

from __future__ import annotations

import io
import json
import queue
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from understudy import legible
from understudy.cli.client import HubClient
from understudy.cli.connection import HubAddress
from understudy.cli.exits import AbsentError, ClientError, RefusedError, UnreachableError
from understudy.cli.reasons import reason_of
from understudy.cli.watch import changes as changes_module
from understudy.cli.watch import command, threads
from understudy.cli.watch.changes import NOTHING, changes, text_of
from understudy.cli.watch.command import Lines
from understudy.cli.watch.scene import PROGRESS_MS, REFRESH_MS, SILENT_MS, HubSnapshot, Scene, SceneUpdate
from understudy.cli.watch.screen import Drawing
from understudy.cli.watch.words import APPEARANCES, progress_of
from understudy.clock import ManualClock, iso
from understudy.texts import LANGUAGES, _chosen, catalogue
from understudy.wire.answers.overview import Health

T0 = 1_770_000_000_000
M0 = 5_000
DAY = 86_400_000
EVIL = "mini\x1b]0;title\x07\x9b31m\u202e\r\n\x1b[2J"


def daemon(name: str = "mini", state: str = "healthy", **fields: Any) -> dict[str, Any]:
    return {
        "daemonId": name, "state": state, "lastSeenAt": iso(T0 - 4_000), "silentForSec": 4.0, "running": [],
        "lateAt": iso(T0 + 176_000), "downAt": iso(T0 + 296_000), "capacity": 2, "sinceAt": iso(T0 - 60_000),
        "periods": [
            {"state": "late", "fromAt": iso(T0 - DAY // 2), "toAt": iso(T0 - DAY // 4)},
            {"state": state, "fromAt": iso(T0 - DAY // 4), "toAt": iso(T0)},
        ],
    } | fields  # fmt: skip


def run(task_id: str = "t1", **fields: Any) -> dict[str, Any]:
    return {
        "taskId": task_id,
        "workerId": "mini",
        "daemonId": "mini",
        "claimedAt": iso(T0 - 7_000),
        "source": "",
    } | fields


def incident(**fields: Any) -> dict[str, Any]:
    return {"id": "incident-1", "daemonId": "pi", "state": "late", "openedAt": iso(T0)} | fields


def overview(*daemons: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "at": iso(T0), "periodsSince": iso(T0 - DAY), "queue": {"waiting": 3, "leased": 1, "oldestSec": 5},
        "daemons": list(daemons), "runs": [], "openIncidents": [],
        "takeover": {
            "mode": "answer", "on": True, "open": False, "paused": False,
            "budget": {"day": {"spentUsd": 0.25, "limitUsd": 1}},
        },
    } | fields  # fmt: skip


def look(*daemons: dict[str, Any], mono: int = M0, channels: Any = (), **fields: Any) -> HubSnapshot:
    hub = {"url": "http://hub:1", "version": "1.2.3", "startedAt": iso(T0), "isReady": True, "sharesMachine": False}
    return HubSnapshot(mono, hub, overview(*daemons, **fields), list(channels))


def event(name: str, **fields: Any) -> SceneUpdate:
    return SceneUpdate("event", {"name": name, "fields": fields})


def drawn(scene: Scene, mono: int = M0, *, width: int = 100, height: int = 40, **page: Any) -> str:
    """What a terminal of this size would get, with colours."""
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=True, color_system="standard", width=width, height=height, _environ={}
    )
    console.print(Drawing(scene, mono, width - 1, **page).within(height - 1), end="")
    return stream.getvalue()


def plain(text: str) -> list[str]:
    return legible.without_sequences(text).split("\n")


@pytest.fixture
def in_japanese(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("UNDERSTUDY_LANG", "ja")
    _chosen.cache_clear()
    yield
    _chosen.cache_clear()


# ---- the scene


def test_deadlines_are_counted_down_by_this_machines_clock_and_a_heartbeat_starts_them_anew() -> None:
    row = daemon()
    scene = Scene(look(row))
    assert (scene.silent_ms(row, M0 + 6_000), scene.left_ms(row, "lateAt", M0 + 6_000)) == (10_000, 170_000)
    scene.take(event("heartbeat.recorded", daemonId="mini"), M0 + 6_000)
    assert (scene.silent_ms(row, M0 + 7_000), scene.left_ms(row, "lateAt", M0 + 7_000)) == (1_000, 179_000)
    assert not scene.asks(M0 + 7_000)


@pytest.mark.parametrize(
    ("heard", "asks"),
    [
        (event("daemon.late", daemonId="mini"), True),
        (event("task.queued"), True),
        (event("alarm.triggered"), False),
        (event("heartbeat.recorded", daemonId="somebody else"), False),
        (SceneUpdate("alive"), False),
        (SceneUpdate("connected"), True),
    ],
)
def test_the_state_is_read_again_after_what_may_have_changed_it(heard: SceneUpdate, asks: bool) -> None:
    scene = Scene(look(daemon()))
    scene.take(heard, M0 + 10)
    assert scene.asks(M0 + 10) is asks
    assert not scene.asks(M0 + 20)


def test_heartbeats_of_a_daemon_that_runs_something_bring_its_progress_every_few_seconds() -> None:
    scene = Scene(look(daemon(), runs=[run()]))
    beat = event("heartbeat.recorded", daemonId="mini")
    asked = []
    for mono in range(M0 + 100, M0 + 100 + 3 * PROGRESS_MS, 100):
        scene.take(beat, mono)
        if scene.asks(mono):
            asked.append(mono)
    assert len(asked) == 3


def test_without_any_event_the_state_is_read_once_a_minute() -> None:
    scene = Scene(look(daemon()))
    asked = [mono for mono in range(M0, M0 + 3 * REFRESH_MS, 1_000) if scene.asks(mono)]
    assert asked == [M0 + REFRESH_MS, M0 + 2 * REFRESH_MS]


def test_it_is_stale_from_the_last_word_on_and_time_stands_until_the_hub_answers() -> None:
    row = daemon()
    scene = Scene(look(row))
    scene.take(SceneUpdate("alive"), M0 + 3_000)
    scene.take(SceneUpdate("away", "refused"), M0 + 4_000)
    scene.take(SceneUpdate("failed", "refused again"), M0 + 9_000)
    assert scene.stale_ms(M0 + 10_000) == 7_000
    assert scene.silent_ms(row, M0 + 10_000) == 7_000
    scene.take(SceneUpdate("connected"), M0 + 11_000)
    assert scene.stale_ms(M0 + 11_000)
    scene.take(SceneUpdate("look", look(row, mono=M0 + 12_000)), M0 + 12_000)
    assert (scene.stale_ms(M0 + 12_000), scene.away) == (0, "")


def test_a_stream_that_says_nothing_at_all_is_stale_too() -> None:
    scene = Scene(look(daemon()))
    assert not scene.stale_ms(M0 + SILENT_MS - 1)
    assert scene.stale_ms(M0 + SILENT_MS) == SILENT_MS


def test_a_refusal_ends_it() -> None:
    with pytest.raises(RefusedError):
        Scene(look()).take(SceneUpdate("error", RefusedError("no")), M0)


# ---- the screen


def test_a_page_shows_state_silence_deadline_bar_runs_queue_takeover_and_incidents() -> None:
    rows = (daemon(running=[{"taskId": "t1"}]), daemon("pi", "late", stuck=None))
    scene = Scene(look(*rows, runs=[run(progress="Reading files")], openIncidents=[incident(acknowledgedBy="me")]))
    text = "\n".join(plain(drawn(scene, M0 + 1_000)))
    for shown in (
        "http://hub:1  ready  1.2.3", "queue: 3 waiting, 1 running", "the first waits for 6 s",
        "takeover: answers tasks that need no machine  0.25 of 1.00 USD today",
        "● mini  healthy  silent for 5 s  late in 2 min 55 s  1/2", "└  t1  8 s  Reading files",
        "▲ pi    late     silent for 5 s  down in 4 min 55 s  0/2",
        "incident incident-1 of pi: late  acknowledged by me",
    ):  # fmt: skip
        assert shown in text, text
    (bar,) = [line for line in plain(drawn(Scene(look(daemon())), width=51)) if "█" in line]
    assert bar.strip() == "╌" * 24 + "▅" * 12 + "█" * 12


def test_the_worst_comes_first_and_what_does_not_fit_is_counted() -> None:
    rows = [daemon(f"ok{n:02}") for n in range(30)] + [daemon("bad", "down")]
    lines = plain(drawn(Scene(look(*rows)), height=20))
    assert len(lines) <= 19
    names = [line.split()[1] for line in lines if line.startswith(("✖", "●"))]
    assert names[:2] == ["bad", "ok00"]
    assert f"… and {31 - len(names)} more  {31 - len(names)} healthy" in lines


def test_a_daemon_without_periods_has_no_bar() -> None:
    row = daemon("bare", "down")
    del row["periods"]
    lines = plain(drawn(Scene(look(daemon(), row)), height=20))
    (place,) = [n for n, line in enumerate(lines) if line.startswith("✖ bare")]
    assert lines[place + 1].startswith("● mini")


@pytest.mark.parametrize("width", [20, 40, 60, 79, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int, in_japanese: None) -> None:
    rows = (
        daemon("日本語のとても長い名前のデーモンでもある" * 3, "asleep", reason="とても長い理由" * 20),
        daemon("x" * 200),
    )
    scene = Scene(look(*rows, runs=[run(daemonId="x" * 200, progress="進捗" * 100)], openIncidents=[incident()]))
    scene.take(SceneUpdate("away", "理由" * 50), M0 + 1)
    for line in plain(drawn(scene, M0 + 10, width=width)):
        assert sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line) < width, line


def test_what_comes_from_outside_steers_no_terminal() -> None:
    rows = (daemon(EVIL, reason=EVIL, state="asleep"), daemon("b", EVIL))
    hostile = {"runs": [run(EVIL, daemonId=EVIL, progress={"text": EVIL}), run("t2", daemonId="x", workerId=EVIL)]}
    channel = {"name": EVIL, "waiting": 0, "dead": 1, "lastError": EVIL, "oldestSec": 0}
    incidents = [incident(id=EVIL, acknowledgedBy=EVIL)]
    scene = Scene(look(*rows, openIncidents=incidents, channels=[channel], **hostile))
    scene.look.hub["version"] = EVIL
    scene.take(SceneUpdate("away", EVIL), M0 + 1)
    shown = drawn(scene, M0 + 2)
    for line in plain(shown):
        assert line.isprintable(), line
    assert "title" not in shown
    assert "2J" not in shown


def test_a_hub_that_is_away_is_said_above_what_is_dimmed() -> None:
    scene = Scene(look(daemon()))
    scene.take(SceneUpdate("away", "Connection refused"), M0)
    first, *rest = plain(drawn(scene, M0 + 5_000))
    assert first == "STALE for 5 s: Connection refused"
    assert any("mini" in line for line in rest)


def test_every_state_has_its_word_shape_and_part_in_every_language() -> None:
    states = set(Health.__metadata__[0].extra_json_schema["enum"])  # type: ignore[attr-defined]
    assert states == set(APPEARANCES)
    for language in LANGUAGES:
        assert all(f"cli.watch.state.{state}" in catalogue(language) for state in states)
    for kind in ("shape", "part", "plain_part"):
        assert len({getattr(one, kind) for one in APPEARANCES.values()}) == len(states)
    assert all(one.plain_part.isascii() for one in APPEARANCES.values())


def test_no_colour_is_asked_for_by_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, _environ={"NO_COLOR": "1", "TERM": "xterm"})
    console.print(Drawing(Scene(look(daemon())), M0, 79).within(20))
    assert not any(f"\x1b[{code}m" in stream.getvalue() for code in (31, 32, 33, 34, 35, 36))
    assert "● mini" in stream.getvalue()


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (None, ""),
        ("half", "half"),
        ({"percent": 42, "phase": "tests", "text": "x"}, "42 % tests x"),
        ({"step": 1}, '{"step": 1}'),
        (0.5, "0.5"),
        ("x" * 9_999, "x" * 400),
    ],
)
def test_progress_of_any_kind_becomes_one_text(said: Any, text: str) -> None:
    assert progress_of({"progress": said}) == text


# ---- lines


def lines_of(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [text_of(change) for change in changes(before, after)]


@pytest.mark.parametrize("reason", ["planned", "stopped", "expected"])
def test_a_reason_that_the_hub_names_by_a_word_is_in_the_language_of_the_reader(reason: str) -> None:
    assert reason_of(daemon("mini", "asleep", reason=reason)) == catalogue("en")[f"liveness.reason.{reason}"]


def test_each_change_is_a_line() -> None:
    first = overview(daemon(), daemon("pi"))
    assert lines_of(NOTHING, first) == [
        "mini: healthy",
        "pi: healthy",
        "queue: 3 waiting, 1 running",
        "takeover: answers tasks that need no machine  0.25 of 1.00 USD today",
    ]
    assert lines_of(first, first) == []
    second = overview(daemon("mini", "late", reason="planned"), runs=[run()], openIncidents=[incident()])
    assert lines_of(first, second) == [
        f"mini: healthy → late  {catalogue('en')['liveness.reason.planned']}",
        "pi: healthy → forgotten", "t1 runs on mini", "incident incident-1 of pi: late",
    ]  # fmt: skip
    third = overview(daemon("mini", "late"), runs=[run(progress="half")], openIncidents=[incident(acknowledgedBy="me")])
    assert lines_of(second, third) == ["t1 on mini: half", "incident incident-1 of pi: late  acknowledged by me"]
    fourth = overview(daemon(), queue={"waiting": 0, "leased": 0, "oldestSec": 0})
    assert lines_of(third, fourth) == [
        "mini: late → healthy", "t1 no longer runs on mini", "queue: 0 waiting, 0 running",
        "incident incident-1 of pi is over",
    ]  # fmt: skip


def said_by(capsys: pytest.CaptureFixture[str], scene: Scene, *, as_json: bool) -> Any:
    """A writer of lines, and what it has said since it was last asked."""
    clock = ManualClock(T0)
    lines = Lines(scene, clock, as_json=as_json)  # type: ignore[arg-type]

    def said(mono: int) -> list[str]:
        lines.write_news(mono)
        return capsys.readouterr().out.splitlines()

    return said


def test_lines_begin_with_all_there_is_and_tell_when_the_hub_is_away_and_back(capsys) -> None:
    scene = Scene(look(daemon()))
    said = said_by(capsys, scene, as_json=False)
    assert len(said(M0)) == 3
    assert said(M0 + 1) == []
    scene.take(SceneUpdate("away", "refused\x1b[2J"), M0 + 2)
    (line,) = said(M0 + 3)
    assert line.endswith("the hub does not answer; what is shown may be out of date: refused")
    assert said(M0 + 4) == []
    scene.take(SceneUpdate("look", look(daemon("mini", "down"), mono=M0 + 5)), M0 + 5)
    back, change = said(M0 + 5)
    assert back.endswith("http://hub:1 answers again")
    assert change.endswith("mini: healthy → down")


def test_json_is_an_object_a_line(capsys) -> None:
    scene = Scene(look(daemon(EVIL)))
    said = said_by(capsys, scene, as_json=True)
    said(M0)
    scene.take(SceneUpdate("look", look(daemon(EVIL, "late"), mono=M0 + 5)), M0 + 5)
    (line,) = said(M0 + 5)
    assert line.isprintable()
    assert json.loads(line) == {
        "at": iso(T0), "kind": "daemon", "daemonId": EVIL, "state": "late", "was": "healthy",
    }  # fmt: skip


def test_every_kind_of_change_has_its_text() -> None:
    assert set(changes_module._TEXTS) == {"daemon", "run", "queue", "takeover", "incident", "hub"}


# ---- the threads


class Stream:
    """A hub's stream that says what a test puts in, and breaks where it puts an error."""

    url = "http://hub:1"

    def __init__(self) -> None:
        self.says: queue.Queue[Any] = queue.Queue()

    def stream(self, path: str, **_: Any) -> Iterator[bytes]:
        while (line := self.says.get()) is not None:
            if isinstance(line, Exception):
                raise line
            yield line


def test_events_are_brought_in_order_and_a_look_follows_when_it_is_asked_for(monkeypatch) -> None:
    monkeypatch.setattr(threads, "COALESCE_S", 0)
    monkeypatch.setattr(threads, "AGAIN_S", 0)
    stream, looks = Stream(), queue.Queue()
    both = threads.Threads(stream, looks.get)  # type: ignore[arg-type]
    for line in (
        b"retry: 1000",
        b"",
        b'data: {"id":1,"name":"daemon.late","fields":{}}',
        b"",
        UnreachableError("gone"),
    ):
        stream.says.put(line)
    heard: list[SceneUpdate] = []
    while len(heard) < 3:
        heard += both.heard(30)
    assert [one.kind for one in heard] == ["alive", "event", "away"]
    assert (heard[1].value["name"], heard[2].value) == ("daemon.late", "gone")
    both.ask()
    looks.put(look())
    (found,) = both.heard(30)
    assert found.kind == "look"
    stream.says.put(RefusedError("no"))
    (found,) = both.heard(30)
    assert isinstance(found.value, RefusedError)
    looks.put(look())


def test_a_terminal_is_drawn_on_unless_it_cannot_be_or_json_is_wanted(monkeypatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert not command.is_drawn(as_json=False)
    monkeypatch.setattr("sys.stdout", Terminal())
    assert command.is_drawn(as_json=False)
    assert not command.is_drawn(as_json=True)
    monkeypatch.setenv("TERM", "dumb")
    assert not command.is_drawn(as_json=False)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Script:
    """Threads that bring what a test says, then Ctrl-C."""

    def __init__(self, *rounds: list[SceneUpdate]) -> None:
        self._rounds = list(rounds)
        self.asked = 0

    def heard(self, _: float) -> list[SceneUpdate]:
        if not self._rounds:
            raise KeyboardInterrupt
        return self._rounds.pop(0)

    def ask(self) -> None:
        self.asked += 1


def test_the_screen_is_drawn_anew_until_ctrl_c_and_the_cursor_comes_back(monkeypatch) -> None:
    monkeypatch.setattr(command, "FRAME_MS", 0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout", Terminal())
    both = Script([event("daemon.late")], [SceneUpdate("look", look(daemon("mini", "late"), mono=M0 + 1))])
    with pytest.raises(KeyboardInterrupt):
        command.draw(Scene(look(daemon())), both, lambda: M0 + 1)  # type: ignore[arg-type]
    shown = sys.stdout.getvalue()  # type: ignore[attr-defined]
    assert "● mini" in shown
    assert "▲ mini" in shown
    assert shown.index("\x1b[?25l") < shown.rindex("\x1b[?25h")
    assert both.asked == 1


class BigHub(HubClient):
    """A hub whose overview ends after so many of its daemons."""

    def __init__(self, names: list[str], shown: int) -> None:
        super().__init__("http://hub:1")
        self.names, self.shown = names, shown

    def get(self, path: str, **query: Any) -> Any:
        last = self.names[self.shown - 1]
        return {
            "/api/overview": overview(*map(daemon, self.names[: self.shown]), daemonsNext=last),
            "/api/daemons": {"daemons": [daemon(name) for name in self.names if name > query.get("cursor", "")]},
        }.get(path, {})

    def status_of(self, path: str) -> tuple[int, Any]:
        return 200, {"ready": True}


def test_a_long_list_of_daemons_is_read_to_its_end_wherever_the_overview_ends() -> None:
    hub = BigHub(["a", "b", "c", "d"], 3)
    place = HubAddress(hub.url, "")
    first = command.read_look(hub, place, lambda: 0).overview
    hub.shown = 1
    second = command.read_look(hub, place, lambda: 0).overview
    assert [row["daemonId"] for row in first["daemons"]] == hub.names
    assert [*changes(first, second)] == []


def test_a_hub_that_does_not_say_whether_it_is_ready_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def unheard(path: str) -> tuple[int, Any]:
        raise UnreachableError("no answer")

    hub = BigHub(["a"], 1)
    assert command.read_look(hub, HubAddress(hub.url, ""), lambda: 0).hub["isReady"] is True
    monkeypatch.setattr(hub, "status_of", unheard)
    assert command.read_look(hub, HubAddress(hub.url, ""), lambda: 0).hub["isReady"] is False


class OldHub:
    url = "http://hub:1"

    def get(self, path: str) -> Any:
        raise AbsentError("Not found")


def test_a_hub_without_an_overview_is_older_than_this_program() -> None:
    with pytest.raises(ClientError, match="older than this program"):
        command.read_look(OldHub(), None, lambda: 0)  # type: ignore[arg-type]
