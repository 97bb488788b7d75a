"""`capo_data.rehydrate`: puts the source's texts back into a dataset that was released without them.

Every history entry is looked up in the user's own copy of the source by item and time, and taken where the
hash of item, time and texts is the released one; so no name of a user is needed. The prompt is written anew
from the restored texts and must have the released hash, too. What cannot be restored to the letter is no
part of the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import capo_prompts

from capo_data import domains, settings, sources
from capo_data.duck import connect, parquet
from capo_data.errors import ContractError, RunError, SourceError
from capo_data.histories import described
from capo_data.prompting import candidate_lines, recommender_prompt
from capo_data.records import (
    HistoryEntry,
    Item,
    RatingScale,
    Reporter,
    SilentReporter,
    SourceRequest,
    StagedSource,
)
from capo_data.release import hub, prepare
from capo_data.release.cleaning import redacted
from capo_data.release.dataset import files_of, open_config
from capo_data.release.front_matter import TEXTS as MODES
from capo_data.release.schema import SPLITS, schema, table
from capo_data.release.validation import validate
from capo_data.release.withheld import TEXTS, hash_of_entry, hash_of_prompt
from capo_data.run import publish, read_json, remove
from capo_data.text import clean_text, clean_title, cut

if TYPE_CHECKING:
    import duckdb

_ROWS = 200
_SHOWN = 5  # rows that are named in an error


@dataclass(slots=True)
class Rehydrated:
    """What became of the rows.

    Attributes:
        folder: The dataset with its texts.
        rows: Restored rows by `config/split`, without `dpo`, which is a view.
        missing: Ids of rows that could not be restored, and why.
    """

    folder: Path
    rows: dict[str, int] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {"dataset": str(self.folder), "rows": self.rows, "missing": self.missing}


def rehydrate(
    dataset: str | Path,
    *,
    source: str | Path | None = None,
    items: str | Path | None = None,
    column: Sequence[str] | Mapping[str, str] = (),
    scale: str | None = None,
    revision: str | None = None,
    out: str | Path | None = None,
    allow_partial: bool = False,
    memory_limit: str = "4GB",
    cache: str | Path | None = None,
    report: Reporter | None = None,
) -> Rehydrated:
    """Puts the texts back into a dataset that was released without them.

    Args:
        dataset: Its folder, or its id on the Hub.
        source: Your copy of the source, as `build` takes it.
        items: A file of items, as `build` takes it.
        column: `NAME=THEIRS` pairs for tables.
        scale: `LO-HI`, the rating scale of a table.
        revision: Of a dataset on the Hub.
        out: A new folder; the dataset's name with `-with-text` by default.
        allow_partial: Leave out rows that your copy cannot restore, in place of an error.
        memory_limit: DuckDB's.
        cache: Where staged files are kept.
        report: Told what happens.

    Raises:
        ContractError: The dataset's texts are not withheld, or it lacks release.json.
        SourceError: The source cannot be read, or a row cannot be restored from it.
        RunError: The folder is there already.
    """
    report = report or SilentReporter()
    folder = hub.resolve(dataset, revision)
    told = _told(folder)
    home = Path(out) if out is not None else Path(f"{Path(str(dataset)).name}-with-text")
    if home.exists():
        raise RunError(
            "the folder is there already", where=str(home), next_command="name a new one with --out"
        )
    scaled = domains.scale(scale)
    request = _request(told["recipe"], source, items, domains.columns(column), scaled, cache, memory_limit)
    staged = sources.stage(request, report=report)
    work, partial = home.with_name(f"{home.name}.rows"), home.with_name(f"{home.name}.partial")
    for scratch in (work, partial):
        remove(scratch)
    work.mkdir(parents=True)
    done = Rehydrated(home)
    try:
        report.start("looking up texts")
        with connect(work / "spill", memory_limit) as db:
            restorer = Restorer.of(told, db, folder, staged)
        report.finish()
        parts = _restored(folder, work, restorer, done, report)
        if done.missing and not allow_partial:
            raise _incomplete(done, str(source or told["domain"]))
        whole = {**told, "format": {**told["format"], "text": MODES[0]}}
        prepare.write(partial, parts, whole)
        validate(partial, report=report).require()
        publish(partial, home)
    finally:
        remove(work)
    return done


@dataclass(frozen=True, slots=True)
class Restorer:
    """Rows without texts -> rows with them.

    Attributes:
        texts: By hash the title, description, details and review of a history entry.
        items: By id, where prompts show more of a candidate than its title.
        template: The recommender's.
        recipe: Of the release.
        redacted: The release has masks where something may name a person.
    """

    texts: Mapping[str, tuple[str | None, ...]]
    items: Mapping[str, Item]
    template: capo_prompts.Template
    recipe: Mapping[str, Any]
    redacted: bool

    @classmethod
    def of(
        cls, told: Mapping[str, Any], db: duckdb.DuckDBPyConnection, folder: Path, staged: StagedSource
    ) -> Restorer:
        """Looks up in the source what the dataset's rows need."""
        recipe = told["recipe"]
        files = [
            path
            for config, splits in SPLITS.items()
            for split in splits
            if config != "dpo"
            for path in files_of(folder, config, split)
        ]
        template = capo_prompts.parse("recommender", told["prompts"]["recommender"]["text"])
        items = _described(db, files, staged.items, int(recipe["prompt"]["field_characters"]))
        texts = _texts(db, files, staged.interactions, items, int(recipe["prompt"]["field_characters"]))
        return cls(texts, items, template, recipe, bool(told["release"]["redacted"]))

    def restore(self, config: str, row: Mapping[str, Any]) -> dict[str, Any] | str:
        """The row with its texts, or why it cannot be had."""
        history = []
        for entry, key in zip(row["history"], row["history_hashes"], strict=True):
            if key not in self.texts:
                return f"no entry of {entry['item_id']} at {entry['timestamp']} has the released texts"
            history.append({**entry, **dict(zip(TEXTS, self.texts[key], strict=True))})
        messages, spans = self._prompt(history, row["candidates"])
        found = {name: value for name, value in row.items() if name not in ("prompt_hash", "history_hashes")}
        found |= {"history": history, "prompt": [dict(message) for message in messages]}
        found["history_spans"] = [{"start": start, "end": end} for start, end in spans]
        if self.redacted:
            found = redacted(config, found)
        if hash_of_prompt(found["prompt"]) != row["prompt_hash"]:
            return "the prompt of these texts is not the released one"
        return found

    def _prompt(
        self, history: Sequence[Mapping[str, Any]], candidates: Sequence[Mapping[str, str]]
    ) -> tuple[tuple[dict[str, str], ...], tuple[tuple[int, int], ...]]:
        part = self.recipe["prompt"]
        offered = [
            replace(self.items.get(item["item_id"], Item(item["item_id"], "")), title=item["title"])
            for item in candidates
        ]
        return recommender_prompt(
            self.template,
            [HistoryEntry(**entry) for entry in history],
            candidate_lines(offered, self.recipe["candidates"]["fields"]),
            part["think_tag"],
            part["item_tag"],
        )


def _described(
    db: duckdb.DuckDBPyConnection, files: Sequence[Path], items: Sequence[Path], characters: int
) -> dict[str, Item]:
    """The items of the dataset's histories and candidates, their texts clean and cut as in a build."""
    rows = parquet(files)
    db.execute(
        f"""CREATE TEMP TABLE shown AS
        SELECT DISTINCT e.item_id AS item_id FROM (SELECT unnest(history) AS e FROM {rows})
        UNION SELECT DISTINCT e.item_id FROM (SELECT unnest(candidates) AS e FROM {rows})"""
    )
    if not items:
        return {}
    found = db.sql(
        f"""WITH described AS ({described(items)})
        SELECT item_id, best.title, best.description, best.details
        FROM described SEMI JOIN shown USING (item_id)
        """
    )
    return {
        item_id: Item(
            item_id, clean_title(title) or "", *(cut(clean_text(text), characters) for text in more)
        )
        for item_id, title, *more in _fetched(found)
    }


def _texts(
    db: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    interactions: Sequence[Path],
    items: Mapping[str, Item],
    characters: int,
) -> dict[str, tuple[str | None, ...]]:
    """By hash the texts of every entry of the source that may be one of the dataset's."""
    found = db.sql(
        f"""WITH wanted AS (
            SELECT DISTINCT e.item_id AS item_id, e.timestamp AS timestamp
            FROM (SELECT unnest(history) AS e FROM {parquet(files)}))
        SELECT DISTINCT item_id, timestamp, review
        FROM {parquet(interactions)} SEMI JOIN wanted USING (item_id, timestamp)"""
    )
    texts: dict[str, tuple[str | None, ...]] = {}
    for item_id, timestamp, review in _fetched(found):
        item = items.get(item_id)
        if item is not None and item.title:
            values = (item.title, item.description, item.details, cut(clean_text(review), characters))
            entry = {"item_id": item_id, "timestamp": timestamp, **dict(zip(TEXTS, values, strict=True))}
            texts[hash_of_entry(entry)] = values
    return texts


def _fetched(found: duckdb.DuckDBPyRelation) -> Iterator[tuple[Any, ...]]:
    for batch in found.to_arrow_reader(2_000):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _restored(
    folder: Path, work: Path, restorer: Restorer, done: Rehydrated, report: Reporter
) -> dict[tuple[str, str], list[Path]]:
    """Files of the rows that could be restored; the others are noted."""
    import pyarrow.parquet as pq

    parts: dict[tuple[str, str], list[Path]] = {}
    for config, split in ((c, s) for c, splits in SPLITS.items() for s in splits if c != "dpo"):
        path = work / f"{config}-{split}.parquet"
        report.start(f"restoring {config}/{split}")
        count = 0
        with pq.ParquetWriter(path, schema(config), compression="zstd") as writer:
            for batch in open_config(folder, config, split, rows=_ROWS):
                kept = []
                for row in batch.to_pylist():
                    found = restorer.restore(config, row)
                    if isinstance(found, str):
                        done.missing[row["id"]] = found
                    else:
                        kept.append(found)
                writer.write_table(table(config, kept))
                report.advance(batch.num_rows)
                count += len(kept)
        report.finish()
        parts[config, split], done.rows[f"{config}/{split}"] = [path], count
    return parts


def _told(folder: Path) -> dict[str, Any]:
    """The facts of a release whose texts are withheld."""
    path = folder / prepare.FACTS
    if not path.exists():
        raise ContractError(
            "this dataset does not say what it was made from",
            where=str(path),
            why="release.json is missing: capo-data push writes it",
            next_command="name the folder that capo-data pull fetched, or the dataset's id on the Hub",
        )
    told = read_json(path)
    if told["format"]["text"] != MODES[1]:
        raise ContractError(
            "the texts of this dataset are there already",
            where=str(folder),
            why="its card says `text: included`",
            next_command=f"capo-data show {folder}",
        )
    return told


def _request(
    recipe: Mapping[str, Any],
    source: str | Path | None,
    items: str | Path | None,
    columns: Mapping[str, str],
    scale: Sequence[float] | None,
    cache: str | Path | None,
    memory_limit: str,
) -> SourceRequest:
    part = recipe["source"]
    ends = scale or part.get("scale")
    return SourceRequest(
        kind=part["kind"],
        domain=recipe["domain"],
        cache=settings.cache_folder() if cache is None else Path(cache),
        category=part["category"],
        path=None if source is None else str(source),
        items=None if items is None else str(items),
        columns=columns,
        scale=None if ends is None else RatingScale(*ends),
        seed=int(recipe["seed"]),
        size=part["size"],
        memory_limit=memory_limit,
    )


def _incomplete(done: Rehydrated, source: str) -> SourceError:
    first = list(done.missing.items())[:_SHOWN]
    return SourceError(
        f"{len(done.missing):,} rows cannot be restored from this source",
        where=source,
        why="; ".join(f"{row}: {reason}" for row, reason in first),
        next_command="give the edition that the card names, with its items (--items) and columns (--column);"
        " or leave these rows out with --allow-partial",
    )
