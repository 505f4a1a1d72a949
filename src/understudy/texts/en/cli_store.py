"""The commands for a store: check and copy, and how far a long command is."""

TEXTS = {
    "cli.store.help": "Stores: prove that one is sound, or copy it into another.",
    "cli.store.check": "Read every row of a store and compare them: nothing is stuck, tokens only grow, counts are right. STORE is a path or a postgresql:// address; without it, the store of this machine's hub. Nothing is written, and a hub may go on using it meanwhile.",
    "cli.store.absent": "there is no store at {path}. `understudy store check PATH` takes another one.",
    "cli.store.sound": "{store} (schema {schema}): {rows} rows were read, and every invariant holds.",
    "cli.store.unsound": "{store} (schema {schema}): {rows} rows were read; wrong: {count}. Keep a copy of the store before you change anything in it.",
    "cli.store.more": "… and {count} more; `--json` lists up to 1,000 of each kind.",
    "cli.progress.begun": "{table}: {done} of {total} rows ({percent} %)",
    "cli.progress.line": "{table}: {done} of {total} rows ({percent} %), {rate} rows/s, about {left} left",
}
