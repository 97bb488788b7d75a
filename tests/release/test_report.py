"""`capo-data report`: what is counted, which rows are shown, that texts are texts."""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import release_rows
from hypothesis import given, settings
from hypothesis import strategies as st

import capo_data
from capo_data.errors import ContractError, RunError, UsageError
from capo_data.records import SilentReporter
from capo_data.release.report import chunks, page, sample
from capo_data.release.report.flow import flow
from capo_data.release.report.measure import Measures, Triplets, measure

HTML = "<img src=x onerror=alert(1)><script>alert(2)</script></script> &amp; {{ 7*7 }}"
FORMULA = '=HYPERLINK("http://evil")'
OVERRIDE = "left \u202e right \u0007"
LONG = "long " * 20_000
NASTY = (HTML, FORMULA, OVERRIDE, LONG)


def nasty_rows() -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Rows whose reviews, titles and rationales are what a shop should not have let in."""
    given = release_rows.rows()
    for rows in given.values():
        for row in rows:
            for entry, text in zip(row["history"], NASTY, strict=False):
                entry["review"] = text
                entry["description"] = text
    for row, text in zip(given["capo", "train"], NASTY, strict=True):
        row["history"][0] |= {"title": text[:500], "review": text}
        row["chosen"] |= {"title": text[:500], "rationale": text}
    return given


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release_rows.build(tmp_path_factory.mktemp("nasty"), nasty_rows())


def measured(dataset: Path) -> Measures:
    return measure(dataset, SilentReporter())


def unpacked(text: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(text)))
    return values


def packed_rows(packed: chunks.Packed) -> Iterator[dict[str, Any]]:
    """Rows as the page's script puts them together again."""
    index = unpacked(packed.index)
    parts = [unpacked(one) for one in packed.rows]
    for row, key in enumerate(index["id"]):
        chunk, at = parts[row // chunks.ROWS], row % chunks.ROWS
        yield {
            "id": key,
            "domain": index["domains"][index["domain"][row]],
            "scores": index["score"][row],
            "differs": index["differs"][row],
            "history": [index["title"][item] for item in chunk["history"][at]],
            "reviews": chunk["review"][at],
            "answers": chunk["answers"][at],
            "titles": [index["title"][one["item"]] for one in chunk["answers"][at]],
            "other": chunk["other"][at],
        }


def pack(dataset: Path, places: list[int], limit: int = 10**9, against: Path | None = None) -> chunks.Packed:
    triplets = measured(dataset).triplets
    return chunks.pack(dataset, triplets, places, against=against, limit=limit, report=SilentReporter())


def test_a_run_in_numbers(dataset: Path) -> None:
    found = measured(dataset)
    assert found.chosen == {"3": 1, "6": 5}
    assert found.judges == {"sft": ("lexical",), "capo": ("lexical",)}
    assert found.scores["hard_rejected"] == {"4": 3, "5": 1}
    (conflicts,) = found.conflicts
    assert (conflicts.name, conflicts.rows, conflicts.above, conflicts.level) == ("demo", 4, 1, 0)
    assert found.history_lengths == {3: 6}
    assert found.ratings == {"Bad": 6, "Excellent": 6, "no rating": 6}
    assert found.rationale_lengths["chosen"].tolist() == [len(text) for text in NASTY]
    assert found.popularity["chosen"].tolist() == [1] * 4
    assert found.popularity["hard_rejected"].tolist() == [0] * 4
    assert flow(found) == ()  # a dataset alone does not know what was dropped


def test_the_flow_adds_up_at_every_step(dataset: Path) -> None:
    manifest = {
        "table1": {"interactions": 900},
        "counts": {"instances": {"train": 8, "validation": 7, "test": 6}, "judged": 7},
    }
    dropped = {
        ("source", "broken_line"): 5,
        ("candidates", "chosen item has no title"): 3,
        ("triplets", "rejected items tied"): 2,
        ("triplets", "rejected item's answer: no_rating"): 1,
    }
    steps = flow(replace(measured(dataset), manifest=manifest, dropped=dropped))
    parts = {part.name: part.count for step in steps for part in step.parts}
    assert [step.total for step in steps] == [905, 24, 8, 4]
    assert parts["unusable rows"] == 5
    assert parts["no title to show"] == 3
    assert (parts["tied, dropped"], parts["answer unreadable"], parts["not judged"]) == (2, 1, 1)
    assert (parts["chosen highest"], parts["hard rejected level"], parts["conflict"]) == (3, 0, 1)


def triplets_of(strata: list[tuple[str, int]]) -> Triplets:
    return Triplets(
        tuple(f"row-{n}" for n in range(len(strata))),
        tuple(domain for domain, _ in strata),
        np.array([[score, 4, 2] for _, score in strata], dtype=np.int64).reshape(-1, 3),
        np.array([score < 4 for _, score in strata], dtype=np.bool_),
    )


STRATA = st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 7)), max_size=60)


@settings(max_examples=60, deadline=None)
@given(STRATA, st.integers(0, 3), st.data())
def test_any_part_of_the_order_is_a_stratified_sample(
    strata: list[tuple[str, int]], seed: int, data: st.DataObject
) -> None:
    order = sample.order(triplets_of(strata), seed)
    assert sorted(order) == list(range(len(strata)))
    count = data.draw(st.integers(0, len(strata)))
    sizes, taken = Counter(strata), Counter(strata[place] for place in order[:count])
    # One share x of all strata gives every count as x * size rounded up.
    highest = max(((taken[one] - 1) / size for one, size in sizes.items()), default=0)
    lowest = min((taken[one] / size for one, size in sizes.items()), default=0)
    assert highest <= lowest
    if count >= len(sizes):
        assert set(taken) == set(sizes)


def test_the_sample_is_drawn_by_seed_and_id_whatever_the_rows_order() -> None:
    found = triplets_of([("a", 5)] * 30 + [("b", 2)] * 30)
    turned = list(range(60))
    random.Random(3).shuffle(turned)
    other = Triplets(
        tuple(found.ids[n] for n in turned),
        tuple(found.domains[n] for n in turned),
        found.scores[turned],
        found.conflict[turned],
    )
    order = [found.ids[n] for n in sample.order(found, 7)]
    assert order == [other.ids[n] for n in sample.order(other, 7)]
    assert order != [found.ids[n] for n in sample.order(found, 8)]


def test_rows_are_packed_and_unpacked_without_loss(dataset: Path) -> None:
    rows = list(packed_rows(pack(dataset, [0, 1, 2, 3])))
    given = nasty_rows()["capo", "train"]
    for row, true in zip(rows, given, strict=True):
        assert row["id"] == true["id"]
        assert row["history"] == [entry["title"] for entry in true["history"]]
        assert row["reviews"] == [entry["review"] for entry in true["history"]]
        roles = ("chosen", "hard_rejected", "easy_rejected")
        assert row["scores"] == [true[role]["score"] for role in roles]
        assert row["titles"] == [true[role]["title"] for role in roles]
        assert [one["rationale"] for one in row["answers"]] == [true[role]["rationale"] for role in roles]


def test_item_texts_stand_once(tmp_path: Path) -> None:
    given = release_rows.rows(30)
    for row in given["capo", "train"]:
        row["history"][0] |= {"item_id": "same", "title": "The same lamp", "description": "Its only text."}
        row["hard_rejected"] |= {"item_id": "same", "title": "The same lamp"}
    packed = pack(release_rows.build(tmp_path, given), list(range(20)))
    index = unpacked(packed.index)
    texts = [text for one in packed.items for text in unpacked(one)["texts"]]
    assert index["item_id"].count("same") == index["title"].count("The same lamp") == 1
    assert sum("Its only text." in text for text in texts) == 1
    assert len(texts) == len(index["item_id"])


def test_what_does_not_fit_is_left_out_from_the_end_of_the_order(tmp_path: Path) -> None:
    dataset = release_rows.build(tmp_path, release_rows.rows(360))
    triplets = measured(dataset).triplets
    order = sample.order(triplets, 0)
    whole = pack(dataset, order)
    part = pack(dataset, order, limit=whole.size // 3)
    assert part.size <= whole.size // 3
    assert 30 < part.shown < len(order) // 2
    shown = {row["id"] for row in packed_rows(part)}
    assert shown == {triplets.ids[place] for place in order[: part.shown]}
    assert pack(dataset, order, limit=whole.size // 3) == part


def test_another_run_stands_beside_the_rows_that_both_have(dataset: Path, tmp_path: Path) -> None:
    given = release_rows.rows(5)
    given["capo", "train"][0]["chosen"]["score"] = 7
    given["capo", "train"] = given["capo", "train"][:2]
    rows = list(packed_rows(pack(dataset, [0, 1, 2, 3], against=release_rows.build(tmp_path, given))))
    assert [row["other"] is None for row in rows] == [False, False, True, True]
    assert [row["differs"] for row in rows] == [True, False, True, True]
    assert rows[0]["other"]["chosen"]["score"] == 7


def test_two_runs_are_compared_on_the_rows_that_both_have(dataset: Path, tmp_path: Path) -> None:
    given = release_rows.rows(5)
    given["capo", "train"] = given["capo", "train"][:3]
    given["capo", "train"][1]["chosen"]["score"] = 3
    other = measured(release_rows.build(tmp_path, given))
    assert page._both([measured(dataset), other]) == [
        ["triplets in both", "3", ""],
        ["the same three scores", "2", "66.7%"],
        ["the chosen item's score within one", "2", "66.7%"],
        ["in conflict in both", "1", "33.3%"],
        ["in conflict in one alone", "1", "33.3%"],
    ]
    assert page._both([other]) == []


@pytest.fixture(scope="module")
def reported(
    dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> capo_data.release.report.ReportResult:
    return capo_data.report(dataset, out=tmp_path_factory.mktemp("report"), rows=3)


def test_one_page_and_every_figure_as_png_and_svg(reported: Any) -> None:
    assert reported.page.stat().st_size == reported.size < 2_000_000
    assert {path.suffix for path in reported.figures} == {".png", ".svg"}
    assert all(path.stat().st_size > 1_000 for path in reported.figures)
    assert {path.stem for path in reported.figures} >= {
        *("chosen_scores", "scores_by_role", "conflicts"),
        *("history_lengths", "rationale_lengths", "ratings", "popularity"),
    }


def test_no_text_of_a_row_is_markup_on_the_page(reported: Any) -> None:
    text = reported.page.read_text()
    assert "onerror" not in text
    assert "\u202e" not in text
    scripts = re.findall(r"<script([^>]*)>", text)
    assert [one for one in scripts if "text/plain" not in one] == ["", "", ""]
    assert not re.search(r"\son[a-z]+\s*=|\sstyle\s*=|https?://", text)


def test_a_sample_is_called_one(reported: Any) -> None:
    assert (reported.rows, reported.shown) == (4, 3)
    text = reported.page.read_text()
    assert "3 of 4 triplets: a sample stratified by domain" in text
    assert "--id ID" in text


def test_the_scripts_put_text_into_the_page_as_text_alone() -> None:
    folder = Path(capo_data.__file__).parent / "pages"
    scripts = "".join(path.read_text() for path in folder.glob("*.js"))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function", scripts)
    assert not re.search(r"fetch\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|import\(", scripts)


def test_errors_are_clear(tmp_path: Path, dataset: Path) -> None:
    with pytest.raises(ContractError, match="There is no dataset here"):
        capo_data.report(tmp_path)
    with pytest.raises(UsageError, match="is negative"):
        capo_data.report(dataset, rows=-1)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="the report cannot be written"):
        capo_data.report(dataset, out=tmp_path / "file", rows=0)
