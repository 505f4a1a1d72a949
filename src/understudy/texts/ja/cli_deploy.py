"""The command that writes what a deployment needs, in Japanese."""

TEXTS = {
    "cli.deploy.help": "サーバーのない場所でハブを動かします。",
    "cli.deploy.init": "デプロイ用のファイルを新しいディレクトリに書き出します。",
    "cli.deploy.init.cloudflare": "ハブを Cloudflare Worker として動かすための wrangler.jsonc、エントリー、依存パッケージの一覧を DIR に書き出し、次の手順を表示します。アップロードは行わず、既存のファイルには触れません。詳しくは docs/cloudflare.md をご覧ください。",
    "cli.deploy.taken": "{path} がすでにあるため、何も書き出しませんでした。別のディレクトリを指定してください。",
    "cli.deploy.step.go": "{number}. ディレクトリに移動します:",
    "cli.deploy.step.install": "{number}. Worker の Python 用パッケージを取得します:",
    "cli.deploy.step.try": "{number}. wrangler が受け付けるか確認します(Node 22 以降):",
    "cli.deploy.step.deploy": "{number}. デプロイします。キーがない間、ハブは 503 を返し、その旨をログに出します:",
    "cli.deploy.step.secrets": "{number}. キーを設定します。デーモンとコマンドは最初のキーを使い、WORKERS_URL に Worker のアドレスを指定します:",
}
