"""Sentences of the card that depend on how a dataset was made."""

from __future__ import annotations

from collections.abc import Mapping

LEXICAL = (
    "> **No language model judged {configs}.** The rationales and scores come from the lexical judge, a\n"
    "> baseline that measures word overlap between an item and the history and fills sentence patterns.\n"
    "> Use it to try the tools and as a floor to compare against, not to teach a model to reason.\n\n"
)
SIMULATED = (
    "> **The shop is simulated.** No user, item, review or purchase in it is real.\n"
    "> Use it to try the tools, not to learn about people or products.\n\n"
)

SOURCES: Mapping[str, str] = {
    "amazon": "Reviews and item records in the form of"
    " [Amazon Reviews 2023](https://amazon-reviews-2023.github.io/), category `{category}`; a review stands"
    " for a purchase.",
    "movielens": "Ratings in the form of [MovieLens](https://grouplens.org/datasets/movielens/); a rating"
    " stands for a purchase, genres for a description, and a user's own tags on a film for a review of it.",
    "table": "Interaction logs of the publisher's own.",
    "demo": "A simulated shop: users with tastes, items with attributes, and choices of which a part does not"
    " follow from taste; descriptions and reviews are filled patterns.",
}

TIES: Mapping[str, str] = {
    "drop": "instances whose rejected items score the same are left out of `capo`",
    "redraw": "where the rejected items score the same, another negative is drawn until the scores differ",
    "expected": "rejected items of one score are ordered by its probability-weighted mean; where that is"
    " equal too, or absent, the instance is left out of `capo`",
    "keep": "instances whose rejected items score the same are kept with `order_by: tied`",
}
NEGATIVES: Mapping[str, str] = {
    "uniform": "drawn uniformly",
    "popularity": "drawn in proportion to their interactions",
}
POOLS: Mapping[str, str] = {
    "interacted": "the titled items of these logs",
    "catalogue": "all titled items of the input",
}

DROPPED = (
    "Instances that were left out, by reason. A tie, or an unreadable answer about a rejected item, costs\n"
    "the row of `capo`. An unreadable answer about the chosen item costs the row of the config whose judge\n"
    "gave it, and where that is `sft`, of `capo` too. Left out for another reason, an instance is nowhere:"
)
BLEMISHES = "Blemishes of the whole input, before users were chosen:"
DIRT: Mapping[str, str] = {
    "broken_line": "a line that holds no record; left out",
    "missing_key": "a record without user, item or time; left out",
    "bad_timestamp": "a time that cannot be read; the record is left out",
    "lone_surrogate": "half a character pair in a text; replaced by U+FFFD",
    "rating_out_of_scale": "a rating outside the scale, or no number; kept without rating",
    "negative_timestamp": "a time before 1970; kept",
    "duplicate_event": "a further interaction of the same user with the same item; the earliest counts",
    "child_asin": "a variant of a product; the parent product is the item",
    "html_in_text": "a review with markup; the tags are taken out",
    "empty_text": "an empty review; taken as none",
    "empty_title": "an item record without a title; never a candidate, not shown in histories",
    "duplicate_item": "a further record of the same item; one record is used",
    "item_without_metadata": "an item of the logs without a title; never a candidate, not shown in histories",
}

ONE_JUDGE = "One judge for both: `sft` and `capo` carry the same rationales."
TWO_JUDGES = (
    "Two judges: the chosen item's rationale and score in `sft` are not those in `capo`; compare scores"
    " within `capo` only."
)

# What the judge's template says of the item in question.
TOLD: Mapping[str, str] = {
    "paper": "The judge was told of each item, the rejected ones too, that the user goes on to buy it. Scores"
    " can be lenient for that, and every rationale argues for its item.",
    "neutral": "The judge was told of no item that the user took it, and asked to argue for each.",
}
TOLD_BY_TEMPLATE = "What the judge was told of the item in question stands in its prompt above."
LLM = "The judge rated one item at a time, the candidate list before it, and may know items from elsewhere."
LEXICAL_LIMIT = (
    "The lexical judge reads words, not meaning: it sees the history and one item, not the prompt's prose,"
    " and its scores are quantiles of word overlap."
)

PEOPLE: Mapping[bool, str] = {
    True: "`user` is a pseudonym of a simulated user; no person stands behind it.",
    False: "Rows are pseudonymous, not anonymous: `user` is a keyed hash whose key is not released, but item"
    " ids, times\n  and review texts can be found again in the logs they come from. Do not use them to"
    " identify anybody.",
}
TEXT: Mapping[bool, str] = {
    True: "Titles, descriptions and reviews are made from word lists.",
    False: "Titles, descriptions and reviews are the shops' and the customers' own words, unedited but for"
    " markup and\n  length: they may be wrong, rude or personal. Their rights stay with their owners",
}
INTENDED = (
    "For research on recommenders that explain themselves, on preference optimisation with conflicting\n"
    "preferences, and on judges. Not for decisions about the people behind the rows, not for finding out\n"
    "who they are, and not as a measure of a shop's quality: candidates are drawn, and scores are opinions."
)
INTENDED_LEXICAL = (
    "For trying the tools and as a floor to compare against: no language model judged all of it, so it\n"
    "teaches no reasoning. Not for decisions about the people behind the rows, and not for finding out"
    " who they are."
)
WITHHELD = (
    "> **The texts are withheld.** `prompt` and the texts of `history` are null; hashes stand for them.\n"
    "> Whoever has the source puts them back, checked to the letter, with `capo-data rehydrate`.\n\n"
)
HASHES = (
    "| `prompt_hash` | of the withheld prompt: 32 hex digits of the SHA-256 of its roles and contents as"
    " JSON; in `dpo` too |\n"
    "| `history_hashes` | of each withheld entry: the same of item id, time, title, description, details and"
    " review; whoever guesses the words can see that the guess is right |\n"
)
LANGUAGE = (
    "Texts are in {languages} as far as the publisher says; other languages may occur, and nothing filters"
    " them."
)
NO_LICENSE = "; no licence is granted for them here."

REDACTED = (
    "- Masks stand in the texts where a scan found an e-mail address (`[e-mail]`), a phone number (`[phone]`)"
    " or an order id\n  (`[order id]`).\n"
)
SCANNED = "A scan for e-mail addresses, phone numbers and order ids found, each text once:"
NO_PROOF = "That proves nothing: it looks for shapes, not for people."
MASKED = "They are masked."
NOT_MASKED = "They stand in the texts."
QUOTING = "Rationales that quote eight or more words of a review in a row: {count}"
QUOTES_DROPPED = "; their rows are left out."
QUOTES_KEPT = "; they are the reviewer's words, not the judge's."
LICENCE = (
    "What the publisher made (the selection, the rationales, the scores) is under `{name}`. The rest keeps"
    " the terms of its source."
)
OTHER = "Under the terms of the source (`license: other`, {name}); no further licence is granted."
UNRELEASED = "None is granted yet: this folder was built and not published. `capo-data push` asks for one."
