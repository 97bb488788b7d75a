"""The features in the card are those that `datasets` reads from the files."""

from __future__ import annotations

import pytest
import release_rows
from datasets import Features
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCardData

from capo_data.release.features import dataset_info
from capo_data.release.schema import SPLITS, schema

COUNTS = {
    "rows": {"sft": 4, "capo": 3, "validation": 4, "test": 4, "dpo": 3},
    "bytes": {"sft": 400, "capo": 300, "validation": 44, "test": 40, "dpo": 30},
}


@pytest.mark.parametrize("withheld", [False, True])
def test_they_are_the_features_of_the_schema(withheld: bool) -> None:
    found = {info["config_name"]: info for info in dataset_info(COUNTS, withheld)}
    assert found.keys() == SPLITS.keys()
    for config, info in found.items():
        expected = Features.from_arrow_schema(schema(config, withheld))
        assert Features._from_yaml_list(info["features"]) == expected
        assert info["features"] == expected._to_yaml_list()


def test_datasets_reads_them_with_the_sizes() -> None:
    infos = DatasetInfosDict.from_dataset_card_data(DatasetCardData(dataset_info=dataset_info(COUNTS, False)))
    assert infos["test"].splits["validation"].num_examples == 4
    assert infos["test"].dataset_size == 84
    assert infos["capo"].splits["train"].num_bytes == 300


def test_sizes_are_left_out_where_they_are_not_known() -> None:
    counts = release_rows.FACTS["counts"]
    assert all("splits" not in info for info in dataset_info(counts, False))
