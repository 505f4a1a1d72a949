"""Reasons why a daemon that sends heartbeats does no work."""

TEXTS = {
    "liveness.auth_failed": "{what} が使えません: {state}",
    "liveness.loop_stopped": "{what} ループが {limit} 秒以上進んでいません",
    "liveness.task_stalled": "タスク {what} が {limit} 秒以上進んでいません",
    "liveness.reason.planned": "予告した停止中",
    "liveness.reason.stopped": "停止したまま戻っていません",
    "liveness.reason.expected": "スリープが予定されている時間帯",
    "liveness.fix": "{reason}。そのマシンで次を実行してください: {fix}",
    "liveness.token_expiring": "{executor} のトークンは {date} に切れます。`{fix}` で新しく発行してください。",
}
