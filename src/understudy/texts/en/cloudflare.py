"""A hub as a Cloudflare Worker."""

TEXTS = {
    "cloudflare.no_key": "No key is set: `wrangler secret put UNDERSTUDY_API_KEY`, and ADMIN_API_KEY for what only its owner may do.",
    "cloudflare.no_channel": "Channel {name} ({kind}) needs a socket, which a Worker does not have: use Slack, Discord, Telegram, ntfy or a webhook there.",
}
