"""Push and pull against a loopback Hub that is busy, breaks off, and has other people on it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import builds
import capo_releases
import hub_repository
import pytest
import yaml
from command_line import say

import capo_data
import releases
from capo_data.errors import CapoError, ContractError, RunError, UsageError
from capo_data.records import SilentReporter
from capo_data.release import hub_api
from capo_data.release.hub_api import HubError
from capo_data.release.prepare import Choices, prepare
from capo_data.release.upload import Pushed, upload

NAME = "my-org/tiny"
# huggingface_hub hands files to httpx2 in a way that httpx2 is leaving behind.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPO_DATA_SALT", "a salt for tests")
        return releases.tiny(folder)


@pytest.fixture(scope="module")
def ready(built: Path) -> Path:
    """A release that is built and validated."""
    return prepare(built, Choices(repository=NAME)).folder


@pytest.fixture
def run(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("capo_data.release.prepare.drawable", lambda: False)  # tested in test_prepare.py
    return Path(shutil.copytree(built, tmp_path / "run"))


def sent(folder: Path, *, branch: str = "main", private: bool = False, tag: str | None = None) -> Pushed:
    """What `capo_data.push` does with a release once it is built."""
    hub = hub_api.Hub(NAME, hub_repository.TOKEN, SilentReporter())
    return upload(folder, hub, branch=branch, private=private, tag=tag)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_repository.Hub]:
    with hub_repository.serve() as server:
        releases.on_hub(monkeypatch, server.address, hub_repository.TOKEN)
        monkeypatch.setattr(hub_api, "LONGEST_WAIT", 0.01)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
        yield server


def tree(hub: hub_repository.Hub, revision: str = "main") -> dict[str, str]:
    """By path the hash of what the Hub holds of a release."""
    repository = hub.repositories[NAME]
    commit = repository.find(revision)
    assert commit is not None
    content = repository.trees[commit]
    return {path: hub_repository.sha256(text) for path, text in content.items() if path != ".gitattributes"}


def test_a_push_sends_everything_once_and_tags_it(hub: hub_repository.Hub, ready: Path) -> None:
    done = sent(ready)
    assert tree(hub) == tree(hub, "v1") == builds.digest(ready)
    assert done.url == f"{hub.address}/datasets/{NAME}"
    assert set(done.sent) == set(tree(hub))
    assert len(hub.puts) == len(set(hub.puts))
    assert hub.refused == []  # nothing was asked that the real Hub is not known to answer
    assert capo_data.validate(NAME, revision="v1").ok


def test_a_second_push_sends_nothing(hub: hub_repository.Hub, ready: Path) -> None:
    first = sent(ready)
    hub.log.clear()
    second = sent(ready)
    assert second.sent == ()
    assert (second.commit, second.tag) == (first.commit, "v1")
    assert {"preupload", "put", "commit", "tag"}.isdisjoint(hub.log)


def test_only_what_changed_is_sent_again_and_gets_the_next_version(
    hub: hub_repository.Hub, run: Path
) -> None:
    capo_data.push(run, NAME)
    hub.puts.clear()
    done = capo_data.push(run, NAME, license="cc-by-4.0")
    assert done.pushed is not None
    assert done.pushed.tag == "v2"
    assert set(done.pushed.sent) == {"README.md", "release.json", "croissant.json"}
    assert hub.puts == []  # no row changed
    assert tree(hub, "v1") != tree(hub, "v2")


@pytest.mark.parametrize(
    "kind", ["create", "info", "tree", "preupload", "batch", "put", "verify", "commit", "tag"]
)
@pytest.mark.parametrize("fault", [429, 503, "reset", "lost"])
def test_a_busy_hub_and_broken_connections_are_waited_for(
    hub: hub_repository.Hub, ready: Path, kind: str, fault: int | str
) -> None:
    hub.faults[kind].append(fault)
    sent(ready)
    assert not hub.faults[kind]
    assert tree(hub, "v1") == builds.digest(ready)
    repository = hub.repositories[NAME]
    assert len(repository.trees) == 2  # the first one and ours: nothing was committed twice
    assert list(repository.tags) == ["v1"]


def test_an_interrupted_push_goes_on_where_it_was(hub: hub_repository.Hub, ready: Path) -> None:
    hub.faults["commit"].extend(["reset"] * hub_api.ATTEMPTS)
    with pytest.raises(HubError, match="cannot be reached") as caught:
        sent(ready)
    assert "same command again" in caught.value.next_command
    there = list(hub.puts)
    assert there  # the rows are there, the commit is not
    assert tree(hub) == {}
    sent(ready)
    assert hub.puts == there  # and were not sent again
    assert tree(hub, "v1") == builds.digest(ready)


def commit_of_somebody(path: str):
    def commit(hub: hub_repository.Hub) -> None:
        repository = hub.repositories[NAME]
        head = repository.trees[repository.branches["main"]]
        repository.commit("main", {**head, path: b"somebody was here"})

    return commit


def test_a_conflict_elsewhere_is_no_obstacle(hub: hub_repository.Hub, ready: Path) -> None:
    hub.faults["commit"].append(commit_of_somebody("notes.txt"))
    sent(ready)
    found = tree(hub)
    assert found.pop("notes.txt") == hub_repository.sha256(b"somebody was here")
    assert found == builds.digest(ready)


def test_a_conflict_with_a_file_of_the_release_is_told_and_not_overwritten(
    hub: hub_repository.Hub, ready: Path
) -> None:
    hub.faults["commit"].append(commit_of_somebody("README.md"))
    with pytest.raises(HubError, match="somebody else changed this dataset"):
        sent(ready)
    assert tree(hub) == {"README.md": hub_repository.sha256(b"somebody was here")}
    assert sent(ready).commit  # asked again, it is put on top
    assert tree(hub) == builds.digest(ready)


@pytest.mark.parametrize("status", [409, 412])
def test_a_refused_commit_is_tried_on_the_new_head(hub: hub_repository.Hub, ready: Path, status: int) -> None:
    hub.faults["commit"].append(status)
    assert sent(ready).commit
    assert hub.count("commit") == 2
    assert tree(hub) == builds.digest(ready)


def test_a_file_that_the_release_no_longer_has_is_taken_away(hub: hub_repository.Hub, ready: Path) -> None:
    sent(ready)
    commit_of_somebody("capo/train-00001-of-00002.parquet")(hub)
    done = sent(ready)
    assert done.sent == ("capo/train-00001-of-00002.parquet",)
    assert tree(hub) == builds.digest(ready)


def test_a_hub_that_holds_something_else_is_told(
    hub: hub_repository.Hub, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub_repository.Repository.commit

    def swap(self: hub_repository.Repository, branch: str, files: dict[str, bytes]) -> str:
        return commit(self, branch, {p: b"oops" if p.endswith(".json") else c for p, c in files.items()})

    monkeypatch.setattr(hub_repository.Repository, "commit", swap)
    with pytest.raises(HubError, match="something else than was sent") as caught:
        sent(ready)
    assert "release.json" in caught.value.why


def test_tags_name_what_they_named(hub: hub_repository.Hub, run: Path) -> None:
    assert capo_data.push(run, NAME, tag="v1.0").pushed.tag == "v1.0"  # type: ignore[union-attr]
    assert capo_data.push(run, NAME, tag="v1.0").pushed.sent == ()  # type: ignore[union-attr]
    hub.log.clear()
    with pytest.raises(HubError, match=r"the tag v1\.0 names another version"):
        capo_data.push(run, NAME, tag="v1.0", license="mit")
    assert "commit" not in hub.log  # told before anything was sent


def test_a_branch_is_made_where_it_is_named(hub: hub_repository.Hub, ready: Path) -> None:
    sent(ready, branch="trial")
    assert tree(hub, "trial") == builds.digest(ready)
    assert tree(hub) == {}


def test_private_is_private_and_an_old_public_one_is_not_taken_for_it(
    hub: hub_repository.Hub, ready: Path, tmp_path: Path
) -> None:
    sent(ready, private=True)
    assert hub.repositories[NAME].private
    assert capo_data.pull(NAME, out=tmp_path / "pulled").is_dir()
    hub.repositories[NAME].private = False
    with pytest.raises(HubError, match="there already, and public"):
        sent(ready, private=True)


def test_the_token_is_needed_and_never_told(
    hub: hub_repository.Hub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "hf_another_token_that_is_wrong"
    monkeypatch.setenv("HF_TOKEN", secret)
    said = say("push", run, NAME)
    assert said.code == 1
    assert "the Hub refuses" in said.err
    assert "hf auth login" in said.err
    assert secret not in said.err + said.out + say("push", run, NAME, "--json").out
    monkeypatch.delenv("HF_TOKEN")
    said = say("push", run, NAME)
    assert said.code == 2
    assert "no token for the Hub" in said.err
    monkeypatch.setenv("HF_TOKEN", hub_repository.TOKEN)
    said = say("push", run, NAME)
    assert said.code == 0
    told = said.out + said.err + "".join(p.read_text() for p in run.rglob("*.yaml"))
    assert hub_repository.TOKEN not in told


def test_what_is_printed_loads_it(hub: hub_repository.Hub, run: Path) -> None:
    said = say("push", run, NAME)
    assert said.out.splitlines()[1] == f"{hub.address}/datasets/{NAME}/tree/v1"
    assert said.out.splitlines()[-3:] == [
        "from datasets import load_dataset",
        f'triplets = load_dataset("{NAME}", "capo", split="train", revision="v1")',
        f'held_out = load_dataset("{NAME}", "test", split="test", revision="v1")',
    ]
    told = json.loads(say("push", run, NAME, "--json").out)
    assert told["tag"] == "v1"
    assert told["sent"] == []


def test_a_dry_run_builds_and_sends_nothing(
    hub: hub_repository.Hub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    said = say("push", run, NAME, "--dry-run")
    assert said.code == 0
    assert "nothing was sent (--dry-run)" in said.out
    assert hub.log == []
    assert capo_data.validate(run / "release").ok


def test_a_released_version_is_recorded_in_the_run_and_beside_its_recipe(
    hub: hub_repository.Hub, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = tmp_path / "released" / "tiny.yaml"
    done = capo_data.push(run, NAME, record=beside)
    capo_data.push(run, NAME, record=beside)
    assert done.pushed is not None
    [record] = yaml.safe_load(beside.read_text())
    assert yaml.safe_load((run / "releases.yaml").read_text()) == [record]
    assert (record["tag"], record["commit"]) == ("v1", done.pushed.commit)
    assert record["files"] == builds.digest(run / "release")
    manifest = builds.manifest(run)
    assert record["counts"] == {
        n: manifest["counts"][n] for n in ("judged", "kept", "tied", "conflicts", "dropped")
    }
    assert record["recipe_hash"] == manifest["card"]["recipe_hash"]
    assert record["agreement"] is None
    # Shipped beside a recipe, it is shown with it.
    monkeypatch.setattr(capo_releases, "released", lambda _: [record])
    assert f"# released: {NAME} v1, commit {done.pushed.commit}" in say("recipe", "show", "demo").out


def test_a_record_that_cannot_be_read_is_told_before_anything_is_sent(
    hub: hub_repository.Hub, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text("domain: tiny\n")
    with pytest.raises(RunError, match="cannot be read"):
        capo_data.push(run, NAME, record=tmp_path / "mine.yaml")
    assert hub.log == []


def test_pull_is_the_opposite_of_push(hub: hub_repository.Hub, ready: Path, tmp_path: Path) -> None:
    sent(ready)
    folder = capo_data.pull(NAME, revision="v1", out=tmp_path / "data" / "tiny")
    assert builds.digest(folder) == builds.digest(ready)
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]
    with pytest.raises(RunError, match="there already"):
        capo_data.pull(NAME, out=folder)


def test_an_interrupted_pull_goes_on_and_leaves_nothing_half_written(
    hub: hub_repository.Hub, ready: Path, tmp_path: Path
) -> None:
    sent(ready)
    out = tmp_path / "tiny"
    hub.faults["resolve"].extend([None] * 6 + ["reset"] * 400)
    with pytest.raises(CapoError):
        capo_data.pull(NAME, out=out)
    assert not out.exists()
    hub.faults.clear()
    hub.log.clear()
    assert builds.digest(capo_data.pull(NAME, out=out)) == builds.digest(ready)


def test_a_pull_of_something_else_is_refused(
    hub: hub_repository.Hub, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HubError, match="the Hub refuses"):
        capo_data.pull(NAME, out=tmp_path / "tiny")
    with pytest.raises(UsageError, match="no name of a dataset"):
        capo_data.pull("tiny")
    repository = hub.repositories[NAME] = hub_repository.Repository()
    repository.commit("main", {"README.md": b"# nothing of ours"})
    with pytest.raises(ContractError):
        capo_data.pull(NAME, out=tmp_path / "tiny")
    assert not (tmp_path / "tiny").exists()
