"""A hub whose start is compiled, as `deploy init` says: in workerd, and the script's work alone in this Python."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloudflare.compiled import compiled
from tests.cloudflare.hubs import KEY
from tests.cloudflare.place import NotHereError, Place
from tests.cloudflare.workerd import Workerd
from understudy.cloudflare.compiling import START, blanked, compile_start

GZIP_BYTES_MAX = 3 << 19  # of an upload
AUTH = {"X-API-Key": KEY, "Content-Type": "application/json"}


@pytest.fixture
def worker(place: Place, directory: Path) -> Iterator[Workerd]:
    try:
        modules = compiled(place, directory)
    except NotHereError as why:
        pytest.skip(str(why))
    assert "python_modules/understudy/hub/batch.pyc" in modules
    assert len(gzip.compress(b"".join(path.read_bytes() for path in modules.values()))) < GZIP_BYTES_MAX
    entry = {"worker.py": Path(__file__).parent / "hub_worker.py"}
    made = Workerd(place, directory / "run", {**entry, **modules}, {"UNDERSTUDY_API_KEY": KEY}, wheels=False)
    made.start()
    yield made
    made.stop()


@pytest.mark.real_worker
def test_a_compiled_hub_takes_tasks_and_shows_pages(worker: Workerd) -> None:
    assert worker.ask("POST", "/api/queue", b'{"id":"t1","content":"x"}', AUTH)[0] == 201
    status, claim = worker.ask("POST", "/api/queue/claim", b'{"workerId":"w"}', AUTH)
    assert status == 200
    assert b'"t1"' in claim
    assert worker.ask("GET", "/login")[0] == 200
    assert worker.ask("GET", "/metrics", headers=AUTH)[0] == 200
    assert worker.ask("POST", "/api/result/t1", b'{"success":true,"output":"y"}', AUTH)[0] == 200


TREE = {
    "understudy/__init__.py": '"""The package."""\n',
    "understudy/cloudflare/__init__.py": "",
    "understudy/cloudflare/entry.py": "def late():\n    import understudy.cloudflare.javascript\n",
    "understudy/cloudflare/javascript.py": "from __future__ import annotations\n\nfrom understudy import near\n",
    "understudy/near.py": (
        '"""Two\nlines."""\n\nfrom wheel import VALUE\n\n\n'
        'def fail():\n    """Says\n    why.\n    """\n    raise OSError\n'
    ),
    "understudy/far.py": 'def far():\n    """Far\n    away."""\n\n\ndef farther():\n    raise OSError\n',
    "wheel/__init__.py": "from ._part import VALUE\n",
    "wheel/_part.py": "VALUE = 5\n",
}
ASK = """
import sys, traceback
sys.path.insert(0, sys.argv[1])
import understudy.cloudflare.javascript
from understudy import far, near
print(near.VALUE, near.__doc__, near.__file__.endswith("near.pyc"))
for fail in (near.fail, far.farther):
    try:
        fail()
    except OSError as error:
        print(traceback.extract_tb(error.__traceback__)[-1].lineno)
"""


@pytest.fixture
def modules(directory: Path) -> Path:
    for name, text in TREE.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


def test_what_a_start_imports_is_compiled_and_lines_keep_their_numbers(modules: Path) -> None:
    assert compile_start(modules) == (4, 1)
    left = {path.relative_to(modules).as_posix() for path in modules.rglob("*") if path.is_file()}
    entry = {"understudy/__init__.py", "understudy/cloudflare/__init__.py", "understudy/cloudflare/entry.py"}
    start = {"understudy/cloudflare/javascript.pyc", "understudy/near.pyc", "wheel/__init__.pyc", "wheel/_part.pyc"}
    assert left == entry | start | {"understudy/far.py"}
    assert _asked(modules) == ["5 None True", "11", "7"]


def test_a_source_that_is_put_there_anew_counts_before_what_was_compiled_of_it(modules: Path) -> None:
    compile_start(modules)
    (modules / "wheel" / "_part.py").write_text("VALUE = 6\n")
    assert _asked(modules)[0] == "6 None True"
    assert compile_start(modules)[0] == 1
    assert _asked(modules)[0] == "6 None True"


def _asked(modules: Path) -> list[str]:
    command = [sys.executable, "-B", "-I", "-c", ASK, str(modules)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout.splitlines()


@pytest.mark.parametrize(
    ("source", "left"),
    [
        (b'"""One."""\nx = 1\n', b"''\nx = 1\n"),
        (b'def f():\n    """One\n    two."""\n    return 1\n', b"def f():\n    ''\n\n    return 1\n"),
        (b'class A: """One."""; x = 1\n', b'class A: """One."""; x = 1\n'),
        ('def f():\n    """あ"""  # い\n'.encode(), 'def f():\n    """あ"""  # い\n'.encode()),
        (b'def f():\r\n    """One."""\r\n    return 1\r\n', b"def f():\r\n    ''\n    return 1\r\n"),
    ],
)  # fmt: skip
def test_a_docstring_leaves_its_lines(source: bytes, left: bytes) -> None:
    assert blanked(source) == left


def test_the_start_is_the_module_that_the_object_imports() -> None:
    entry = (Path(__file__).parents[2] / "src/understudy/cloudflare/entry.py").read_text("utf-8")
    assert f"from {START} import CloudflareHost" in entry
