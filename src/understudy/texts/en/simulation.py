"""Texts of the simulation."""

TEXTS = {
    "simulation.help": "Plays hub, daemons and submitters under a virtual clock and a bad network, and checks that nothing is lost, done twice or reported wrongly.",
    "simulation.help_seeds": "number of worlds to play",
    "simulation.help_seed": "replay this one world",
    "simulation.help_hubs": "hubs on one store in each world; default: one or two, as its seed says",
    "simulation.help_sleeping": "put the hub of each world to sleep between requests, as on Cloudflare; default: in every sixth world or so",
    "simulation.help_mutant": "plant this bug in the hub first: it must be found",
    "simulation.no_mutant": "There is no mutant {mutant!r}. Known: {known}",
    "simulation.no_mutants": "Planted bugs are not part of an installed understudy. Play them from a clone of the repository",
    "simulation.progress": "{worlds} worlds, {tasks} tasks, {grants} leases: no problem so far ({per_s} worlds/s, {speed} virtual seconds per second)",
    "simulation.green": "{worlds} worlds, {tasks} tasks, {grants} leases: no invariant broke ({per_s} worlds/s, {speed} virtual seconds per second)",
    "simulation.digest": "Digest of the record: {digest}",
    "simulation.broken": "World {seed} broke an invariant. {what}",
    "simulation.replay": "Replay it: make sim SEED={seed}, or understudy verify {arguments} (digest of the record: {digest})",
}
