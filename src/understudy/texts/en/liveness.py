"""Reasons why a daemon that sends heartbeats does no work."""

TEXTS = {
    "liveness.auth_failed": "{what} cannot work: {state}",
    "liveness.loop_stopped": "its {what} loop made no progress for more than {limit} s",
    "liveness.task_stalled": "task {what} showed no progress for more than {limit} s",
    "liveness.reason.planned": "stopped as planned",
    "liveness.reason.stopped": "was stopped and has not come back",
    "liveness.reason.expected": "may sleep at this time of day",
    "liveness.fix": "{reason}. Fix it on that machine: {fix}",
    "liveness.token_expiring": "The token of {executor} ends on {date}: create a new one with `{fix}`.",
}
