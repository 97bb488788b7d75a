"""Rows on their way out: what may name a person is counted and masked, quotes are found, texts withheld."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from capo_data.release import personal
from capo_data.release.leaks import HashSet, stable_hash
from capo_data.release.quotes import quotes
from capo_data.release.rules import rejected
from capo_data.release.schema import ROLES
from capo_data.release.withheld import TEXTS, withhold

DROPPED = "a rationale quotes a review"


@dataclass(slots=True)
class Cleaner:
    """One pass over the rows of a dataset, config by config.

    Attributes:
        redact: Mask what may name a person.
        drop_quotes: Leave out rows in which a rationale quotes a review.
        without_text: Put hashes in place of the source's texts.
        personal: What was found, by kind; a text that several rows show counts once.
        quotes: Rationales that quote a review, counted by row and item, and `rows` with one, by config.
        scores: Of the `capo` rows that stay.
        counts: `kept`, `conflicts` and `level` (chosen and hard rejected score the same) of the `capo` rows
            that stay; `dropped` rows of any config.
    """

    redact: bool = False
    drop_quotes: bool = False
    without_text: bool = False
    personal: Counter[str] = field(default_factory=Counter)
    quotes: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    scores: dict[str, Counter[str]] = field(default_factory=lambda: {role: Counter() for role in ROLES})
    _seen: set[int] = field(default_factory=set)
    _out: HashSet = field(default_factory=HashSet)

    @property
    def changes(self) -> bool:
        """Whether any row may come out as another than it went in."""
        return self.redact or self.drop_quotes or self.without_text

    def rows(self, config: str, rows: Iterator[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """The rows that stay, as they are released; `sft` before `capo`, which is its subset."""
        for row in rows:
            keep = _ids(row)
            self._scan(config, row, keep)
            if self._quoting(config, row) and self.drop_quotes:
                self.counts["dropped"] += 1
                continue
            shown = redacted(config, row, keep) if self.redact else row
            if config == "capo":
                self._keep(shown)
            yield withhold(shown, row["history"]) if self.without_text else shown

    def _scan(self, config: str, row: Mapping[str, Any], keep: frozenset[str]) -> None:
        for text in _texts(config, row):
            if (key := stable_hash(text)) not in self._seen:
                self._seen.add(key)
                self.personal.update(personal.found(text, keep))

    def _quoting(self, config: str, row: Mapping[str, Any]) -> bool:
        reviews = [entry["review"] for entry in row["history"]]
        count = sum(quotes(answer["rationale"], reviews) for answer in _answers(config, row))
        self.quotes["rationales"] += count
        self.quotes["rows"] += bool(count)
        # What sft may not show, capo may not either: it is a subset.
        gone = config == "capo" and stable_hash(row["id"]) in self._out
        if count and config == "sft":
            self._out.add(stable_hash(row["id"]))
        return bool(count) or gone

    def _keep(self, row: Mapping[str, Any]) -> None:
        self.counts["kept"] += 1
        self.counts["conflicts"] += row["conflict"]
        self.counts["level"] += row["chosen"]["score"] == row["hard_rejected"]["score"]
        for role, scores in self.scores.items():
            scores[str(row[role]["score"])] += 1


def redacted(config: str, row: Mapping[str, Any], keep: frozenset[str] | None = None) -> dict[str, Any]:
    """A row whose texts have masks where `personal` finds something, in the prompt and everywhere alike.

    Args:
        config: `sft`, `capo` or `test`.
        row: With its texts.
        keep: Item ids, which stay; those of the row by default.
    """
    known = _ids(row) if keep is None else keep

    def mask(text: str | None) -> str | None:
        return text and personal.masked(text, known)

    def answer(given: Mapping[str, Any]) -> dict[str, Any]:
        return {**given, **{name: mask(given[name]) for name in ("title", "rationale", "response")}}

    prompt, spans = _masked_prompt(row, known)
    changed: dict[str, Any] = {
        "history": [{**entry, **{name: mask(entry[name]) for name in TEXTS}} for entry in row["history"]],
        "candidates": [{**item, "title": mask(item["title"])} for item in row["candidates"]],
        "prompt": prompt,
        "history_spans": spans,
    }
    if config != "test":
        changed["chosen"] = answer(row["chosen"])
    if config == "sft":
        changed["completion"] = [{**said, "content": mask(said["content"])} for said in row["completion"]]
    if config == "capo":
        changed |= {role: answer(row[role]) for role in ROLES[1:]}
        changed["more_rejected"] = [answer(one) for one in row["more_rejected"]]
    return {**row, **changed}


def _masked_prompt(
    row: Mapping[str, Any], keep: frozenset[str]
) -> tuple[list[dict[str, str]], list[dict[str, int]]]:
    """The prompt masked piece by piece, so that the spans of the history can be told anew."""
    *before, last = row["prompt"]
    text, out = last["content"], ""
    spans, end = [], 0
    for span in row["history_spans"]:
        out += personal.masked(text[end : span["start"]], keep)
        start = len(out)
        out += personal.masked(text[span["start"] : span["end"]], keep)
        spans.append({"start": start, "end": len(out)})
        end = span["end"]
    out += personal.masked(text[end:], keep)
    return [*before, {**last, "content": out}], spans


def _ids(row: Mapping[str, Any]) -> frozenset[str]:
    """Ids of items look like order ids at times, and are keys."""
    return frozenset(item["item_id"] for item in (*row["history"], *row["candidates"]))


def _texts(config: str, row: Mapping[str, Any]) -> Iterator[str]:
    for entry in row["history"]:
        yield from (entry[name] for name in TEXTS if entry[name])
    yield from (item["title"] for item in row["candidates"])
    yield from (answer["rationale"] for answer in _answers(config, row))


def _answers(config: str, row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if config == "test":
        return []
    return [row["chosen"], *(rejected(row) if config == "capo" else ())]
