"""Rights: the licence that is named, and the terms of the source that go before it.

Nobody but the publisher knows under which licence a dataset may stand, so none is assumed. The terms of the
sources that capo-data reads by name are known; those of a table are its owner's to state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from capo_data.errors import UsageError

OTHER = "other"  # the Hub's word for a licence that is not on its list: name and link say which


@dataclass(frozen=True, slots=True)
class Terms:
    """What a source asks of those who use it.

    Attributes:
        name: As it stands in the card.
        key: As `license_name` on the Hub.
        link: Where the terms stand.
        text: What they say, in short.
        own_only: Whether what is made of the source may only be passed on under these terms.
    """

    name: str
    key: str
    link: str
    text: str
    own_only: bool = False


_GROUPLENS = (
    "Research use only; no commercial use without GroupLens's permission; no endorsement by the University of"
    " Minnesota may be implied; publications cite Harper and Konstan, The MovieLens Datasets, 2015"
    " (doi:10.1145/2827872)."
)
AMAZON = Terms(
    "Amazon Reviews 2023 (McAuley Lab, UC San Diego)",
    "amazon-reviews-2023",
    "https://amazon-reviews-2023.github.io/",
    "Collected for research; its publishers state no licence, and ask to cite Hou et al., Bridging Language"
    " and Items for Retrieval and Recommendation, 2024 (arXiv:2403.03952). Reviews remain their writers',"
    " product texts and the site Amazon's and the sellers', under Amazon's conditions of use.",
)
MOVIELENS = Terms(
    "MovieLens (GroupLens, University of Minnesota)",
    "movielens",
    "https://grouplens.org/datasets/movielens/",
    f"{_GROUPLENS} Redistribution, of transformations too: the later editions (ml-latest, ml-32m) allow it"
    " under these same conditions, the older ones (ml-100k, ml-1m) only with separate permission; the"
    " edition's README decides.",
    own_only=True,
)
DEMO = Terms(
    "The simulated shop of capo-data",
    "capo-data-demo",
    "",
    "Made from word lists; nobody's data.",
)
_KNOWN: Mapping[str, Terms] = {"amazon": AMAZON, "movielens": MOVIELENS, "demo": DEMO}


def settle(
    source: Mapping[str, Any], release: Mapping[str, Any], license: str | None, terms: str | None
) -> dict[str, Any]:
    """The rights as they stand in the card.

    Args:
        source: The recipe's `source`.
        release: The recipe's `release`.
        license: Given on the command line; goes before the recipe's.
        terms: Terms of the source given there; go before the recipe's, and before those that are known.

    Returns:
        `license`, `license_name` and `license_link` (null unless it is `other`), `terms` (name, link, text).

    Raises:
        UsageError: No licence, no terms, or a licence that the terms exclude.
    """
    wanted, stated = license or release.get("license"), terms or release.get("terms")
    kind = source["kind"]
    if not wanted:
        raise UsageError(
            "nothing says under which licence this may be published",
            where="--license",
            why="a push names a licence, and none is assumed",
            next_command="--license with an identifier of the Hub (cc-by-4.0, mit, other), or"
            " `release.license` in the recipe; `other` stands for the source's own terms",
        )
    known = _KNOWN.get(kind)
    if known is None and not stated:
        raise UsageError(
            "nothing says under which terms the source may be used",
            where="--terms",
            why="the logs are your own, so only you can know",
            next_command="--terms with a sentence or a link, or `release.terms` in the recipe",
        )
    if known is not None and known.own_only and wanted != OTHER:
        raise UsageError(
            f"{known.name} may not be passed on under the licence {wanted}",
            where="--license",
            why=known.text,
            next_command=f"--license {OTHER}, which names the terms of the source",
        )
    told = {**asdict(known), "text": stated or known.text} if known else _own(str(stated))
    link = told["link"] if told["link"] else None
    return {
        "license": wanted,
        "license_name": told["key"] if wanted == OTHER else None,
        "license_link": link if wanted == OTHER else None,
        "terms": {name: told[name] for name in ("name", "link", "text")},
    }


def _own(stated: str) -> dict[str, str]:
    link = next(
        (word.strip("().,;") for word in stated.split() if word.startswith(("https://", "http://"))), ""
    )
    return {"name": "Terms of the source", "key": "source-terms", "link": link, "text": stated}
