"""The home page as what rich draws: every text from outside is made safe in `piece`, and nowhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group
from rich.text import Text

from understudy.cli.reasons import channel_text, reason_of
from understudy.cli.takeover import doing_of
from understudy.cli.terminal import ago, columns, cut, safe
from understudy.cli.watch.changes import incident_text
from understudy.cli.watch.scene import Scene
from understudy.cli.watch.words import APPEARANCES, NONE, ORDER, OTHER, counted, money_of, progress_of, state_word
from understudy.clock import parse_iso
from understudy.coordinator.nouns import Period
from understudy.coordinator.timeline import bar
from understudy.texts import t

PARTS_MAX = 96  # of a bar: 15 minutes each
NAME_COLUMNS_MAX = 24
RUNS_SHOWN = 3
INCIDENTS_SHOWN = 5
WIDE = 80  # columns from which on names and states stand below each other
Piece = tuple[str, str]  # text, style
Row = dict[str, Any]


class Drawing:
    """One drawing of a scene, for a terminal of so many columns; `has_blocks` if its encoding knows them."""

    def __init__(self, scene: Scene, mono: int, width: int, *, has_blocks: bool = True) -> None:
        self.scene = scene
        self.mono = mono
        self.width = width
        self.has_blocks = has_blocks
        self.seen: dict[str, Any] = scene.look.overview
        rows: list[Row] = self.seen["daemons"]
        self.rows = sorted(rows, key=lambda row: (ORDER.get(row["state"], 0), row["daemonId"]))
        self._name_columns = min(max((columns(safe(row["daemonId"])) for row in rows), default=0), NAME_COLUMNS_MAX)
        self._word_columns = max((columns(state_word(row["state"])) for row in rows), default=0)

    def within(self, height: int) -> Group:
        """All of it in at most so many lines: daemons that do not fit are counted, the worst ones are shown."""
        head, end = [*self._head(), Text()], [Text(), *self._end()]
        left = max(height - len(head) - len(end), 2)
        body: list[Text] = []
        for number, row in enumerate(self.rows):
            block = self._daemon(row)
            if len(body) + len(block) + (number < len(self.rows) - 1) > left and body:
                body += self._rest(self.rows[number:])
                break
            body += block
        if not self.rows:
            body = self._packed([piece(t("cli.status.no_daemon"))])
        lines = [*head, *body, *end]
        if self.scene.stale_ms(self.mono):
            for line in lines:
                line.stylize("dim")
            lines.insert(0, self._stale())
        return Group(*lines)

    def _stale(self) -> Text:
        since = counted(self.scene.stale_ms(self.mono))
        said = t("cli.watch.stale", span=since, reason=safe(self.scene.away or t("cli.watch.no_word")))
        return Text(cut(said, self.width), style="bold yellow", no_wrap=True)

    def _head(self) -> list[Text]:
        hub, queue, takeover = self.scene.look.hub, self.seen["queue"], self.seen["takeover"]
        ready = (t("cli.status.ready"), "green") if hub["isReady"] else (t("cli.status.not_ready"), "bold red")
        day = takeover["budget"]["day"]
        parts = [
            [piece("understudy", "bold"), piece(hub["url"]), ready, piece(hub["version"], "dim"),
             piece(t("cli.status.since", ago=ago(hub["startedAt"])), "dim")],
            [piece(t("cli.watch.queue", waiting=queue["waiting"], leased=queue["leased"])), *self._oldest(queue)],
            [piece(t("cli.takeover.line", doing=t(f"takeover.doing.{doing_of(takeover)}"))),
             piece(money_of(day["spentUsd"], day["limitUsd"]), "dim"), *_open(takeover)],
        ]  # fmt: skip
        return [line for pieces in parts for line in self._packed(pieces)]

    def _oldest(self, queue: Row) -> list[Piece]:
        waited_ms = queue["oldestSec"] * 1000 + self.scene.now_at(self.mono) - parse_iso(self.seen["at"])
        return [piece(t("cli.watch.oldest", span=counted(waited_ms)), "dim")] if queue["oldestSec"] else []

    def _daemon(self, row: Row) -> list[Text]:
        looks = APPEARANCES.get(row["state"], OTHER)
        name, word = cut(safe(row["daemonId"]), NAME_COLUMNS_MAX), state_word(row["state"])
        if self.width >= WIDE:
            name, word = _padded(name, self._name_columns), _padded(word, self._word_columns)
        pieces = [
            (f"{looks.shape} {name}", looks.style),
            (word, looks.style),
            piece(self._silent(row)),
            piece(self._deadline(row), "dim"),
            piece(f"{len(row['running'])}/{row['capacity']}", "dim"),
            piece(reason_of(row), "yellow"),
        ]
        bars = [self._bar(row)] if "periods" in row else []  # the rest of a very long list has none
        return [*self._packed(pieces), *bars, *self._runs(row)]

    def _silent(self, row: Row) -> str:
        if not row["lastSeenAt"]:
            return t("cli.watch.never")
        return t("cli.watch.silent", span=counted(self.scene.silent_ms(row, self.mono)))

    def _deadline(self, row: Row) -> str:
        """The next one: it is counted down each second."""
        if row.get("quietUntil"):
            left_ms = parse_iso(row["quietUntil"]) - self.scene.now_at(self.mono)
            return t("cli.watch.quiet", span=counted(max(left_ms, 0)))
        key = {"late": "downAt", "healthy": "lateAt", "stuck": "lateAt"}.get(row["state"])
        if key is None:
            since_ms = self.scene.now_at(self.mono) - parse_iso(row["sinceAt"])
            return t("cli.watch.for", span=counted(max(since_ms, 0)))
        left_ms = max(self.scene.left_ms(row, key, self.mono), 0)
        return t("cli.watch.down_in" if key == "downAt" else "cli.watch.late_in", span=counted(left_ms))

    def _bar(self, row: Row) -> Text:
        since_at, until_at = parse_iso(self.seen["periodsSince"]), parse_iso(self.seen["at"])
        periods = [Period("", parse_iso(one["fromAt"]), one["state"], parse_iso(one["toAt"])) for one in row["periods"]]
        text = Text("  ", no_wrap=True)
        for state in bar(periods, since_at, until_at, min(self.width - 2, PARTS_MAX)):
            looks = APPEARANCES.get(state, OTHER) if state else NONE
            text.append(looks.part if self.has_blocks else looks.plain_part, looks.style)
        return text

    def _runs(self, row: Row) -> Iterator[Text]:
        theirs = [run for run in self.seen["runs"] if run.get("daemonId") == row["daemonId"]]
        for run in theirs[:RUNS_SHOWN]:
            lasted_ms = self.scene.now_at(self.mono) - parse_iso(run["claimedAt"])
            text = "  ".join(("  └", safe(run["taskId"]), counted(max(lasted_ms, 0)), safe(progress_of(run)))).rstrip()
            yield Text(cut(text, self.width), no_wrap=True)
        if len(theirs) > RUNS_SHOWN:
            yield Text(f"    {t('cli.watch.more', count=len(theirs) - RUNS_SHOWN)}", style="dim")

    def _rest(self, rows: Sequence[Row]) -> list[Text]:
        counts = Counter(row["state"] for row in rows)
        states = [(f"{counts[state]} {state_word(state)}", "dim") for state in sorted(counts, key=_place)]
        return self._packed([(t("cli.watch.more", count=len(rows)), "dim"), *states])[:1]

    def _end(self) -> list[Text]:
        """Problems and the rest: open incidents, channels that do not send."""
        incidents, named = self.seen["openIncidents"], {row["daemonId"] for row in self.rows}
        texts = [
            (incident_text(row), APPEARANCES.get(row["state"], OTHER).style) for row in incidents[:INCIDENTS_SHOWN]
        ]
        if len(incidents) > INCIDENTS_SHOWN:
            texts.append((t("cli.watch.more", count=len(incidents) - INCIDENTS_SHOWN), "dim"))
        others = [run for run in self.seen["runs"] if run.get("daemonId") not in named]
        texts += [(t("cli.watch.run_begun", task=r["taskId"], worker=r["workerId"]), "") for r in others[:RUNS_SHOWN]]
        texts += [(channel_text(row), "yellow") for row in self.scene.look.channels if is_in_trouble(row)]
        if self.scene.look.hub["sharesMachine"]:
            texts.append((t("cli.shared_machine"), "yellow"))
        return [line for text, style in texts for line in self._packed([piece(text, style)])]

    def _packed(self, pieces: Sequence[Piece]) -> list[Text]:
        """Pieces beside each other as far as the columns go; the rest on further lines, a little further in."""
        lines: list[Text] = []
        taken = self.width + 1
        for text, style in pieces:
            if not text:
                continue
            shown = cut(text, self.width - 2)
            if lines and taken + 2 + columns(shown) <= self.width:
                lines[-1].append("  ").append(shown, style)
                taken += 2 + columns(shown)
            else:
                lines.append(Text("  " if lines else "", no_wrap=True).append(shown, style))
                taken = columns(lines[-1].plain)
        return lines


def piece(text: Any, style: str = "") -> Piece:
    """A text for the screen: one line, with nothing in it that steers a terminal."""
    return safe(text), style


def is_in_trouble(channel: Row) -> bool:
    """True if it could not send something."""
    return bool(channel.get("lastError") or channel.get("dead"))


def _open(takeover: Row) -> list[Piece]:
    is_shown = takeover["open"] and doing_of(takeover) == takeover["mode"]
    return [(t("cli.takeover.open", ago=ago(takeover["since"])), "yellow")] if is_shown else []


def _padded(text: str, width: int) -> str:
    return text + " " * max(width - columns(text), 0)


def _place(state: str) -> int:
    return ORDER.get(state, 0)
