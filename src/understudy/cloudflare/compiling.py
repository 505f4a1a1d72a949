"""Compiles what a start in a Worker imports, and takes the docstrings out of the rest.

compile.mjs runs this in the very Python of a Worker. A compiled module takes the place of its source, and has the same
line numbers. If pip puts a new source beside it, Python takes the source, so nothing outdated is ever run. Modules that
few requests need stay source, because compiled ones are twice as large.
"""

from __future__ import annotations

import ast
import importlib.util
import marshal
from collections.abc import Iterator
from pathlib import Path

START = "understudy.cloudflare.javascript"  # the hub, which the object imports with its first event
ENTRY = "understudy.cloudflare.entry"  # what an upload runs, and `deploy cloudflare --check` in any Python
_HEADER = importlib.util.MAGIC_NUMBER + bytes(12)  # no date and no size of a source: none lies beside it


def compile_start(root: Path) -> tuple[int, int]:
    """Change `python_modules`, and say how many modules were compiled and how many stay source."""
    stay = reached(root, ENTRY)
    start = (reached(root, START) | _anew(root)) - stay
    for path in start:
        code = compile(_undocumented(path.read_bytes()), str(path.relative_to(root)), "exec", dont_inherit=True)
        path.with_suffix(".pyc").write_bytes(_HEADER + marshal.dumps(code))
        path.unlink()
    sources = [path for path in root.rglob("*.py") if path not in stay]
    for path in sources:
        path.write_bytes(blanked(path.read_bytes()))
    return len(start), len(sources)


def _anew(root: Path) -> set[Path]:
    """Sources of what was compiled before."""
    return {path for path in root.rglob("*.py") if path.with_suffix(".pyc").exists()}


def reached(root: Path, module: str) -> set[Path]:
    """The sources that an import of this module reads, but for those that a function imports when it is called."""
    found: set[Path] = set()
    ahead = _ways(module)
    while ahead:
        name = ahead.pop()
        path = _source(root, name)
        if path is not None and path not in found:
            found.add(path)
            package = name if path.stem == "__init__" else name.rpartition(".")[0]
            ahead += [wanted for each in _imports(ast.parse(path.read_bytes()).body, package) for wanted in _ways(each)]
    return found


def _source(root: Path, name: str) -> Path | None:
    path = root.joinpath(*name.split("."))
    return next((p for p in (path / "__init__.py", path.with_name(f"{path.name}.py")) if p.is_file()), None)


def _ways(name: str) -> list[str]:
    """A module and the packages above it, which are imported before it."""
    words = name.split(".")
    return [".".join(words[:n]) for n in range(1, len(words) + 1)]


def _imports(body: list[ast.stmt], package: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Try):
            yield from _imports(node.body, package)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            yield from _imports([*node.body, *node.orelse], package)


def _documented(tree: ast.Module) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            value = first.value if isinstance(first, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield node


def _undocumented(source: bytes) -> ast.Module:
    """The tree without docstrings; what is left has the places that it had."""
    tree = ast.parse(source)
    for node in _documented(tree):
        first = node.body[0]
        node.body[:1] = [] if len(node.body) > 1 else [ast.copy_location(ast.Pass(), first)]
    return tree


def blanked(source: bytes) -> bytes:
    """The source without docstrings, line for line as it was."""
    lines = source.splitlines(keepends=True)
    for node in _documented(ast.parse(source)):
        first = node.body[0]
        begin, end = first.lineno - 1, (first.end_lineno or first.lineno) - 1
        before, after = lines[begin][: first.col_offset], lines[end][first.end_col_offset or 0 :]
        if after.strip() == b"":  # else more stands on its line
            lines[begin : end + 1] = [before + b"''\n", *[b"\n"] * (end - begin)]
    return b"".join(lines)
