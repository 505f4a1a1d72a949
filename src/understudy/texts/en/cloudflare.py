"""A hub as a Cloudflare Worker."""

TEXTS = {
    "cloudflare.no_key": "No key is set: `wrangler secret put UNDERSTUDY_API_KEY`, and ADMIN_API_KEY for what only its owner may do.",
    "cloudflare.no_channel": "Channel {name} ({kind}) needs a socket, which a Worker does not have: use Slack, Discord, Telegram, ntfy or a webhook there.",
    "cloudflare.no_file": "{name} names a file, which a Worker does not have: set the value itself, a secret with `wrangler secret put`.",
    "cloudflare.weak_key": "{names}: too easy to guess for a hub that everybody can reach. Create a better key with `openssl rand -hex 32`, then set it with `wrangler secret put`.",
}
