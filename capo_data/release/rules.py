"""What a row keeps or breaks by itself: the pure part of the released contract.

Each function yields (rule, detail) for what is wrong; a sound row yields nothing. What rows say of one
another is `memory`'s business, what files and cards say is `validation`'s.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from capo_data.judges.giveaways import giveaway
from capo_data.records import RATING_WORDS
from capo_data.release.front_matter import Format
from capo_data.release.schema import SCORES, response_text, tags
from capo_data.text import clean_text, normalise_title

Row = Mapping[str, Any]
Problem = tuple[str, str]  # the broken rule, and what is wrong

RULES: Mapping[str, str] = {
    "card": "README.md has a front matter that names format, tags, sizes, and every config with its files",
    "files": "every config and split has its numbered Parquet files, each readable, and there are no others",
    "rows": "every split has a row (`datasets` cannot open one that has none)",
    "schema": "columns have the contract's names, types and nullability",
    "null": "no null where the contract has none",
    "id": "ids are unique within a config",
    "candidates": "as many candidates as the card says, ids and normalised titles distinct",
    "target": "the target stands among the candidates at target_index",
    "known_item": "no negative is an item that any row shows its user to have touched",
    "known_title": "no negative has the normalised title of such an item",
    "history": "history items are distinct, in order of time, rated by word and number or not at all",
    "spans": "history_spans are the entries of the history in the user message, in order, with their texts",
    "prompt": "the prompt ends with a user message that shows the title of every candidate",
    "answer": "judged items are candidates with a rationale; a row has one judge, a judge one answer",
    "scores": "scores lie in 1..7",
    "text": "texts and prompts are there, or, where the card says `withheld`, null with a hash each",
    "response": "a response is one think tag and one item tag around rationale and title",
    "giveaway": "no rationale speaks of the task, the score, or of having been told what was bought",
    "roles": "two rejected items, at most as many as the card says; no item has two roles",
    "order_by": "hard stands above easy by what order_by says, which the tie policy allows",
    "conflict": "conflict is true exactly where a rejected item scores above the chosen one",
    "subset": "every capo row is an instance of sft, the same in every column that they share",
    "dpo": "dpo rows are capo rows: same prompt, the chosen response, the hard or easy one",
    "splits": "no (user, target) pair in two splits",
    "time": "a user's splits follow one another in time",
}

_TEXTS = ("title", "description", "details", "review")  # of an entry, the source's own words
_HASH = re.compile(r"[0-9a-f]{32}")
_SHOWN = ("item_id", "title", "description", "details", "rating", "review")  # of an entry, in its span


def row_problems(config: str, row: Row, form: Format) -> Iterator[Problem]:
    """Everything that is wrong with a row of `sft`, `capo` or `test` by itself.

    Args:
        config: Whose row it is.
        row: All columns of the contract, no null where none may be.
        form: What the card says of tags, sizes and the tie policy.
    """
    yield from candidate_problems(row["candidates"], form.candidates)
    yield from history_problems(row)
    yield from withheld_problems(row) if form.withheld else prompt_problems(row)
    if config == "test":
        yield from target_problems(row, row["target"])
        return
    chosen = row["chosen"]
    yield from target_problems(row, chosen["item_id"])
    yield from answer_problems(row, "chosen", chosen, form)
    if config == "sft":
        if row["completion"] != [said(chosen["response"])]:
            yield "response", "completion is not the chosen response"
        return
    answers = rejected(row)
    for index, answer in enumerate(answers):
        yield from answer_problems(row, f"rejected {index + 1}", answer, form)
    if len({(answer["judge"], answer["prompt_version"]) for answer in (chosen, *answers)}) > 1:
        yield "answer", "the items of the row have different judges or prompt versions"
    if len(answers) > form.rejected:
        yield "roles", f"{len(answers)} rejected items, the card says {form.rejected}"
    if len({answer["item_id"] for answer in (chosen, *answers)}) <= len(answers):
        yield "roles", "an item has two roles"
    yield from order_problems(row, form.tie_policy)
    above = any(answer["score"] > chosen["score"] for answer in answers)
    if row["conflict"] != above:
        yield "conflict", f"conflict is {str(row['conflict']).lower()}, the scores say otherwise"


def candidate_problems(candidates: Sequence[Mapping[str, str]], wanted: int) -> Iterator[Problem]:
    """As many as wanted, each id and each title once."""
    titles = [normalise_title(item["title"]) for item in candidates]
    if len(candidates) != wanted:
        yield "candidates", f"{len(candidates)} candidates, the card says {wanted}"
    for what, values in (("id", [item["item_id"] for item in candidates]), ("normalised title", titles)):
        if len(set(values)) < len(values):
            value, count = Counter(values).most_common(1)[0]
            yield "candidates", f"{count} candidates have the {what} {value!r:.100}"
    if not all(titles):
        yield "candidates", "a candidate has no title"


def target_problems(row: Row, item_id: str) -> Iterator[Problem]:
    """The item at `target_index` is the named one, and new to the user."""
    item = target(row)
    if item is None:
        yield "target", f"target_index {row['target_index']} is outside the candidates"
        return
    if item["item_id"] != item_id:
        yield "target", f"{item_id} is the target, {item['item_id']} stands at target_index"
    if item["item_id"] in {entry["item_id"] for entry in row["history"]}:
        yield "history", "the target stands in the row's own history"


def history_problems(row: Row) -> Iterator[Problem]:
    """Order, distinctness, ratings and counts."""
    history = row["history"]
    if any(earlier["timestamp"] > later["timestamp"] for earlier, later in pairwise(history)):
        yield "history", "the history is not in order of time"
    if len({entry["item_id"] for entry in history}) < len(history):
        yield "history", "an item stands in the history twice"
    # A title that is null is withheld, which the schema allows where the card says so.
    titled = [entry["title"] is None or bool(entry["title"].strip()) for entry in history]
    if not (all(titled) and all(entry["item_id"].strip() for entry in history)):
        yield "history", "an entry has no item id or no title"
    for entry in history:
        word, value = entry["rating"], entry["rating_value"]
        if word is not None and word not in RATING_WORDS:
            yield "history", f"{entry['item_id']}: {word!r:.40} is no rating word"
        if (word is None) != (value is None):
            yield "history", f"{entry['item_id']}: the rating has a word or a number, not both"
    for name in ("history_untitled", "history_cut"):
        if row[name] < 0:
            yield "history", f"{name} is {row[name]}"


def withheld_problems(row: Row) -> Iterator[Problem]:
    """No text of the source is left, and each that was has its hash."""
    left = sorted({name for entry in row["history"] for name in _TEXTS if entry[name] is not None})
    if row["prompt"] is not None:
        left.append("prompt")
    if left:
        yield "text", f"{', '.join(left)} must be null"
    hashes = [row["prompt_hash"], *row["history_hashes"]]
    if len(hashes) != 1 + len(row["history"]) or not all(map(_HASH.fullmatch, hashes)):
        yield "text", "not one hash of 32 hex digits for the prompt and for each entry of the history"
    spans = [edge for span in row["history_spans"] for edge in (span["start"], span["end"])]
    if len(spans) != 2 * len(row["history"]) or any(a > b for a, b in pairwise([0, *spans])):
        yield "spans", "spans overlap, run backwards, or are not one for each history entry"


def prompt_problems(row: Row) -> Iterator[Problem]:
    """Roles of the messages, spans of the history, titles of the candidates."""
    roles = [message["role"] for message in row["prompt"]]
    if roles not in (["user"], ["system", "user"]):
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
        shown = {**entry, "item_id": clean_text(entry["item_id"])}  # ids stand in prompts as clean text
        absent = [name for name in _SHOWN if shown[name] and shown[name] not in text[start:end]]
        if absent:
            yield "spans", f"span {number} does not hold its entry's {', '.join(absent)}"
    # A title that only the history shows is not an offered candidate.
    rest = "\n".join(text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))
    for item in row["candidates"]:
        if item["title"] not in rest:
            yield "prompt", f"the candidate {item['item_id']} is not shown by its title"


def answer_problems(row: Row, role: str, answer: Mapping[str, Any], form: Format) -> Iterator[Problem]:
    """One judged item: a candidate, a score, a rationale that may be released, a response made of them."""
    if (answer["item_id"], answer["title"]) not in {(i["item_id"], i["title"]) for i in row["candidates"]}:
        yield "answer", f"{role}: {answer['item_id']} with this title is no candidate"
    for name in ("rationale", "judge", "prompt_version", "request_key"):
        if not answer[name].strip():
            yield "answer", f"{role}: {name} is empty"
    if answer["score"] not in SCORES:
        yield "scores", f"{role}: score is {answer['score']}"
    expected = answer["expected_score"]
    if expected is not None and not SCORES[0] <= expected <= SCORES[-1]:
        yield "scores", f"{role}: expected_score is {expected}"
    think, item = form.think_tag, form.item_tag
    pairs = [(slash, name.lower()) for name in (think, item) for slash in ("", "/")]
    if sorted(tags(answer["response"], think, item)) != sorted(pairs):
        yield "response", f"{role}: not exactly one {think} and one {item} tag"
    if answer["response"] != response_text(
        answer["rationale"], answer["title"], think_tag=think, item_tag=item
    ):
        yield "response", f"{role}: the response is not the rationale and the title in their tags"
    if words := giveaway(answer["rationale"]):
        yield "giveaway", f"{role}: {words!r}"


def order_problems(row: Row, tie_policy: str) -> Iterator[Problem]:
    """The rule that `order_by` names holds from hard to easy."""
    order, answers = row["order_by"], rejected(row)
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
    elif order == "tied" and (len(set(scores)) == len(scores) or any(a < b for a, b in pairwise(scores))):
        yield "order_by", f"scores {scores} are not tied, or rise from hard to easy"
    elif order == "expected":
        if None in expected:
            yield "order_by", "an expected_score is null"
        elif len(set(scores)) == len(scores):
            yield "order_by", f"scores {scores} are not tied, so they order the items"
        elif any(a <= b for a, b in pairwise(zip(scores, expected, strict=True))):
            yield "order_by", f"scores {scores} with expected scores {expected} do not fall from hard to easy"


def target(row: Row) -> Mapping[str, Any] | None:
    """The candidate at `target_index`, None if that is outside."""
    index, candidates = row["target_index"], row["candidates"]
    return candidates[index] if 0 <= index < len(candidates) else None


def rejected(row: Row) -> list[Mapping[str, Any]]:
    """From hard to easy."""
    return [row["hard_rejected"], *row["more_rejected"], row["easy_rejected"]]


def said(text: str) -> dict[str, str]:
    """A response as a message."""
    return {"role": "assistant", "content": text}
