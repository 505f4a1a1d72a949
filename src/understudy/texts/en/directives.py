"""Texts about directives: drain, resume, restart, update."""

TEXTS = {
    "directives.taken": "The hub asks for: {kind}",
    "directives.still_held": "This daemon was drained by a directive and claims nothing. `understudy daemon-control ID resume` ends that.",
    "directives.installed": "Version {version} is installed; it starts when nothing runs any more",
    "directives.done": "{kind} is done",
    "directives.failed": "{kind} failed",
    "cli.daemon-control.short": "Drain, resume, restart or update a daemon remotely.",
    "directives.help": "Give a daemon one directive: drain (finish what runs, claim nothing), resume, restart, or update to a version or a wheel. An update after which no heartbeat arrives is undone. Needs an admin key.",
    "directives.version": "update: the version to install from your own package index; without one, --sha256 is needed too, because on PyPI this name is another project's.",
    "directives.wheel": "update: the wheel to install, a URL or a path on the daemon's machine; needs --sha256.",
    "directives.sha256": "update: the SHA-256 that the wheel must have.",
    "directives.one_of": "An update takes either --version or --wheel.",
    "directives.needs_hash": "A wheel needs --sha256 with its 64 hexadecimal digits.",
    "directives.expires": "A directive that has not begun within this time is dropped. Before a restart, runs may continue for this time minus one minute.  [default: 10m]",
    "directives.wait": "Wait until it is done. Exit code 1 if it failed or expired.",
    "directives.asked": "{id} was asked to {kind}: it gets the directive with its next heartbeat.",
    "directives.ended": "{kind} of {id} {word}. {detail}",
    "directives.word_done": "is done",
    "directives.word_failed": "FAILED",
    "directives.word_expired": "was not begun in time",
    "directives.no_end": "no outcome was reported. `understudy tail --search directive` shows what happened.",
}
