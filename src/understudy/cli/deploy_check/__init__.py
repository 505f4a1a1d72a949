"""`understudy deploy cloudflare --check`: what would be uploaded is built in a directory of its own, and judged.

Nothing is uploaded, and nothing in the owner's directory is touched. Only npm and PyPI are asked for anything.
"""

from __future__ import annotations

INSTALL = (
    "pip install --target python_modules --no-deps --only-binary :all: --platform pyemscripten_2026_0_wasm32"
    " --platform manylinux2014_x86_64 --python-version 3.14 --implementation cp --abi cp314 -r requirements.txt"
)
