"""`python_modules` as compile.mjs leaves it, made by the script itself in npm's Pyodide."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.cloudflare.place import TEMPLATE, NotHereError, Place
from tests.cloudflare.workerd import MODULES, SOURCE, files, packages, understudy

COMPILED_WITHIN_S = 600


def compiled(place: Place, directory: Path) -> dict[str, Path]:
    """The modules of an upload, made in this directory. NotHereError without Node."""
    node = shutil.which("node")
    if node is None:
        raise NotHereError("no Node, so nobody sees whether a compiled hub works as a Cloudflare Worker")
    root = directory / "python_modules"
    ours = ((f"python_modules/{name}", path) for name, path in understudy())
    script = (("python_modules/understudy/cloudflare/compiling.py", SOURCE / "cloudflare" / "compiling.py"),)
    for name, path in (*ours, *packages(place.python_modules), *script):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, directory / name)
    shutil.copyfile(TEMPLATE / "compile.mjs", directory / "compile.mjs")
    (directory / "node_modules").symlink_to(place.root / "node_modules")
    command = [node, "compile.mjs"]
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=COMPILED_WITHIN_S, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {f"python_modules/{path.relative_to(root).as_posix()}": path for path in files(root, MODULES)}
