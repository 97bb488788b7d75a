from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from capo_data import run
from capo_data.errors import RunError, UsageError

IDENTITY = {"recipe": {"seed": 0, "ties": {"policy": "drop"}}}


def test_a_new_run_is_a_manifest_and_a_lock(tmp_path: Path) -> None:
    with run.opened(tmp_path / "r", "auto", IDENTITY) as one:
        assert one.manifest()["identity"] == IDENTITY
    with run.opened(tmp_path / "r", "require", IDENTITY) as one:
        one.update({"status": "complete"})
    assert run.read_manifest(tmp_path / "r")["status"] == "complete"


def test_a_run_that_asked_nothing_takes_a_mended_recipe(tmp_path: Path) -> None:
    with run.opened(tmp_path / "r", "auto", IDENTITY):
        pass
    with run.opened(tmp_path / "r", "auto", {"recipe": {"seed": 1}}) as one:
        assert one.manifest()["identity"] == {"recipe": {"seed": 1}}


def test_another_recipe_is_refused_and_the_field_is_named(tmp_path: Path) -> None:
    with run.opened(tmp_path / "r", "auto", IDENTITY) as one:
        one.journal.touch()
    other = {"recipe": {"seed": 0, "ties": {"policy": "keep"}}}
    with pytest.raises(UsageError) as caught, run.opened(tmp_path / "r", "auto", other):
        pass
    assert "recipe.ties.policy (was 'drop', now 'keep')" in caught.value.why
    assert "journal.sqlite" in caught.value.next_command


def test_require_needs_a_run_and_never_moves_it_aside(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="nothing to resume"),
        run.opened(tmp_path / "r", "require", IDENTITY),
    ):
        pass
    for _ in range(3):
        with run.opened(tmp_path / "r", "never", IDENTITY) as one:
            one.journal.write_text("paid for")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r", "r.old-1", "r.old-2"]
    assert (tmp_path / "r.old-2" / "journal.sqlite").read_text() == "paid for"


def test_a_folder_of_something_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(RunError, match="holds no run"), run.opened(tmp_path, "auto", IDENTITY):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_journal_copied_from_another_run_is_welcome(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "journal.sqlite").write_text("answers")
    with run.opened(tmp_path / "r", "auto", IDENTITY) as one:
        assert one.journal.read_text() == "answers"


def test_two_builds_in_one_folder_are_told_apart_by_process(tmp_path: Path) -> None:
    with run.opened(tmp_path / "r", "auto", IDENTITY):
        other = (
            "from capo_data import run; from pathlib import Path; import sys\n"
            f"with run.opened(Path({str(tmp_path / 'r')!r}), 'auto', {IDENTITY!r}): pass\n"
        )
        found = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert f"process {os.getpid()} holds the lock" in found.stderr


def test_a_stage_is_built_once_and_again_when_its_inputs_change(tmp_path: Path) -> None:
    built: list[int] = []

    def build(folder: Path) -> dict[str, int]:
        built.append(1)
        (folder / "x").write_text("done")
        return {"n": len(built)}

    with run.opened(tmp_path / "r", "auto", IDENTITY) as one:
        assert one.stage("s", {"a": 1}, build)[1] == {"n": 1}
        assert one.stage("s", {"a": 1}, build)[1] == {"n": 1}
        home, facts = one.stage("s", {"a": 2}, build)
    assert facts == {"n": 2}
    assert (home / "x").read_text() == "done"


def test_a_stage_that_fails_halfway_is_never_seen(tmp_path: Path) -> None:
    def fail(folder: Path) -> dict[str, int]:
        (folder / "half").write_text("h")
        raise ValueError("no")

    with run.opened(tmp_path / "r", "auto", IDENTITY) as one:
        with pytest.raises(ValueError, match="no"):
            one.stage("s", {}, fail)
        assert not (one.folder / "stages" / "s").exists()
        home, _ = one.stage("s", {}, lambda folder: {})
    assert [path.name for path in home.iterdir()] == ["done.json"]


def test_a_dataset_that_was_being_replaced_comes_back(tmp_path: Path) -> None:
    home = tmp_path / "dataset"
    home.mkdir()
    (home / "old").touch()
    home.rename(tmp_path / "dataset.replaced")  # killed between the two renames
    run.recover(home)
    assert (home / "old").exists()
    new = tmp_path / "dataset.partial"
    new.mkdir()
    (new / "new").touch()
    run.publish(new, home)
    assert [path.name for path in home.iterdir()] == ["new"]
    assert not (tmp_path / "dataset.replaced").exists()


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    with run.opened(tmp_path / "r", "auto", IDENTITY):
        pass
    (tmp_path / "r" / "manifest.json").write_text('{"identity": ')
    with pytest.raises(RunError, match="damaged") as caught:
        run.read_manifest(tmp_path / "r")
    assert "manifest.json" in caught.value.where


def test_a_path_that_cannot_hold_a_run_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(RunError, match="leads through a file"),
        run.opened(tmp_path / "file" / "r", "auto", IDENTITY),
    ):
        pass


def test_a_full_disk_is_a_clear_error_and_what_was_there_stays(tmp_path: Path) -> None:
    with run.opened(tmp_path / "r", "auto", IDENTITY):
        pass
    before = (tmp_path / "r" / "manifest.json").read_text()
    # Every write to /dev/full fails with ENOSPC.
    (tmp_path / "r" / "manifest.json.partial").symlink_to(Path("/dev/full"))
    with (
        pytest.raises(RunError, match="disk is full") as caught,
        run.opened(tmp_path / "r", "auto", IDENTITY) as one,
    ):
        one.update({"notes": "x" * 1_000_000})
    assert "nothing that was finished is lost" in caught.value.next_command
    assert (tmp_path / "r" / "manifest.json").read_text() == before
    assert json.loads(before)["identity"] == IDENTITY
