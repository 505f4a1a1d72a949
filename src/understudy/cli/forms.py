"""The form that a hub expects of a text, in plain words, because the hub's answer only names a pattern."""

from __future__ import annotations

from understudy.texts import t
from understudy.wire.limits import (
    EXECUTOR_PATTERN,
    ID_PATTERN,
    NO_LAST_NEWLINE,
    SHA256_PATTERN,
    TIME_OF_DAY_PATTERN,
    VERSION_PATTERN,
)

FORMS = {
    ID_PATTERN: "cli.form.id",
    TIME_OF_DAY_PATTERN: "cli.form.time_of_day",
    VERSION_PATTERN: "cli.form.version",
    SHA256_PATTERN: "cli.form.sha256",
    EXECUTOR_PATTERN: "cli.form.executor",
}
BEFORE = "Expected `str` matching regex "  # msgspec's words


def in_plain_words(detail: str) -> str:
    """A detail of a refusal, with the form in words; one of another hub that is not known here stays."""
    head, found, rest = detail.partition(BEFORE)
    if not found:
        return detail
    for pattern, words in FORMS.items():
        for shown in (repr(pattern + NO_LAST_NEWLINE), repr(pattern)):
            if rest.startswith(shown):
                return head + t(words) + rest[len(shown) :]
    return head + t("cli.form.other")
