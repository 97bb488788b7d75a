"""The trainer's own reader of a released dataset."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import release_rows
from capo_trainer import data
from capo_trainer.data import COLUMNS, SPLITS, DatasetError, check, read_rows

from capo_data.release import schema


@pytest.fixture
def folder(tmp_path):
    return release_rows.build(tmp_path)


def test_rows_come_in_order_and_whole(folder):
    given = release_rows.rows()
    for (config, split), rows in given.items():
        assert list(read_rows(folder, config, split)) == rows
    assert [row["id"] for row in read_rows(folder, "dpo")] == [row["id"] for row in given["capo", "train"]]


def test_spans_and_targets_point_where_they_say(folder):
    for row in read_rows(folder, "sft"):
        text = row["prompt"][-1]["content"]
        for span, entry in zip(row["history_spans"], row["history"], strict=True):
            assert entry["title"] in text[span["start"] : span["end"]]
        assert row["candidates"][row["target_index"]]["item_id"] == row["chosen"]["item_id"]
        assert row["completion"][0]["content"] == row["chosen"]["response"]


def test_a_sound_dataset_passes_with_its_counts(folder):
    assert check(folder) == {
        "sft/train": 6,
        "capo/train": 4,
        "test/validation": 6,
        "test/test": 6,
        "dpo/train": 4,
    }


def test_all_that_is_wrong_is_one_error(folder):
    (folder / "dpo" / "train-00000-of-00001.parquet").unlink()
    path = folder / "capo" / "train-00000-of-00001.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["order_by"]), path)
    (folder / "sft" / "train-00000-of-00001.parquet").write_bytes(b"no parquet")
    validation = folder / "test" / "validation-00000-of-00001.parquet"
    validation.rename(validation.with_name("validation-00001-of-00002.parquet"))
    with pytest.raises(DatasetError) as error:
        check(folder)
    lines = str(error.value).splitlines()
    assert len(lines) == 6
    assert "sft/train cannot be read" in lines[1]
    assert "capo/train: column order_by is missing" in lines[2]
    assert "has not all files of test/validation" in lines[3]
    assert "has no dpo/train" in lines[4]
    assert lines[5] == f"Check it with `capo-data validate {folder}`."


def test_only_the_configs_that_are_asked_for_must_be_there(folder):
    (folder / "dpo" / "train-00000-of-00001.parquet").unlink()
    assert check(folder, ["sft", "test"]).keys() == {"sft/train", "test/validation", "test/test"}


def test_reading_what_is_not_there_is_a_clear_error(folder):
    with pytest.raises(DatasetError, match="There is no sft/test; a dataset has sft/train"):
        next(read_rows(folder, "sft", "test"))
    path = folder / "sft" / "train-00000-of-00001.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["history_spans"]), path)
    with pytest.raises(DatasetError, match="column history_spans is missing"):
        next(read_rows(folder, "sft"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match="cannot be read"):
        next(read_rows(folder, "sft"))


def test_a_column_of_another_type_is_named(folder):
    path = folder / "test" / "test-00000-of-00001.parquet"
    table = pq.read_table(path)
    column = table.schema.get_field_index("target_index")
    pq.write_table(table.set_column(column, "target_index", table["target_index"].cast("string")), path)
    with pytest.raises(DatasetError, match="column target_index is not integer"):
        check(folder)


def test_the_columns_are_those_of_the_released_contract():
    assert SPLITS == schema.SPLITS
    for config, columns in COLUMNS.items():
        assert set(columns) <= set(schema.schema(config).names)


def test_the_trainer_imports_nothing_of_what_made_the_dataset():
    code = (
        "import sys, capo_trainer.data; print(sorted(m for m in sys.modules if m[:5] in ('capo_', 'torch')))"
    )
    environment = {"PYTHONPATH": str(Path(data.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['capo_trainer', 'capo_trainer.data', 'capo_trainer.errors']"


def test_the_card_names_the_tags(folder):
    assert data.tags(folder) == data.Tags("think", "item")
    card = folder / "README.md"
    card.write_text(card.read_text().replace("item_tag: item", "item_tag: item_nm"))
    assert data.tags(folder) == data.Tags("think", "item_nm")
    card.write_text(card.read_text().replace("format: 1", "format: 2"))
    with pytest.raises(DatasetError, match="format 2"):
        data.tags(folder)
    card.write_text("# by hand")
    with pytest.raises(DatasetError, match="no front matter"):
        data.tags(folder)
    card.unlink()
    assert data.tags(folder) == data.Tags()


def test_a_dataset_is_found_by_folder_or_by_its_run(folder):
    assert data.located(folder) == data.located(str(folder)) == folder
    (folder.parent / "manifest.json").write_text("{}")
    assert data.located(str(folder.parent)) == folder
    with pytest.raises(DatasetError, match="is no folder"):
        data.located(folder / "nothing" / "here")


def test_a_fingerprint_is_of_the_bytes(folder):
    before = data.fingerprint(folder, "capo")
    assert before == data.fingerprint(folder, "capo") != data.fingerprint(folder, "sft")
    path = folder / "capo" / "train-00000-of-00001.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    assert data.fingerprint(folder, "capo") != before
