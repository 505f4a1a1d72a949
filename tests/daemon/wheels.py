"""Wheels of this program made by hand, without any tool: its files, or a way to them, and what a test plants."""

from __future__ import annotations

import hashlib
import site
import zipfile
from pathlib import Path

import understudy

SOURCE = Path(understudy.__file__).parent
CODE = {".py", ".sql"}


def wheel(
    folder: Path, version: str, planted: dict[str, str] | None = None, *, is_whole: bool = False
) -> tuple[Path, str]:
    """A wheel → its path and SHA-256. What it depends on is borrowed from where the tests run, so no index is asked.

    One that is not whole borrows its own modules too, with their byte code: to compile them takes seconds.
    """
    path = folder / f"understudy-{version}-py3-none-any.whl"
    info = f"understudy-{version}.dist-info"
    own = _sources() if is_whole else []
    files = {f"understudy/{p.relative_to(SOURCE).as_posix()}": p.read_text("utf-8") for p in own}
    borrowed = "" if is_whole else f"__path__.append({str(SOURCE)!r})\n"
    files["understudy/__init__.py"] = f'__version__ = "{version}"\n{borrowed}'
    files |= planted or {}
    files["borrowed.pth"] = "\n".join(site.getsitepackages()) + "\n"
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: understudy\nVersion: {version}\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/entry_points.txt"] = "[console_scripts]\nunderstudy = understudy.cli:main\n"
    record = f"{info}/RECORD"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(record, "".join(f"{name},,\n" for name in [*files, record]))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def _sources() -> list[Path]:
    return [p for p in sorted(SOURCE.rglob("*")) if p.suffix in CODE and "__pycache__" not in p.parts]
