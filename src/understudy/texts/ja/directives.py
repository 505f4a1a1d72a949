"""Texts about directives: drain, resume, restart, update."""

TEXTS = {
    "directives.taken": "ハブからの指示: {kind}",
    "directives.still_held": "このデーモンは指示により停止準備中で、タスクを取得しません。`understudy daemon-control ID resume` で再開します。",
    "directives.installed": "バージョン {version} をインストールしました。実行中のタスクが終わり次第、起動します。",
    "directives.done": "{kind} が完了しました。",
    "directives.failed": "{kind} に失敗しました。",
    "cli.daemon-control.short": "デーモンに停止準備、再開、再起動、更新を遠隔で指示します。",
    "directives.help": "デーモンに指示を 1 つ出します: drain(実行中のタスクを終え、新しいタスクは取得しない)、resume(再開)、restart(再起動)、update(指定のバージョンまたは wheel に更新)。更新後にハートビートが届かなければ元に戻します。管理キーが必要です。",
    "directives.version": "update: 自前のパッケージインデックスからインストールするバージョン。自前のものがなければ --sha256 も必要です(PyPI の同名のパッケージは別のプログラムです)。",
    "directives.wheel": "update: インストールする wheel の URL、またはデーモンのマシン上のパス。--sha256 が必要です。",
    "directives.sha256": "update: wheel の SHA-256。",
    "directives.one_of": "update には --version か --wheel のどちらか一方が必要です。",
    "directives.needs_hash": "wheel には 16 進 64 桁の --sha256 が必要です。",
    "directives.expires": "この時間内に始まらない指示は取りやめます。再起動の前に実行中のタスクを続けられるのは、この時間から 1 分を引いた長さです。 [既定値: 10m]",
    "directives.wait": "終わるまで待ちます。失敗または期限切れなら終了コードは 1 です。",
    "directives.asked": "{id} に {kind} を指示しました。次のハートビートで届きます。",
    "directives.ended": "{id} の {kind} は{word}。{detail}",
    "directives.word_done": "完了しました",
    "directives.word_failed": "失敗しました",
    "directives.word_expired": "時間内に始まりませんでした",
    "directives.no_end": "結果の報告がありません。`understudy tail --search directive` で経過を確認できます。",
}
