"""`understudy verify`: the hub's own proof, on simulated machines, clocks and networks."""

from __future__ import annotations

import sys

import click

from understudy.cli.commands import Command
from understudy.cli.options import refuse_two
from understudy.texts import t

SEEDS = 50


@click.command(
    "verify",
    cls=Command,
    help=t("cli.verify.help"),
    example="understudy verify --seeds 100\nunderstudy verify --seed 42",
)
@click.option("--seeds", type=click.IntRange(1, 1_000_000), metavar="N", help=t("cli.verify.seeds"))
@click.option("--seed", type=click.IntRange(0), metavar="N", help=t("cli.verify.seed"))
@click.option("--hubs", type=click.IntRange(1, 4), metavar="N", help=t("cli.verify.hubs"))
@click.option("--sleeping", is_flag=True, help=t("cli.verify.sleeping"))
@click.option("--mutant", default="", metavar="NAME", help=t("cli.verify.mutant"))
def verify(seeds: int | None, seed: int | None, hubs: int | None, mutant: str, *, sleeping: bool) -> int:
    """0 if every world held."""
    refuse_two(seeds=seeds is not None, seed=seed is not None)
    if sleeping and (hubs or 1) > 1:
        raise click.UsageError(t("cli.verify.one_sleeps"))
    from understudy.simulation import verify as run

    worlds = SEEDS if seeds is None else seeds
    return run(worlds, seed, sys.stdout, mutant=mutant, hubs=hubs or 0, sleeps=sleeping)
