"""Messages for the submitter of a task."""

TEXTS = {
    "answers.state.started": "Working on it ({daemon}) …",
    "answers.state.running": "Working on it …",
    "answers.state.retrying": "That failed; it will be tried again.",
    "answers.state.waiting": "Waiting for its machine: it continues when {daemon} is back.",
    "answers.state.done": "Done.",
    "answers.state.failed": "Failed.",
    "answers.state.cancelled": "Cancelled.",
    "answers.failed": "This failed: {reason}",
    "answers.cancelled": "This was cancelled.",
    "answers.empty": "Done; there was no output.",
    "answers.gone": "This task is finished; its result is no longer kept.",
    "answers.degraded": "(The machine is away; the hub answered in its place, without tools or files.)",
    "answers.takeover.kept": "The machine has been away since {since}. Your task is kept (position {position}) and runs when the machine is back.",
    "answers.takeover.interim": "(The machine is away; your task is kept for it. This is an interim answer by the hub, without tools or files:)\n\n{text}",
}
