"""Reads a released dataset: `<folder>/<config>/<split>-*.parquet`.

The only thing that training shares with the making of a dataset is the format of these files, so this
module depends on pyarrow alone, and on huggingface_hub where a dataset is fetched. Columns and their
meaning stand in the dataset's own README.md.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_trainer.errors import DatasetError, WithheldError

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
SPLITS: Mapping[str, tuple[str, ...]] = {
    "sft": ("train",),
    "capo": ("train",),
    "test": ("validation", "test"),
    "dpo": ("train",),
}
# What training and evaluation read: the column, and what it must hold. `[...]` is a list, `{a, b}` a struct
# with at least these fields.
_INSTANCE = {
    "id": "string",
    "user": "string",
    "history": "[{item_id, title, timestamp}]",
    "candidates": "[{item_id, title}]",
    "target_index": "integer",
    "history_spans": "[{start, end}]",
    "prompt": "[{role, content}]",
}
_ANSWER = "{item_id, title, rationale, score, response}"
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "sft": {**_INSTANCE, "chosen": _ANSWER, "completion": "[{role, content}]"},
    "capo": {
        **_INSTANCE,
        **dict.fromkeys(("chosen", "hard_rejected", "easy_rejected"), _ANSWER),
        "more_rejected": f"[{_ANSWER}]",
        "conflict": "bool",
        "order_by": "string",
    },
    "test": {**_INSTANCE, "target": "string"},
    "dpo": {"id": "string", **dict.fromkeys(("prompt", "chosen", "rejected"), "[{role, content}]")},
}


def located(dataset: str | Path, revision: str | None = None) -> Path:
    """The dataset's folder: the one of that name, the one in a run of that name, or one fetched from the Hub.

    Raises:
        DatasetError: There is no such folder, or the Hub's dataset cannot be had.
    """
    name = str(dataset)
    folder = Path(name)
    of_the_hub = re.fullmatch(r"([\w.-]+)/[\w.-]+", name)
    # Where there is a folder `runs`, `runs/demo` is a path that is not there.
    if folder.exists() or isinstance(dataset, Path) or not of_the_hub or Path(of_the_hub[1]).is_dir():
        if not folder.is_dir():
            raise DatasetError(
                f"{name} is no folder", next_command="make one with: capo-data build --domain demo"
            )
        return folder / "dataset" if (folder / "manifest.json").exists() else folder
    import huggingface_hub

    wanted = ["README.md", *(f"{config}/*.parquet" for config in SPLITS)]
    try:
        return Path(
            huggingface_hub.snapshot_download(
                name, repo_type="dataset", revision=revision, allow_patterns=wanted
            )
        )
    except Exception as error:
        raise DatasetError(
            f"{name} is neither a folder nor a dataset of the Hub that can be fetched",
            why=" ".join(str(error).split()),
            next_command="check the spelling, the network and HF_TOKEN; or name a folder",
        ) from error


@dataclass(frozen=True, slots=True)
class Tags:
    """What surrounds the two parts of a response: `<think>rationale</think>` and `<item>title</item>`."""

    think: str = "think"
    item: str = "item"


def tags(folder: Path) -> Tags:
    """The tag names that the card's front matter gives; think and item where there is no card.

    Raises:
        DatasetError: The card is of a format that this version does not know, or has no front matter.
    """
    import yaml

    path = folder / "README.md"
    if not path.exists():
        return Tags()
    try:
        front = yaml.safe_load(path.read_text(encoding="utf-8").split("---\n")[1])
        facts = front["capo_data"]
        known, names = facts["format"], Tags(facts["think_tag"], facts["item_tag"])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, LookupError, TypeError) as error:
        raise DatasetError("the card has no front matter of capo-data", where=str(path)) from error
    if known != FORMAT:
        raise DatasetError(
            f"the dataset is of format {known}, this version reads {FORMAT}",
            where=str(path),
            next_command="pip install -U 'capo-data[train]'",
        )
    return names


def fingerprint(folder: Path, config: str, split: str = "train") -> str:
    """A digest of the bytes of one split, for caches and for what a run writes down."""
    digest = hashlib.sha256()
    for path in _files(folder, config, split):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def read_rows(folder: Path, config: str, split: str = "train") -> Iterator[dict[str, Any]]:
    """The rows of one split in order, a few hundred in memory at a time.

    Args:
        folder: The dataset folder, the one with README.md.
        config: `sft`, `capo`, `test` or `dpo`.
        split: `train`; `validation` or `test` of config `test`.

    Raises:
        DatasetError: The split is missing, incomplete, unreadable, or has other columns; a row lacks what it
            should hold, or has the id of another.
        WithheldError: The rows were released without their source's texts.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    seen: set[str] = set()
    for path in _files(folder, config, split):
        try:
            with pq.ParquetFile(path) as file:
                _need_texts(folder, file.schema_arrow)
                if wrong := _wrong_columns(config, file.schema_arrow):
                    raise DatasetError(f"{path} is not in the format of config {config}: {'; '.join(wrong)}")
                for batch in file.iter_batches(batch_size=256):
                    for row in batch.to_pylist():
                        if lacks := "an id of its own" if row["id"] in seen else _lacks(config, row):
                            raise DatasetError(
                                f"a row of {config}/{split} has not {lacks}",
                                where=f"{path}, row {row['id']}",
                                next_command=f"capo-data validate {folder}",
                            )  # fmt: skip
                        seen.add(row["id"])
                        yield row
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise DatasetError(f"{path} cannot be read: {error}") from error


def _lacks(config: str, row: Mapping[str, Any]) -> str:
    """What a row should hold and does not, empty if nothing: columns are typed, but may be null or empty."""
    if config == "dpo":
        found = ("prompt", "chosen", "rejected")
        return next((f"a {name}" for name in found if not _texts(row[name], "content")), "")
    if not isinstance(row["id"], str):
        return "an id"
    for name, field in (("prompt", "content"), ("candidates", "title"), ("candidates", "item_id")):
        if not _texts(row[name], field):
            return f"a whole {name}"
    if row["history"] is None or (row["history"] and not _texts(row["history"], "title")):
        return "a whole history"
    if row["target_index"] is None or not 0 <= row["target_index"] < len(row["candidates"]):
        return "a target among its candidates"
    answers = {"sft": ("chosen",), "capo": ("chosen", "hard_rejected", "easy_rejected")}.get(config, ())
    each = [row[name] for name in answers]
    if config == "capo":
        if row["more_rejected"] is None:
            return "a list of further rejected answers"
        each += row["more_rejected"]
    return "" if not each or _texts(each, "response", "title", "rationale") else "whole answers"


def _texts(found: Any, *names: str) -> bool:
    """Some records, each with these texts."""
    return bool(found) and all(
        isinstance(one, Mapping) and isinstance(one.get(name), str) for one in found for name in names
    )


def check(folder: Path, configs: Sequence[str] = tuple(SPLITS)) -> dict[str, int]:
    """Makes sure, before anything expensive starts, that the configs are there and can be read.

    Returns:
        Rows by `config/split`.

    Raises:
        DatasetError: All that is wrong, one line each.
        WithheldError: The rows were released without their source's texts.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: dict[str, int] = {}
    wrong: list[str] = []
    for config in configs:
        for split in SPLITS.get(config, ("train",)):
            name = f"{config}/{split}"
            try:
                for path in _files(folder, config, split):
                    with pq.ParquetFile(path) as file:
                        _need_texts(folder, file.schema_arrow)
                        rows[name] = rows.get(name, 0) + file.metadata.num_rows
                        wrong += [
                            f"{path.name} of {name}: {w}" for w in _wrong_columns(config, file.schema_arrow)
                        ]
            except WithheldError:
                raise  # one answer for all of them
            except DatasetError as error:
                wrong.append(str(error))
            except (OSError, pa.ArrowException) as error:
                wrong.append(f"{name} cannot be read: {error}")
    if wrong:
        lines = "\n  ".join(wrong)
        raise DatasetError(
            f"{folder} cannot be trained on:\n  {lines}\nCheck it with `capo-data validate {folder}`."
        )
    return rows


def _need_texts(folder: Path, found: pa.Schema) -> None:
    """Only a release without texts has a hash in place of the prompt."""
    if "prompt_hash" in found.names:
        raise WithheldError(
            "the texts of this dataset are withheld: there is nothing to train on yet",
            where=str(folder),
            why="it was released with hashes in place of prompts; whoever has the source puts them back",
            next_command=f"capo-data rehydrate {folder} --source YOUR_COPY_OF_THE_SOURCE --out with-text",
        )


def _files(folder: Path, config: str, split: str) -> list[Path]:
    if split not in SPLITS.get(config, ()):
        known = ", ".join(f"{name}/{part}" for name, parts in SPLITS.items() for part in parts)
        raise DatasetError(f"There is no {config}/{split}; a dataset has {known}")
    files = sorted((folder / config).glob(f"{split}-*.parquet"))
    if not files:
        raise DatasetError(f"{folder} has no {config}/{split}: no {config}/{split}-*.parquet")
    if any(path.name != f"{split}-{i:05d}-of-{len(files):05d}.parquet" for i, path in enumerate(files)):
        raise DatasetError(
            f"{folder} has not all files of {config}/{split}: {', '.join(p.name for p in files)}"
        )
    return files


def _wrong_columns(config: str, found: pa.Schema) -> list[str]:
    """One sentence for each column that is missing or cannot hold what it should."""
    return [
        f"column {name} is missing" if name not in found.names else f"column {name} is not {wanted}"
        for name, wanted in COLUMNS[config].items()
        if name not in found.names or not _holds(found.field(name).type, wanted)
    ]


def _holds(kind: pa.DataType, wanted: str) -> bool:
    import pyarrow as pa

    if wanted.startswith("["):
        return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _holds(
            kind.value_type, wanted[1:-1]
        )
    if wanted.startswith("{"):
        fields = {child.name for child in kind} if pa.types.is_struct(kind) else set()
        return fields >= set(re.findall(r"\w+", wanted))
    matches = {
        "string": lambda: pa.types.is_string(kind) or pa.types.is_large_string(kind),
        "integer": lambda: pa.types.is_integer(kind),
        "bool": lambda: pa.types.is_boolean(kind),
    }
    return bool(matches[wanted]())
