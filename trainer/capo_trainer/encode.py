"""The calibrator's encodings z = f(S_u, i, r): computed once by a frozen text encoder, kept by content.

Encoders read a few hundred tokens (all-mpnet-base-v2: 384), history, item and rationale have more, and
cutting their concatenation at the end would leave the same text for every response. So the item and its
rationale come first and the newest titles of the history fill what is left.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from capo_trainer import data
from capo_trainer.errors import DatasetError, ModelError
from capo_trainer.identity import content_key, model_identity
from capo_trainer.tokenise import ranked

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_WAY = "item, rationale, newest titles; 1"  # changes when the text does
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Encodings:
    """z of every response of a dataset's config `capo`.

    Attributes:
        path: Where they are kept.
        encoder: By which model.
        by_row: float32 [K, D] by row id, in the order of `tokenise.ranked`.
        computed: False where they were read.
        shortened: Texts in which not even the rationale fitted.
    """

    path: Path
    encoder: str
    by_row: Mapping[str, NDArray[np.float32]]
    computed: bool
    shortened: int

    @property
    def dimensions(self) -> int:
        """D."""
        return int(next(iter(self.by_row.values())).shape[1])

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "path": str(self.path),
            "encoder": self.encoder,
            "rows": len(self.by_row),
            "dimensions": self.dimensions,
            "computed": self.computed,
            "shortened": self.shortened,
        }


def encodings(
    folder: Path,
    encoder: str,
    cache: Path,
    *,
    max_rows: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Encodings:
    """The encodings of a dataset, read where they were computed before.

    Args:
        folder: The dataset's.
        encoder: A sentence-transformers model, folder or Hub id.
        cache: Where they are kept.
        max_rows: The first rows only.
        progress: Told how many texts of how many are encoded.

    Raises:
        ModelError: The encoder cannot be loaded.
    """
    key = content_key(_WAY, data.fingerprint(folder, "capo"), model_identity(encoder), str(max_rows))
    path = cache / f"embed-{key}.safetensors"
    if kept := load_table(path, "encodings"):
        z, ids, facts = kept
        return Encodings(path, encoder, dict(zip(ids, z, strict=True)), False, int(facts["shortened"]))
    rows = list(islice(data.read_rows(folder, "capo"), max_rows))
    if not rows:
        raise DatasetError(f"{folder} has no rows in config capo")
    model = _encoder(encoder)
    texts, shortened = _texts(rows, model)
    answers = len(texts) // len(rows)
    parts: list[NDArray[np.float32]] = []
    for start in range(0, len(texts), _BATCH):
        parts.append(
            np.asarray(
                model.encode(texts[start : start + _BATCH], batch_size=_BATCH, show_progress_bar=False),
                dtype=np.float32,
            )
        )
        if progress is not None:
            progress(min(start + _BATCH, len(texts)), len(texts))
    flat = np.concatenate(parts)
    z = flat.reshape(len(rows), answers, flat.shape[1])
    ids = [row["id"] for row in rows]
    save_table(path, "encodings", z, ids, {"encoder": encoder, "shortened": str(shortened)})
    return Encodings(path, encoder, dict(zip(ids, z, strict=True)), True, shortened)


def _encoder(name: str) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(name)
    except Exception as error:
        raise ModelError(
            f"the text encoder {name} cannot be loaded",
            why=" ".join(str(error).split())[:300],
            next_command="name a local one with --encoder, or do without: --weights probit-fixed",
        ) from error


def _texts(rows: Iterable[Mapping[str, Any]], model: SentenceTransformer) -> tuple[list[str], int]:
    room = int(model.max_seq_length or 384) - 2  # what the encoder puts around a text
    lengths: dict[str, int] = {}

    def length(text: str) -> int:
        if text not in lengths:
            lengths[text] = len(model.tokenizer.tokenize(text))
        return lengths[text]

    found, shortened = [], 0
    for row in rows:
        newest = [entry["title"] for entry in reversed(row["history"])]
        for answer in ranked(row):
            text, fits = within(newest, answer, room, length)
            found.append(text)
            shortened += not fits
    return found, shortened


def within(
    newest: Sequence[str], answer: Mapping[str, Any], room: int, length: Callable[[str], int]
) -> tuple[str, bool]:
    """The text of one response for the encoder.

    Args:
        newest: Titles of the history, the newest first.
        answer: With `title` and `rationale`.
        room: Tokens that the encoder reads.
        length: Tokens of a text.

    Returns:
        The text, and whether item and rationale are whole within the room.
    """
    head = f"{answer['title']}\n{answer['rationale']}"
    used = length(head)
    lines = [head]
    for title in newest:
        used += length(title)
        if used > room:
            break
        lines.append(title)
    return "\n".join(lines), length(head) <= room


def save_table(
    path: Path, name: str, values: NDArray[np.float32], ids: Sequence[str], facts: Mapping[str, str]
) -> None:
    """Values by row id as one safetensors file, which is there whole or not at all."""
    from safetensors.numpy import save_file

    making = path.with_suffix(".making")
    save_file({name: np.ascontiguousarray(values)}, making, metadata={**facts, "ids": json.dumps(list(ids))})
    making.replace(path)


def load_table(path: Path, name: str) -> tuple[NDArray[np.float32], list[str], dict[str, str]] | None:
    """What `save_table` wrote: values, ids, facts; None where there is nothing, or nothing whole."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            facts = dict(file.metadata())
            values: NDArray[np.float32] = file.get_tensor(name)
        return values, json.loads(facts.pop("ids")), facts
    except (SafetensorError, ValueError, KeyError, TypeError):
        return None  # damaged: it is computed anew, and replaced
