"""A primary is killed under load and its synchronous standby promoted; the hubs find it by themselves.

The test plays the cluster's manager: it notices the loss after `NOTICED_AFTER_S` and promotes the standby.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from tests.hub_process import KEY, HubProcess
from tests.ports import free_port
from tests.postgres import Server, running_server
from tests.soak.many_hubs import Beater, Client, Ledger, broken_in, hubs_on
from tests.store.conformance import queued
from tests.waiting import eventually
from understudy.errors import StoreDownError
from understudy.store.postgres import PostgresStore

pytestmark = pytest.mark.soak

RUNS, CLIENTS = 5, 16
BEFORE_S, AFTER_S = 4.0, 3.0  # under load
NOTICED_AFTER_S = 0.5
PROBE_EVERY_S = 0.01
SERVED_WITHIN_S = 30.0
HEADERS = {"X-API-Key": KEY, "Content-Type": "application/json"}
SETTINGS = {
    "lease_duration": "60s",
    "late_after": "20s",
    "down_after": "40s",
    "rate_per_s": 1_000_000,
    "rate_burst": 1_000_000,
    "key_tasks_max": 1_000_000,
}


@contextmanager
def synchronous_pair() -> Iterator[tuple[Server, Server]]:
    """A primary, and a standby without which it acknowledges nothing."""
    with running_server(port=free_port()) as primary:
        standby = primary.replica(port=free_port())
        try:
            primary.ask("ALTER SYSTEM SET synchronous_standby_names = 'data'")
            primary.ask("SELECT pg_reload_conf()")
            state = "SELECT sync_state FROM pg_stat_replication"
            eventually(lambda: primary.ask(state) == [("sync",)], within_s=20, what="a synchronous standby")
            yield primary, standby
        finally:
            standby.close()


def address_of(servers: tuple[Server, ...], database: str) -> str:
    places = ",".join(f"{server.host}:{server.port}" for server in servers)
    return f"postgresql://postgres@{places}/{database}?target_session_attrs=read-write"


class Probe(threading.Thread):
    """Enqueues at one hub without a pause, and notes when each was acknowledged."""

    def __init__(self, hub: HubProcess, ledger: Ledger, stopped: threading.Event) -> None:
        super().__init__(daemon=True, name=f"probe-{hub.port}")
        self._hub = hub
        self._ledger = ledger
        self._stopped = stopped
        self.acknowledged: list[float] = []
        self.refused: Counter[str] = Counter()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._hub.port, timeout=30)
        count = 0
        while not self._stopped.wait(PROBE_EVERY_S):
            task_id = f"{self.name}-{count}"
            body = msgspec.json.encode({"id": task_id, "content": "x"})
            connection.request("POST", "/api/queue", body, HEADERS)
            answer = connection.getresponse()
            answer.read()
            if answer.status in (200, 201):
                self.acknowledged.append(time.monotonic())
                with self._ledger.lock:
                    self._ledger.enqueued[task_id] = False
                count += 1
            else:
                self.refused[f"{answer.status}, Retry-After {answer.headers['Retry-After']}"] += 1
        connection.close()

    def first_after(self, instant: float) -> float:
        """When it was acknowledged something again; 0: not yet."""
        return next((at for at in self.acknowledged if at > instant), 0.0)


class Failover(Struct):
    """When what happened, in seconds since the kill."""

    promoted_s: float
    served_s: list[float]  # by hub
    repeated: Counter[str]
    refused: Counter[str]
    acknowledged: int

    @property
    def found_s(self) -> float:
        """From the promotion until the last hub has acknowledged something."""
        return max(self.served_s) - self.promoted_s


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """Every process of it is stopped, and goes on after the block."""
    processes = server.processes()
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def alarms_in(hub: HubProcess) -> list[Any]:
    events = hub.get("/api/events?search=daemon.&limit=1000")["events"]
    return [event for event in events if event["name"] in ("daemon.late", "daemon.down")]


def fail_over(folder: Path) -> Failover:
    """One whole failover under load, with everything that was acknowledged looked for afterwards."""
    ledger, stopped = Ledger(), threading.Event()
    with synchronous_pair() as (primary, standby):
        url = address_of((primary, standby), primary.new_database().rpartition("/")[2])
        with hubs_on(url, 2, folder, **SETTINGS) as hubs:
            probes = [Probe(hub, ledger, stopped) for hub in hubs]
            beaters = [Beater(hub.port, ledger, f"daemon-{hub.port}", stopped) for hub in hubs]
            people = [Client(hubs[n % 2].port, ledger, n, stopped) for n in range(CLIENTS)]
            threads: list[threading.Thread] = [*probes, *beaters, *people]
            for thread in threads:
                thread.start()
            time.sleep(BEFORE_S)
            killed = time.monotonic()
            primary.kill()
            time.sleep(NOTICED_AFTER_S)
            standby.promote()
            promoted = time.monotonic()
            for probe in probes:
                eventually(lambda p=probe: p.first_after(promoted), within_s=SERVED_WITHIN_S, what="a hub that serves")  # type: ignore[misc]
            time.sleep(AFTER_S)
            stopped.set()
            for thread in threads:
                thread.join(120)
            for hub in hubs:
                assert broken_in(hub, ledger) == []
                assert alarms_in(hub) == []
    return Failover(
        promoted - killed,
        [probe.first_after(promoted) - killed for probe in probes],
        ledger.repeated,
        sum((probe.refused for probe in probes), Counter()),
        len(ledger.enqueued) + len(ledger.done) + sum(map(len, ledger.claimed.values())),
    )


def test_a_killed_primary_takes_nothing_along_that_was_acknowledged(tmp_path: Path, report: Any) -> None:
    runs = [fail_over(tmp_path / f"run-{n}") for n in range(RUNS)]
    for run in runs:
        served = ", ".join(f"{seconds:.2f}" for seconds in run.served_s)
        report(
            f"killed; promoted after {run.promoted_s:.2f} s; the hubs served after {served} s; {run.acknowledged:,} "
            f"effects acknowledged, all there; repeated {dict(run.repeated)}; refused {dict(run.refused)}"
        )
    report(
        f"{RUNS} failovers, medians: without service {median(max(run.served_s) for run in runs):.2f} s, of it "
        f"{NOTICED_AFTER_S:g} s until it was noticed, "
        f"{median(run.promoted_s for run in runs) - NOTICED_AFTER_S:.2f} s of promotion, "
        f"{median(run.found_s for run in runs):.2f} s until both hubs had found the new primary"
    )
    assert all(list(run.refused) in ([], ["503, Retry-After 1"]) for run in runs)


def test_a_change_that_no_standby_has_is_not_acknowledged() -> None:
    """Somebody cancels the wait for a synchronous standby: PostgreSQL says COMMIT, and warns."""
    with synchronous_pair() as (server, standby), closing(PostgresStore(server.new_database())) as store:
        standby.stop("immediate")
        failed: list[StoreDownError] = []

        def save() -> None:
            try:
                store.transaction(lambda tx: tx.save_many([queued("lost")]))
            except StoreDownError as error:
                failed.append(error)

        saving = threading.Thread(target=save)
        saving.start()
        waits = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname <> current_database()"
        ((pid,),) = eventually(lambda: server.ask(waits), what="a COMMIT that waits")
        server.ask("SELECT pg_cancel_backend(%s)", pid)
        saving.join(60)
        assert "synchronous" in str(failed[0])


def test_a_primary_that_is_frozen_is_left_for_the_new_one(tmp_path: Path, report: Any) -> None:
    """Its machine answers for TCP, and none of its own limits takes effect; then it goes on, and is not asked again."""
    ledger, stopped = Ledger(), threading.Event()
    with synchronous_pair() as (primary, standby):
        url = address_of((primary, standby), primary.new_database().rpartition("/")[2])
        with hubs_on(url, 2, tmp_path, **SETTINGS) as hubs:
            people = [Client(hubs[n % 2].port, ledger, n, stopped) for n in range(CLIENTS)]
            probes = [Probe(hub, ledger, stopped) for hub in hubs]
            threads: list[threading.Thread] = [*probes, *people]
            for thread in threads:
                thread.start()
            time.sleep(BEFORE_S)
            with frozen(primary):
                began = time.monotonic()
                standby.promote()
                promoted = time.monotonic()
                for probe in probes:
                    eventually(lambda p=probe: p.first_after(promoted), within_s=60, what="a hub that serves")  # type: ignore[misc]
                served_s = [probe.first_after(promoted) - began for probe in probes]
            time.sleep(AFTER_S)  # the old primary goes on beside the new one
            stopped.set()
            for thread in threads:
                thread.join(120)
            for hub in hubs:
                assert broken_in(hub, ledger) == []
                assert alarms_in(hub) == []
    report(f"frozen; the hubs served after {', '.join(f'{seconds:.1f}' for seconds in served_s)} s")
