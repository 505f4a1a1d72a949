"""What a daemon says to its owner."""

TEXTS = {
    "daemon.already_running": "A daemon called {daemon} is already running here (process {pid}). Stop it first, or give this one another name with --id.",
    "daemon.bad_id": "{daemon!r} cannot be a daemon's id: use 1 to 128 of the characters A-Z a-z 0-9 . _ : -",
    "daemon.bad_hub_url": "{url!r} is no address of a hub: write it like http://127.0.0.1:8787",
    "daemon.command_missing": "The command {command!r} was not found: check its name and PATH.",
    "daemon.superseded": "Another daemon called {daemon} was started on this machine later than this one. This one has ended its runs and does nothing more: stop it.",
    "daemon.id_taken": "The name {daemon} belongs to another machine whose daemon is alive. This one does nothing: start it with another --id, or free the name with `understudy daemons forget {daemon}`.",
    "daemon.unauthorized": "The hub does not know this key (401): check UNDERSTUDY_API_KEY, or make a new key with `understudy keys create`. Runs go on meanwhile.",
    "daemon.forbidden": "This key may not work for this daemon (403): it needs the scope `work`, and must not be bound to another daemon. Runs go on meanwhile.",
    "daemon.beat_unanswered": "The hub did not answer, trying again",
    "daemon.beat_refused": "The hub refused the heartbeat, trying again",
    "daemon.claim_refused": "The hub refused a claim, trying again",
    "daemon.claim_unreadable": "The hub granted a task in a form that this version does not understand: update the daemon or the hub.",
    "daemon.guard_died": "The guard is gone, starting another: nothing new is claimed until it stands",
    "daemon.run_broke": "Task {task} was ended by a defect of the daemon",
    "daemon.run_lost": "Task {task} is no longer ours: its processes are dead, what it said is kept as evidence",
    "daemon.run_survived": "Processes of {task} cannot be killed: the task is not given back while they live",
    "daemon.ran_away": "more output than any answer may have",
    "daemon.spool_failed": "A result could not be put on disk: nothing new is claimed until the hub has it",
    "daemon.result_refused": "The hub does not take the result of {task} any more: kept as evidence",
}
