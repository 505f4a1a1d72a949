"""The message in which a real workerd looks for its Python: Pyodide's files, with the changes that workerd's own makes.

Without the internet workerd finds `pyodide_dev.capnp.bin` in the directory of `--pyodide-bundle-disk-cache-dir`. It is
one Cap'n Proto message: a list of modules, each with a type, a name and a body. Four places of Pyodide's glue must
call workerd's wrappers. Each is counted before it is changed: another pair of versions needs another look.
"""

from __future__ import annotations

import struct
from pathlib import Path

FILE = "pyodide_dev.capnp.bin"
WRAPPERS = "newWasmModule,getRandomValues,patchedLoadLibData"
_INTERNAL, _SOURCE, _DATA, _WASM = 2, 0, 2, 1
_NEW_MODULE, _RANDOM = "new WebAssembly.Module(", "crypto.getRandomValues("
_LOAD, _EXPORT = "function loadLibData(){", "export default _createPyodideModule;"
_TIMES = {_NEW_MODULE: 4, _RANDOM: 1, _LOAD: 1, _EXPORT: 1}
_LOAD_LIB = (
    "function loadLibData(){var libData=patchedLoadLibData(Module,libName,flags.rpath);"
    "return flags.loadAsync?Promise.resolve(libData):libData}"
)
_LIST, _COMPOSITE, _BYTES = 1, 7, 2
_WORDS_A_MODULE, _POINTERS_A_MODULE = 5, 4


class OtherVersionError(Exception):
    """Pyodide's glue is not the one that this was written for."""


def write_message(pyodide: Path, directory: Path) -> Path:
    """The message of this `pyodide` package of npm, written into the directory. OtherVersionError."""
    glue = changed((pyodide / "pyodide.asm.mjs").read_text("utf-8"))
    path = directory / FILE
    path.write_bytes(
        message_of(
            (
                (_SOURCE, "pyodideRuntime-internal:pyodide.asm", glue.encode()),
                (_WASM, "pyodideRuntime-internal:pyodide.asm.wasm", (pyodide / "pyodide.asm.wasm").read_bytes()),
                (_DATA, "pyodideRuntime-internal:python_stdlib.zip", (pyodide / "python_stdlib.zip").read_bytes()),
            )
        )
    )
    return path


def changed(glue: str) -> str:
    """The glue with its calls of the browser replaced by those of workerd. OtherVersionError."""
    for pattern, times in _TIMES.items():
        if (found := glue.count(pattern)) != times:
            raise OtherVersionError(f"{pattern!r} is in Pyodide's glue {found} times, not {times}: look at it anew")
    begin = glue.index(_LOAD)
    glue = glue[:begin] + _LOAD_LIB + glue[_end_of_block(glue, begin + len(_LOAD)) :]
    glue = glue.replace(_NEW_MODULE, "newWasmModule(").replace(_RANDOM, "getRandomValues(Module,")
    glue = glue.replace(_EXPORT, "export{_createPyodideModule};")
    return f'import{{{WRAPPERS}}}from"pyodide-internal:builtin_wrappers";{glue}'


def _end_of_block(text: str, at: int) -> int:
    """Just behind the brace that closes the block which was opened before `at`; the glue's strings hold none here."""
    depth = 1
    while depth:
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        at += 1
    return at


def message_of(modules: tuple[tuple[int, str, bytes], ...]) -> bytes:
    """One segment: root pointer, a struct of one pointer, the list of modules (tag, rows), names and bodies."""
    rows = len(modules) * _WORDS_A_MODULE
    words = [struct.pack("<IHH", 0, 0, 1), _list_pointer(0, _COMPOSITE, rows)]
    words.append(struct.pack("<IHH", len(modules) << 2, 1, _POINTERS_A_MODULE))
    first_blob, blobs, size = len(words) + rows, [], 0
    for tag, name, body in modules:
        words.append(struct.pack("<HHI", _INTERNAL, tag, 0))
        for blob in (name.encode() + b"\0", body):
            words.append(_list_pointer(first_blob + size - len(words) - 1, _BYTES, len(blob)))
            blobs.append(blob + bytes(-len(blob) % 8))
            size += len(blobs[-1]) // 8
        words += [bytes(8)] * 2
    segment = b"".join((*words, *blobs))
    return struct.pack("<II", 0, len(segment) // 8) + segment


def _list_pointer(offset: int, kind: int, count: int) -> bytes:
    return struct.pack("<II", (offset << 2) | _LIST, (count << 3) | kind)
