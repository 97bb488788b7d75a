"""Fig. 7 from what a run wrote, or one clear line."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import say

ROWS = [
    {"id": f"r{n}", "rejected": 1 + n % 2, "gap": float(n % 5 - 2), "weight": n % 5 / 4} for n in range(20)
]


def test_the_weights_by_gap_are_told_and_drawn(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "weights.parquet")
    figure = tmp_path / "figures" / "weights.png"
    done = say("weights", tmp_path, "--figure", figure, "--json", program="capo-train")
    assert done.code == 0, done.err
    found = json.loads(done.out)["by_gap"]
    assert [(row["gap"], row["rows"], row["median"]) for row in found] == [
        (gap, 4, (gap + 2) / 4) for gap in range(-2, 3)
    ]
    assert figure.stat().st_size > 10_000


@pytest.mark.parametrize("content", [b"no parquet", None])
def test_what_holds_no_weights_is_told(tmp_path, content):
    if content is None:
        pq.write_table(pa.table({"other": [1]}), tmp_path / "weights.parquet")
    else:
        (tmp_path / "weights.parquet").write_bytes(content)
    told = say("weights", tmp_path, program="capo-train")
    assert (told.code, "the weights of a run cannot be read" in told.err) == (2, True)


def test_a_figure_without_a_format_is_refused(tmp_path):
    told = say("weights", tmp_path, "--figure", "w.xyz", program="capo-train")
    assert (told.code, "end it in .png" in told.err) == (2, True)
