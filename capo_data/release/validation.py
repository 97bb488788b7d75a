"""Checks any dataset folder, ours or a stranger's, against the released contract.

Two passes over the Parquet files, one row at a time. The first remembers what each user knows, as 64-bit
hashes in flat arrays (about 50 bytes per history entry); the second checks every row against the contract
and against that memory. Bad data never raises: it becomes a breach that names the row and the rule.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from capo_data.errors import ContractError
from capo_data.records import Reporter, SilentReporter
from capo_data.release.card import Format, read_format
from capo_data.release.dataset import README, files_of, locate, opened
from capo_data.release.leaks import HashSet, LatestTimes, stable_hash
from capo_data.release.schema import SCORES, SPLITS, differences, null_at, response_text, schema
from capo_data.text import normalise_title

EXAMPLES = 50  # breaches kept per rule; all are counted

RULES: Mapping[str, str] = {
    "card": "README.md has a front matter that names format, tags, sizes and every config",
    "files": "every config and split has its numbered Parquet files, each readable",
    "rows": "every split has a row (`datasets` cannot open one that has none)",
    "schema": "columns have the contract's names, types and nullability",
    "null": "no null where the contract has none",
    "id": "ids are unique within a config",
    "candidates": "as many candidates as the card says, ids and normalised titles distinct",
    "target": "the target stands among the candidates at target_index",
    "known_item": "no negative is an item that any row shows its user to have touched",
    "known_title": "no negative has the normalised title of such an item",
    "history": "history items are distinct, in order of time, and counts are not negative",
    "spans": "history_spans are the entries of the history in the user message, in order",
    "prompt": "the prompt ends with a user message that shows the title of every candidate",
    "answer": "judged items are candidates with their own title, a rationale and a judge's name",
    "scores": "scores lie in 1..7",
    "response": "a response is one think tag and one item tag around rationale and title",
    "giveaway": "no rationale speaks of the task, the score, or of having been told what was bought",
    "roles": "two rejected items, at most as many as the card says; no item has two roles",
    "order_by": "hard stands above easy by what order_by says, which the tie policy allows",
    "conflict": "conflict is true exactly where a rejected item scores above the chosen one",
    "subset": "every capo row is an instance of sft",
    "dpo": "dpo rows are capo rows: same prompt, the chosen response, the hard or easy one",
    "splits": "no (user, target) pair in two splits",
    "time": "a user's splits follow one another in time",
}

_REMEMBERED = {
    **dict.fromkeys(("id", "user", "target_index", "history_cut", "candidates"), ()),
    "history": ("item_id", "title", "timestamp"),
}


@dataclass(frozen=True, slots=True)
class Breach:
    """One broken rule in one place; `row` is empty where a file or the card is meant."""

    config: str
    split: str
    row: str
    rule: str
    detail: str


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """What was read and what was wrong.

    Attributes:
        source: The folder or Hub id as it was named.
        rows: Rows read by `config/split`.
        breaches: The first `EXAMPLES` of each rule.
        counts: All breaches, counted by rule.
    """

    source: str
    rows: Mapping[str, int]
    breaches: tuple[Breach, ...]
    counts: Mapping[str, int]

    @property
    def ok(self) -> bool:
        """Whether the dataset keeps the contract."""
        return not self.counts

    def as_dict(self) -> dict[str, Any]:
        """The same, for `--json`."""
        fields = Breach.__slots__
        return {
            "source": self.source,
            "ok": self.ok,
            "rows": dict(self.rows),
            "counts": dict(self.counts),
            "breaches": [{name: getattr(breach, name) for name in fields} for breach in self.breaches],
        }

    def require(self) -> None:
        """Does nothing if the contract is kept.

        Raises:
            ContractError: It is not; the first breach and the counts are told.
        """
        if not self.breaches:
            return
        first = self.breaches[0]
        place = "/".join(part for part in (first.config, first.split) if part)
        raise ContractError(
            f"The dataset breaks its contract {sum(self.counts.values()):,} times",
            where=f"{self.source}: {place} {first.row}".rstrip(": "),
            why=f"{first.detail} ({', '.join(f'{rule} {count:,}' for rule, count in self.counts.items())})",
            next_command=f"capo-data validate {self.source}",
        )


def validate(
    path_or_hub_id: str | Path, *, revision: str | None = None, report: Reporter | None = None
) -> ValidationReport:
    """Checks a dataset folder, a run's folder, or a dataset of the Hub (`org/name`) by all of `RULES`.

    Args:
        path_or_hub_id: A folder if there is one of that name, else an id of the Hub.
        revision: Branch, tag or commit of a Hub dataset.
        report: Told how many rows are done.

    Raises:
        ContractError: There is no dataset in the folder, or the Hub's cannot be had.
    """
    folder = _resolve(path_or_hub_id, revision)
    return _Validation(str(path_or_hub_id), folder, report or SilentReporter()).run()


class _Seen:
    """What the rows of one split show of their users: (user, item) pairs and last timestamps."""

    def __init__(self) -> None:
        self.targets, self.history = HashSet(), HashSet()
        self.uncut = HashSet()  # users whose history is shown in full
        self.latest = LatestTimes()


class _Validation:
    """One run of the checks; holds the tally and the memory between the two passes."""

    def __init__(self, source: str, folder: Path, report: Reporter) -> None:
        from capo_data.judges.reply import giveaway

        self.giveaway = giveaway
        self.source, self.folder, self.report = source, folder, report
        self.rows: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.breaches: list[Breach] = []
        self.place = ("", "")
        self.files: dict[tuple[str, str], list[Path]] = {}
        self.format = Format()
        self.items, self.titles = HashSet(), HashSet()  # all that is known of a user
        self.seen = {split: _Seen() for split in ("train", "validation", "test")}
        self.ids = {config: HashSet() for config in SPLITS}
        self.twice: dict[str, set[int]] = {}
        self.instances, self.answers = HashSet(), HashSet()  # of sft; of capo

    def run(self) -> ValidationReport:
        self._card()
        self._open_files()
        self.report.start("validating rows", 2 * sum(self.rows.values()))
        for config, split in self.files:
            self._remember(config, split)
        self.twice = {config: ids.repeated() for config, ids in self.ids.items()}
        for config, split in self.files:
            self._check(config, split)
        self.report.finish()
        counts = {rule: self.counts[rule] for rule in RULES if rule in self.counts}
        return ValidationReport(self.source, dict(self.rows), tuple(self.breaches), counts)

    def breach(self, rule: str, detail: str, row: str = "") -> None:
        self.counts[rule] += 1
        if self.counts[rule] <= EXAMPLES:
            self.breaches.append(Breach(*self.place, row, rule, detail))

    def _card(self) -> None:
        try:
            text = (self.folder / README).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self.breach("card", f"README.md cannot be read: {error}")
            return
        self.format, problems = read_format(text)
        for problem in problems:
            self.breach("card", problem)

    def _open_files(self) -> None:
        for config, splits in SPLITS.items():
            for split in splits:
                self.place = (config, split)
                self.files[config, split] = []
                try:
                    paths = files_of(self.folder, config, split)
                except ContractError as error:
                    self.breach("files", f"{error.what}: {error.where}")
                    paths = sorted((self.folder / config).glob(f"{split}-*.parquet"))
                for path in paths:
                    self._open_file(config, split, path)
                if self.files[config, split] and not self.rows[f"{config}/{split}"]:
                    self.breach("rows", "the split has no rows")

    def _open_file(self, config: str, split: str, path: Path) -> None:
        try:
            with opened(path) as file:
                found, rows = file.schema_arrow, file.metadata.num_rows
        except ContractError as error:
            self.breach("files", f"{path.name} cannot be read: {error.why}")
            return
        problems, readable = differences(config, found)
        for problem in problems:
            self.breach("schema", f"{path.name}: {problem}")
        if readable:
            self.files[config, split].append(path)
            self.rows[f"{config}/{split}"] += rows

    def _rows(
        self, config: str, split: str, fields: Mapping[str, Sequence[str]] | None = None
    ) -> Iterator[dict[str, Any]]:
        """The rows of a split that have no null where none may be.

        Args:
            config: Whose rows.
            split: Of which split.
            fields: Only these columns, and of a nested one only these fields (all if none is named).
        """
        self.place = (config, split)
        checked = [field for field in schema(config) if fields is None or field.name in fields]
        for path in list(self.files[config, split]):
            try:
                with opened(path) as file:
                    strict = not differences(config, file.schema_arrow)[0]
                    leaves = [file.schema.column(index).path for index in range(len(file.schema))]
                    columns = None if fields is None else [leaf for leaf in leaves if _wanted(leaf, fields)]
                    for batch in file.iter_batches(batch_size=128, columns=columns):
                        for row in batch.to_pylist():
                            null = "" if strict else _null(row, checked)
                            if not null:
                                yield row
                            elif fields is None:  # told once, by the pass that reads everything
                                self.breach("null", null, str(row["id"]))
                        self.report.advance(batch.num_rows)
            except ContractError as error:
                self.files[config, split].remove(path)
                self.breach("files", f"{path.name} cannot be read: {error.why}")

    # First pass.

    def _remember(self, config: str, split: str) -> None:
        if config == "dpo":
            for row in self._rows(config, split, {"id": ()}):
                self.ids[config].add(stable_hash(row["id"]))
            return
        seen = self.seen[split]
        for row in self._rows(config, split, _REMEMBERED):
            user = row["user"]
            self.ids[config].add(stable_hash(row["id"]))
            for past in row["history"]:
                self._touched(user, past, seen.history)
            if (target := _target(row)) is not None:
                self._touched(user, target, seen.targets)
            if row["history"]:
                seen.latest.add(stable_hash(user), max(past["timestamp"] for past in row["history"]))
            if row["history_cut"] == 0:
                seen.uncut.add(stable_hash(user))

    def _touched(self, user: str, item: Mapping[str, Any], where: HashSet) -> None:
        pair = stable_hash(user, item["item_id"])
        where.add(pair)
        self.items.add(pair)
        self.titles.add(stable_hash(user, normalise_title(item["title"])))

    # Second pass.

    def _check(self, config: str, split: str) -> None:
        for row in self._rows(config, split):
            row_id = row["id"]
            if stable_hash(row_id) in self.twice[config]:
                self.breach("id", "the id occurs more than once", row_id)
            if config == "dpo":
                problems = self._dpo_problems(row)
            else:
                problems = self._instance_problems(row, split)
                if config == "test":
                    problems = chain(problems, _target_problems(row, row["target"]))
                else:
                    problems = chain(problems, self._judged_problems(row, config))
            for rule, detail in problems:
                self.breach(rule, detail, row_id)

    def _instance_problems(self, row: Mapping[str, Any], split: str) -> Iterator[tuple[str, str]]:
        user, target, candidates = row["user"], _target(row), row["candidates"]
        titles = [normalise_title(item["title"]) for item in candidates]
        yield from _candidate_problems(candidates, titles, self.format.candidates)
        yield from _history_problems(row)
        yield from _prompt_problems(row)
        known = self.items.has([stable_hash(user, item["item_id"]) for item in candidates])
        titled = self.titles.has([stable_hash(user, title) for title in titles])
        for index, item in enumerate(candidates):
            if index == row["target_index"]:
                continue
            if known[index]:
                yield "known_item", f"the user has touched {item['item_id']}"
            elif titled[index]:
                yield "known_title", f"the user has touched another item called {item['title']!r:.100}"
        if target is not None:
            yield from self._split_problems(user, target["item_id"], split)
        yield from self._time_problems(user, split)

    def _split_problems(self, user: str, target: str, split: str) -> Iterator[tuple[str, str]]:
        pair, order = stable_hash(user, target), ("train", "validation", "test")
        for earlier in order[: order.index(split)]:
            if pair in self.seen[earlier].targets:
                yield "splits", f"{target} is this user's target in {earlier} too"
            elif pair in self.seen[earlier].history:
                yield "time", f"the target {target} stands in the user's {earlier} history"
        for later in order[order.index(split) + 1 :]:
            if stable_hash(user) in self.seen[later].uncut and pair not in self.seen[later].history:
                yield "time", f"the target {target} is missing from the user's {later} history"

    def _time_problems(self, user: str, split: str) -> Iterator[tuple[str, str]]:
        order = ("train", "validation", "test")
        own = self.seen[split].latest.get(stable_hash(user))
        for earlier in order[: order.index(split)]:
            before = self.seen[earlier].latest.get(stable_hash(user))
            if own is not None and before is not None and before > own:
                yield "time", f"the {earlier} history ends at {before}, this one before it, at {own}"

    def _judged_problems(self, row: Mapping[str, Any], config: str) -> Iterator[tuple[str, str]]:
        chosen = row["chosen"]
        yield from _target_problems(row, chosen["item_id"])
        yield from self._answer_problems(row, "chosen", chosen)
        if config == "sft":
            if row["completion"] != [_said(chosen["response"])]:
                yield "response", "completion is not the chosen response"
            self.instances.add(_instance_hash(row))
            return
        rejected = _rejected(row)
        for index, answer in enumerate(rejected):
            yield from self._answer_problems(row, f"rejected {index + 1}", answer)
        if not 2 <= len(rejected) <= self.format.rejected:
            yield "roles", f"{len(rejected)} rejected items, the card says {self.format.rejected}"
        if len({answer["item_id"] for answer in (chosen, *rejected)}) <= len(rejected):
            yield "roles", "an item has two roles"
        yield from _order_problems(row, self.format.tie_policy)
        above = any(answer["score"] > chosen["score"] for answer in rejected)
        if row["conflict"] != above:
            yield "conflict", f"conflict is {str(row['conflict']).lower()}, the scores say otherwise"
        if self.files["sft", "train"]:
            if stable_hash(row["id"]) not in self.ids["sft"]:
                yield "subset", "sft has no row of this id"
            elif _instance_hash(row) not in self.instances:
                yield "subset", "the sft row of this id has another user, prompt, candidate set or target"
        if self.files["dpo", "train"] and stable_hash(row["id"]) not in self.ids["dpo"]:
            yield "dpo", "dpo has no row of this id"
        self.answers.add(_talk(row["id"], "prompt", row["prompt"]))
        self.answers.add(_talk(row["id"], "chosen", [_said(chosen["response"])]))
        for answer in (row["hard_rejected"], row["easy_rejected"]):
            self.answers.add(_talk(row["id"], "rejected", [_said(answer["response"])]))

    def _answer_problems(
        self, row: Mapping[str, Any], role: str, answer: Mapping[str, Any]
    ) -> Iterator[tuple[str, str]]:
        if (answer["item_id"], answer["title"]) not in {
            (i["item_id"], i["title"]) for i in row["candidates"]
        }:
            yield "answer", f"{role}: {answer['item_id']} with this title is no candidate"
        for name in ("rationale", "judge", "prompt_version", "request_key"):
            if not answer[name].strip():
                yield "answer", f"{role}: {name} is empty"
        if answer["score"] not in SCORES:
            yield "scores", f"{role}: score is {answer['score']}"
        expected = answer["expected_score"]
        if expected is not None and not SCORES[0] <= expected <= SCORES[-1]:
            yield "scores", f"{role}: expected_score is {expected}"
        think, item = self.format.think_tag, self.format.item_tag
        tags = re.findall(rf"<\s*(/?)\s*({think}|{item})\b[^<>]*>", answer["response"], re.IGNORECASE)
        if Counter((slash, name.lower()) for slash, name in tags) != Counter(
            (slash, tag.lower()) for tag in (think, item) for slash in ("", "/")
        ):
            yield "response", f"{role}: not exactly one {think} and one {item} tag"
        if answer["response"] != response_text(
            answer["rationale"], answer["title"], think_tag=think, item_tag=item
        ):
            yield "response", f"{role}: the response is not the rationale and the title in their tags"
        if words := self.giveaway(answer["rationale"]):
            yield "giveaway", f"{role}: {words!r}"

    def _dpo_problems(self, row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        if not self.files["capo", "train"]:
            return
        if stable_hash(row["id"]) not in self.ids["capo"]:
            yield "dpo", "capo has no row of this id"
            return
        for column in ("prompt", "chosen", "rejected"):
            if _talk(row["id"], column, row[column]) not in self.answers:
                yield "dpo", f"{column} is not that of the capo row"


# Rules that a row keeps or breaks by itself.


def _candidate_problems(
    candidates: Sequence[Mapping[str, str]], titles: Sequence[str], wanted: int
) -> Iterator[tuple[str, str]]:
    if len(candidates) != wanted:
        yield "candidates", f"{len(candidates)} candidates, the card says {wanted}"
    for what, values in (("id", [item["item_id"] for item in candidates]), ("normalised title", titles)):
        if len(set(values)) < len(values):
            value, count = Counter(values).most_common(1)[0]
            yield "candidates", f"{count} candidates have the {what} {value!r:.100}"
    if not all(titles):
        yield "candidates", "a candidate has no title"


def _target_problems(row: Mapping[str, Any], item_id: str) -> Iterator[tuple[str, str]]:
    target = _target(row)
    if target is None:
        yield "target", f"target_index {row['target_index']} is outside the candidates"
    elif target["item_id"] != item_id:
        yield "target", f"{item_id} is the target, {target['item_id']} stands at target_index"
    if target is not None and target["item_id"] in {entry["item_id"] for entry in row["history"]}:
        yield "history", "the target stands in the row's own history"


def _history_problems(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    history = row["history"]
    if any(earlier["timestamp"] > later["timestamp"] for earlier, later in pairwise(history)):
        yield "history", "the history is not in order of time"
    if len({entry["item_id"] for entry in history}) < len(history):
        yield "history", "an item stands in the history twice"
    for name in ("history_untitled", "history_cut"):
        if row[name] < 0:
            yield "history", f"{name} is {row[name]}"


def _prompt_problems(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    roles = [message["role"] for message in row["prompt"]]
    if not roles or roles[-1] != "user" or set(roles) - {"system", "user"}:
        yield (
            "prompt",
            f"the roles are {', '.join(roles) or 'none'}; system (if any), then user, are expected",
        )
        return
    text, history = row["prompt"][-1]["content"], row["history"]
    spans = [(span["start"], span["end"]) for span in row["history_spans"]]
    if len(spans) != len(history):
        yield "spans", f"{len(spans)} spans for {len(history)} history entries"
        return
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    if any(a > b for a, b in pairwise(edges)):
        yield "spans", "spans overlap, run backwards or leave the user message"
        return
    for number, ((start, end), entry) in enumerate(zip(spans, history, strict=True)):
        if entry["title"] not in text[start:end]:
            yield "spans", f"span {number} does not hold its entry's title"
    # A title that only the history shows is not an offered candidate.
    rest = "\n".join(text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))
    for item in row["candidates"]:
        if item["title"] not in rest:
            yield "prompt", f"the candidate {item['item_id']} is not shown by its title"


def _order_problems(row: Mapping[str, Any], tie_policy: str) -> Iterator[tuple[str, str]]:
    order, answers = row["order_by"], _rejected(row)
    allowed = {"expected": ("score", "expected"), "keep": ("score", "tied")}.get(tie_policy, ("score",))
    scores = [answer["score"] for answer in answers]
    expected = [answer["expected_score"] for answer in answers]
    if order not in allowed:
        yield (
            "order_by",
            f"order_by is {order!r:.40}, the tie policy {tie_policy} allows {' and '.join(allowed)}",
        )
    elif order == "score" and any(a <= b for a, b in pairwise(scores)):
        yield "order_by", f"scores {scores} do not fall from hard to easy"
    elif order == "tied" and len(set(scores)) > 1:
        yield "order_by", f"scores {scores} are not tied"
    elif order == "expected":
        if None in expected:
            yield "order_by", "an expected_score is null"
        elif len(set(scores)) == len(scores):
            yield "order_by", f"scores {scores} are not tied, so they order the items"
        elif any(a <= b for a, b in pairwise(zip(scores, expected, strict=True))):
            yield "order_by", f"scores {scores} with expected scores {expected} do not fall from hard to easy"


def _target(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    index, candidates = row["target_index"], row["candidates"]
    return candidates[index] if 0 <= index < len(candidates) else None


def _rejected(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """From hard to easy."""
    return [row["hard_rejected"], *row["more_rejected"], row["easy_rejected"]]


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _talk(row_id: str, column: str, messages: Sequence[Mapping[str, str]]) -> int:
    """A hash of what is said in a column of a row."""
    return stable_hash(row_id, column, *(text for m in messages for text in (m["role"], m["content"])))


def _instance_hash(row: Mapping[str, Any]) -> int:
    items = (item["item_id"] for item in row["candidates"])
    prompt = str(_talk(row["id"], "prompt", row["prompt"]))
    return stable_hash(row["id"], row["user"], str(row["target_index"]), prompt, *items)


def _wanted(leaf: str, fields: Mapping[str, Sequence[str]]) -> bool:
    """Whether a Parquet leaf such as `history.list.element.title` is among the fields."""
    column, _, rest = leaf.partition(".")
    return column in fields and (not fields[column] or rest.rpartition(".")[2] in fields[column])


def _null(row: Mapping[str, Any], fields: Sequence[Any]) -> str:
    return next((found for field in fields if (found := null_at(row[field.name], field))), "")


def _resolve(path_or_hub_id: str | Path, revision: str | None) -> Path:
    """The dataset's folder, fetched from the Hub if the name is no folder but can be an id."""
    name = str(path_or_hub_id)
    if Path(name).exists() or isinstance(path_or_hub_id, Path) or not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return locate(Path(name))

    import httpx2
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(
            huggingface_hub.snapshot_download(
                name,
                repo_type="dataset",
                revision=revision,
                allow_patterns=[README, *(f"{config}/*.parquet" for config in SPLITS)],
                # The library reads HF_ENDPOINT once, at import; a caller may set it later.
                endpoint=os.environ.get("HF_ENDPOINT"),
            )
        )
    except (OSError, HFValidationError, httpx2.HTTPError) as error:
        raise ContractError(
            f"{name} is neither a folder nor a dataset of the Hub that can be fetched",
            where=os.environ.get("HF_ENDPOINT") or "https://huggingface.co",
            why=" ".join(str(error).split()),
            next_command="check the spelling, the network and HF_TOKEN; or name a folder",
        ) from error
