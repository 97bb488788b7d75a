"""The folders of an export: nothing in a rater's part tells what a rater must not know."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from capo_annotation.draw import Drawn, Subject
from capo_annotation.key import Key
from capo_annotation.projects import Shown, folder_of, key_of, rounds, write

from capo_data.errors import RunError, SourceError

RATERS = ("ann", "bo", "cy")
HOSTILE = [
    "<script>alert(1)</script> & <b>bold</b>",
    "{{anchors}} ${item} {% if x %} $history {{ 7*7 }}",
    "long " * 4_000,
    "=cmd|' /C calc'!A0",
    "\u202eright to left \U0001f4a1 \u2028 line",
    '"quotes" \\ and \x07 bells',
]


def export(count: int = 30, repeat: int = 5, secret: bytes = b"secret", seed: int = 0) -> Key:
    drawn = [
        Drawn(Subject(f"row{at}:hard_rejected", f"row{at}", "hard_rejected", "demo", 6.0), 0.5, "")
        for at in range(count)
    ]
    return key_of(
        drawn, RATERS, secret, rubric="coherence", turn=1, repeat=repeat, seed=seed, settings={"rows": count}
    )


def shown(key: Key) -> dict[str, Shown]:
    return {
        one.item: Shown([("1. Lamp - rated Good", HOSTILE[at % len(HOSTILE)])], f"Mug {at}", f"Text {at}")
        for at, one in enumerate(key.items)
    }


def written(folder: Path, key: Key) -> Path:
    write(folder / "round-1", key, shown(key))
    return folder / "round-1"


def tasks(folder: Path, rater: str) -> list[dict]:
    return [one["data"] for one in json.loads((folder_of(folder, rater) / "tasks.json").read_text("utf-8"))]


def test_each_rater_has_every_item_in_an_order_of_their_own() -> None:
    key = export(repeat=0)
    orders = [[one.item for one in key.of_rater(rater)] for rater in RATERS]
    assert all(sorted(order) == sorted(orders[0]) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert sorted(orders[0]) != orders[0]


def test_a_task_is_known_by_an_id_that_says_nothing_and_is_nobody_elses() -> None:
    key = export()
    ids = [one.task for one in key.tasks]
    assert len(set(ids)) == len(ids) == 3 * 35
    assert export() == key
    assert not set(ids) & {one.task for one in export(secret=b"another").tasks}
    assert not any(one.row in one.item and one.row in task for one in key.items for task in ids)


def test_what_comes_twice_comes_far_apart() -> None:
    for seed in range(20):
        key = export(repeat=10, seed=seed)
        for rater in RATERS:
            order = [(one.item, one.repeat) for one in key.of_rater(rater)]
            twice = [item for item, repeat in order if repeat == 2]
            assert len(twice) == 10
            assert all(order.index((item, 2)) - order.index((item, 1)) >= 10 for item in twice)
    assert {one.item for one in key.of_rater("ann") if one.repeat == 2} != {
        one.item for one in key.of_rater("bo") if one.repeat == 2
    }


def test_a_raters_part_holds_neither_score_nor_role_nor_row(tmp_path: Path) -> None:
    key = export()
    folder = written(tmp_path, key)
    for rater in RATERS:
        own = folder_of(folder, rater)
        assert sorted(path.name for path in own.iterdir()) == ["guidelines.md", "labelling.xml", "tasks.json"]
        assert all(set(data) == {"capo_id", "history", "title", "rationale"} for data in tasks(folder, rater))
        everything = "".join(path.read_text("utf-8") for path in own.iterdir())
        for secret in ("hard_rejected", "row1", key.export, "0.5"):
            assert secret not in everything


def test_texts_are_written_as_they_are(tmp_path: Path) -> None:
    key = export(repeat=0)
    texts = {
        task.item: data
        for task, data in zip(key.of_rater("bo"), tasks(written(tmp_path, key), "bo"), strict=True)
    }
    for item, one in shown(key).items():
        assert texts[item]["history"] == [{"bought": line, "said": said} for line, said in one.history]
        assert texts[item]["title"] == one.item


def test_the_key_is_its_owners_alone_and_reads_back(tmp_path: Path) -> None:
    key = export()
    folder = written(tmp_path, key)
    assert Key.read(folder) == key
    assert stat.S_IMODE((folder / "key.json").stat().st_mode) == 0o600
    assert rounds(tmp_path) == [folder]


def test_an_export_is_never_written_over(tmp_path: Path) -> None:
    written(tmp_path, export())
    with pytest.raises(RunError, match="an export already"):
        written(tmp_path, export(seed=1))


@pytest.mark.parametrize(
    ("text", "why"),
    [("{", "JSONDecodeError"), ("{}", "KeyError"), ('{"format": 2}', "another version"), ("[]", "TypeError")],
)
def test_a_broken_key_is_named(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "key.json").write_text(text)
    with pytest.raises(SourceError, match="key of an export") as caught:
        Key.read(tmp_path)
    assert why in caught.value.why
    assert str(tmp_path / "key.json") in caught.value.where
