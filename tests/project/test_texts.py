"""The catalogue: both languages say the same things, nothing is missing, nothing is left over."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from functools import cache
from string import Formatter

import pytest

import understudy.texts
from tests.project.tree import SOURCES, nodes

LANGUAGES = understudy.texts.LANGUAGES
JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")

# Texts that are the same in Japanese: names, addresses, commands, values alone.
NOTHING_TO_TRANSLATE: frozenset[str] = frozenset(
    {"cli.column.id", "cli.up.runs.claude_code", "cli.up.runs.codex", "pages.numbers.unit.count"}
)


@cache
def entries(language: str) -> tuple[tuple[str, str, str], ...]:
    """(noun, key, text) of one language, duplicates included."""
    package = importlib.import_module(f"understudy.texts.{language}")
    return tuple(
        (noun.name, key, text)
        for noun in pkgutil.iter_modules(package.__path__)
        for key, text in importlib.import_module(f"{package.__name__}.{noun.name}").TEXTS.items()
    )


def texts(language: str) -> dict[str, str]:
    return {key: text for _, key, text in entries(language)}


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


class Uses:
    """What source files ask of the catalogue: calls of `t`, and any string that could be a key."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, set[str], bool]] = []
        self.strings: set[str] = set()
        self.patterns: set[str] = set()

    def read_module(self, source: str) -> None:
        for node in nodes(source):
            if isinstance(node, ast.Call):
                self._read_call(node)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                self.strings.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = [re.escape(str(p.value)) if isinstance(p, ast.Constant) else r"[\w.-]+" for p in node.values]
                self.patterns.add("".join(parts))

    def _read_call(self, node: ast.Call) -> None:
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name == "t" and node.args and isinstance(node.args[0], ast.Constant):
            given = {keyword.arg for keyword in node.keywords}
            self.calls.append((str(node.args[0].value), {g for g in given if g} - {"language"}, None in given))

    def read_template(self, text: str) -> None:
        """A template names a key, or its beginning: `t("key")`, `"begin." ~ word`."""
        for key, goes_on in re.findall(r'"([a-z_]+\.[\w.-]*)"(\s*~)?', text):
            if goes_on:
                self.patterns.add(re.escape(key) + r"[\w.-]+")
            else:
                self.strings.add(key)
        self.calls += [(key, set(), True) for key in re.findall(r'\bth?\("([^"]+)"\s*[,)]', text)]


@cache
def uses() -> Uses:
    found = Uses()
    for file in sorted(SOURCES.rglob("*.py")):
        if "texts" not in file.relative_to(SOURCES).parts:
            found.read_module(file.read_text("utf-8"))
    for template in sorted(SOURCES.rglob("templates/**/*.html")):
        found.read_template(template.read_text("utf-8"))
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_key_is_written_twice(language):
    keys = [key for _, key, _ in entries(language)]
    assert sorted(keys) == sorted(set(keys))


def test_the_languages_have_the_same_keys_in_the_same_files():
    english, *others = ({(noun, key) for noun, key, _ in entries(language)} for language in LANGUAGES)
    for other in others:
        assert english - other == set()
        assert other - english == set()


def test_the_languages_have_the_same_placeholders():
    english, japanese = texts("en"), texts("ja")
    differ = {k for k in english.keys() & japanese if placeholders(english[k]) != placeholders(japanese[k])}
    assert differ == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_empty(language):
    assert [key for key, text in texts(language).items() if not text.strip()] == []


def test_japanese_texts_are_japanese():
    untranslated = {key for key, text in texts("ja").items() if not JAPANESE.search(text)}
    assert untranslated - NOTHING_TO_TRANSLATE == set()
    assert NOTHING_TO_TRANSLATE - untranslated == set(), "no longer needed"


def test_english_texts_are_not_japanese():
    assert [key for key, text in texts("en").items() if JAPANESE.search(text)] == []


def test_every_text_asked_for_exists():
    assert {key for key, _, _ in uses().calls} - texts("en").keys() == set()


def test_every_text_gets_its_values():
    english = texts("en")
    asked = [(key, given) for key, given, open_ended in uses().calls if key in english and not open_ended]
    assert [(key, given) for key, given in asked if placeholders(english[key]) != given] == []


def test_every_text_is_used():
    used = uses()
    patterns = [re.compile(pattern) for pattern in used.patterns if re.match(r"[a-z_]+\\\.", pattern)]
    unused = [
        key
        for key in texts("en")
        if key not in used.strings and not any(pattern.fullmatch(key) for pattern in patterns)
    ]
    assert unused == []
