"""Click's own texts in the reader's language: it asks gettext for them, which does not know our catalogue."""

from __future__ import annotations

from collections.abc import Callable

import click.core
import click.decorators
import click.exceptions
import click.formatting
import click.parser
import click.types

from understudy.cli.terminal import columns
from understudy.texts import catalogue, t

_PREFIX = "cli.click."
NOT_FIRST = frozenset("、。)]」』!?:〜・…ーァィゥェォッャュョぁぃぅぇぉっゃゅょ")
NOT_LAST = frozenset("([「『")
_MODULES = (click.core, click.decorators, click.exceptions, click.formatting, click.parser, click.types)


def words() -> dict[str, str]:
    """Our word for each of click's that our commands can bring up."""
    names = [key.removeprefix(_PREFIX) for key in catalogue("en") if key.startswith(_PREFIX)]
    return {t(f"cli.click.{name}", "en"): t(f"cli.click.{name}") for name in names}


def speak() -> None:
    """Let click speak the reader's language, and break lines where nothing but the width does."""
    known = words()

    def one(message: str) -> str:
        return known.get(message, message)

    def one_or_many(singular: str, plural: str, count: int) -> str:
        return one(singular if count == 1 else plural)

    replaced: tuple[tuple[str, Callable[..., str]], ...] = (("_", one), ("ngettext", one_or_many))
    for module in _MODULES:
        for name, replacement in replaced:
            if hasattr(module, name):
                setattr(module, name, replacement)
    click.IntRange.name = t("cli.number_type")
    click.formatting.wrap_text = wrap_wide


def wrap_wide(
    text: str,
    width: int = 78,
    initial_indent: str = "",
    subsequent_indent: str = "",
    preserve_paragraphs: bool = False,
) -> str:
    """`click.formatting.wrap_text` for scripts without spaces: a line is full when its columns are."""
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        line = initial_indent if not lines else subsequent_indent
        for word in _pieces(" ".join(paragraph.split())):
            if columns(line + word.rstrip()) > width and line.strip():
                lines.append(line.rstrip())
                line = subsequent_indent + word.lstrip()
            else:
                line += word
        lines.append(line.rstrip())
        if preserve_paragraphs:
            lines.append("")
    return "\n".join(lines).rstrip("\n")


def _pieces(text: str) -> list[str]:
    """A line in pieces between which it may break: after a space and around wide characters.

    No line begins with what ends a phrase or belongs to the character before it, and none ends with an opening bracket.
    """
    pieces: list[str] = []
    for char in text:
        joins = pieces and (
            char in NOT_FIRST
            or pieces[-1][-1] in NOT_LAST
            or (columns(char) == 1 and columns(pieces[-1][-1]) == 1 and pieces[-1][-1] != " ")
        )
        if joins:
            pieces[-1] += char
        else:
            pieces.append(char)
    return pieces
