"""The pages of links that act."""

TEXTS = {
    "links.gone": "このリンクは無効か、期限切れです。`understudy incidents list` でインシデントを確認できます。",
    "links.empty": "ここには表示できるものがありません。リンクの期限が切れたか、対象の回答またはインシデントが残っていません。",
    "links.used": "このリンクは使用済みです(一度だけ有効です)。`understudy incidents list` でインシデントを確認できます。",
    "links.too_many": "このアドレスから無効なリンクへのアクセスが多すぎます。1 分ほど待ってください。",
    "links.trouble": "ハブが今は処理できません。しばらくしてからやり直してください。",
    "links.acknowledge.ask": "{daemon} のインシデントを確認しましたか? 以後、再通知とエスカレーションは行いません。復旧は通知します。",
    "links.acknowledge.button": "確認しました",
    "links.acknowledge.done": "{daemon} のインシデントを確認済みとして記録しました。",
    "links.snooze.ask": "{daemon} についての再通知とエスカレーションを 1 時間止めますか?",
    "links.snooze.button": "1 時間止める",
    "links.snooze.done": "{daemon} についての再通知とエスカレーションを 1 時間止めます。",
}
