"""What a recommender answered: `generations.jsonl`, one line a sample, and how an answer is understood.

The file is what `capo-train eval` scores and `capo-data annotate export --generations` shows to raters. While
it is being made, whole instances are added to `generations.jsonl.part`; the finished file appears at once, in
the dataset's order.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from capo_trainer.data import Tags
from capo_trainer.errors import DatasetError, UsageError

NAME = "generations.jsonl"
_SETTINGS = "generations.settings.json"
_ITEM_TAGS = ("item", "item_nm")  # the paper writes both


@dataclass(frozen=True, slots=True)
class Generation:
    """One sampled answer.

    Attributes:
        id: Of the dataset's row.
        domain: Of the row.
        model: Who answered.
        sample: 0 for the first answer to the row.
        rationale: What stands in the think tag; the whole answer where there is none.
        title: What stands in the item tag; empty where there is none.
        item_id: Of the candidate with this title, else None.
        valid: Whether there is such a candidate.
        target_item_id: What the user took.
        target_title: Likewise.
        history_length: Entries of the row's history.
    """

    id: str
    domain: str
    model: str
    sample: int
    rationale: str
    title: str
    item_id: str | None
    valid: bool
    target_item_id: str
    target_title: str
    history_length: int


def normalised(title: str) -> str:
    """A title as titles are compared: Unicode NFKC, one case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", title).casefold().split())


def candidate_ids(row: Mapping[str, Any]) -> dict[str, str]:
    """The candidates' ids by normalised title.

    Raises:
        DatasetError: Two candidates share a title, so that an answer would be ambiguous.
    """
    found: dict[str, str] = {}
    for candidate in row["candidates"]:
        title = normalised(candidate["title"])
        if title in found:
            raise DatasetError(
                "two candidates have the same title",
                where=f"row {row['id']}",
                why=f"{candidate['title']!r:.80} names {found[title]} and {candidate['item_id']}",
                next_command="capo-data validate FOLDER",
            )
        found[title] = candidate["item_id"]
    return found


def understood(row: Mapping[str, Any], text: str, *, model: str, sample: int, tags: Tags) -> Generation:
    """Reads an answer: the last item tag counts; a candidate's title must match exactly once normalised."""
    think = re.search(rf"<{tags.think}>(.*?)</{tags.think}>", text, re.DOTALL)
    names = "|".join(map(re.escape, dict.fromkeys((tags.item, *_ITEM_TAGS))))
    items = re.findall(rf"<({names})>(.*?)</\1>", text, re.DOTALL)
    title = items[-1][1].strip() if items else ""
    target = row["candidates"][row["target_index"]]
    item = candidate_ids(row).get(normalised(title))
    return Generation(
        id=row["id"],
        domain=row.get("domain") or "",
        model=model,
        sample=sample,
        rationale=think[1].strip() if think else text.strip(),
        title=title,
        item_id=item,
        valid=item is not None,
        target_item_id=target["item_id"],
        target_title=target["title"],
        history_length=len(row["history"]),
    )


class Store:
    """A folder in which `generations.jsonl` is being made.

    Args:
        folder: Made if there is none.
        settings: All that determines the answers; those kept from before must have the same.
        fresh: Throw away what is there.

    Raises:
        UsageError: What is there was made with other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, fresh: bool = False) -> None:
        self.final = folder / NAME
        self._part = folder / f"{NAME}.part"
        self._settings = folder / _SETTINGS
        folder.mkdir(parents=True, exist_ok=True)
        if fresh:
            for path in (self.final, self._part, self._settings):
                path.unlink(missing_ok=True)
        self._agree(dict(settings))

    def _agree(self, settings: dict[str, Any]) -> None:
        if self._settings.exists() and (self.final.exists() or self._part.exists()):
            before = self._read_settings()
            changed = sorted(n for n in before.keys() | settings.keys() if before.get(n) != settings.get(n))
            if changed:
                raise UsageError(
                    f"{self.final.parent} holds answers made otherwise",
                    why="; ".join(
                        f"{n}: {before.get(n)!r} there, {settings.get(n)!r} asked" for n in changed
                    ),
                    next_command="name another --out; generate and eval throw them away with --fresh",
                )
        else:
            _replace(self._settings, json.dumps(settings, indent=2, sort_keys=True) + "\n")

    def _read_settings(self) -> dict[str, Any]:
        try:
            before: dict[str, Any] = json.loads(self._settings.read_text(encoding="utf-8"))
            before.keys()
        except (OSError, ValueError, AttributeError) as error:
            raise self._damaged(self._settings, str(error)) from error
        return before

    def _damaged(self, path: Path, why: str) -> DatasetError:
        return DatasetError(
            "answers from before cannot be read", where=str(path), why=" ".join(why.split()),
            next_command="throw them away with --fresh, or name another --out",
        )  # fmt: skip

    def done(self, samples: int) -> dict[str, list[Generation]]:
        """The answers that are whole, by row id; what a kill left of a row is cut off.

        Raises:
            DatasetError: A line is no answer.
        """
        # Where more rows are asked for than were published, the further ones lie in the part.
        whole = {**self._whole(self.final, samples), **(added := self._whole(self._part, samples))}
        if self._part.exists():
            _replace(self._part, "".join(map(_line, (one for answers in added.values() for one in answers))))
        return whole

    def _whole(self, path: Path, samples: int) -> dict[str, list[Generation]]:
        found: dict[str, list[Generation]] = {}
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                break
            try:
                one = Generation(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise self._damaged(path, f"line {number}: {error}") from error
            found.setdefault(one.id, []).append(one)
        return {row: answers for row, answers in found.items() if len(answers) == samples}

    def add(self, answers: Iterable[Generation]) -> None:
        """Keeps the answers to whole rows."""
        with self._part.open("a", encoding="utf-8") as file:
            file.write("".join(map(_line, answers)))
            file.flush()
            os.fsync(file.fileno())

    def finish(self, order: Sequence[str], samples: int) -> list[Generation]:
        """Publishes the file, rows in this order; answers to further rows stay beside it for another time."""
        whole = self.done(samples)
        answers = [one for row in order for one in sorted(whole[row], key=lambda one: one.sample)]
        _replace(self.final, "".join(map(_line, answers)))
        if further := [one for row in whole.keys() - set(order) for one in whole[row]]:
            _replace(self._part, "".join(map(_line, further)))
        else:
            self._part.unlink(missing_ok=True)
        return answers


def read(path: Path) -> Iterator[Generation]:
    """The lines of a `generations.jsonl`, or of the one in a folder.

    Raises:
        DatasetError: It cannot be read, or a line is no generation.
    """
    path = path / NAME if path.is_dir() else path
    known = set(Generation.__slots__)
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                values = json.loads(line)
                if missing := sorted(known - values.keys()):
                    raise DatasetError(
                        f"a line lacks {', '.join(missing)}", where=f"{path}:{number}",
                        next_command="make the file with: capo-train generate DATASET --model MODEL",
                    )  # fmt: skip
                if wrong := [name for name, kinds in _KINDS.items() if type(values[name]) not in kinds]:
                    raise ValueError(f"{wrong[0]} is {values[wrong[0]]!r:.40}")
                if bad := [name for name in known if not _is_text(values[name])]:
                    raise ValueError(f"{bad[0]} holds half a character")
                yield Generation(**{name: values[name] for name in known})
    except (OSError, UnicodeDecodeError, ValueError, AttributeError) as error:
        raise DatasetError(
            "the generations cannot be read", where=f"{path}:{number}" if number else str(path),
            why=" ".join(str(error).split()),
            next_command="make them with: capo-train generate DATASET --model MODEL",
        ) from error  # fmt: skip


_KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(
        ("id", "domain", "model", "rationale", "title", "target_item_id", "target_title"), (str,)
    ),
    "sample": (int,), "history_length": (int,), "valid": (bool,), "item_id": (str, type(None)),
}  # fmt: skip


def _is_text(value: Any) -> bool:
    """No string with a lone surrogate, which no tokenizer takes."""
    return not isinstance(value, str) or value.isascii() or value.encode(errors="replace").decode() == value


def _line(one: Generation) -> str:
    return json.dumps(asdict(one), ensure_ascii=False) + "\n"


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
