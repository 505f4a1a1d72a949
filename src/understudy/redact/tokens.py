"""Secrets that are known by their form alone, wherever they stand.

Sources: what the services document about their tokens, and the rules of gitleaks and trufflehog. Lengths are lower
bounds, because services lengthen their tokens without notice.
"""

from __future__ import annotations

import re

from understudy.redact.rules import KEPT, Rule, beginning_word

_ALNUM = "[A-Za-z0-9]"
_WORD = "[A-Za-z0-9_-]"
_HEX = "[0-9a-f]"
# Groups repeat inside `(?>…)`, not with `*+`: Python before 3.11.5 loses its place in a possessive group (gh-106052).
_GAP = r"(?:\s|\\{1,2}+[nr])"  # between the lines of a key, also inside a JSON string


def _begins(kind: str, prefixes: str, least: int, body: str = _ALNUM, *, is_word: bool = True) -> Rule:
    """Tokens that begin with one of some words and go on with at least so many characters."""
    words = tuple(prefixes.split())
    pattern = f"(?:{'|'.join(map(re.escape, words))}){body}{{{least},}}+"
    return Rule(kind, tuple(word.lower() for word in words), pattern, is_word=is_word)


def _distinct(kind: str, prefixes: str, least: int, body: str = _ALNUM) -> Rule:
    """Tokens so distinct that they are masked in the middle of a word too."""
    return _begins(kind, prefixes, least, body, is_word=False)


def _form(kind: str, hint: str, pattern: str, left: str = "[REDACTED]") -> Rule:
    return Rule(kind, (hint,), pattern, left, is_word=True)


OURS: tuple[Rule, ...] = (_distinct("understudy key or link", "usk_ usl_", 32, "[0-9a-z]"),)

MODELS: tuple[Rule, ...] = (
    _distinct("Anthropic key or token", "sk-ant-", 16, _WORD),
    _begins("OpenAI key", "sk-proj- sk-svcacct- sk-admin- sk-None-", 32, _WORD),
    _begins("OpenRouter key", "sk-or-v1-", 32),
    _form("OpenAI legacy key, and its likes", "sk-", r"sk-(?=[A-Za-z]{0,60}[0-9])[A-Za-z0-9]{32,}+"),
    _begins("Hugging Face token", "hf_ api_org_", 30),
    _begins("Groq, xAI, Perplexity or Replicate key", "gsk_ xai- pplx- r8_", 32),
)

CHAT: tuple[Rule, ...] = (
    _begins("Slack token", "xoxa- xoxb- xoxc- xoxd- xoxe- xoxe. xoxo- xoxp- xoxr- xoxs- xapp-", 10, "[A-Za-z0-9.%-]"),
    Rule(
        "Slack webhook",
        ("hooks.slack",),
        r"(hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/)[A-Za-z0-9/_-]{8,}+",
        KEPT,
    ),
    Rule("Discord webhook", ("/webhooks/",), r"(/webhooks/[0-9]{5,25}+/)[A-Za-z0-9_-]{16,}+", KEPT),
    _form("Discord bot token", ".", r"[MNO][A-Za-z0-9_-]{22,28}+\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}+"),
    _form("Discord user token", "mfa.", r"mfa\.[A-Za-z0-9_-]{60,}+"),
    _form("Telegram bot token", ":a", r"(?:bot)?[0-9]{6,12}+:A[A-Za-z0-9_-]{34}(?![A-Za-z0-9_-])"),
    _begins("ntfy token", "tk_", 29, "[a-z0-9]"),
    Rule("Teams webhook", ("webhook.office",), r"(webhook\.office\.com/)[A-Za-z0-9/@_-]{20,}+", KEPT),
    Rule("Healthchecks ping", ("hc-ping.com",), r"(hc-ping\.com/)[A-Za-z0-9_-]{16,}+", KEPT),
)

CODE: tuple[Rule, ...] = (
    _distinct("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", 30),
    _distinct("GitHub fine-grained token", "github_pat_", 22, "[A-Za-z0-9_]"),
    _distinct("GitLab token", "glpat- gldt- glrt- glptt- glcbt- glft- glsoat-", 18, _WORD),
    _begins("npm token", "npm_", 36),
    _distinct("PyPI token", "pypi-AgEIcHlwaS5vcmc pypi-AgENdGVzdC5weXBpLm9yZ", 20, _WORD),
    _begins("Docker token", "dckr_pat_ dckr_oat_", 20, _WORD),
    _begins("RubyGems key", "rubygems_", 48, _HEX),
    _begins("Sentry token", "sntrys_ sntryu_", 32, "[A-Za-z0-9_+/=]"),
    _begins("Postman key", "PMAK-", 24, _WORD),
    _begins("Linear or Notion key", "lin_api_ ntn_ secret_", 40),
    _begins("Atlassian token", "ATATT3 ATCTT3", 40, "[A-Za-z0-9_=-]"),
)

CLOUDS: tuple[Rule, ...] = (
    _begins("AWS access key", "AKIA ASIA ABIA ACCA", 16, "[A-Z0-9]"),
    _begins("Google API key", "AIza", 35, _WORD),
    _begins("Google OAuth token", "ya29.", 20, "[A-Za-z0-9._-]"),
    _begins("Google client secret", "GOCSPX-", 24, _WORD),
    _begins("Google refresh token", "1//0", 30, _WORD),
    _form("Azure client secret", "q~", r"[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}+"),
    _begins("DigitalOcean token", "dop_v1_ doo_v1_ dor_v1_", 32, _HEX),
    _begins("Heroku key", "HRKU-", 32, _WORD),
    _begins("Fly token", "fo1_ fm2_", 32, "[A-Za-z0-9_+/=,-]"),
    _begins("Vault token", "hvs. hvb. hvr.", 20, _WORD),
    _begins("Databricks token", "dapi", 32, _HEX),
    _begins("Supabase, Tailscale or PlanetScale token", "sbp_ sb_secret_ tskey- pscale_tkn_", 20, _WORD),
    _begins("Grafana token", "glsa_ glc_", 32, "[A-Za-z0-9_+/=]"),
    _begins("New Relic key", "NRAK-", 24),
)

MONEY_AND_MAIL: tuple[Rule, ...] = (
    _distinct("Stripe key", "sk_live_ sk_test_ rk_live_ rk_test_ whsec_", 16),
    _form("Twilio key", "sk", r"SK[0-9a-f]{32}(?![0-9A-Za-z])"),
    _form("SendGrid key", "sg.", r"SG\.[A-Za-z0-9_-]{16,64}+\.[A-Za-z0-9_-]{32,}+"),
    _form("Mailgun key", "key-", r"key-[0-9a-f]{32}(?![0-9A-Za-z])"),
    _form("Mailchimp key", "-us", r"[0-9a-f]{32}-us[0-9]{1,2}(?![0-9A-Za-z])"),
    _begins("Brevo key", "xkeysib- xsmtpsib-", 40, _WORD),
    _begins("Shopify token", "shpat_ shpca_ shppa_ shpss_", 32, "[0-9a-fA-F]"),
    _begins("Square token", "EAAA sq0csp- sq0atp-", 40, _WORD),
)

_KEY_LINES = rf"(?>(?:(?>{_GAP}{{1,8}})[A-Za-z0-9+/=]{{16,}}+)*)"
_KEY_END = (
    rf"(?>(?:(?>{_GAP}{{1,8}})[A-Za-z0-9+/=]{{1,15}}+)?)"
    rf"(?>(?:(?>{_GAP}{{0,8}})-----END (?:[A-Z0-9]{{1,12}}+ ){{0,3}}?PRIVATE KEY(?: BLOCK)?-----)?)"
)
_JWT_BODY = rf"(?>(\.eyJ{_WORD}{{2,}}+(?:\.{_WORD}*+){{0,3}})?)"

ANY_SERVICE: tuple[Rule, ...] = (
    Rule(
        "private key",
        ("private key",),
        r"-----BEGIN (?:[A-Z0-9]{1,12}+ ){0,3}?PRIVATE KEY(?: BLOCK)?-----"
        rf"(?>(?:(?>{_GAP}{{0,8}})(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash):[^\r\n\\]{{0,200}}+){{0,6}})"
        rf"{_KEY_LINES}{_KEY_END}",
        rest=rf"(?<!-)[A-Za-z0-9+/=]*+{_KEY_LINES}",
        then=f"(?<!-){_KEY_END}",
    ),
    Rule("age key", ("age-secret-key-",), r"AGE-SECRET-KEY-(?:PQ-)?1[0-9A-Z]{20,}+"),
    # A head is read over once, whether or not a body follows: it may be most of the text.
    Rule(
        "JWT",
        (".eyj",),
        rf"{beginning_word('eyJ')}{_WORD}{{8,}}+{_JWT_BODY}",
        is_word=True,
        rest=rf"{_WORD}*+",
        then=_JWT_BODY,
    ),
)

TOKENS = (*OURS, *MODELS, *CHAT, *CODE, *CLOUDS, *MONEY_AND_MAIL, *ANY_SERVICE)
