"""`capo-data report` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import release_rows
from command_line import say


def test_the_command_says_where_things_are(tmp_path: Path) -> None:
    dataset = release_rows.build(tmp_path)
    said = say("report", dataset, "--rows", 0, "--json")
    told = json.loads(said.out)
    assert (said.code, told["rows_shown"], told["rows"]) == (0, 0, 4)
    assert Path(told["page"]) == tmp_path / "dataset-report" / "report.html"
    assert Path(told["page"]).stat().st_size == told["bytes"]


def test_a_folder_without_a_dataset_is_said_to_be_one(tmp_path: Path) -> None:
    said = say("report", tmp_path)
    assert said.code == 1
    assert "There is no dataset here" in said.err
