"""`understudy deploy init cloudflare`: what it writes is what the tests of the Worker run, and no file is touched."""

from __future__ import annotations

from pathlib import Path

from tests.cli.program import understudy
from tests.cloudflare.workerd import BINDING, DATE, FLAGS, OBJECT, worker_configuration
from tests.cloudflare.workerd import understudy as modules
from tests.project.tree import ROOT
from understudy import __version__
from understudy.cli.deploy import PACKAGE


def test_the_files_are_written_and_the_steps_named(tmp_path: Path) -> None:
    target = tmp_path / "a hub"
    done = understudy("deploy", "init", "cloudflare", str(target))
    assert done.code == 0, done.err
    assert sorted(
        path.relative_to(target).as_posix()
        for path in target.rglob("*")
        if path.is_file() and PACKAGE not in path.as_posix()
    ) == [
        "compile.mjs",
        "requirements.txt",
        "src/entry.py",
        "wrangler.jsonc",
    ]
    assert "understudy" not in (target / "requirements.txt").read_text()  # on PyPI that is another project
    assert f'"{__version__}"' in (target / PACKAGE / "__init__.py").read_text()
    assert not list((target / PACKAGE).rglob("*.pyc"))
    compile((target / "src" / "entry.py").read_text(), "entry.py", "exec")
    for step in (
        "pip install --target python_modules",
        "node compile.mjs",
        "deploy --dry-run",
        "secret put UNDERSTUDY_API_KEY",
    ):
        assert step in done.out


def test_nothing_that_is_there_is_touched(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("mine")
    done = understudy("deploy", "init", "cloudflare", str(tmp_path))
    assert done.code == 2
    assert "requirements.txt exists already" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["requirements.txt"]
    assert (tmp_path / "requirements.txt").read_text() == "mine"


def test_a_link_to_nothing_is_there_too(tmp_path: Path) -> None:
    """Through it a file would be written outside of the directory."""
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "wrangler.jsonc").symlink_to(tmp_path / "elsewhere")
    done = understudy("deploy", "init", "cloudflare", str(tmp_path / "hub"))
    assert "wrangler.jsonc exists already" in done.err
    assert not (tmp_path / "elsewhere").exists()


def test_the_versions_are_those_that_everything_else_is_tested_with() -> None:
    pinned = set((ROOT / "constraints.txt").read_text().split())
    wanted = (ROOT / "src/understudy/cloudflare/template/requirements.txt").read_text().split()
    assert [line for line in wanted if line not in pinned] == [
        "workers-runtime-sdk==1.9.5",  # exists inside a Worker only
    ]


def test_the_configuration_names_what_there_is() -> None:
    found = worker_configuration()
    assert found["durable_objects"]["bindings"] == [{"name": BINDING, "class_name": OBJECT}]
    assert found["migrations"][0]["new_sqlite_classes"] == [OBJECT]
    assert found["compatibility_date"] == DATE
    assert set(found["compatibility_flags"]) <= set(FLAGS)
    kept = {name for name, _ in modules()}
    assert {"understudy/cloudflare/entry.py", "understudy/store/migrations/sqlite/0001_first.sql"} <= kept
    assert not [name for name in kept if name.startswith(("understudy/cli/", "understudy/daemon/"))]
