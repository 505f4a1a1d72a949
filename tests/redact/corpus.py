"""Reads the corpus: secrets that must go are made up here, so that the repository holds nothing that looks like one."""

from __future__ import annotations

import random
import re
import string
from pathlib import Path
from typing import NamedTuple

ALPHABETS = {
    "an": string.ascii_letters + string.digits,
    "hex": "0123456789abcdef",
    "dig": string.digits,
    "up": string.ascii_uppercase + string.digits,
    "low": string.ascii_lowercase + string.digits,
    "b64:": string.ascii_letters + string.digits + "+/",
}
MADE_UP = re.compile(r"\{(an|hex|dig|up|low|b64:)([0-9]+)\}")


class Gone(NamedTuple):
    kind: str
    text: str
    secret: str

    @property
    def left(self) -> str:
        """The text as it must be afterwards."""
        return self.text.replace(self.secret, "[REDACTED]")


def made_up(form: str, seed: str) -> str:
    rng = random.Random(seed)

    def fill(found: re.Match[str]) -> str:
        chars = ALPHABETS[found[1]]
        made = [rng.choice(chars) for _ in range(int(found[2]))]
        digits = [char for char in chars if char.isdigit()]
        made[len(made) // 2] = rng.choice(digits)  # none of the services gives out words
        return "".join(made)

    return MADE_UP.sub(fill, form)


def lines(name: str) -> list[str]:
    text = (Path(__file__).parent / name).read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("# ")]


def gone() -> list[Gone]:
    read = []
    for line in lines("gone.txt"):
        kind, _, form = line.partition(" | ")
        text = re.sub(r"(?<!\\)\\n", "\n", made_up(form, kind)).replace("\\\\n", "\\n")
        secret = text[text.index("«") + 1 : text.index("»")]
        read.append(Gone(kind, text.replace("«", "").replace("»", ""), secret))
    return read


GONE = gone()
STAYS = lines("stays.txt")
