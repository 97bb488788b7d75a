"""Which variants a word names, and how runs are compared."""

from __future__ import annotations

import numpy as np
import pytest
from capo_trainer import ablate, ablate_table, evaluate
from capo_trainer.errors import UsageError
from capo_trainer.evaluate_report import Kept


def kept(name, level, seed):
    random = np.random.default_rng(seed)
    values = {metric: np.clip(level + random.normal(0, 0.01, 80), 0, 1) for metric in evaluate.METRICS}
    users = [f"u{n}" for n in range(80)]
    return Kept(name, "expected", users, users, values, ())


@pytest.mark.parametrize(("text", "found"), [("A-F", "ABCDEF"), ("b,f", "BF"), ("C-D,A", "ACD")])
def test_variants_by_letters(text, found):
    assert ablate.letters(text) == list(found)


@pytest.mark.parametrize("text", ["", "G", "F-A", "A-", "A;B"])
def test_no_variant_is_refused(text):
    if text == "A-":
        assert ablate.letters(text) == ["A"]
        return
    with pytest.raises(UsageError) as told:
        ablate.letters(text)
    assert "A untrained" in told.value.why


def test_seeds_are_averaged_by_user_and_compared_with_sft(tmp_path):
    runs = {
        "B SFT": [kept("b", 0.2, 0), kept("b", 0.2, 1)],
        "F C-APO": [kept("f", 0.3, 2), kept("f", 0.3, 3)],
    }
    result = {**ablate.compared(runs, minus="B SFT", draws=200), "dataset": "d", "seeds": [0, 1]}
    difference = result["rows"]["F C-APO"]["HR@1 - B SFT"]
    assert 0.09 < difference["low"] < difference["mean"] < difference["high"] < 0.11
    assert "HR@1 - B SFT" not in result["rows"]["B SFT"]
    assert len(result["rows"]["F C-APO"]["by seed"]["HR@1"]) == 2
    ablate_table.draw(result, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5_000
    assert ablate_table.table(result, "variant").row_count == 3
