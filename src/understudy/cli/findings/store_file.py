"""Checks of the store's file on this machine: it is intact, and no rescued copy lies beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from understudy.cli.findings.finding import NOTICE, OK, PROBLEM, Finding
from understudy.private import real_path
from understudy.texts import t

CHECK_S = 10.0  # a store of some GB needs longer: then what was read is what is known


def look(stores: Sequence[Path]) -> Iterator[Finding]:
    """Each of them that is there."""
    for path in stores:
        yield from _copies(path)
        if path.is_file():
            yield _file(path)


def _file(path: Path) -> Finding:
    from understudy.store.sqlite_files import check_file

    found = check_file(path, CHECK_S)
    if found is None:
        return Finding("store_file", OK, t("cli.doctor.store_file.part", path=path, seconds=round(CHECK_S)))
    if not found:
        return Finding("store_file", OK, t("cli.doctor.store_file.ok", path=path))
    what = t("cli.doctor.store_file.what", path=path, found=found)
    fix = t("cli.doctor.store_file.fix", path=path)
    return Finding("store_file", PROBLEM, what, t("cli.doctor.store_file.why"), fix)


def _copies(path: Path) -> Iterator[Finding]:
    from understudy.store.sqlite_files import rescued

    for copy in rescued(real_path(path)):
        what, why = t("cli.doctor.store_copy.what", path=copy), t("cli.doctor.store_copy.why")
        yield Finding("store_copy", NOTICE, what, why, t("cli.doctor.store_copy.fix", copy=copy, path=path))
