"""A hub as a Cloudflare Worker."""

TEXTS = {
    "cloudflare.no_key": "キーが設定されていません。`wrangler secret put UNDERSTUDY_API_KEY` で設定してください(管理者用は ADMIN_API_KEY)。",
    "cloudflare.no_channel": "チャンネル {name}({kind})はソケットを必要とするため、Worker では使えません。Slack、Discord、Telegram、ntfy、または Webhook を使ってください。",
    "cloudflare.no_file": "{name} はファイルを指定しますが、Worker にはファイルがありません。値そのものを設定してください(シークレットは `wrangler secret put` で設定します)。",
    "cloudflare.weak_key": "{names}: 誰でもアクセスできるハブのキーとしては、推測されやすすぎます。`openssl rand -hex 32` で作り直し、`wrangler secret put` で設定してください。",
}
