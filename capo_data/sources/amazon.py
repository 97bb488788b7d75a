"""Amazon Reviews 2023: raw JSON Lines of reviews and item metadata, from a folder or from the Hub.

Layout of the files: https://amazon-reviews-2023.github.io/ . A review gives user_id, parent_asin (the
item; `asin` is the variant bought), rating, timestamp in ms, text; metadata give parent_asin, title,
description (a list), details (an object). Keys may be absent, and `price` can be anything, so only the
keys that are needed are read.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from capo_data.errors import SourceError, UsageError
from capo_data.records import RatingScale, Reporter, SourceRequest
from capo_data.sources import download, jsonl, table
from capo_data.sources.rows import identity
from capo_data.sources.staging import ReadResult, SourcePlan, open_staging

READER_VERSION = 1

CATEGORIES: Mapping[str, str] = {
    "fashion": "Amazon_Fashion",
    "grocery": "Grocery_and_Gourmet_Food",
    "scientific": "Industrial_and_Scientific",
    "clothing": "Clothing_Shoes_and_Jewelry",
    "health": "Health_and_Household",
    "beauty": "All_Beauty",
    "cds": "CDs_and_Vinyl",
    "instruments": "Musical_Instruments",
}
"""The domains of PROTOCOL, Data, by their short names."""

ALL_CATEGORIES: tuple[str, ...] = (
    "All_Beauty",
    "Amazon_Fashion",
    "Appliances",
    "Arts_Crafts_and_Sewing",
    "Automotive",
    "Baby_Products",
    "Beauty_and_Personal_Care",
    "Books",
    "CDs_and_Vinyl",
    "Cell_Phones_and_Accessories",
    "Clothing_Shoes_and_Jewelry",
    "Digital_Music",
    "Electronics",
    "Gift_Cards",
    "Grocery_and_Gourmet_Food",
    "Handmade_Products",
    "Health_and_Household",
    "Health_and_Personal_Care",
    "Home_and_Kitchen",
    "Industrial_and_Scientific",
    "Kindle_Store",
    "Magazine_Subscriptions",
    "Movies_and_TV",
    "Musical_Instruments",
    "Office_Products",
    "Patio_Lawn_and_Garden",
    "Pet_Supplies",
    "Software",
    "Sports_and_Outdoors",
    "Subscription_Boxes",
    "Tools_and_Home_Improvement",
    "Toys_and_Games",
    "Video_Games",
    "Unknown",
)

_REVIEWS = "raw/review_categories"
_METADATA = "raw/meta_categories"
_SCALE = RatingScale(1, 5)
_ITEM = f"coalesce({identity('parent_asin')}, asin)"


def category_of(request: SourceRequest) -> str:
    """The full category name: the request's, or what its domain stands for."""
    return request.category or CATEGORIES.get(request.domain, request.domain)


def fetch(request: SourceRequest, report: Reporter) -> SourceRequest:
    """The request with a folder to read: downloads what a request without a path asks for.

    Raises:
        UsageError: The category does not exist.
        SourceError: The Hub does not answer, or the disk is too small.
    """
    if request.path is not None:
        return request
    download.fetch(_remote_files(request), _downloads(request), report)
    return replace(request, path=str(_downloads(request)))


def plan(request: SourceRequest) -> SourcePlan:
    """What would be read, and for a request without a path what would be downloaded.

    Raises:
        UsageError: The category does not exist.
        SourceError: A local file is missing.
    """
    if request.path is None:
        return download.plan(_remote_files(request), _downloads(request))
    files = inputs(request)
    notes = () if len(files) > 1 else ("no metadata file: no item has a title",)
    return SourcePlan(
        0, download.staged_bytes(sum(map(_unpacked_bytes, files))), tuple(path.name for path in files), notes
    )


def inputs(request: SourceRequest) -> tuple[Path, ...]:
    """The file of reviews, then that of items if there is one.

    Raises:
        SourceError: There are no reviews of the category, or `request.items` is not there.
    """
    root = Path(request.path).expanduser() if request.path is not None else _downloads(request)
    category = category_of(request)
    reviews = _find(root, _REVIEWS, category)
    if reviews is None:
        present = sorted(path.name for path in root.glob("*.jsonl*")) if root.is_dir() else []
        raise SourceError(
            f"there are no reviews of {category}",
            where=str(root),
            why=f"neither {category}.jsonl nor {category}.jsonl.gz is there or in {_REVIEWS}; "
            f"found {', '.join(present) or 'no .jsonl file'}",
            next_command="--source DIR with the category's files, or no --source to download them",
        )
    if request.items is not None:
        return (reviews, *table.item_files(request, root))
    metadata = _find(root, _METADATA, f"meta_{category}")
    return (reviews, metadata) if metadata else (reviews,)


def read(request: SourceRequest, folder: Path, report: Reporter) -> ReadResult:
    """Writes the category's interactions and items into `folder`.

    Raises:
        SourceError: A file cannot be read, or nothing in it is usable.
    """
    scale = request.scale or _SCALE
    reviews, *metadata = inputs(request)
    with open_staging(request, folder, report) as staging:
        columns = ("user_id", "parent_asin", "asin", "rating", "timestamp", "text")
        staging.interactions(
            jsonl.row_file(reviews, columns),
            lambda rows: (
                f"""SELECT line, user_id, {_ITEM} AS item_id, rating,
                timestamp AS given_time, try_cast(timestamp AS BIGINT) AS timestamp, text AS review,
                coalesce(asin <> parent_asin, false) AS child_asin FROM ({rows})"""
            ),
            scale=scale,
            keys=("user_id", "parent_asin", "timestamp"),
        )
        if request.items is not None:
            table.read_items(staging, tuple(metadata), request.columns)
        else:
            for path in metadata:
                staging.items(
                    jsonl.row_file(path, ("parent_asin", "asin", "title", "description", "details")),
                    lambda rows: (
                        f"""SELECT line, {_ITEM} AS item_id, title,
                        description, details FROM ({rows})"""
                    ),
                    key="parent_asin",
                )
        if not metadata:
            report.note(
                f"meta_{category_of(request)}.jsonl is not there, so no item has a title; "
                "put it beside the reviews or name titles with --items FILE"
            )
        return staging.finish(scale)


def _downloads(request: SourceRequest) -> Path:
    return request.cache / "raw" / download.REPOSITORY.replace("/", "--")


def _remote_files(request: SourceRequest) -> tuple[str, ...]:
    category = category_of(request)
    if category not in ALL_CATEGORIES:
        known = (*CATEGORIES, *ALL_CATEGORIES)
        near = difflib.get_close_matches(category, known, n=3) or list(CATEGORIES)
        raise UsageError(
            f"Amazon Reviews 2023 has no category {category!r}",
            where="--domain",
            why=f"its categories are {', '.join(ALL_CATEGORIES)}",
            next_command=f"--domain {near[0]} (or one of {', '.join(near)})",
        )
    metadata = () if request.items is not None else (f"{_METADATA}/meta_{category}.jsonl",)
    return (f"{_REVIEWS}/{category}.jsonl", *metadata)


def _find(root: Path, below: str, name: str) -> Path | None:
    for folder in (root, root / below):
        for ending in (".jsonl", ".jsonl.gz"):
            if (path := folder / f"{name}{ending}").is_file():
                return path
    return None


def _unpacked_bytes(path: Path) -> int:
    size = path.stat().st_size
    return 3 * size if path.suffix == ".gz" else size
