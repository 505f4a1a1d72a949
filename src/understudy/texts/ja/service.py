"""Failures of launchd and systemd, in Japanese."""

TEXTS = {
    "service.absent": "サービスはインストールされていません({path} がありません)。`understudy service install` でインストールできます。",
    "service.secret_in_argv": "サービスのコマンドにキーまたはトークンが含まれています。このままではファイルにもプロセス一覧にも表示されてしまいます。UNDERSTUDY_TASK_ENV_PASS かファイルで渡してください。",
    "service.launchd.not_gone": "launchd が {target} を手放しません({said})。このプログラムが終了すると、サービスは停止したままになります。`understudy service restart {role}` で起動してください。それでも手放さない場合は、ログアウトしてログインし直すか、マシンを再起動してください。",
    "service.launchd.unseen": "launchd が {target} を読み込んでいるかどうかを確認できません({said})。もう一度実行してください。",
    "service.launchd.bootstrap": "launchd が {target} の読み込みを拒否しました: {said}。サービスは停止しています。`understudy service restart {role}` で起動できます。詳しくは `launchctl print {target}` で分かります。",
    "service.launchd.no_gui": "launchd に現在のユーザーのセッションがありません({said})。ユーザーエージェントを動かすには、画面からログインしている必要があります。画面からログインするか、自動ログインを有効にしてから、もう一度実行してください。",
    "service.launchd.parked": "launchd が {target} を保留し({why})、kickstart でも起動しません。低電力モードをオフにし、ログアウトしてログインし直してください。ログ: {log}",
    "service.launchd.not_running": "launchd は {target} を読み込みましたが、動いていません(直近の終了コード: {why})。ログ: {log}",
    "service.systemd.no_manager": "ユーザーの systemd マネージャーに接続できません({said})。このマシンに直接または ssh でログインする(su ではなく)か、`sudo loginctl enable-linger $USER` を実行してログインし直してください。systemd がない場合は、`understudy daemon` を別の監視プログラムの下で動かしてください。",
    "service.systemd.failed": "systemd は {unit} を {verb} できませんでした: {said}。出力は `{log}` で見られます。",
    "service.unwritable": "{word} には制御文字が含まれているか、UTF-8 ではないため、unit や plist に書けません。スクリプトに入れて、そのスクリプトを指定してください。",
}
