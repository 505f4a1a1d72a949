"""The message with Pyodide for a real workerd is what its reader expects, or is not written at all."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.cloudflare.pyodide_message import FILE, OtherVersionError, changed, message_of, write_message

GLUE = (
    "async function _createPyodideModule(moduleArg={}){"
    + "new WebAssembly.Module(a);" * 4
    + "crypto.getRandomValues(view);"
    + 'function loadLibData(){if(handle){return {a:1}}throw new Error("x")}after();'
    + "return m}export default _createPyodideModule;"
)


def _words(message: bytes) -> list[int]:
    """The segment, as words."""
    segments, size = struct.unpack_from("<II", message)
    assert (segments, size * 8) == (0, len(message) - 8)
    return list(struct.unpack_from(f"<{size}Q", message, 8))


def _bytes(words: list[int], at: int) -> bytes:
    """What the pointer in this word leads to, a list of bytes."""
    pointer = words[at]
    offset, count, kind = (pointer & 0xFFFFFFFF) >> 2, pointer >> 35, pointer >> 32 & 7
    assert (pointer & 3, kind) == (1, 2)
    start = (at + 1 + offset) * 8
    return struct.pack(f"<{len(words)}Q", *words)[start : start + count]


def test_the_message_is_a_list_of_modules_with_type_name_and_body() -> None:
    words = _words(message_of(((0, "a:b", b"source"), (1, "name of eight", bytes(9)), (2, "", b""))))
    assert words[0] == 1 << 48  # a struct of no data and one pointer, just behind
    assert (words[1] & 3, words[1] >> 32 & 7, words[1] >> 35) == (1, 7, 3 * 5)  # a list of composites, in words
    assert (words[2] & 0xFFFFFFFF) >> 2 == 3  # its tag counts them
    assert words[2] >> 32 == 1 | 4 << 16  # each of one word and four pointers
    rows = [3, 8, 13]
    assert [words[row] for row in rows] == [2, 2 | 1 << 16, 2 | 2 << 16]  # internal; the kind of the body
    assert [_bytes(words, row + 1) for row in rows] == [b"a:b\0", b"name of eight\0", b"\0"]
    assert [_bytes(words, row + 2) for row in rows] == [b"source", bytes(9), b""]
    assert [words[row + 3 : row + 5] for row in rows] == [[0, 0]] * 3


def test_the_glue_calls_the_wrappers_of_workerd_instead_of_the_browser() -> None:
    glue = changed(GLUE)
    assert glue.startswith('import{newWasmModule,getRandomValues,patchedLoadLibData}from"pyodide-internal:')
    assert glue.count("newWasmModule(a)") == 4
    assert "getRandomValues(Module,view)" in glue
    assert "WebAssembly.Module(" not in glue
    assert "crypto." not in glue
    assert "patchedLoadLibData(Module,libName,flags.rpath);return flags.loadAsync?Promise" in glue
    assert "libData}after();return m}" in glue  # the old body of the function is gone, all of it and no more
    assert glue.endswith("export{_createPyodideModule};")


@pytest.mark.parametrize(
    "missing",
    [
        "new WebAssembly.Module(a);",
        "crypto.getRandomValues(",
        "function loadLibData(){",
        "export default _createPyodideModule;",
    ],
)
def test_another_glue_is_refused(missing: str, tmp_path: Path) -> None:
    (tmp_path / "pyodide.asm.mjs").write_text(GLUE.replace(missing, "", 1))
    with pytest.raises(OtherVersionError, match="look at it anew"):
        write_message(tmp_path, tmp_path)
    assert not (tmp_path / FILE).exists()
