"""Whole builds: what goes in, what comes out, and that nothing in between can change it."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import random
import warnings
from pathlib import Path

import capo_prompts
import pyarrow.parquet as pq
import pytest
from builds import capo_data as command
from builds import digest, manifest, small_recipe
from judge_server import running
from real_data import real_data

import capo_data
from capo_data.errors import BudgetError, PartialError, RunError, UsageError
from capo_data.histories import pseudonym
from capo_data.release.dataset import open_config
from capo_data.release.leaks import find_leaks

WORDS = ("hammer", "saw", "drill", "level", "chisel", "plane", "clamp")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo run that several tests look at."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPO_DATA_SALT", "a salt for tests")
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        capo_data.build("demo", out=folder / "run")
    return folder / "run"


def test_a_stranger_builds_the_demo_and_load_dataset_opens_it(demo: Path, tmp_path: Path) -> None:
    import datasets

    rows = manifest(demo)["rows"]
    for config, splits in {
        "sft": ["train"],
        "capo": ["train"],
        "test": ["validation", "test"],
        "dpo": ["train"],
    }.items():
        opened = datasets.load_dataset(str(demo / "dataset"), config, cache_dir=str(tmp_path))
        assert {split: opened[split].num_rows for split in opened} == {
            s: rows[f"{config}/{s}"] for s in splits
        }
    assert capo_data.validate(demo / "dataset").ok


def test_the_demo_keeps_most_of_its_triplets(demo: Path) -> None:
    counts = manifest(demo)["counts"]
    assert counts["judged"] == 400
    assert counts["kept"] + counts["tied"] == counts["judged"]
    assert 0.2 <= counts["tied"] / counts["judged"] <= 0.4
    assert counts["conflicts"] > 0


def test_what_is_dropped_is_kept_with_its_reason(demo: Path) -> None:
    rows = pq.read_table(demo / "dropped" / "triplets.parquet").to_pylist()
    assert len(rows) == manifest(demo)["counts"]["tied"]
    assert {row["reason"] for row in rows} == {"rejected items tied"}


def test_no_negative_is_known_from_a_users_log(demo: Path) -> None:
    for config in ("sft", "test"):
        for path in (demo / "dataset" / config).glob("*.parquet"):
            for row in pq.read_table(path).to_pylist():
                history = [entry["item_id"] for entry in row["history"]]
                candidates = [item["item_id"] for item in row["candidates"]]
                assert find_leaks(history, candidates, candidates[row["target_index"]]).ok


def test_a_finished_run_has_nothing_left_to_do(demo: Path) -> None:
    before = digest(demo / "dataset")
    assert capo_data.build("demo", out=demo).manifest["status"] == "complete"
    assert digest(demo / "dataset") == before


def test_bytes_do_not_depend_on_buckets_concurrency_or_memory(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path)
    builds = [{"buckets": 1}, {"buckets": 5, "concurrency": 1}, {"concurrency": 200, "memory_limit": "500MB"}]
    found = []
    for number, options in enumerate(builds):
        out = tmp_path / f"run{number}"
        capo_data.build(recipe=recipe, judge="lexical", out=out, **options)  # type: ignore[arg-type]
        found.append(digest(out / "dataset"))
    assert found[0] == found[1] == found[2]


def test_bytes_do_not_depend_on_the_order_of_lines(tmp_path: Path) -> None:
    source = real_data("all_beauty_5core_2023")
    shuffled = tmp_path / "shuffled"
    shuffled.mkdir()
    for name in ("All_Beauty.jsonl.gz", "meta_All_Beauty.jsonl.gz"):
        lines = gzip.decompress((source / name).read_bytes()).splitlines(keepends=True)
        random.Random(1).shuffle(lines)
        (shuffled / name).write_bytes(gzip.compress(b"".join(lines)))
    for number, folder in enumerate((source, shuffled)):
        capo_data.build("beauty", source=folder, judge="lexical", users=40, out=tmp_path / f"run{number}")
    assert digest(tmp_path / "run0" / "dataset") == digest(tmp_path / "run1" / "dataset")


def test_a_seed_changes_the_negatives_and_a_salt_the_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe(tmp_path)
    capo_data.build(recipe=recipe, judge="lexical", out=tmp_path / "a")
    capo_data.build(recipe=recipe, judge="lexical", seed=1, out=tmp_path / "b")
    monkeypatch.setenv("CAPO_DATA_SALT", "another")
    capo_data.build(recipe=recipe, judge="lexical", out=tmp_path / "c")
    rows = {name: pq.read_table(tmp_path / name / "dataset" / "test").to_pylist() for name in "abc"}
    sets = {
        name: {tuple(sorted(i["item_id"] for i in row["candidates"])) for row in rows[name]} for name in "abc"
    }
    assert sets["a"] == sets["c"]
    assert sets["a"] != sets["b"]
    assert not {row["user"] for row in rows["a"]} & {row["user"] for row in rows["c"]}


def test_all_beauty_is_built_to_the_letter_of_its_official_split(tmp_path: Path) -> None:
    source = real_data("all_beauty_5core_2023")
    found = capo_data.build("beauty", source=source, judge="lexical", out=tmp_path / "r")
    assert found.manifest["table1"]["users"] == 253
    assert found.manifest["table1"]["interactions"] == 2_535

    def official(split: str) -> dict[str, list[str]]:
        sequences: dict[str, list[str]] = {}
        with (source / f"official_last_out.{split}.csv").open(newline="") as handle:
            for line in csv.DictReader(handle):
                name = pseudonym(b"a salt for tests", line["user_id"])
                sequences.setdefault(name, []).append(line["parent_asin"])
        return sequences

    def released(config: str, split: str) -> dict[str, tuple[list[str], int, str]]:
        rows = [
            row for batch in open_config(found.run / "dataset", config, split) for row in batch.to_pylist()
        ]
        assert len(rows) == 253
        return {
            row["user"]: (
                [entry["item_id"] for entry in row["history"]],
                row["history_cut"],
                row["candidates"][row["target_index"]]["item_id"],
            )
            for row in rows
        }

    train, valid, test = official("train"), official("valid"), official("test")
    for user, (history, cut, target) in released("sft", "train").items():
        assert (history, target) == (train[user][:-1][cut:], train[user][-1])
    for user, (history, cut, target) in released("test", "validation").items():
        assert (history, [target]) == (train[user][cut:], valid[user])
    for user, (history, cut, target) in released("test", "test").items():
        assert (history, [target]) == ((train[user] + valid[user])[cut:], test[user])


def test_raw_beauty_with_few_titles_is_built_and_its_dirt_counted(tmp_path: Path) -> None:
    source = real_data("all_beauty_raw_2023")
    found = capo_data.build("beauty", source=source, items="titles.csv", judge="lexical", out=tmp_path / "r")
    dirt = found.manifest["source"]["dirt"]
    assert dirt["child_asin"] == 276
    assert dirt["empty_text"] == 2
    assert dirt["item_without_metadata"] == 3_208 - 438
    assert dirt["duplicate_event"] == 4_060 - 3_520
    assert found.manifest["counts"]["dropped"]["chosen item has no title"] > 0


def test_movielens_is_built(tmp_path: Path) -> None:
    source = real_data("ml-latest-small")
    found = capo_data.build("movielens", source=source, judge="lexical", users=60, out=tmp_path / "r")
    assert found.manifest["table1"]["users"] == 60
    words = {
        entry["rating"]
        for row in pq.read_table(tmp_path / "r" / "dataset" / "test").to_pylist()
        for entry in row["history"]
    }
    assert words == {"Terrible", "Bad", "Okay", "Good", "Excellent"}


def test_own_logs_in_amazons_form_of_2018_need_a_mapping_alone(tmp_path: Path) -> None:
    lines = [
        {
            "reviewerID": f"A{user}",
            "asin": f"B{(user + 2 * step) % 60}",
            "overall": 4.0,
            "unixReviewTime": 1_400_000_000 + step,
            "reviewText": "Good tools, sturdy and light.",
        }
        for user in range(30)
        for step in range(6)
    ]
    logs, items = tmp_path / "reviews.json", tmp_path / "items.csv"
    logs.write_text("".join(json.dumps(line) + "\n" for line in lines))
    items.write_text(
        "sku,name\n" + "".join(f"B{n},{WORDS[n % 7]} tool {WORDS[n % 5]} {n}\n" for n in range(60))
    )
    found = capo_data.build(
        "tools",
        source=logs,
        items=items,
        column=[
            "user_id=reviewerID",
            "item_id=asin",
            "rating=overall",
            "text=reviewText",
            "timestamp=unixReviewTime",
        ],
        judge="lexical",
        out=tmp_path / "r",
    )
    assert found.manifest["table1"]["users"] == 30
    row = capo_data.show(tmp_path / "r", config="test")
    assert row["history"][0]["timestamp"] == 1_400_000_000_000
    assert row["history"][0]["review"].startswith("Good tools")


def test_redraw_keeps_more_rows_and_keep_keeps_all(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path)
    counts = {}
    for policy in ("drop", "redraw", "keep"):
        out = tmp_path / policy
        capo_data.build(recipe=recipe, judge="lexical", tie_policy=policy, out=out)
        counts[policy] = manifest(out)["counts"]
        assert capo_data.validate(out).ok
    assert counts["drop"]["kept"] < counts["redraw"]["kept"] <= counts["keep"]["kept"] == 40
    assert counts["redraw"]["redrawn"] > 0


def test_more_rejected_more_instances_and_popular_negatives_are_options(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path)
    capo_data.build(
        recipe=recipe,
        judge="lexical",
        rejected=4,
        instances_per_user=3,
        negatives="popularity",
        out=tmp_path / "r",
    )
    rows = pq.read_table(tmp_path / "r" / "dataset" / "capo").to_pylist()
    assert manifest(tmp_path / "r")["counts"]["judged"] > 100
    assert any(row["more_rejected"] for row in rows)
    assert capo_data.validate(tmp_path / "r").ok


def test_a_server_that_fails_three_times_in_ten_is_borne_and_counts_reconcile(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path)
    with running(faults={}) as calm:
        capo_data.build(recipe=recipe, base_url=calm.url, judge="openai:scripted", out=tmp_path / "calm")
    faults = dict.fromkeys(("rate_limited", "server_error", "cut", "hang", "html", "error_200"), 0.05)
    with running(faults=faults) as server:
        found = capo_data.build(
            recipe=recipe, base_url=server.url, judge="openai:scripted", timeout=1, out=tmp_path / "rough"
        )
        stats = server.stats()
    judging = found.manifest["judging"]["openai:scripted"]
    assert judging["answered"] == stats["answered"] == stats["distinct"] == 120
    assert judging["asked"] == stats["requests"] == judging["answered"] + sum(judging["faults"].values())
    assert sum(judging["faults"].values()) > 10
    assert digest(tmp_path / "rough" / "dataset") == digest(tmp_path / "calm" / "dataset")


def test_forged_tags_are_asked_again_firmly_and_then_dropped(tmp_path: Path) -> None:
    with running(faults={"forged": 0.2}) as server:
        found = capo_data.build(
            recipe=small_recipe(tmp_path), base_url=server.url, judge="openai:scripted", out=tmp_path / "r"
        )
        stats = server.stats()
    assert stats["answered"] > 120  # the firmer second attempts
    assert any("item's answer: " in reason for reason in found.manifest["counts"]["dropped"])
    assert found.manifest["status"] == "complete"


@pytest.mark.slow
def test_what_got_no_answer_is_asked_by_the_next_build_alone(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path)
    with running(faults={}) as calm:
        capo_data.build(recipe=recipe, base_url=calm.url, judge="openai:scripted", out=tmp_path / "calm")
    with running(faults={"server_error": 0.6}) as broken, pytest.raises(PartialError) as caught:
        capo_data.build(recipe=recipe, base_url=broken.url, judge="openai:scripted", out=tmp_path / "r")
    assert "requests got no answer" in caught.value.what
    assert manifest(tmp_path / "r")["status"] == "incomplete"
    answered = manifest(tmp_path / "r")["judging"]["openai:scripted"]["answered"]
    assert 0 < answered < 120
    with running(faults={}) as server:  # another port: the address is no part of an answer's key
        capo_data.build(recipe=recipe, base_url=server.url, judge="openai:scripted", out=tmp_path / "r")
        assert server.stats()["answered"] == 120 - answered
    assert digest(tmp_path / "r" / "dataset") == digest(tmp_path / "calm" / "dataset")


def test_what_is_refused_for_good_is_dropped_with_its_kind_and_the_run_is_complete(tmp_path: Path) -> None:
    with running(faults={"refused": 0.1}) as server:
        options = {"recipe": small_recipe(tmp_path), "base_url": server.url, "judge": "openai:scripted"}
        found = capo_data.build(**options, out=tmp_path / "r")  # type: ignore[arg-type]
        refused = server.stats()["kinds"]["refused"]
    assert refused > 0
    assert found.manifest["status"] == "complete"
    assert any("http_400" in reason for reason in found.manifest["counts"]["dropped"])


def test_a_notebook_with_its_own_event_loop_can_build(tmp_path: Path) -> None:
    async def cell() -> str:
        found = capo_data.build(recipe=small_recipe(tmp_path), judge="lexical", out=tmp_path / "r")
        return str(found.manifest["status"])

    assert asyncio.run(cell()) == "complete"


def test_what_is_the_builders_own_stays_out_of_the_dataset(tmp_path: Path) -> None:
    template = tmp_path / "secret_client.yaml"
    template.write_text(capo_prompts.load("paper").text)
    logs = tmp_path / "logs.csv"
    rows = [
        f"mary-{u},i{(u + 3 * s) % 50},{s},{WORDS[(u + s) % 7]} {u + 3 * s}\n"
        for u in range(20)
        for s in range(6)
    ]
    logs.write_text("acme_customer,item_id,timestamp,title\n" + "".join(rows))
    capo_data.build(
        "shop", source=logs, column=["user_id=acme_customer", "title=title"], template=str(template),
        judge="lexical", tie_policy="keep", candidates=8, out=tmp_path / "r",
    )  # fmt: skip
    card = (tmp_path / "r" / "dataset" / "README.md").read_text()
    for secret in ("secret_client", "acme_customer", str(tmp_path), "a salt for tests"):
        assert secret not in card
    for path in (tmp_path / "r" / "dataset").rglob("*.parquet"):
        assert "mary-" not in str(pq.read_table(path).to_pylist())


def test_bytes_do_not_depend_on_where_the_folders_lie(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path)
    found = []
    for name in ("plain", "rating=1/user=bob", "a[b]"):
        folder = tmp_path / name
        capo_data.build(recipe=recipe, judge="lexical", out=folder / "run", cache=folder / "cache")
        found.append(digest(folder / "run" / "dataset"))
    assert found[0] == found[1] == found[2]


def test_a_cost_limit_stops_with_exit_4_and_all_is_kept(tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("providers: [{models: {scripted: {input: 10, output: 10}}}]")
    recipe = small_recipe(tmp_path)
    with running(faults={}) as server:
        options = {
            "recipe": recipe,
            "base_url": server.url,
            "judge": "openai:scripted",
            "out": tmp_path / "r",
        }
        with pytest.raises(BudgetError) as caught:
            capo_data.build(**options, prices=prices, max_cost=0.7, yes=True, concurrency=4)  # type: ignore[arg-type]
        paid = server.stats()["answered"]
        assert 0 < paid < 120
        assert "--max-cost" in caught.value.where
        capo_data.build(**options, prices=prices, max_cost=100, yes=True)  # type: ignore[arg-type]
        assert server.stats()["answered_again"] == 0
    assert manifest(tmp_path / "r")["status"] == "complete"


def test_a_wrong_key_stops_at_once_and_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-123456789")
    with running("--key", "right") as server:
        found = command(
            "build", "--recipe", small_recipe(tmp_path), "--base-url", server.url,
            "--judge", "openai:scripted", "--out", tmp_path / "r", OPENAI_API_KEY="sk-secret-123456789",
        )  # fmt: skip
        assert server.stats()["kinds"]["unauthorized"] < 100
    assert found.returncode == 1
    assert "sk-secret-123456789" not in found.stdout + found.stderr
    everything = b"".join(path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file())
    assert b"sk-secret" not in everything


def test_other_source_files_are_refused_on_resume(tmp_path: Path) -> None:
    logs = tmp_path / "logs.csv"
    head = "user_id,item_id,timestamp,title\n"
    rows = [f"u{u},i{(u + 3 * s) % 50},{s},Thing {(u + 3 * s) % 50}\n" for u in range(20) for s in range(6)]
    logs.write_text(head + "".join(rows))
    options = {
        "source": logs,
        "judge": "lexical",
        "candidates": 8,
        "column": ["title=title"],
        "out": tmp_path / "r",
    }
    capo_data.build("shop", **options, tie_policy="keep")  # type: ignore[arg-type]
    logs.write_text(head + "".join(rows[:-6]))
    with pytest.raises(UsageError, match="other source files"):
        capo_data.build("shop", **options, tie_policy="keep")  # type: ignore[arg-type]


def test_python_callers_hear_no_warnings_and_may_ignore_progress(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        capo_data.build(recipe=small_recipe(tmp_path), judge="lexical", out=tmp_path / "r")


def test_a_journal_from_another_run_saves_asking_again(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path)
    with running(faults={}) as server:
        options = {"recipe": recipe, "base_url": server.url, "judge": "openai:scripted"}
        capo_data.build(**options, out=tmp_path / "a")  # type: ignore[arg-type]
        paid = server.stats()["requests"]
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "journal.sqlite").write_bytes((tmp_path / "a" / "journal.sqlite").read_bytes())
        capo_data.build(**options, tie_policy="keep", out=tmp_path / "b")  # type: ignore[arg-type]
        assert server.stats()["requests"] == paid
    counts = [manifest(tmp_path / name)["counts"] for name in "ab"]
    assert counts[0]["kept"] + counts[0]["tied"] == counts[1]["kept"]
    assert counts[0]["tied"] == counts[1]["tied"] > 0


def test_a_journal_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "journal.sqlite").write_text("not a database, but long enough to look at " * 50)
    with pytest.raises(RunError, match="not a journal"):
        capo_data.build(recipe=small_recipe(tmp_path), judge="lexical", out=tmp_path / "r")
