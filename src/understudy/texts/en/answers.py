"""What whoever asked is told of a task."""

TEXTS = {
    "answers.state.started": "Working on it ({daemon}) …",
    "answers.state.running": "Working on it …",
    "answers.state.retrying": "That went wrong; it will be tried again.",
    "answers.state.waiting": "Kept for its machine: it goes on when {daemon} is back.",
    "answers.state.done": "Done.",
    "answers.state.failed": "Failed.",
    "answers.state.cancelled": "Cancelled.",
    "answers.failed": "This did not work: {reason}",
    "answers.cancelled": "This was cancelled.",
    "answers.empty": "Done, without any words.",
    "answers.gone": "This is finished; its result is not kept any more.",
    "answers.degraded": "(The machine is away: this is the answer of its understudy, without tools or files.)",
    "answers.takeover.kept": "The machine is away since {since}. Your task is kept (position {position}) and will be done when it is back.",
    "answers.takeover.interim": "(The machine is away; your task is kept for it. Provisional, from its understudy, without tools or files:)\n\n{text}",
}
