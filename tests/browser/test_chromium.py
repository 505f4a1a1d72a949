"""Chromium is installed where that is possible; where it is not, nobody overlooks it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.browser import chromium

APT = """#!/bin/sh
echo "$@" >>"{folder}/calls"
case "$*" in
    *update) touch "{folder}/updated" ;;
    *) [ -e "{folder}/updated" ] || {{ echo "E: Unable to locate package chromium" >&2; exit 100; }}
       printf '#!/bin/sh\\necho Chromium 156\\n' >"{folder}/chromium" && chmod 755 "{folder}/chromium" ;;
esac
"""


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Path:
    """A PATH without Chromium; root, and nothing in the environment that decides."""
    (tmp_path / "bin").mkdir()
    for tool in ("touch", "chmod"):
        (tmp_path / "bin" / tool).symlink_to(f"/bin/{tool}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("UNDERSTUDY_BROWSER_TESTS", raising=False)
    monkeypatch.setattr(chromium, "ON_MACOS", ())
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path / "bin"


def with_apt(folder: Path) -> None:
    (folder / "apt-get").write_text(APT.format(folder=folder))
    (folder / "apt-get").chmod(0o755)


def test_root_beside_apt_gets_it_also_when_the_lists_of_packages_are_missing(machine, capsys):
    with_apt(machine)
    assert chromium.main() == 0
    assert capsys.readouterr().out.endswith("Chromium 156\n")
    assert [line.split()[-1] for line in (machine / "calls").read_text().splitlines()] == [
        "fonts-noto-cjk",
        "update",
        "fonts-noto-cjk",
    ]
    assert chromium.main() == 0
    assert capsys.readouterr().out == ""


def test_somebody_else_is_told_what_to_do(machine, capsys, monkeypatch):
    with_apt(machine)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert chromium.main() == 0
    said = capsys.readouterr().out
    assert said.startswith("NO BROWSER TEST RUNS")
    assert "sudo apt install chromium fonts-noto-cjk" in said
    assert not (machine / "calls").exists()


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("UNDERSTUDY_BROWSER_TESTS", "required")])
def test_where_it_is_required_its_absence_is_a_failure(machine, capsys, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert chromium.main() == 1
    assert "NO BROWSER TEST RUNS" in capsys.readouterr().out


def test_where_it_is_not_wanted_nothing_is_installed_or_said(machine, capsys, monkeypatch):
    with_apt(machine)
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("UNDERSTUDY_BROWSER_TESTS", "off")
    assert chromium.main() == 0
    assert not (machine / "calls").exists()
    assert capsys.readouterr().out == ""
