"""The dataset folder: the same rows give the same bytes, and anybody's tools can open it."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
import release_rows
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capo_data.errors import ContractError, RunError
from capo_data.release import dataset
from capo_data.release.schema import SPLITS, schema


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def ids(folder, config, split):
    return [i for batch in dataset.open_config(folder, config, split) for i in batch["id"].to_pylist()]


def test_what_goes_in_comes_out_in_order(tmp_path):
    given_rows = release_rows.rows(users=11)
    folder = release_rows.build(tmp_path, given_rows)
    for (config, split), rows in given_rows.items():
        batches = list(dataset.open_config(folder, config, split))
        assert [row for batch in batches for row in batch.to_pylist()] == rows
        assert batches[0].schema.equals(schema(config))
    counts = {name: len(rows) for (_, name), rows in given_rows.items() if name != "train"}
    assert dict(counts) == {"validation": 11, "test": 11}


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(per_part=st.integers(1, 13), groups=st.integers(1, 5))
def test_the_bytes_do_not_depend_on_how_the_rows_came_in(tmp_path_factory, per_part, groups):
    given_rows = release_rows.rows(users=12)
    folders = []
    for size in (per_part, 1000):
        at = tmp_path_factory.mktemp("build")
        parts = release_rows.write_parts(at / "parts", given_rows, per_file=size)
        dataset.assemble(at / "out", parts, release_rows.facts(), seed=3, rows_per_file=groups)
        folders.append(content(at / "out"))
    assert folders[0] == folders[1]


def test_row_groups_and_files_end_where_they_should(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "ROWS_PER_GROUP", 4)
    parts = release_rows.write_parts(tmp_path / "parts", release_rows.rows(users=23), per_file=3)
    written = dataset.assemble(tmp_path / "out", parts, release_rows.facts(), seed=3, rows_per_file=10)
    files = dataset.files_of(tmp_path / "out", "sft", "train")
    assert [p.name for p in files] == [f"train-0000{n}-of-00003.parquet" for n in range(3)]
    groups = [
        [meta.row_group(n).num_rows for n in range(meta.num_row_groups)]
        for meta in map(pq.read_metadata, files)
    ]
    assert groups == [[4, 4, 2], [4, 4, 2], [3]]
    assert written == {
        "sft/train": 23,
        "capo/train": 15,
        "test/validation": 23,
        "test/test": 23,
        "dpo/train": 15,
    }
    assert ids(tmp_path / "out", "sft", "train") == [f"demo-train-{n}-3" for n in range(23)]


def test_nothing_of_the_machine_is_written(tmp_path):
    folder = release_rows.build(tmp_path)
    for data in content(folder).values():
        assert str(tmp_path).encode() not in data
        assert b"pandas" not in data


def test_dpo_is_a_view_of_capo_drawn_by_seed_and_id(tmp_path):
    folder = release_rows.build(tmp_path, release_rows.rows(users=60))
    capo = [row for batch in dataset.open_config(folder, "capo", "train") for row in batch.to_pylist()]
    dpo = [row for batch in dataset.open_config(folder, "dpo", "train") for row in batch.to_pylist()]
    drawn = []
    for of, view in zip(capo, dpo, strict=True):
        hard = xxhash.xxh3_64_intdigest(f"17:{of['id']}".encode()) % 2 == 0
        negative = of["hard_rejected" if hard else "easy_rejected"]
        assert view == {
            "id": of["id"],
            "prompt": of["prompt"],
            "chosen": [{"role": "assistant", "content": of["chosen"]["response"]}],
            "rejected": [{"role": "assistant", "content": negative["response"]}],
        }
        drawn.append(hard)
    assert 10 <= sum(drawn) <= 30


def test_the_draw_follows_the_seed_not_the_position():
    from capo_data.release.schema import table

    rows = [release_rows.capo_row(n) for n in range(40)]
    forward, backward = table("capo", rows), table("capo", rows[::-1])
    views = [
        dataset.dpo_view(t.to_batches()[0], seed).sort_by("id")
        for t, seed in ((forward, 1), (backward, 1), (forward, 2))
    ]
    assert views[0].equals(views[1])
    assert not views[0].equals(views[2])


def test_a_split_without_rows_has_a_file(tmp_path):
    folder = release_rows.build(tmp_path, {})
    for config, splits in SPLITS.items():
        for split in splits:
            assert ids(folder, config, split) == []


def test_the_card_tells_the_rows_that_were_written(tmp_path):
    card = (release_rows.build(tmp_path) / "README.md").read_text()
    assert "| `sft` | train | 6 |" in card
    assert "| `dpo` | train | 4 |" in card


def test_a_part_in_another_schema_is_refused(tmp_path):
    parts = release_rows.write_parts(tmp_path / "parts", release_rows.rows())
    with pytest.raises(ContractError, match="not in its schema") as error:
        dataset.assemble(
            tmp_path / "out", {("capo", "train"): parts["sft", "train"]}, release_rows.facts(), seed=1
        )
    assert "hard_rejected is missing" in error.value.why
    with pytest.raises(ContractError, match="dpo"):
        dataset.assemble(tmp_path / "more", {("dpo", "train"): []}, release_rows.facts(), seed=1)


def test_a_folder_with_something_in_it_is_not_written_to(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        dataset.assemble(tmp_path, {}, release_rows.facts(), seed=1)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_place_that_cannot_be_written_is_an_error_with_the_place(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RunError) as error:
        dataset.assemble(tmp_path / "file" / "dataset", {}, release_rows.facts(), seed=1)
    assert str(tmp_path / "file") in error.value.where


def test_one_row_by_its_id_or_the_first(tmp_path):
    folder = release_rows.build(tmp_path)
    given_rows = release_rows.rows()
    assert dataset.read_row(folder) == given_rows["capo", "train"][0]
    assert dataset.read_row(folder, "demo-train-4-3") == given_rows["capo", "train"][2]
    assert dataset.read_row(folder, "demo-test-5-5", "test") == given_rows["test", "test"][5]


def test_an_unknown_row_says_how_ids_look_and_what_to_type(tmp_path):
    folder = release_rows.build(tmp_path)
    with pytest.raises(ContractError) as error:
        dataset.read_row(folder, "demo-1")
    assert error.value.why == "ids look like demo-train-1-3"
    assert error.value.next_command == f"capo-data show {folder} --id demo-train-1-3"
    with pytest.raises(ContractError, match="no config 'dop'"):
        dataset.read_row(folder, config="dop")
    with pytest.raises(ContractError, match="has no rows"):
        dataset.read_row(release_rows.build(tmp_path / "empty", {}))


def test_a_missing_or_broken_file_is_named(tmp_path):
    folder = release_rows.build(tmp_path)
    path = folder / "sft" / "train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ContractError, match="cannot be read") as error:
        ids(folder, "sft", "train")
    assert error.value.where == str(path)
    path.rename(path.with_name("train-00000-of-00002.parquet"))
    with pytest.raises(ContractError, match="not numbered"):
        ids(folder, "sft", "train")
    path.with_name("train-00000-of-00002.parquet").unlink()
    with pytest.raises(ContractError, match="no sft/train"):
        ids(folder, "sft", "train")


def test_a_run_folder_stands_for_its_dataset(tmp_path):
    folder = release_rows.build(tmp_path)
    assert dataset.locate(tmp_path) == dataset.locate(folder) == folder
    with pytest.raises(ContractError, match="no dataset here"):
        dataset.locate(tmp_path / "parts")
    with pytest.raises(ContractError, match="no dataset here") as error:
        dataset.locate(tmp_path / "nowhere")
    assert error.value.why == "there is no such folder"
