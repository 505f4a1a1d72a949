"""Words that docs/glossary.md forbids, found in file names, names, docstrings, comments, texts and documents.

`python -m tests.project.words` counts them, and the docstrings that are indirect questions.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.project.tree import ROOT, SOURCES, documents, files, nodes

GLOSSARY = "docs/glossary.md"
# A changelog keeps the words of its time; the glossary names what it forbids.
HISTORY = ("CHANGELOG.md", GLOSSARY)
ENGLISH = SOURCES / "texts" / "en"
QUESTION = re.compile(r"(?:What|Whether|Who|Whose|How|Where|When|Which|Why|For how)\b[^?]*$")

# What begins first hides the other: a `#` in a string, a quote in a comment. `tokenize` takes thirty times as long.
STRING_OR_COMMENT = re.compile(
    r"(['\"])(?:\1\1(?:[^\\]|\\.)*?\1\1\1|(?:(?!\1)[^\\\n]|\\.)*\1)|(?P<comment>\#[^\n]*)", re.DOTALL
)
# Fields of the wire whose name is a JSON key: programs rely on it.
RELIED_ON = {
    ("src/understudy/wire/answers/daemons.py", "mend"),
    ("src/understudy/wire/answers/records.py", "provisional"),
}


class Forbidden(NamedTuple):
    """One word or phrase that is not used in sentences, in names, or in both."""

    word: str
    instead: str
    in_prose: bool
    in_names: bool = True

    def is_in_name(self, name: str) -> bool:
        """True if a name contains it as whole words: `Told` and `is_told` contain `told`."""
        return self.in_names and _name_with(self.word).search(_spoken(name)) is not None

    def is_in_prose(self, text: str) -> bool:
        """True if a text contains it as whole words, in any case of letters."""
        return self.in_prose and _prose_with(self.word).search(text) is not None


@functools.cache
def _name_with(word: str) -> re.Pattern[str]:
    phrase = re.sub(r"\W+", "_", word)
    return re.compile(rf"(?:^|_){phrase}(?:_|$)")


@functools.cache
def _prose_with(word: str) -> re.Pattern[str]:
    return re.compile(rf"\b{re.escape(word)}\b", re.IGNORECASE)


@functools.cache
def _sins_of_name(name: str, words: tuple[Forbidden, ...]) -> tuple[Forbidden, ...]:
    return tuple(word for word in words if word.is_in_name(name))


@functools.cache
def _prose_with_any(words: tuple[Forbidden, ...]) -> re.Pattern[str]:
    phrases = (re.escape(word.word) for word in words if word.in_prose)
    return re.compile(rf"\b(?:{'|'.join(phrases) or '(?!)'})\b", re.IGNORECASE)


def _sins_of_prose(prose: str, words: tuple[Forbidden, ...]) -> list[Forbidden]:
    return [word for word in words if word.is_in_prose(prose)] if _prose_with_any(words).search(prose) else []


@functools.cache
def _spoken(name: str) -> str:
    return "_".join(parts(name))


class Found(NamedTuple):
    """A forbidden word where it stands."""

    where: str
    word: str
    text: str


def parts(name: str) -> list[str]:
    """The words of a name, in small letters: `LATE_AfterMs` → late, after, ms."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def forbidden(glossary: str) -> tuple[Forbidden, ...]:
    """The column *Not* of every table: `code` is forbidden in names only, *italics* in sentences only."""
    rows = ([cell.strip() for cell in row.split("|")] for row in re.findall(r"^\|(.+)\|$", glossary, re.MULTILINE))
    entries = ((word, entry.strip()) for word, _, column, *_ in rows for entry in column.split(","))
    return tuple(
        Forbidden(entry.strip("`*").lower(), word, not entry.startswith("`"), not entry.startswith("*"))
        for word, entry in entries
        if entry and entry != "Not" and not entry.startswith("-")
    )


def names_in(source: str) -> Iterator[tuple[int, str]]:
    """(line, name) of all that a module names: classes, functions, parameters, variables, attributes."""
    for node in nodes(source):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def docstrings_in(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of the docstrings of a module, its classes and functions."""
    for node in nodes(source):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def comments_in(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of the comments of a module."""
    for found in STRING_OR_COMMENT.finditer(source):
        if comment := found["comment"]:
            yield source.count("\n", 0, found.start()) + 1, comment


def texts_in(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of the values of a catalogue: what a person reads; names in braces are no words."""
    for node in nodes(source):
        if isinstance(node, ast.Dict):
            for value in node.values:
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield value.lineno, re.sub(r"\{.*?\}", "", value.value)


def prose_of(text: str) -> str:
    """A text without code: blocks, spans, addresses and targets of links are left out."""
    for code in (r"```.*?```", r"<!--.*?-->", r"``.*?``", r"`[^`\n]*`", r"\]\([^)]*\)", r"\bhttps?://\S+"):
        text = re.sub(code, " ", text, flags=re.DOTALL)
    return text


def sins_of_module(where: str, source: str, words: tuple[Forbidden, ...], *, is_text: bool = False) -> list[Found]:
    """Forbidden words in one module's names, docstrings and comments, and in its texts if it is a catalogue."""
    found = [
        Found(f"{where}:{line}", word.word, name)
        for line, name in names_in(source)
        for word in _sins_of_name(name, words)
    ]
    texts = (*docstrings_in(source), *comments_in(source), *(texts_in(source) if is_text else ()))
    return found + [
        Found(f"{where}:{line}", word.word, text.splitlines()[0])
        for line, text, prose in ((line, text, prose_of(text)) for line, text in texts)
        for word in _sins_of_prose(prose, words)
    ]


def sins_of_document(where: str, text: str, words: tuple[Forbidden, ...]) -> list[Found]:
    """Forbidden words in the prose of a document."""
    prose = prose_of(text)
    return [Found(where, word.word, word.instead) for word in _sins_of_prose(prose, words)]


def sins_of_path(path: str, words: tuple[Forbidden, ...]) -> list[Found]:
    """Forbidden words in the name of a file or of a folder above it."""
    steps = [Path(step).stem for step in Path(path).parts]
    return [Found(path, word.word, step) for step in steps for word in _sins_of_name(step, words)]


def all_sins(words: tuple[Forbidden, ...]) -> list[Found]:
    """Every forbidden word of the repository; the tests' own names and docstrings are free."""
    found: list[Found] = []
    for path in files():
        name = path.relative_to(ROOT).as_posix()
        found += sins_of_path(name, words)
        if name.startswith(("src/", "bench/")) and path.suffix == ".py" and "/texts/ja/" not in name:
            sins = sins_of_module(name, path.read_text("utf-8"), words, is_text=ENGLISH in path.parents)
            found += [sin for sin in sins if (name, sin.text) not in RELIED_ON]
    for name, text in documents().items():
        if name not in HISTORY:
            found += sins_of_document(name, text, words)
    return found


def questions() -> list[Found]:
    """Docstrings that are indirect questions (`Whether it is held.`) instead of statements (`True if it is held.`)."""
    return [
        Found(f"{path.relative_to(ROOT).as_posix()}:{line}", text.split()[0], text.splitlines()[0])
        for path in sorted(SOURCES.rglob("*.py"))
        for line, text in docstrings_in(path.read_text("utf-8"))
        if QUESTION.match(text.splitlines()[0])
    ]


def main() -> None:
    """Counts, the most frequent first."""
    words = forbidden(documents()[GLOSSARY])
    counts = Counter(sin.word for sin in all_sins(words))
    lines = [f"{counts[word.word]:5} {word.word}" for word in words]
    lines.append(f"{len(questions()):5} docstrings that are indirect questions")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
