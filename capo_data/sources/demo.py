"""A simulated shop: users with tastes, items with attributes, reviews whose sentiment fits.

A user likes some values of five attributes (department, brand, material, style, purpose) and dislikes
others. In seven of ten choices the user looks at a few items of a liked department and takes the one
that fits best; the others (`NOISE_SHARE`) are a gift or a whim: any item of the shop. Stars and
reviews follow from how well the item fits, whoever it was for. `demo_world` decides, this module tells.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from capo_data.records import RatingScale, Reporter, SourceRequest, interactions_schema, items_schema
from capo_data.sources import demo_words as words
from capo_data.sources.demo_world import (
    CHUNK,
    KINDS,
    NOISE_SHARE,
    Choices,
    Shop,
    SimulatedSize,
    attribute_values,
    below,
    bits_of,
    choices_of,
    unit,
)
from capo_data.sources.staging import ReadResult

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["NOISE_SHARE", "READER_VERSION", "SimulatedSize", "inputs", "read", "truth"]

READER_VERSION = 1

_FIRST_DAY = 1_640_995_200_000  # 2022-01-01 in ms
_DAY = 86_400_000


def inputs(request: SourceRequest) -> tuple[Path, ...]:
    """No files: the shop follows from `request.seed` and `request.size`."""
    return ()


def read(request: SourceRequest, folder: Path, report: Reporter) -> ReadResult:
    """Writes the shop's `interactions-*.parquet` and `items-*.parquet` into `folder`.

    Raises:
        UsageError: The size is impossible.
    """
    import pyarrow.parquet as pq

    shop = Shop.open(request)
    report.start("simulating a shop", shop.size.total)
    for number, start in enumerate(range(0, shop.size.items, CHUNK)):
        table = _item_table(shop, start, min(start + CHUNK, shop.size.items))
        pq.write_table(table, folder / f"items-{number:05d}.parquet", compression="zstd")
    for number, choices in enumerate(choices_of(shop)):
        table = _interaction_table(shop, choices)
        pq.write_table(table, folder / f"interactions-{number:05d}.parquet", compression="zstd")
        report.advance(table.num_rows)
    report.finish()
    return ReadResult(dirt={}, scale=RatingScale(1, 5))


def truth(request: SourceRequest) -> pa.Table:
    """Which choices followed from taste: user_id, item_id, follows_taste; what a perfect judge knows."""
    import pyarrow as pa

    shop = Shop.open(request)
    tables = [
        pa.table(
            {
                "user_id": _ids("shopper-", choices.user),
                "item_id": _ids("D", choices.item),
                "follows_taste": choices.follows_taste,
            }
        )
        for choices in choices_of(shop)
    ]
    return pa.concat_tables(tables)


def _item_table(shop: Shop, start: int, stop: int) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    codes, noun, colour = shop.codes[start:stop], shop.noun[start:stop], shop.colour[start:stop]
    nouns = [name for names, _ in words.DEPARTMENTS.values() for name in names]
    names = pa.array([name for kind in KINDS for name in attribute_values()[kind]])
    department, brand, material, style, purpose = (names.take(pa.array(column)) for column in codes.T)
    thing = pa.array(nouns).take(pa.array(codes[:, 0] * (len(nouns) // len(words.DEPARTMENTS)) + noun))
    shade = pa.array(words.COLOURS).take(pa.array(colour))
    looks = pa.array(list(words.STYLES.values())).take(pa.array(codes[:, 3] - int(_first_style())))
    if shop.size.short_texts:
        name = np.column_stack([shop.codes[:, [0, 2, 3]], shop.noun])
        columns = {
            "item_id": _ids("D", np.arange(start, stop)),
            "title": _join(style, " ", material, " ", thing, _edition(name, start, stop)),
            "description": pa.nulls(stop - start, pa.string()),
            "details": _join("Department: ", department),
        }
        return pa.table(columns, schema=items_schema())
    name = np.column_stack([shop.codes[:, :-1], shop.noun, shop.colour])
    columns = {
        "item_id": _ids("D", np.arange(start, stop)),
        "title": _join(
            brand, " ", style, " ", material, " ", thing, ", ", shade, _edition(name, start, stop),
        ),
        "description": _join(
            "This ", thing, " from our ", department, " is worked in ", shade, " ", material,
            " and made for ", purpose, ". ", looks,
        ),
        "details": _join(
            "Brand: ", brand, "; Department: ", department, "; Material: ", material, "; Style: ", style,
            "; Colour: ", shade, "; Made for: ", purpose,
        ),
    }  # fmt: skip
    return pa.table(columns, schema=items_schema())


def _first_style() -> int:
    values = attribute_values()
    return sum(len(values[kind]) for kind in KINDS[: KINDS.index("style")])


def _edition(name: NDArray[np.int64], start: int, stop: int) -> pa.Array:
    """Empty for the first item of a name; `, no. 2` and so on for the later ones: titles are unique.

    Args:
        name: (items, parts) numbers of what a title is made of.
        start: The first item that is asked for.
        stop: The one after the last.
    """
    import numpy as np
    import pyarrow as pa

    mixed = np.zeros(stop, np.int64)
    for column in name[:stop].T:
        mixed = mixed * 128 + column
    order = np.argsort(mixed, kind="stable")
    new = np.r_[True, mixed[order][1:] != mixed[order][:-1]]
    run = np.arange(stop) - np.maximum.accumulate(np.where(new, np.arange(stop), 0))
    number = np.empty(stop, np.int64)
    number[order] = run + 1
    text = {n: "" if n == 1 else f", no. {n}" for n in np.unique(number).tolist()}
    return pa.array([text[n] for n in number[start:].tolist()], pa.string())


def _interaction_table(shop: Shop, choices: Choices) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    seed, user, slot = shop.seed, choices.user, choices.slot
    bits = bits_of(seed, "mood", user, slot)
    mood = unit(bits) + unit(bits_of(seed, "weather", user, slot)) - 1  # triangular on -1..1
    fit = choices.signs.sum(axis=1, dtype=np.int64)
    stars = np.clip(np.floor(3.1 + 0.7 * fit + 1.2 * mood), 1, 5).astype(np.int64)
    gap = 3_600_000 + (unit(bits_of(seed, "gap", user, slot)) * 20 * _DAY).astype(np.int64)
    begin = (unit(bits_of(seed, "begin", user)) * 300 * _DAY).astype(np.int64)
    run = np.cumsum(gap)
    before = np.maximum.accumulate(np.where(slot == 0, run - gap, 0))  # all earlier users' gaps
    columns = {
        "user_id": _ids("shopper-", user),
        "item_id": _ids("D", choices.item),
        "rating": stars.astype(np.float64),
        "timestamp": _FIRST_DAY + begin + run - before,
        "review": _reviews(shop, choices, stars),
    }
    return pa.table(
        {name: pa.array(column) for name, column in columns.items()}, schema=interactions_schema()
    )


def _reviews(shop: Shop, choices: Choices, stars: NDArray[np.int64]) -> pa.Array:
    """An opening that fits the stars, then remarks on attributes, those that explain the stars first."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    seed, user, slot = shop.seed, choices.user, choices.slot
    if not shop.size.review_sentences:
        return pa.nulls(user.size, pa.string())
    openers = pa.array([text for star in range(1, 6) for text in words.OPENERS[star]])
    each = len(words.OPENERS[1])
    bits = bits_of(seed, "review", user, slot)
    sentences = [openers.take(pa.array((stars - 1) * each + below(bits, each)))]
    remarks, variants = _remarks()
    tone = np.sign(stars - 3)[:, None]
    lots = bits_of(seed, "remark", user[:, None], slot[:, None], np.arange(len(KINDS)))
    order = np.argsort(-(choices.signs * tone * 256 + (lots & np.uint64(255)).astype(np.int64)), axis=1)
    wanted = shop.size.review_sentences
    longest = 2 + below(bits_of(seed, "talkative", user, slot), max(1, wanted - 1))
    for place in range(min(wanted - 1, len(KINDS))):
        kind = order[:, place : place + 1]
        code = np.take_along_axis(shop.codes[choices.item], kind, axis=1)[:, 0]
        sign = np.take_along_axis(choices.signs, kind, axis=1)[:, 0].astype(np.int64) + 1
        lot = below(np.take_along_axis(lots, kind, axis=1)[:, 0], variants)
        sentences.append(remarks.take(pa.array((code * 3 + sign) * variants + lot, mask=place + 2 > longest)))
    return pc.binary_join_element_wise(*sentences, " ", null_handling="skip")


def _remarks() -> tuple[pa.Array, int]:
    """All remarks, numbered (value, sign, variant); and the number of variants."""
    import pyarrow as pa

    variants = len(words.REMARKS[KINDS[0]][0])
    texts = [
        remark.format(value=value)
        for kind in KINDS
        for value in attribute_values()[kind]
        for remarks in words.REMARKS[kind]
        for remark in remarks
    ]
    return pa.array(texts), variants


def _ids(prefix: str, number: NDArray[np.int64]) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    return _join(prefix, pc.utf8_lpad(pa.array(number).cast(pa.string()), 7, "0"))


def _join(*parts: pa.Array | str) -> pa.Array:
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(*parts, "")
