"""Messages for the submitter of a task."""

TEXTS = {
    "answers.state.started": "処理中です（{daemon}）…",
    "answers.state.running": "処理中です…",
    "answers.state.retrying": "うまくいかなかったため、再試行します。",
    "answers.state.waiting": "担当のマシンを待っています。{daemon} が戻り次第、再開します。",
    "answers.state.done": "完了しました。",
    "answers.state.failed": "失敗しました。",
    "answers.state.cancelled": "キャンセルされました。",
    "answers.failed": "実行できませんでした: {reason}",
    "answers.cancelled": "このタスクはキャンセルされました。",
    "answers.empty": "完了しました（出力はありません）。",
    "answers.gone": "完了済みですが、結果の保存期間が過ぎました。",
    "answers.degraded": "（担当のマシンが応答しないため、ハブが代わりに回答しました。ツールやファイルは使っていません。）",
    "answers.takeover.kept": "担当のマシンは {since} から応答していません。タスクは保管しており（{position} 番目）、マシンが戻り次第、実行します。",
    "answers.takeover.interim": "（担当のマシンが応答しないため、タスクを保管しています。以下はハブによる暫定の回答で、ツールやファイルは使っていません。）\n\n{text}",
}
