"""A run -> the folder that is pushed: rows as they may be shown, card, figures, Croissant, facts; validated.

RUN/release/README.md       the card, with licence, terms, figures
RUN/release/<config>/       the rows
RUN/release/figures/        what the card shows (needs the extra `report`)
RUN/release/croissant.json  metadata for search engines and loaders, https://mlcommons.org/croissant/
RUN/release/release.json    the facts that the card is made of; `capo-data rehydrate` reads it
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from capo_data.errors import UsageError
from capo_data.records import Reporter, SilentReporter
from capo_data.release import card, card_audit, croissant, facts, figures, terms
from capo_data.release.cleaning import DROPPED, Cleaner
from capo_data.release.dataset import README, assemble, files_of, open_config, uncompressed
from capo_data.release.front_matter import TEXTS
from capo_data.release.personal import KINDS
from capo_data.release.schema import SPLITS, table
from capo_data.release.validation import validate
from capo_data.run import publish, read_manifest, recover, remove

FACTS = "release.json"
FIGURES = "figures"
_ROWS = 200  # in memory at a time

Texts = Literal["with", "without"]


@dataclass(frozen=True, slots=True)
class Choices:
    """What is said on the command line; it goes before the recipe.

    Attributes:
        license: An identifier of the Hub.
        terms: Of the source.
        text: `with` or `without` the source's texts.
        redact: Mask what may name a person.
        drop_quotes: Leave out rows in which a rationale quotes a review.
        repository: Where it goes (ORG/NAME), for the card.
    """

    license: str | None = None
    terms: str | None = None
    text: Texts | None = None
    redact: bool = False
    drop_quotes: bool = False
    repository: str | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is ready to be pushed.

    Attributes:
        folder: The release.
        facts: What its card tells.
        notes: What whoever pushes should know.
    """

    folder: Path
    facts: Mapping[str, Any]
    notes: tuple[str, ...]


def prepare(run: Path, choices: Choices, report: Reporter | None = None) -> Prepared:
    """Builds and validates RUN/release; what stood there before goes when the new one is whole.

    Raises:
        UsageError: Licence, terms, or the word about texts is missing.
        RunError: The run is not complete.
        ContractError: What was built breaks the contract; it is left beside its place.
    """
    report = report or SilentReporter()
    told = facts.of_run(run)
    release = read_manifest(run).get("release", {})
    rights = terms.settle(told["recipe"]["source"], release, choices.license, choices.terms)
    without = _without(told["recipe"]["source"]["kind"], choices.text or release.get("text"))
    cleaner = Cleaner(choices.redact, choices.drop_quotes, without)
    home = run / "release"
    recover(home)
    partial, parts = home.with_name("release.partial"), home.with_name("release.rows")
    for scratch in (partial, parts):
        remove(scratch)
    given = _clean(run / "dataset", parts, cleaner, report)
    told = _released(told, rights, cleaner, release.get("language"), choices.repository)
    write(partial, given, told)
    remove(parts)
    validate(partial, report=report).require()
    publish(partial, home)
    return Prepared(home, json.loads((home / FACTS).read_text(encoding="utf-8")), tuple(_notes(told)))


def write(folder: Path, parts: Mapping[tuple[str, str], list[Path]], told: Mapping[str, Any]) -> None:
    """Writes a release from its rows' files and its facts.

    Args:
        folder: New or empty.
        parts: As `dataset.assemble` takes them.
        told: What the card tells.
    """
    withheld = told["format"].get("text") == TEXTS[1]
    seed = int(told["recipe"]["seed"])
    rows = assemble(folder, parts, told, seed=seed, withheld=withheld)
    short = {name.removesuffix("/train").removeprefix("test/"): count for name, count in rows.items()}
    files = {
        config if split == "train" else split: files_of(folder, config, split)
        for config, splits in SPLITS.items()
        for split in splits
    }
    counts = {
        **told["counts"],
        "rows": short,
        "bytes": {name: sum(map(uncompressed, paths)) for name, paths in files.items()},
        "download": {name: sum(path.stat().st_size for path in paths) for name, paths in files.items()},
    }
    whole = {**told, "counts": counts}
    whole["figures"] = _figures(folder, whole)
    (folder / README).write_text(card.render(whole), encoding="utf-8", newline="\n")
    card_audit.put(folder, whole.get("audit"))
    text = json.dumps(whole, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    (folder / FACTS).write_text(text, encoding="utf-8", newline="\n")
    croissant.write(folder, whole)


def _without(kind: str, text: str | None) -> bool:
    """Whether texts are withheld; for the data of real people somebody must say so."""
    if text is None and kind != "demo":
        raise UsageError(
            "nothing says whether the source's texts may be published",
            where="--with-text, --without-text",
            why="titles, descriptions and reviews are the shop's and its customers' own words",
            next_command="--with-text releases them; --without-text puts hashes in their place, and whoever"
            " has the source restores them with capo-data rehydrate; `release.text` of a recipe says it",
        )
    return text == "without"


def _clean(
    dataset: Path, parts: Path, cleaner: Cleaner, report: Reporter
) -> dict[tuple[str, str], list[Path]]:
    """The files of the rows as they go out: those of the run, or rewritten ones."""
    given: dict[tuple[str, str], list[Path]] = {}
    for config, splits in SPLITS.items():
        for split in splits if config != "dpo" else ():
            files = files_of(dataset, config, split)
            report.start(f"looking through {config}/{split}", sum(map(_count, files)))
            path = parts / f"{config}-{split}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = cleaner.rows(config, _rows(dataset, config, split, report.advance))
            held: list[Mapping[str, Any]] = []
            writer = None
            for row in rows:
                held.append(row)
                if len(held) == _ROWS and cleaner.changes:
                    writer = _flush(config, held, path, writer, cleaner.without_text)
                elif len(held) == _ROWS:
                    held.clear()
            if cleaner.changes:
                writer = _flush(config, held, path, writer, cleaner.without_text)
                writer.close()
            report.finish()
            given[config, split] = [path] if cleaner.changes else files
    return given


def _flush(config: str, held: list[Mapping[str, Any]], path: Path, writer: Any, withheld: bool) -> Any:
    import pyarrow.parquet as pq

    filled = table(config, held, withheld)
    held.clear()
    writer = writer or pq.ParquetWriter(path, filled.schema, compression="zstd")
    writer.write_table(filled)
    return writer


def _rows(dataset: Path, config: str, split: str, advance: Callable[[int], None]) -> Any:
    for batch in open_config(dataset, config, split, rows=_ROWS):
        yield from batch.to_pylist()
        advance(batch.num_rows)


def _count(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def _released(
    told: Mapping[str, Any],
    rights: Mapping[str, Any],
    cleaner: Cleaner,
    language: list[str] | None,
    repository: str | None,
) -> dict[str, Any]:
    """The facts of the run, with what became of them on the way out."""
    counts = dict(told["counts"])
    if left_out := counts["kept"] - cleaner.counts["kept"]:
        counts["dropped"] = {**counts["dropped"], DROPPED: left_out}
    counts |= {name: cleaner.counts[name] for name in ("kept", "conflicts", "level")}
    return {
        **told,
        "counts": counts,
        "scores": {role: dict(sorted(scores.items())) for role, scores in cleaner.scores.items()},
        "format": {**told["format"], "text": TEXTS[cleaner.without_text]},
        "repository": repository,
        "release": {
            **rights,
            "language": list(language or ("en",)),
            "redacted": cleaner.redact,
            "personal": {kind: cleaner.personal[kind] for kind in KINDS},
            "quotes": {
                "rationales": cleaner.quotes["rationales"],
                "rows": cleaner.quotes["rows"],
                "dropped": cleaner.drop_quotes,
            },
        },
    }


def _notes(told: Mapping[str, Any]) -> list[str]:
    release, notes = told["release"], []
    if not drawable():
        notes.append("the card has no figures: pip install 'capo-data[report]' draws them")
    personal = {kind: count for kind, count in release["personal"].items() if count}
    if personal:
        what = ", ".join(f"{count:,} {KINDS[kind]}" for kind, count in personal.items())
        notes.append(f"texts hold {what}; " + ("masked" if release["redacted"] else "--redact masks them"))
    if count := release["quotes"]["rationales"]:
        done = "left out" if release["quotes"]["dropped"] else "--drop-quotes leaves them out"
        rows = release["quotes"]["rows"]
        notes.append(f"{count:,} rationales in {rows:,} rows quote eight or more words of a review; {done}")
    if told["recipe"]["source"]["kind"] != "demo":
        notes.append(f"terms of the source, {release['terms']['name']}: {release['terms']['text']}")
    return notes


def _figures(folder: Path, told: Mapping[str, Any]) -> list[dict[str, str]]:
    """Draws the card's figures; none where matplotlib is not installed, which the notes say."""
    if not drawable():
        return []
    figures.write(folder / FIGURES, told)
    return [
        {"path": f"{FIGURES}/{name}.png", "caption": figures.caption(name, told)} for name in figures.CARD
    ]


def drawable() -> bool:
    """Whether figures can be drawn here."""
    return find_spec("matplotlib") is not None
