"""A hub as a Cloudflare Worker."""

TEXTS = {
    "cloudflare.no_key": "キーが設定されていません。`wrangler secret put UNDERSTUDY_API_KEY` で設定してください(管理者用は ADMIN_API_KEY)。",
    "cloudflare.no_channel": "チャンネル {name}({kind})はソケットを必要とするため、Worker では使えません。Slack、Discord、Telegram、ntfy、または Webhook を使ってください。",
}
