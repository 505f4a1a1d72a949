"""What is said about directives: drain, resume, restart, update."""

TEXTS = {
    "directives.taken": "The hub asks for: {kind}",
    "directives.still_held": "This daemon was drained by a directive and claims nothing: `understudy daemon-control ID resume` lets it work again.",
    "directives.installed": "Version {version} is installed; it is started once nothing runs any more",
    "directives.done": "{kind} is done",
    "directives.failed": "{kind} failed",
    "cli.daemon-control.short": "Drain, resume, restart or update a daemon from afar.",
    "directives.help": "Tell a daemon what to do, once: drain (finish what runs, claim nothing), resume, restart, or update itself to a version or a wheel. An update that is not heard of again is taken back. Needs an admin key.",
    "directives.version": "update: the version to install, as the package index has it.",
    "directives.wheel": "update: the wheel to install, at a URL or at a path on the daemon's machine; needs --sha256.",
    "directives.sha256": "update: the SHA-256 that the wheel must have.",
    "directives.one_of": "An update takes either --version or --wheel.",
    "directives.needs_hash": "A wheel needs --sha256 with its 64 hexadecimal digits.",
    "directives.expires": "Not begun within this time, it is not done at all. Runs may go on for as long before a restart.  [default: 10m]",
    "directives.wait": "Wait until it is done; the exit code tells.",
    "directives.asked": "{id} is asked to {kind}: it hears of it with its next heartbeat.",
    "directives.ended": "{kind} of {id} {word}. {detail}",
    "directives.word_done": "is done",
    "directives.word_failed": "FAILED",
    "directives.word_expired": "was not taken up in time",
    "directives.no_end": "nothing was heard of its end. `understudy tail --search directive` shows what happened.",
}
