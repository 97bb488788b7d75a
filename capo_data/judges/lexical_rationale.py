"""How the lexical judge argues: two to four sentences that cite the history, in the project's words.

A rationale becomes a training response, so it argues for the item, names what speaks against it, claims
no more than the shared terms show, and never speaks of the task (PROTOCOL, Judge). Text of shops and
users is quoted, never obeyed: it is cut, stripped of angle brackets and left out where it would give
the protocol away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from capo_data.judges.giveaways import giveaway
from capo_data.records import HistoryEntry, Item

_TITLE_LENGTH = 90
_QUOTE_LENGTH = 90

_STRONG, _FAIR = 5, 3  # from which score on the link is called so

_LINK = {
    "strong": (
        "{item} carries on what this history shows: it is closest to {near}, with {terms} in both.",
        "A clear thread leads from {near} to {item}, by way of {terms}.",
        "What ties {item} to the earlier choices is above all {near}, with which it shares {terms}.",
        "{item} has {terms} in common with {near}, which is a clear link.",
    ),
    "fair": (
        "{item} meets this history halfway: with {near} it shares {terms}.",
        "There is some common ground between {near} and {item}, namely {terms}.",
        "Part of what made up {near} comes back in {item}: {terms}.",
        "Of the earlier choices {near} is the nearest to {item}, by way of {terms}.",
    ),
    "thin": (
        "The link between this history and {item} is thin; what speaks for it is {terms}, known from {near}.",
        "Only a little connects {item} with the earlier choices, most of it {terms} in {near}.",
        "{item} lies at the edge of this history; {near} leads there by way of {terms}.",
        "With {near} as the nearest neighbour, {item} has just {terms} to build on.",
    ),
    "none": (
        "Nothing that went down well before resembles {item}; it would be something new.",
        "The link is thin: {item} shares no telling word with what was liked before, so novelty must win.",
        "{item} stands apart from what pleased before, and a change is the best argument for it.",
    ),
}
_PRAISE = {
    "both": (
        "The verdict on that earlier choice was {word}: “{quote}”.",
        "That earlier choice was found {word}, in the words “{quote}”.",
        "“{quote}”, says the review of that earlier choice, and the verdict was {word}.",
    ),
    "word": (
        "The verdict on that earlier choice was {word}.",
        "That earlier choice was found {word}.",
        "That earlier choice went down as {word}.",
    ),
    "quote": (
        "The note on that earlier choice reads “{quote}”.",
        "That earlier choice drew the remark “{quote}”.",
        "“{quote}” is what was noted of that earlier choice.",
    ),
}
_MORE = (
    "{second} points the same way{said}.",
    "The same holds for {second}{said}.",
    "{second} adds to this{said}.",
)
_OFTEN = (
    "The word {term} comes up in {count} earlier choices.",
    "Altogether {count} earlier choices mention {term}.",
)
_AGAINST = {
    "less": (
        "{bad} was found {word}{said}, but the better experiences weigh more.",
        "Against it stands {bad}, which was found {word}{said}, a weaker voice here.",
    ),
    "more": (
        "{bad}, found {word}{said}, is a warning that any case for this item has to overcome.",
        "A reservation comes from {bad}, which is of a similar kind and was found {word}{said}.",
    ),
}
_END = {
    "strong": (
        "Taken together, the earlier experiences make this item a natural choice.",
        "This item fits what has pleased before and deserves the first look.",
        "That makes this item a choice well backed by experience.",
    ),
    "fair": (
        "On balance there is a fair case for this item.",
        "That is reason enough to consider this item, if no certainty.",
        "This item is a sensible choice, though not the only one.",
    ),
    "thin": (
        "This item is worth a try all the same, with modest expectations.",
        "Whoever is open to something different may still enjoy this item.",
        "The case for this item rests on curiosity more than on experience.",
    ),
}

# Words that say nothing about an item, and the labels that shops put before a value.
_EMPTY_WORDS = frozenset(
    """about after also among and any are because been before being both but can color colour could
    department description details does done each else even ever every everything few for from get gets
    had has have her here him his how inches into its itself just kind less like look looks made make makes
    many material may more most much must new none not number off one only other our out over own pack
    package product dimensions item items brand size style set should some such than that the their them
    then there these they this those through too two type under unit until upon use used using very was
    were what when where which while who whose will with within without would you your weight count form
    """.split()  # noqa: SIM905
)
_FORBIDDEN = re.compile(r"scor|next\s+item|rating\s+of|purchased\s+the\s+item", re.IGNORECASE)
_UNSAFE = re.compile(r"[<>\x00-\x1f\x7f-\x9f\u2028\u2029]")
_QUOTES = str.maketrans({'"': "'", "“": "'", "”": "'"})
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s*")


Vector = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Match:
    """One entry of the history beside the item.

    Attributes:
        entry: The entry.
        strength: Its cosine with the item, times the weight of its rating; negative for a bad one.
        vector: The entry's terms and their weights.
    """

    entry: HistoryEntry
    strength: float
    vector: Vector


def rationale(item: Item, wanted: Vector, matches: Sequence[Match], score: int) -> str:
    """Argues for an item from a history.

    Args:
        item: The item.
        wanted: Its terms and their weights.
        matches: All entries of the history, oldest first.
        score: 1..7; sets how much is claimed, and is never named.

    Returns:
        One line of two to four sentences without angle brackets; the same for the same arguments.
    """
    # Where a quoted text gives the protocol away, quotations go first, then titles and terms too.
    for cite in ("reviews", "titles"):
        text = _argue(item, wanted, matches, score, cite)
        if not _forbidden(text):
            return text
    return _argue(item, wanted, matches, score, "nothing")


def _argue(item: Item, wanted: Vector, matches: Sequence[Match], score: int, cite: str) -> str:
    def title(text: str, instead: str) -> str:
        plain = _plain(text, _TITLE_LENGTH) if cite != "nothing" else ""
        return instead if not plain or (cite == "titles" and _forbidden(plain)) else plain

    def quote(entry: HistoryEntry, found: Sequence[str]) -> str:
        return _quote(entry.review, found) if cite == "reviews" else ""

    def aside(entry: HistoryEntry, found: Sequence[str]) -> str:
        words = quote(entry, found)
        return f" (“{words}”)" if words else ""

    pick = _Picker(item, matches)
    this = title(item.title, "this item")
    liked = sorted((match for match in matches if match.strength > 0), key=lambda match: -match.strength)
    near = liked[0] if liked else None
    names = _telling_terms(near, wanted)
    if near is None or not names:
        grade, sentences = "thin", [pick(_LINK["none"], item=this)]
    else:
        grade = "strong" if score >= _STRONG else "fair" if score >= _FAIR else "thin"
        first = title(near.entry.title, "an earlier choice")
        listed = "a few words" if cite == "nothing" else _listed(names)
        sentences = [pick(_LINK[grade], item=this, near=first, terms=listed)]
        said = {"word": near.entry.rating or "", "quote": quote(near.entry, names)}
        if given := [name for name, text in said.items() if text]:
            sentences.append(pick(_PRAISE["both" if len(given) == 2 else given[0]], **said))

    worst = min(matches, key=lambda match: match.strength, default=None)
    second = liked[1] if len(liked) > 1 and liked[1].strength > 0.6 * liked[0].strength else None
    if worst is not None and worst.strength < 0 and (found := _telling_terms(worst, wanted)):
        outweighed = near is not None and near.strength > -worst.strength
        sentences.append(
            pick(
                _AGAINST["less" if outweighed else "more"],
                bad=title(worst.entry.title, "another earlier choice"),
                word=worst.entry.rating or "",
                said=aside(worst.entry, found),
            )
        )
    elif second is not None and (found := _telling_terms(second, wanted)):
        more = title(second.entry.title, "another earlier choice")
        sentences.append(pick(_MORE, second=more, said=aside(second.entry, found)))
    elif names and cite != "nothing":
        count = sum(names[0] in match.vector for match in matches)
        if count > 1:
            sentences.append(pick(_OFTEN, term=f"“{names[0]}”", count=str(count)))
    sentences.append(pick(_END[grade]))
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)


class _Picker:
    """Chooses among wordings by a hash of the request, a few bits at a time."""

    def __init__(self, item: Item, matches: Sequence[Match]) -> None:
        import xxhash

        said = [
            item.title,
            *(part or "" for match in matches for part in (match.entry.title, match.entry.review)),
        ]
        self._bits = xxhash.xxh3_64_intdigest("\n".join(said).encode("utf-8", "surrogatepass"))

    def __call__(self, wordings: Sequence[str], **values: str) -> str:
        self._bits, place = divmod(self._bits, len(wordings))
        return wordings[place].format(**values)


def _forbidden(text: str) -> bool:
    return _FORBIDDEN.search(text) is not None or giveaway(text) is not None


def _telling_terms(match: Match | None, wanted: Vector) -> list[str]:
    """At most three shared terms, the weightiest first, that say something about an item."""
    if match is None:
        return []
    shared = {term: weight * wanted[term] for term, weight in match.vector.items() if term in wanted}
    # A word that nearly every item has weighs next to nothing and tells nothing.
    floor = 0.1 * max(shared.values(), default=0.0)
    telling = [
        (-product, term)
        for term, product in shared.items()
        if product > floor
        and term not in _EMPTY_WORDS
        and not term.isdigit()
        and (len(term) > 2 or not term.isascii())
    ]
    return [term for _, term in sorted(telling)[:3]]


def _listed(names: Sequence[str]) -> str:
    """“a”, “b” and “c”."""
    quoted = [f"“{name}”" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _quote(review: str | None, found: Sequence[str]) -> str:
    """The review's first sentence that speaks of what was found, else its first, cut at a word."""
    if not review:
        return ""
    sentences = [sentence for sentence in _SENTENCE.split(review) if any(map(str.isalnum, sentence))]
    speaking = (s for s in sentences if any(name in s.casefold() for name in found))
    return _plain(next(speaking, sentences[0] if sentences else ""), _QUOTE_LENGTH).rstrip(".")


def _plain(text: str, length: int) -> str:
    """One line without angle brackets, control characters and double quotes, cut at a word."""
    line = " ".join(_UNSAFE.sub(" ", text).translate(_QUOTES).split())
    if len(line) <= length:
        return line
    head, space, _ = line[: length + 1].rpartition(" ")
    return (head if space else line[:length]).rstrip(" ,;:-") + "…"
