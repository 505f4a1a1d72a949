"""The server that other tests use: it works, and never outlives them."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import psycopg

from tests.postgres import Server
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent
ONE_THAT_STAYS = """
from tests.postgres import Server
server = Server().make().start()
print(server.folder, flush=True)
input()
"""


def test_a_database_is_new_and_empty_and_counts_bytes(postgres_server: Server, postgres_url: str) -> None:
    with closing(psycopg.connect(postgres_url)) as connection:
        assert connection.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 2200").fetchone() == (0,)
        assert connection.execute("SELECT 'B' < 'a', current_setting('TimeZone')").fetchone() == (True, "UTC")
        assert postgres_server.cut(connection.info.dbname) == 1


def test_no_server_is_left_of_tests_that_are_killed(postgres_server: Server) -> None:
    command = [sys.executable, "-c", ONE_THAT_STAYS]
    killed = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with killed:
        assert killed.stdout is not None
        folder = Path(killed.stdout.readline().strip())
        number = int((folder / "data/postmaster.pid").read_text("utf-8").split()[0])
        killed.kill()
    eventually(lambda: not folder.exists() and not psutil.pid_exists(number), what="the end of its server")
