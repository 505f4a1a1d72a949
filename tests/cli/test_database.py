"""`doctor` asks a PostgreSQL database that hubs of this machine use; services are given its password as a file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.postgres import Server
from understudy import config
from understudy.cli.findings import NOTICE, OK, PROBLEM, Here, examine, machine
from understudy.cli.findings.database import look
from understudy.cli.findings.service import Services
from understudy.cli.service_program import program_of, secret_files
from understudy.store.tables import SCHEMA_VERSION

ADDRESS = "postgresql://hub:hunter2-hunter2@127.0.0.1:1/u"
PLAIN = "postgresql://hub@127.0.0.1:1/u"


def test_databases_of_shell_service_and_settings_file_are_found_with_their_passwords(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the service")
    data = tmp_path / "data"
    data.mkdir()
    (data / "understudy.toml").write_text(f'store = "{PLAIN}"\n')
    unit = SimpleNamespace(env={"UNDERSTUDY_STORE": f"{PLAIN}2", "UNDERSTUDY_STORE_PASSWORD_FILE": str(secret)})
    environ = {"UNDERSTUDY_DATA": str(data), "UNDERSTUDY_STORE_PASSWORD": "of the shell"}
    services = Services({"hub": (None, unit)}, "")  # type: ignore[dict-item]
    here = Here(environ, tmp_path)
    assert machine.databases(here, None, services) == [(PLAIN, "of the shell"), (f"{PLAIN}2", "of the service")]
    assert machine.stores(here, None, services) == [data / "hub.db"]


def test_a_database_is_well_or_named_with_its_fix(postgres_server: Server, postgres_url: str) -> None:
    (well,) = look([(postgres_url, "")])
    assert (well.name, well.level) == ("database", OK)
    postgres_server.ask(
        f"CREATE TABLE understudy_schema AS SELECT {SCHEMA_VERSION - 1} AS version, 1 AS compatible_from",
        database=postgres_url.partition("?")[0].rpartition("/")[2],
    )
    assert [finding.level for finding in look([(postgres_url, "")])] == [NOTICE, OK]


@pytest.mark.parametrize("address", [ADDRESS, "postgresql://hub:hunter2-hunter2@x@y/u"])
def test_doctor_shows_no_password(tmp_path: Path, address: str) -> None:
    environ = {"UNDERSTUDY_DATA": str(tmp_path), "UNDERSTUDY_STORE": address}
    found = examine(environ, tmp_path)
    assert [finding.level for finding in found if finding.name == "database"] == [PROBLEM]
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    "environ",
    [
        {"UNDERSTUDY_STORE": ADDRESS},
        {"UNDERSTUDY_STORE": PLAIN, "PGPASSWORD": "hunter2-hunter2"},
        {"UNDERSTUDY_STORE": PLAIN, "UNDERSTUDY_STORE_PASSWORD": "hunter2-hunter2"},
    ],
)
def test_a_service_has_the_password_in_a_file_of_its_own(tmp_path: Path, environ: dict[str, str]) -> None:
    program = program_of("hub", environ | {"PGPASSFILE": "/etc/pass"}, tmp_path, ("understudy",), ())
    assert program.env["UNDERSTUDY_STORE"] == PLAIN
    assert program.env["PGPASSFILE"] == "/etc/pass"
    assert "hunter2" not in repr(program)
    files = secret_files("hub", environ, tmp_path, None)
    assert [value for _, value in files.values()] == ["hunter2-hunter2"]
    (name,) = files
    assert name == "UNDERSTUDY_STORE_PASSWORD_FILE"
    files[name][0].parent.mkdir(parents=True)
    files[name][0].write_text("hunter2-hunter2\n")
    settings = config.load({**program.env, name: str(files[name][0])}, tmp_path).settings
    assert (settings.store, settings.store_password) == (PLAIN, "hunter2-hunter2")


@pytest.mark.parametrize(
    ("in_file", "carried"),
    [
        (f'store = "{PLAIN}"', ["of the shell"]),
        (f'store = "{PLAIN}"\nstore_password = "of the file"', []),
        (f'store = "{ADDRESS}"', []),
        ('store_password = "of the file"', []),
    ],
)
def test_a_service_has_the_password_that_this_shell_uses_for_the_store_of_the_settings_file(
    tmp_path: Path, in_file: str, carried: list[str]
) -> None:
    (tmp_path / "understudy.toml").write_text(f"{in_file}\n")
    environ = {"PGPASSWORD": "of the shell"} | ({} if "store =" in in_file else {"UNDERSTUDY_STORE": PLAIN})
    files = secret_files("hub", environ, tmp_path, None)
    assert [value for _, value in files.values()] == carried
    assert set(files) == ({"UNDERSTUDY_STORE_PASSWORD_FILE"} if carried else set())
