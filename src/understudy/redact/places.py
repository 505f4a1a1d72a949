"""Secrets that are known by where they stand: in a header, in a URL, on a command line, behind a name."""

from __future__ import annotations

from understudy.redact.names import BARE, NAMES, NO_BLANK, NO_CODE, ODD, Named
from understudy.redact.rules import KEPT, Rule

COMMANDS: tuple[Rule, ...] = (
    Rule(
        "secret in an environment file",
        ("passw", "secret", "token", "_key"),
        rf"((?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|_KEY)=){NO_BLANK}{NO_CODE}{BARE}{{6,}}+",
        KEPT,
    ),
    Rule(
        "secret as an option",
        ("--",),
        rf"(--(?:(?!--)[a-z0-9-]){{0,30}}?(?:password|passphrase|secret|token|api-key)\s{{1,2}}+[\"']?){NO_BLANK}{ODD}{BARE}{{4,}}+",
        KEPT,
    ),
    Rule(
        "curl user",
        ("-u",),
        r"(curl\s(?:(?!curl\s)[^\r\n]){0,200}?\s(?:-u|--user)[ =][\"']?[^\s:\"'\\]{1,64}+:)[^\s\"'\\]{1,}+",
        KEPT,
    ),
    Rule("netrc", ("login",), r"(login\s{1,3}+[^\s\"'\\]{1,80}+\s{1,3}+password\s{1,3}+)[^\s\"'\\]{1,}+", KEPT),
    Rule("pgpass", (":5432:",), r"(:5432:[^\s:\"'\\]{1,64}+:[^\s:\"'\\]{1,64}+:)[^\s\"'\\]{1,}+", KEPT),
)

_HEADER_IS = r"(?:\\?[\"'])?\s{0,3}+[:=]\s{0,3}+(?:\\?[\"'])?"
_SCHEME = r"(?i:basic|bearer|token|digest|negotiate|ntlm|apikey|api-key|bot|key)\s{1,3}+"

HEADERS: tuple[Rule, ...] = (
    Rule(
        "Authorization header",
        ("authorization",),
        rf"((?i:authorization){_HEADER_IS}{_SCHEME})(?![<${{]|\[REDACTED\])[^\s\"'\\,;]{{4,}}+",
        KEPT,
    ),
    Rule(
        "Authorization header without a scheme",
        ("authorization",),
        rf"((?i:authorization){_HEADER_IS})(?=[A-Za-z._-]{{0,80}}+[0-9]){BARE}{{8,}}+",
        KEPT,
    ),
    Rule(
        "header with a key",
        ("x-api", "-token", "-secret", "auth-key"),
        rf"((?i:x-(?:(?!x-)[a-z-]){{0,30}}?(?:api-key|token|secret|auth-key)){_HEADER_IS}){NO_BLANK}{BARE}{{8,}}+",
        KEPT,
    ),
    Rule(
        "bearer token",
        ("bearer ",),
        r"((?i:bearer) )(?=[A-Za-z._~+/-]{0,100}+[0-9])[A-Za-z0-9._~+/-]{16,}+={0,2}",
        KEPT,
    ),
    Rule("basic credentials", ("basic ",), r"((?i:basic) )[A-Za-z0-9+/]{7,600}+={1,2}", KEPT),
    Rule(
        "SMTP login",
        ("auth ",),
        r"(AUTH (?:PLAIN|LOGIN|XOAUTH2) )(?=[A-Za-z+/]{0,80}+[0-9=])[A-Za-z0-9+/]{8,}+={0,2}",
        KEPT,
    ),
    Rule(
        "cookie",
        ("cookie",),
        rf"((?i:(?<!-)cookie){_HEADER_IS})[A-Za-z0-9_.$-]{{1,64}}+=[^\"'\\\r\n]{{1,}}+",
        KEPT,
        is_word=True,
    ),
    Rule(
        "set-cookie",
        ("set-cookie",),
        rf"((?i:set-cookie){_HEADER_IS}[A-Za-z0-9_.$-]{{1,64}}+=)(?!;)[^;\s\"'\\]{{1,}}+",
        KEPT,
    ),
)

URLS: tuple[Rule, ...] = (
    Rule(
        "password in a URL",
        ("://",),
        r"(://[^\s:/?#@\"'\\<>]{0,128}+:)[^\s/?#\"'\\<>]{1,256}(?=@)",
        KEPT,
    ),
    Rule("token in a URL", ("://",), r"(://)(?=[A-Za-z]{0,60}+[0-9])[A-Za-z0-9_-]{20,200}+(?=@)", KEPT),
    Rule(
        "signed URL",
        ("key=", "sig", "credential="),
        r"([?&](?i:key|sig|signature|x-(?:amz|goog)-(?:signature|credential))=)[A-Za-z0-9%_+/=.~-]{16,}+",
        KEPT,
    ),
)

PLACES: tuple[Rule | Named, ...] = (*HEADERS, *URLS, *COMMANDS, *NAMES)
