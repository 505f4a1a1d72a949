"""Plays many worlds, says how fast, and tells the story of the first that goes wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any, TextIO

from understudy.errors import ConfigError
from understudy.simulation.scenario import WorldOutcome, play
from understudy.texts import t

SEEDS = 50
SEEDS_TOGETHER_MIN = 40  # fewer are done before other processes have started
REPORTED_EVERY_S = 2.0
EXIT_GREEN, EXIT_BROKEN = 0, 1


def verify(seeds: int, seed: int | None, out: TextIO, *, mutant: str = "", hubs: int = 0, sleeps: bool = False) -> int:
    """Play the worlds 1 to `seeds`, or the one of `seed` → 0 if no invariant broke, else 1.

    With a mutant, a bug is planted first: then 1 is the result that is hoped for. ConfigError if there is no such
    mutant. With `hubs` each world has so many over one store, with `sleeps` one that is put to sleep, else as its
    seed says. Many worlds are played on all cores.
    """
    if mutant and mutant not in (known := _mutants().MUTANTS):
        raise ConfigError(t("simulation.no_mutant", mutant=mutant, known=", ".join(known)))
    started_s = reported_s = time.perf_counter()
    tally = CampaignTally()
    with _worlds([seed] if seed is not None else range(1, seeds + 1), mutant, hubs, sleeps=sleeps) as worlds:
        for outcome in worlds:
            if outcome.violation is not None:
                _tell_failure(outcome, out, mutant, hubs, sleeps=sleeps)
                return EXIT_BROKEN
            tally.add(outcome)
            if time.perf_counter() - reported_s >= REPORTED_EVERY_S:
                reported_s = time.perf_counter()
                tally.tell(out, reported_s - started_s, "simulation.progress")
    tally.tell(out, time.perf_counter() - started_s, "simulation.green")
    if seed is not None:
        out.write(t("simulation.digest", digest=tally.digest) + "\n")
    return EXIT_GREEN


def _mutants() -> Any:
    """The module of planted bugs; ConfigError where it is missing: it is in a clone only, and installed nowhere."""
    try:
        return import_module(f"{__package__}.mutants")
    except ModuleNotFoundError as error:
        raise ConfigError(t("simulation.no_mutants")) from error


@contextmanager
def _worlds(seeds: Iterable[int], mutant: str, hubs: int, *, sleeps: bool) -> Iterator[Iterator[WorldOutcome]]:
    """The outcomes in the order of the seeds; on many cores where that is worth it."""
    wanted = list(seeds)
    jobs = os.cpu_count() or 1
    if jobs == 1 or len(wanted) < SEEDS_TOGETHER_MIN:
        yield (play_planted(mutant, seed, hubs, sleeps=sleeps) for seed in wanted)
        return
    pool = ProcessPoolExecutor(jobs)
    try:
        yield pool.map(partial(play_planted, mutant, hubs=hubs, sleeps=sleeps), wanted, chunksize=4)
    finally:
        pool.shutdown(cancel_futures=True)


def play_planted(mutant: str, seed: int, hubs: int = 0, *, sleeps: bool = False) -> WorldOutcome:
    """One world, with a bug planted if one is named."""
    if not mutant:
        return play(seed, hubs=hubs, sleeps=sleeps)
    mutants = _mutants()
    with mutants.MUTANTS[mutant]():
        hubs = hubs or (2 if mutant in mutants.ABOUT_HUBS and not sleeps else 0)
        sleeps = sleeps or (mutant in mutants.ABOUT_SLEEP and not hubs)
        return play(seed, takeover=mutant in mutants.ABOUT_TAKEOVER, hubs=hubs, sleeps=sleeps)


class CampaignTally:
    """The counts of a campaign so far."""

    def __init__(self) -> None:
        self.digest = ""
        self._worlds = self._tasks = self._grants = self._virtual_ms = 0

    def add(self, outcome: WorldOutcome) -> None:
        """One world more."""
        self.digest = outcome.digest
        self._worlds += 1
        self._tasks += outcome.tasks
        self._grants += outcome.grants
        self._virtual_ms += outcome.virtual_ms

    def tell(self, out: TextIO, passed_s: float, key: str) -> None:
        """Report the counts and the speed."""
        passed_s = max(passed_s, 0.001)
        per_s, speed = f"{self._worlds / passed_s:.1f}", f"{self._virtual_ms / 1000 / passed_s:.0f}"
        text = t(key, worlds=self._worlds, tasks=self._tasks, grants=self._grants, per_s=per_s, speed=speed)
        out.write(text + "\n")
        out.flush()


def _tell_failure(outcome: WorldOutcome, out: TextIO, mutant: str, hubs: int, *, sleeps: bool) -> None:
    out.write(t("simulation.broken", seed=outcome.seed, what=str(outcome.violation)) + "\n")
    out.writelines(f"  {step}\n" for step in outcome.story)
    given = {f"--hubs {hubs}": hubs, "--sleeping": sleeps, f"--mutant {mutant}": mutant}
    replay = " ".join([f"--seed {outcome.seed}", *(option for option, is_given in given.items() if is_given)])
    out.write(t("simulation.replay", seed=outcome.seed, arguments=replay, digest=outcome.digest) + "\n")
    out.flush()
