"""`python -m understudy.simulation --seeds 1000`, or `--seed 17` to replay one world."""

from __future__ import annotations

import argparse
import sys

from understudy.simulation.campaign import SEEDS, verify
from understudy.texts import t


def main() -> int:
    """Read the arguments → exit code."""
    parser = argparse.ArgumentParser("python -m understudy.simulation", description=t("simulation.help"))
    parser.add_argument("--seeds", type=int, default=SEEDS, help=t("simulation.help_seeds"))
    parser.add_argument("--seed", type=int, default=None, help=t("simulation.help_seed"))
    parser.add_argument("--mutant", default="", help=t("simulation.help_mutant"))
    parser.add_argument("--hubs", type=int, default=0, help=t("simulation.help_hubs"))
    parser.add_argument("--sleeping", action="store_true", help=t("simulation.help_sleeping"))
    given = parser.parse_args()
    chosen = {"mutant": given.mutant, "hubs": given.hubs, "sleeps": given.sleeping}
    return verify(given.seeds, given.seed, sys.stdout, **chosen)


if __name__ == "__main__":
    sys.exit(main())
