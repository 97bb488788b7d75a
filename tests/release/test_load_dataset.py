"""A real build, opened by `datasets` alone: every config and split, in memory and streaming."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import hub_repository
import pyarrow.parquet as pq
import pytest
from real_data import real_data

import capo_data
import releases
from capo_data.release.schema import SPLITS

# A process of its own: `datasets` fixes its cache folders at import and leaves threads behind.
LOADS = """
import json, sys
from datasets import get_dataset_config_names, load_dataset

folder, found = sys.argv[1], {}
for config in get_dataset_config_names(folder):
    for split, rows in load_dataset(folder, config).items():
        found[f"{config}/{split}"] = rows.to_list()
    for split, rows in load_dataset(folder, config, streaming=True).items():
        assert list(rows) == found[f"{config}/{split}"], (config, split)
assert load_dataset(folder).keys() == {"train"}  # `capo` is the default
json.dump(found, sys.stdout)
"""


def load(folder: Path, home: Path) -> dict[str, list[dict]]:
    environment = {
        **os.environ,
        "HF_HOME": str(home),
        "HF_DATASETS_CACHE": str(home / "datasets"),
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", LOADS, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def is_opened_whole(folder: Path, home: Path) -> dict[str, list[dict]]:
    """Asserts that `datasets` reads what the files hold, and gives the rows."""
    found = load(folder, home)
    assert found.keys() == {f"{config}/{split}" for config, splits in SPLITS.items() for split in splits}
    for name, rows in found.items():
        config, split = name.split("/")
        files = sorted((folder / config).glob(f"{split}-*.parquet"))
        assert rows == [row for path in files for row in pq.read_table(path).to_pylist()], name
    return found


def test_a_build_of_the_demo_shop(tmp_path):
    recipe = tmp_path / "small.yaml"
    recipe.write_text(
        "domain: demo\nsource: {kind: demo, size: {users: 60, items: 120, interactions: 600}}\n"
    )
    built = capo_data.build(recipe=recipe, judge="lexical", out=tmp_path / "run", cache=tmp_path / "cache")
    found = is_opened_whole(built.dataset, tmp_path / "hf")
    assert {name: len(rows) for name, rows in found.items()} == built.manifest["rows"]
    assert capo_data.validate(built.dataset).ok


def test_a_build_of_real_reviews(tmp_path):
    source = real_data("all_beauty_5core_2023")
    places = {"out": tmp_path / "run", "cache": tmp_path / "cache"}
    built = capo_data.build("beauty", source=source, judge="lexical", users=60, **places)
    found = is_opened_whole(built.dataset, tmp_path / "hf")
    assert len(found["test/validation"]) == len(found["test/test"]) == len(found["sft/train"]) == 60
    for row in found["capo/train"]:
        scores = [row[role]["score"] for role in ("hard_rejected", "easy_rejected")]
        assert scores[0] > scores[1]
        assert row["conflict"] == (scores[0] > row["chosen"]["score"])
    known = {row["id"] for row in found["sft/train"]}
    assert {row["id"] for row in found["dpo/train"]} == {row["id"] for row in found["capo/train"]} < known


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_a_release_with_and_without_texts_and_what_was_pulled(tmp_path, monkeypatch):
    recipe = tmp_path / "small.yaml"
    recipe.write_text(releases.RECIPE)
    run = capo_data.build(recipe=recipe, out=tmp_path / "run", cache=tmp_path / "cache").run
    with hub_repository.serve() as hub:
        releases.on_hub(monkeypatch, hub.address, hub_repository.TOKEN)
        capo_data.push(run, "my-org/tiny")
        pulled = capo_data.pull("my-org/tiny", out=tmp_path / "tiny")
    assert is_opened_whole(pulled, tmp_path / "hf")["capo/train"][0]["prompt"]
    capo_data.push(run, "my-org/tiny", with_text=False, dry_run=True)
    found = is_opened_whole(run / "release", tmp_path / "hf2")
    assert found["capo/train"][0]["prompt"] is None
    assert found["capo/train"][0]["history"][0]["title"] is None
