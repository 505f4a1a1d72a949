"""The costs in docs/cloudflare.md are those that bench/worker_day.py counts, and their sums are right."""

from __future__ import annotations

import re

import pytest

from bench import worker_day
from tests.cloudflare.place import Place
from tests.project.tree import ROOT

DOCUMENTS = ("docs/cloudflare.md", "docs/ja/cloudflare.md")
_ROW = r"^\| {} \| ([\d,]+) \| ([\d,]+) \| ([\d.]+) \|$"


def row(text: str, shown: str) -> tuple[int, int, float]:
    """Requests, rows, and rows each."""
    (found,) = re.findall(_ROW.format(re.escape(shown)), text, re.MULTILINE)
    return int(found[0].replace(",", "")), int(found[1].replace(",", "")), float(found[2])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_table_is_what_the_script_would_print(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    found = {kind: row(text, shown) for kind, shown in worker_day.SHOWN.items()}
    (bells,) = re.findall(r"^\| settings of the alarm, a row each \| \| ([\d,]+) \| 1 \|$", text, re.MULTILINE)
    requests = worker_day.Counter({kind: one[0] for kind, one in found.items()})
    rows = worker_day.Counter({kind: one[1] for kind, one in found.items()})
    rows[worker_day.BELLS] = int(bells.replace(",", ""))
    table = "\n".join(worker_day.table({"requests": requests, "rows": rows}))
    assert table in text


@pytest.mark.real_worker
def test_ten_minutes_of_a_day_cost_what_the_document_says(place: Place) -> None:
    text = (ROOT / DOCUMENTS[0]).read_text("utf-8")
    found = worker_day.counted(1, part_s=600)
    for kind in ("heartbeat", "task", "result", "alarm"):
        each = found["rows"][kind] / found["requests"][kind]
        assert each == pytest.approx(row(text, worker_day.SHOWN[kind])[2], abs=1.5), kind
    assert found["requests"]["heartbeat"] <= 600 // 10 + 2
