"""What whoever asked is told of a task."""

TEXTS = {
    "answers.state.started": "処理中です（{daemon}）…",
    "answers.state.running": "処理中です…",
    "answers.state.retrying": "うまくいかなかったため、再試行します。",
    "answers.state.waiting": "担当のマシンのために保留しています。{daemon} が戻り次第再開します。",
    "answers.state.done": "完了しました。",
    "answers.state.failed": "失敗しました。",
    "answers.state.cancelled": "キャンセルされました。",
    "answers.failed": "実行できませんでした: {reason}",
    "answers.cancelled": "このタスクはキャンセルされました。",
    "answers.empty": "完了しました（出力はありません）。",
    "answers.gone": "完了済みですが、結果の保存期間が過ぎました。",
    "answers.degraded": "（担当のマシンが不在のため、代役による回答です。ツールやファイルは使っていません。）",
    "answers.takeover.kept": "担当のマシンは {since} から不在です。タスクは保管済み（{position} 番目）で、戻り次第実行します。",
    "answers.takeover.interim": "（担当のマシンが不在のため、タスクは保管しています。以下は代役による暫定の回答で、ツールやファイルは使っていません。）\n\n{text}",
}
