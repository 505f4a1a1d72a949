"""What a daemon says to its owner, in Japanese."""

TEXTS = {
    "daemon.already_running": "デーモン {daemon} はすでにこのマシンで動いています(プロセス {pid})。先に停止するか、--id で別の名前を付けてください。",
    "daemon.bad_id": "{daemon!r} はデーモンの ID に使えません。A-Z a-z 0-9 . _ : - を 1〜128 文字で指定してください。",
    "daemon.bad_hub_url": "{url!r} はハブのアドレスではありません。http://127.0.0.1:8787 のように指定してください。",
    "daemon.command_missing": "コマンド {command!r} が見つかりません。名前と PATH を確認してください。",
    "daemon.superseded": "同じ名前のデーモン {daemon} が、このマシンで後から起動されました。こちらは実行を終了し、何もしません。停止してください。",
    "daemon.id_taken": "名前 {daemon} は、稼働中の別のマシンのものです。こちらは何もしません。別の --id で起動するか、`understudy daemons forget {daemon}` で名前を解放してください。",
    "daemon.unauthorized": "ハブがこのキーを認識しません (401)。UNDERSTUDY_API_KEY を確認するか、`understudy keys create` で作り直してください。実行中のタスクは続行します。",
    "daemon.forbidden": "このキーではこのデーモンの作業ができません (403)。スコープ `work` が必要で、別のデーモンに結び付いたキーは使えません。実行中のタスクは続行します。",
    "daemon.beat_unanswered": "ハブから応答がありません。再試行します",
    "daemon.beat_refused": "ハブがハートビートを拒否しました。再試行します",
    "daemon.claim_refused": "ハブがタスクの要求を拒否しました。再試行します",
    "daemon.claim_unreadable": "ハブから渡されたタスクの形式を、このバージョンは理解できません。デーモンかハブを更新してください。",
    "daemon.guard_died": "ガードが終了したため、起動し直します。それまで新しいタスクは受け取りません",
    "daemon.run_broke": "デーモンの不具合により、タスク {task} を終了しました",
    "daemon.run_lost": "タスク {task} はもうこのデーモンのものではありません。プロセスは終了済みで、出力は証跡として保存しました",
    "daemon.run_survived": "{task} のプロセスを終了できません。生きている間、タスクは返却しません",
    "daemon.ran_away": "出力が上限を超えました",
    "daemon.spool_failed": "結果をディスクに書き込めません。ハブに届くまで新しいタスクは受け取りません",
    "daemon.result_refused": "ハブは {task} の結果をもう受け取りません。証跡として保存しました",
}
