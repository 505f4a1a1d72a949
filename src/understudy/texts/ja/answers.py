"""Messages for the submitter of a task."""

TEXTS = {
    "answers.state.started": "処理中です({daemon})…",
    "answers.state.running": "処理中です…",
    "answers.state.retrying": "失敗したため、再試行します。",
    "answers.state.waiting": "担当のマシンを待っています。{daemon} が戻り次第、再開します。",
    "answers.state.done": "完了しました。",
    "answers.state.failed": "失敗しました。",
    "answers.state.cancelled": "取り消されました。",
    "answers.failed": "失敗しました: {reason}",
    "answers.cancelled": "このタスクは取り消されました。",
    "answers.empty": "完了しました(出力はありません)。",
    "answers.gone": "このタスクは終了しています。結果の保存期間は過ぎました。",
    "answers.degraded": "(担当のマシンが応答しないため、ハブが代わりに回答しました。ツールやファイルは使っていません。)",
    "answers.takeover.kept": "担当のマシンは {since} から応答していません。タスクは保管しており({position} 番目)、マシンが戻り次第、実行します。",
    "answers.takeover.interim": "(担当のマシンが応答しないため、タスクを保管しています。以下はハブによる暫定回答で、ツールやファイルは使っていません。)\n\n{text}",
}
