"""The oracle's part about heartbeats: which boot is the current one, what a beat renews and what it gives up."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from understudy.simulation.exchange import Letter, Reply
from understudy.simulation.ledger import CANCELLED, OPEN, Boots, Ledger, must_be
from understudy.simulation.watch import Watch
from understudy.simulation.world import ViolationError


class Beats:
    """Judges the hub's answers to heartbeats."""

    def __init__(self, ledger: Ledger, watch: Watch) -> None:
        self._ledger = ledger
        self._watch = watch

    def saw(self, letter: Letter, reply: Reply) -> None:
        """One heartbeat and what the hub said to it."""
        body = letter.body
        if reply.status != HTTPStatus.OK:
            return
        self._watch.beat(letter.sender, body)
        daemon, boot_id = body.get("daemonId"), body.get("bootId")
        if not daemon or not boot_id:
            return
        boots = self._ledger.boots[daemon]
        if boot_id in boots.old:
            raise ViolationError("a superseded boot stays so", f"{daemon} {boot_id}", daemon)
        if boot_id != boots.current:
            boots.old.add(boots.current)
            boots.current, boots.seq = boot_id, 0
        running = {run["taskId"]: run["token"] for run in body["running"]}
        self._ends_of_beat(daemon, boots, body, running)
        if body["seq"] <= boots.seq:
            return  # overtaken by a later beat: a sign of life, and nothing else
        boots.seq = body["seq"]
        for task_id, token in running.items():
            self._named(task_id, token, reply.body)

    def _ends_of_beat(self, daemon: str, boots: Boots, body: dict[str, Any], running: dict[str, int]) -> None:
        """Leases of an earlier boot, and those that this one once named and names no more, are lost at once."""
        is_newer = body["seq"] > boots.seq
        for entry in self._ledger.tasks.values():
            lease = entry.lease
            if lease is None or lease.daemon != daemon or lease.ended or entry.status != OPEN or lease.is_old:
                continue
            if running.get(entry.id) == lease.token:
                continue
            is_dropped = is_newer and (lease.is_named or body["state"] == "stopping")
            if lease.boot != boots.current or is_dropped:
                self._ledger.end(entry, "lost")

    def _named(self, task_id: str, token: int, answer: dict[str, Any]) -> None:
        entry = self._ledger.entry(task_id)
        lease = entry.lease
        is_newest = lease is not None and token == lease.token
        if task_id in answer["lost"]:
            if is_newest and self._ledger.is_live(entry):
                raise ViolationError("a holder renews", f"{task_id} {token} called lost", task_id)
            return
        if lease is None or not is_newest:
            raise ViolationError("I4 an old token changes nothing", f"{task_id} {token} renewed", task_id)
        if task_id in answer["cancel"]:
            must_be(entry, CANCELLED)
            return
        must_be(entry, OPEN)
        self._ledger.named(entry, self._ledger.heard() + lease.duration_ms)
