"""What a push builds: card, licence, texts or hashes, masks, figures, Croissant; and the way back."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import builds
import mlcroissant
import pyarrow.parquet as pq
import pytest
import yaml
from capo_trainer import data as trainer_data
from capo_trainer.errors import WithheldError
from command_line import say
from huggingface_hub import DatasetCard

import capo_data
import releases
from capo_data import settings
from capo_data.errors import ContractError, RunError, SourceError, UsageError
from capo_data.release import changes, cleaning, prepare
from capo_data.release.dataset import read_row
from capo_data.release.prepare import Choices
from capo_data.release.schema import SPLITS, table

SALT = "a salt for tests"
SHOP = Choices(license="cc-by-4.0", terms="With consent, https://shop.example/terms.", text="with")


def built(folder: Path) -> tuple[Path, dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPO_DATA_SALT", SALT)
        return releases.shop_run(folder)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    return built(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without figures, which take a second."""
    monkeypatch.setattr(prepare, "drawable", lambda: False)
    return


@pytest.fixture
def run(shop: tuple[Path, dict[str, Any]], tmp_path: Path, plain: None) -> Path:
    return Path(shutil.copytree(shop[0], tmp_path / "run"))


def rows(folder: Path, config: str = "capo", split: str = "train") -> list[dict[str, Any]]:
    return pq.read_table(next((folder / config).glob(f"{split}-*.parquet"))).to_pylist()


def parquet(folder: Path) -> dict[str, str]:
    return {path: found for path, found in builds.digest(folder).items() if path.endswith(".parquet")}


def choose(**changes: Any) -> Choices:
    return Choices(**{**{n: getattr(SHOP, n) for n in Choices.__slots__}, **changes})


def test_with_texts_the_rows_are_those_of_the_run(run: Path) -> None:
    ready = prepare.prepare(run, SHOP)
    assert parquet(ready.folder) == parquet(run / "dataset")
    assert capo_data.validate(ready.folder).ok
    front = DatasetCard.load(ready.folder / "README.md").data.to_dict()
    assert front["license"] == "cc-by-4.0"
    assert front["capo_data"]["text"] == "included"
    assert front["dataset_info"][0]["splits"][0]["num_examples"] == len(rows(ready.folder, "sft"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"license": None}, "under which licence"),
        ({"terms": None}, "under which terms"),
        ({"text": None}, "whether the source's texts may be published"),
    ],
)
def test_rights_and_texts_must_be_named(run: Path, changes: dict[str, None], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        prepare.prepare(run, choose(**changes))
    assert caught.value.next_command
    assert not (run / "release").exists()


def test_a_recipe_may_name_them_for_good(tmp_path: Path, plain: None) -> None:
    extra = "release: {license: mit, terms: Ours., text: without, language: [de]}\n"
    run, _ = releases.shop_run(tmp_path, extra)
    ready = prepare.prepare(run, Choices())
    front = DatasetCard.load(ready.folder / "README.md").data.to_dict()
    assert (front["license"], front["language"], front["capo_data"]["text"]) == ("mit", ["de"], "withheld")


def test_a_run_that_is_not_complete_is_not_published(run: Path) -> None:
    manifest = builds.manifest(run)
    (run / "manifest.json").write_text(json.dumps({**manifest, "status": "incomplete"}))
    with pytest.raises(RunError, match="not complete"):
        prepare.prepare(run, SHOP)


def test_without_texts_no_word_of_the_source_is_left(run: Path) -> None:
    folder = prepare.prepare(run, choose(text="without")).folder
    report = capo_data.validate(folder)
    assert report.ok, report.breaches
    for config, splits in SPLITS.items():
        for split in splits:
            for row in rows(folder, config, split):
                assert row["prompt"] is None
                assert re.fullmatch(r"[0-9a-f]{32}", row["prompt_hash"])
                for entry in row.get("history", ()):
                    texts = [entry[name] for name in ("title", "description", "details", "review")]
                    assert texts == [None] * 4
    card = (folder / "README.md").read_text()
    assert "The texts are withheld." in card
    assert "capo-data rehydrate" in card
    assert yaml.safe_load(card.split("---\n")[1])["capo_data"]["text"] == "withheld"
    assert capo_data.show(folder)["prompt"] is None
    assert "(text withheld)" in say("show", folder).out


@pytest.mark.parametrize(
    "spoil",
    [
        lambda row: row["history"][0].update(review="a word"),
        lambda row: row.update(prompt=[{"role": "user", "content": "a word"}]),
        lambda row: row.update(prompt_hash="short"),
        lambda row: row["history_hashes"].pop(),
    ],
)
def test_validate_finds_a_text_that_was_left_and_a_hash_that_lacks(run: Path, spoil: Any) -> None:
    folder = prepare.prepare(run, choose(text="without")).folder
    found = rows(folder, "test", "test")
    spoil(found[0])
    pq.write_table(table("test", found, withheld=True), folder / "test" / "test-00000-of-00001.parquet")
    assert set(capo_data.validate(folder).counts) == {"text"}


def test_the_trainer_answers_with_the_command_that_restores_the_texts(run: Path) -> None:
    folder = prepare.prepare(run, choose(text="without")).folder
    for ask in (lambda: list(trainer_data.read_rows(folder, "dpo")), lambda: trainer_data.check(folder)):
        with pytest.raises(WithheldError) as caught:
            ask()
        assert f"capo-data rehydrate {folder}" in caught.value.next_command


def test_rehydrated_rows_are_those_with_texts_to_the_byte(
    run: Path, shop: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder = prepare.prepare(run, choose(text="without")).folder
    done = capo_data.rehydrate(folder, out=tmp_path / "back", cache=tmp_path / "cache", **shop[1])
    assert done.missing == {}
    assert parquet(done.folder) == parquet(run / "dataset")
    assert capo_data.validate(done.folder).ok
    with pytest.raises(ContractError, match="are there already"):
        capo_data.rehydrate(done.folder, out=tmp_path / "again", **shop[1])


def test_masked_rows_come_back_as_they_were_masked(
    run: Path, shop: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    shown = Path(shutil.copytree(prepare.prepare(run, choose(redact=True)).folder, tmp_path / "shown"))
    folder = prepare.prepare(run, choose(redact=True, text="without")).folder
    done = capo_data.rehydrate(folder, out=tmp_path / "back", cache=tmp_path / "cache", **shop[1])
    assert parquet(done.folder) == parquet(shown)


def test_what_a_source_cannot_restore_is_told_or_left_out(
    run: Path, shop: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder = prepare.prepare(run, choose(text="without")).folder
    logs = tmp_path / "logs.csv"
    lines = shop[1]["source"].read_text().splitlines(keepends=True)
    spoilt = [line.replace("evil", "another") if line.startswith("c3,") else line for line in lines]
    assert spoilt != lines
    logs.write_text("".join(spoilt))
    given = {**shop[1], "source": logs, "cache": tmp_path / "cache", "out": tmp_path / "back"}
    with pytest.raises(SourceError, match="cannot be restored from this source"):
        capo_data.rehydrate(folder, **given)
    assert not (tmp_path / "back").exists()
    done = capo_data.rehydrate(folder, allow_partial=True, **given)
    assert done.missing
    kept = {row["id"] for config in ("sft", "capo", "dpo") for row in rows(done.folder, config)}
    assert kept.isdisjoint(done.missing)
    assert capo_data.validate(done.folder).ok


def test_what_names_people_is_counted_and_masked_everywhere_alike(run: Path) -> None:
    ready = prepare.prepare(run, SHOP)
    personal = ready.facts["release"]["personal"]
    assert personal["email"] >= 20  # one in each item's description, at least
    assert personal["phone"] > 0
    assert personal["order_id"] > 0
    assert any("--redact masks them" in note for note in ready.notes)
    masked = prepare.prepare(run, choose(redact=True))
    assert capo_data.validate(masked.folder).ok
    text = json.dumps([rows(masked.folder, c, s) for c, splits in SPLITS.items() for s in splits])
    for word in ("jane.doe", "555) 123", "901820", "A1234567", "@things.example"):
        assert word not in text
    for mask in ("[e-mail]", "[phone]", "[order id]"):
        assert mask in text
    assert "They are masked." in (masked.folder / "README.md").read_text()


def test_rationales_that_quote_a_review_are_counted_and_left_out(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = rows(run / "dataset")[0]["id"]

    def quoting(rationale: str, reviews: list[str]) -> bool:
        return rationale == read_row(run / "dataset", first)["easy_rejected"]["rationale"]

    monkeypatch.setattr(cleaning, "quotes", quoting)
    before = prepare.prepare(run, SHOP).facts
    after = prepare.prepare(run, choose(drop_quotes=True))
    count = before["release"]["quotes"]["rationales"]
    assert count >= 1
    assert first not in {row["id"] for row in rows(after.folder)}
    assert first not in {row["id"] for row in rows(after.folder, "dpo")}
    counts = after.facts["counts"]
    assert counts["kept"] == counts["rows"]["capo"] < before["counts"]["kept"]
    assert counts["dropped"][cleaning.DROPPED] == before["counts"]["kept"] - counts["kept"]
    assert sum(after.facts["scores"]["chosen"].values()) == counts["kept"]


def test_neither_salt_nor_paths_nor_user_ids_are_released(run: Path) -> None:
    folder = prepare.prepare(run, SHOP).folder
    told = "".join(path.read_text() for path in folder.rglob("*") if path.suffix in (".md", ".json"))
    hashed = builds.manifest(run)["identity"]["salt"]
    for secret in (settings.salt().decode(), hashed, str(run.parent), "sku", "logs.csv"):
        assert secret not in told
    users = {row["user"] for row in rows(folder, "sft")}
    assert all(re.fullmatch(r"[0-9a-f]{32}", user) for user in users)
    assert "pseudonymous, not anonymous" in " ".join((folder / "README.md").read_text().split())


def test_nasty_texts_stand_everywhere_as_text(run: Path) -> None:
    """HTML, a formula, a right-to-left override, 100 kB: data in the rows, never markup in a card."""
    domain = "<script>\u202e=1+1|`" + "x" * 100_000
    manifest = builds.manifest(run)
    manifest["card"]["domain"] = domain
    manifest["card"]["prompts"]["judge"]["text"] = domain
    (run / "manifest.json").write_text(json.dumps(manifest))
    folder = prepare.prepare(run, choose(terms=domain)).folder
    card = (folder / "README.md").read_text()
    body = re.sub(r"^(`{3,})[^\n]*\n.*?^\1$", "", card.split("---\n", 2)[2], flags=re.DOTALL | re.MULTILINE)
    assert not re.search(r"(?<!\\)<script", body)
    assert "\u202e" not in card
    assert "x" * 5_000 not in body
    metadata = (folder / "croissant.json").read_text()
    assert "\u202e" not in metadata
    assert json.loads(metadata)["usageInfo"].startswith("Terms of the source: <script>")
    reviews = {entry["review"] for row in rows(folder, "test", "test") for entry in row["history"]}
    assert any(review.startswith("=HYPERLINK(") for review in reviews)
    assert not any("<script" in review or "<b>" in review for review in reviews)
    said = say("show", folder).out
    assert "\u202e" not in said


@pytest.mark.filterwarnings("ignore")  # of mlcroissant's own dependencies
@pytest.mark.parametrize("text", ["with", "without"])
def test_croissant_metadata_is_valid_and_reads_the_rows(run: Path, text: str) -> None:
    folder = prepare.prepare(run, choose(text=text, repository="my-org/shop")).folder
    dataset = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    assert dataset.metadata.issues.errors == set()
    assert dataset.metadata.url == "https://huggingface.co/datasets/my-org/shop"
    found = [row["capo-train/id"].decode() for row in dataset.records("capo-train")]
    assert found == [row["id"] for row in rows(folder)]
    names = {file.id: file.sha256 for file in dataset.metadata.distribution}
    assert names == parquet(folder)


def test_figures_are_drawn_and_shown(shop: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    run = Path(shutil.copytree(shop[0], tmp_path / "run"))
    folder = prepare.prepare(run, SHOP).folder
    shown = re.findall(r"!\[.+?\]\((figures/\w+\.png)\)", (folder / "README.md").read_text())
    assert len(shown) == 3
    assert all((folder / path).read_bytes().startswith(b"\x89PNG") for path in shown)


def test_agreement_and_audit_of_the_run_stand_in_the_card(run: Path) -> None:
    figure = {"value": 0.61, "low": 0.5, "high": 0.7}
    agreement = {
        "items": 40,
        "raters": {"ann": 40, "bo": 39},
        "scale": [1, 7],
        "judge": {"mean": {"spearman": figure}, "rounded_mean": {"qwk": {**figure, "value": None}}},
    }
    (run / "agreement.json").write_text(json.dumps(agreement))
    figures = {
        name: {"value": 0.875, "low": 0.8, "high": 0.9} for name in ("exact", "mean_absolute_difference")
    }
    found = {name: {**figure, "items": 40, "reason": ""} for name, figure in figures.items()}
    audit = {
        "judge": "lexical",
        "second_judge": None,
        "rows": 40,
        "seed": 0,
        "dataset": changes.fingerprint(changes.snapshot(run / "dataset")),
        "checks": {"repeat": {"": {"figures": found}}},
    }
    (run / "audit").mkdir()
    (run / "audit" / "audit.json").write_text(json.dumps(audit))
    ready = prepare.prepare(run, SHOP)
    card = (ready.folder / "README.md").read_text()
    assert "2 human raters and the judge of `capo` on 40 items, scale 1-7" in card
    assert r"| Spearman's rho, judge and the raters' mean | 0.610 \[" not in card
    assert "| Spearman's rho, judge and the raters' mean | 0.610 [0.500, 0.700] |" in card
    assert "| QWK, judge and the raters' rounded mean | undefined |" in card
    assert r"| asked again: same score | 0.875 | \[0.800, 0.900\] | 40 |" in card
    (run / "audit" / "audit.json").write_text(json.dumps({**audit, "dataset": "another"}))
    assert "asked again" not in (prepare.prepare(run, SHOP).folder / "README.md").read_text()
    assert "ann" not in json.dumps(ready.facts["agreement"])


def test_a_release_is_the_same_bytes_whenever_it_is_built(run: Path) -> None:
    first = builds.digest(prepare.prepare(run, SHOP).folder)
    assert builds.digest(prepare.prepare(run, SHOP).folder) == first
