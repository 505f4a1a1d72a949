"""One word per thing: the words that docs/glossary.md forbids stand nowhere, and each way to use one is found."""

from __future__ import annotations

import re

import pytest

from tests.project import words
from tests.project.tree import documents
from tests.project.words import Forbidden

RULES = words.forbidden(documents()[words.GLOSSARY])
PLANTED = (Forbidden("mend", "fix", in_prose=True), Forbidden("of late", "lately", in_prose=True))
IN_NAMES = (Forbidden("told", "reported", in_prose=False),)


def test_the_repository_uses_no_forbidden_word():
    assert [f"{sin.where}: {sin.word} in {sin.text!r}" for sin in words.all_sins(RULES)] == []


@pytest.mark.parametrize(
    "sin",
    [
        '"""How to mend it."""',
        "class Mend: pass",
        "MENDS = 1\nMEND_S = 2",
        "def is_mend_known(): pass",
        "def f(mend): pass",
        "x.mend = 1",
        "x = 1  # of late",
        "x = 'it\\'s # 1'  # of late",
        'x = """a \\""""  # of late',
        "x = f'{1}#'; y = \"'\"  # of late",
        'def f():\n    """Mend it."""',
        'TEXTS = {"a.b": "To mend it: {mend}"}',
    ],
)
def test_a_sin_in_a_module_is_found(sin):
    assert len(words.sins_of_module("m.py", sin, PLANTED, is_text=True)) == 1


@pytest.mark.parametrize(
    "text",
    [
        '"""An amendment, late, of a mender; `mend` is a key of the wire."""',
        'TEXTS = {"a.mend": "{mend}"}',
        "y = x.mend",
        "y = '# of late'",
        'y = 1 if x == """\n" # of late\n""" else 2',
        "y = r'\\' # of late'",
    ],
)
def test_other_words_keys_and_code_are_no_sin(text):
    assert words.sins_of_module("m.py", text, PLANTED, is_text=True) == []


def test_a_word_of_sentences_is_a_sin_in_names_only():
    (found,) = words.sins_of_module("m.py", 'is_told = 1  # told\n"""Told."""', IN_NAMES)
    assert found.text == "is_told"


def test_a_word_of_names_is_a_sin_in_sentences_only():
    (found,) = words.sins_of_module("m.py", '"""It is told."""\ntold = 1', (Forbidden("told", "sent", True, False),))
    assert found.text == "It is told."


@pytest.mark.parametrize("text", ["# Mend it", "- what was lost of late", "[to mend](x.md)"])
def test_a_sin_in_a_document_is_found(text):
    assert len(words.sins_of_document("a.md", text, PLANTED)) == 1


@pytest.mark.parametrize("text", ["`mend`", "```\nmend it\n```", "[x](mend.md)", "```console test up\n$ mend\n```"])
def test_code_in_a_document_is_no_sin(text):
    assert words.sins_of_document("a.md", text, PLANTED) == []


@pytest.mark.parametrize("path", ["src/mend.py", "tests/test_mend_it.py", "notes/mend/a.md", "tools/of-late"])
def test_a_sin_in_the_name_of_a_file_or_folder_is_found(path):
    assert len(words.sins_of_path(path, PLANTED)) == 1


def test_a_word_is_forbidden_by_the_glossary():
    rows = "| Word | Means | Not |\n|---|---|---|\n| fix | a step | mend, `cure`, *heal* |\n| a | b | |"
    assert words.forbidden(rows) == (
        Forbidden("mend", "fix", in_prose=True),
        Forbidden("cure", "fix", in_prose=False),
        Forbidden("heal", "fix", in_prose=True, in_names=False),
    )


def test_every_noun_has_its_sentence_and_its_japanese_word():
    rows = re.findall(r"^\| (.+) \|$", documents()[words.GLOSSARY].split("## Plain words")[0], re.MULTILINE)
    nouns = [[cell.strip() for cell in row.split("|")] for row in rows]
    assert len(nouns) > 80
    assert [noun for noun in nouns if len(noun) != 4 or not (noun[0] and noun[1] and noun[3])] == []
    assert len({noun[0] for noun in nouns if noun[0] not in ("Word", "---")}) >= 80


def test_no_docstring_is_an_indirect_question():
    assert [f"{found.where}: {found.text}" for found in words.questions()] == []


@pytest.mark.parametrize("text", ["Whether it is held.", "What is due now", "For how long it was silent."])
def test_an_indirect_question_is_found(text):
    assert words.QUESTION.match(text)


@pytest.mark.parametrize("text", ["True if it is held.", "What if it is lost?", "Whatever it costs, it is kept."])
def test_a_statement_and_a_real_question_are_no_indirect_question(text):
    assert not words.QUESTION.match(text)
