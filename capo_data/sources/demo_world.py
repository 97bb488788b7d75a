"""The simulated shop's world: items with attributes, users with tastes, and who takes what.

Every number is a hash of (seed, what is decided, user, event), never a stream's next value: chunk
sizes, order and versions of numpy change nothing, and only exact arithmetic (+, *, /, sqrt) is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from capo_data.errors import UsageError
from capo_data.records import SourceRequest
from capo_data.sources import demo_words as words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NOISE_SHARE = 0.3  # choices that do not follow from taste, unless the size says otherwise
KINDS = ("department", "brand", "material", "style", "purpose")
CHUNK = 400_000  # rows worked on at a time; changes files and memory, no row

_AISLES = (0, 0, 0, 1, 1, 2)  # liked departments a user turns to: every second time the favourite
_LIKED_SHARE, _DISLIKED_SHARE = 0.22, 0.14  # of the values of every other attribute
_BROWSED = 12  # items looked at before one is taken
_PATIENCE = 24  # repeated choices after which a user takes anything in the shop


@dataclass(frozen=True, slots=True)
class SimulatedSize:
    """How large the shop is.

    Attributes:
        users: Number of users.
        items: Number of items.
        interactions: Number of interactions in all; None means 12 a user.
        shortest: Fewest interactions of a user (fewer where the mean does not allow it).
        review_sentences: At most so many sentences a review, 0 to 6; 0: no reviews.
        whims: Choices in a hundred that do not follow from taste.
        short_texts: 1: titles of style, material and thing alone, the department as the only detail and no
            description, for prompts of a few hundred tokens.
    """

    users: int = 400
    items: int = 300
    interactions: int | None = None
    shortest: int = 5
    review_sentences: int = 2
    whims: int = round(100 * NOISE_SHARE)
    short_texts: int = 0

    @property
    def total(self) -> int:
        """Interactions in all."""
        return 12 * self.users if self.interactions is None else self.interactions

    @classmethod
    def of(cls, size: Mapping[str, int]) -> SimulatedSize:
        """Reads `SourceRequest.size`.

        Raises:
            UsageError: An unknown key, or a shop that cannot be.
        """
        known = [entry.name for entry in fields(cls)]
        if unknown := sorted(set(size) - set(known)):
            raise UsageError(
                f"the simulated shop has no size {unknown[0]!r}",
                where="size",
                why=f"its sizes are {', '.join(known)}",
                next_command="mend the name in the recipe",
            )
        made = cls(**size)
        problem = ""
        if made.users < 1:
            problem = "there must be a user"
        elif made.items < len(words.DEPARTMENTS):
            problem = f"the shop has {len(words.DEPARTMENTS)} departments and needs an item for each"
        elif not made.users <= made.total <= made.users * (made.items // 2):
            problem = "a user has at least one interaction and touches at most half of the items"
        elif not 0 <= made.review_sentences <= 1 + len(KINDS):
            problem = f"a review has 0 to {1 + len(KINDS)} sentences"
        elif not 0 <= made.whims <= 100:
            problem = "whims are 0 to 100 choices in a hundred"
        elif made.short_texts not in (0, 1):
            problem = "short_texts is 0 or 1"
        if problem:
            raise UsageError(
                "the simulated shop cannot have this size",
                where=f"users {made.users}, items {made.items}, interactions {made.total}",
                why=problem,
                next_command="give more items, or fewer interactions a user",
            )
        return made


@dataclass(frozen=True, slots=True)
class Shop:
    """The items, by number.

    Attributes:
        codes: (items, kinds) value of each attribute, numbered through all kinds.
        noun: (items,) which noun of its department.
        colour: (items,) which colour; nobody's taste.
        shelf: (items,) item numbers, department by department, the most prominent first.
        shelf_start: (departments + 1,) where each department begins on the shelf.
        lengths: (users,) interactions of each user.
    """

    seed: int
    size: SimulatedSize
    codes: NDArray[np.int64]
    noun: NDArray[np.int64]
    colour: NDArray[np.int64]
    shelf: NDArray[np.int64]
    shelf_start: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @classmethod
    def open(cls, request: SourceRequest) -> Shop:
        """The shop that a seed and a size determine."""
        import numpy as np

        size, seed = SimulatedSize.of(request.size), request.seed
        item = np.arange(size.items)
        count = len(words.DEPARTMENTS)
        # Consecutive items fill all departments, in an order that differs from block to block.
        department = (item + below(bits_of(seed, "block", item // count), count)) % count
        values = attribute_values()
        start = {kind: sum(len(values[k]) for k in KINDS[:i]) for i, kind in enumerate(KINDS)}
        columns = [department]
        for kind in KINDS[1:]:
            if kind == "material":
                made_of = np.array(
                    [[values[kind].index(m) for m in mats] for _, mats in words.DEPARTMENTS.values()]
                )
                code = made_of[department, below(bits_of(seed, kind, item), made_of.shape[1])]
            else:
                code = below(bits_of(seed, kind, item), len(values[kind]))
            columns.append(code + start[kind])
        nouns = len(next(iter(words.DEPARTMENTS.values()))[0])
        return cls(
            seed=seed,
            size=size,
            codes=np.stack(columns, axis=1),
            noun=below(bits_of(seed, "noun", item), nouns),
            colour=below(bits_of(seed, "colour", item), len(words.COLOURS)),
            shelf=np.lexsort((bits_of(seed, "shelf", item), department)),
            shelf_start=np.concatenate([[0], np.cumsum(np.bincount(department, minlength=count))]),
            lengths=_lengths(seed, size),
        )


def attribute_values() -> dict[str, tuple[str, ...]]:
    """The values of each attribute; numbered through in the order of `KINDS`."""
    materials = {material for _, made_of in words.DEPARTMENTS.values() for material in made_of}
    return {
        "department": tuple(words.DEPARTMENTS),
        "brand": words.BRANDS,
        "material": tuple(sorted(materials)),
        "style": tuple(words.STYLES),
        "purpose": words.PURPOSES,
    }


def _lengths(seed: int, size: SimulatedSize) -> NDArray[np.int64]:
    """Interactions of each user, long-tailed (Lomax, shape 2), summing to the total."""
    import numpy as np

    user = np.arange(size.users)
    shortest = min(size.shortest, size.total // size.users)
    longest = size.items // 2
    weight = (1000 * (1 / np.sqrt(unit(bits_of(seed, "length", user))) - 1)).astype(np.int64)
    weight = np.minimum(weight, 20_000) + 1
    lengths = shortest + (size.total - shortest * size.users) * weight // int(weight.sum())
    lengths = np.minimum(lengths, longest)
    while left := size.total - int(lengths.sum()):  # what rounding and the cap left over
        room = np.flatnonzero(lengths < longest)
        first = room[np.argsort(bits_of(seed, "rest", room), kind="stable")][:left]
        lengths[first] = np.minimum(lengths[first] + max(1, left // room.size), longest)
    return lengths


def _taste(seed: int, user: NDArray[np.int64]) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Two arrays: what each user thinks of each value, and which departments each user likes.

    Returns:
        (users, values) 1 liked, -1 disliked, 0 indifferent; and (users, 3), the favourite first.
    """
    import numpy as np

    values = attribute_values()
    count = sum(len(names) for names in values.values())
    draw = unit(bits_of(seed, "taste", user[:, None], np.arange(count)))
    taste = (draw <= _LIKED_SHARE).astype(np.int8) - (draw > 1 - _DISLIKED_SHARE)
    departments = len(values["department"])
    order = np.argsort(bits_of(seed, "departments", user[:, None], np.arange(departments)), axis=1)
    liked = order[:, : max(_AISLES) + 1]
    taste[:, :departments] = np.minimum(taste[:, :departments], 0)
    np.put_along_axis(taste, liked, 1, axis=1)
    return taste.astype(np.int8), liked


@dataclass(frozen=True, slots=True)
class Choices:
    """Some users' choices, user by user in order; arrays of equal length.

    Attributes:
        user: Number of the user.
        slot: The user's n-th choice, from 0.
        item: Number of the item.
        follows_taste: Whether taste decided, or a whim.
        signs: (choices, kinds) what the user thinks of each attribute of the item: -1, 0, 1.
    """

    user: NDArray[np.int64]
    slot: NDArray[np.int64]
    item: NDArray[np.int64]
    follows_taste: NDArray[np.bool_]
    signs: NDArray[np.int8]


def choices_of(shop: Shop) -> Iterator[Choices]:
    """Everybody's choices, about `CHUNK` at a time."""
    import numpy as np

    ends = np.cumsum(shop.lengths)
    first = 0
    while first < shop.size.users:
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + CHUNK, side="right")))
        yield _choose(shop, first, last)
        first = last


def _choose(shop: Shop, first: int, last: int) -> Choices:
    """The choices of the users numbered from `first` to `last`."""
    import numpy as np

    lengths = shop.lengths[first:last]
    local = np.repeat(np.arange(last - first), lengths)
    slot = np.arange(local.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    user = local + first
    taste, liked = _taste(shop.seed, np.arange(first, last))
    by_taste = unit(bits_of(shop.seed, "whim", user, slot)) > shop.size.whims / 100
    item = np.zeros(local.size, np.int64)
    follows = by_taste.copy()
    pending: NDArray[np.intp] = np.arange(local.size)
    attempt = 0
    while pending.size:  # nobody takes the same item twice: whoever does chooses again
        browses = by_taste[pending] & (attempt < _PATIENCE)
        follows[pending] = browses
        some = pending[~browses]
        item[some] = below(bits_of(shop.seed, "any", user[some], slot[some], attempt), shop.size.items)
        some = pending[browses]
        item[some] = _browse(shop, taste, liked, local[some], user[some], slot[some], attempt)
        _, kept = np.unique(local * shop.size.items + item, return_index=True)
        again = np.ones(local.size, bool)
        again[kept] = False
        pending = np.flatnonzero(again)
        attempt += 1
    signs = np.take_along_axis(taste[local], shop.codes[item], axis=1)
    return Choices(user, slot, item, follows, signs)


def _browse(
    shop: Shop,
    taste: NDArray[np.int8],
    liked: NDArray[np.int64],
    local: NDArray[np.int64],
    user: NDArray[np.int64],
    slot: NDArray[np.int64],
    attempt: int,
) -> NDArray[np.int64]:
    """The best of a few items of a liked department; fewer at each attempt, so that it finds new ones."""
    import numpy as np

    aisle = np.array(_AISLES)[below(bits_of(shop.seed, "aisle", user, slot, attempt), len(_AISLES))]
    department = liked[local, aisle][:, None]
    looks = np.arange(max(1, _BROWSED - attempt))
    bits = bits_of(shop.seed, "browse", user[:, None], slot[:, None], attempt * _BROWSED + looks)
    start = shop.shelf_start[department]
    # The square puts the front of the shelf first: a fifth of the items gets nearly half of the looks.
    place = (unit(bits) ** 2 * (shop.shelf_start[department + 1] - start)).astype(np.int64)
    place = np.minimum(place, shop.shelf_start[department + 1] - start - 1)
    seen = shop.shelf[start + place]
    appeal = np.zeros(seen.shape, np.int64)
    for kind in range(1, len(KINDS)):
        appeal += taste[local[:, None], shop.codes[seen, kind]]
    best = np.argmax(appeal * 256 + (bits & np.uint64(255)).astype(np.int64), axis=1)
    return np.asarray(np.take_along_axis(seen, best[:, None], axis=1)[:, 0])


def bits_of(seed: int, what: str, *keys: NDArray[np.int64] | int) -> NDArray[np.uint64]:
    """64 random bits for each combination of keys (broadcast): splitmix64 steps over a hash of the seed.

    The finaliser is splitmix64's (https://prng.di.unimi.it/splitmix64.c).
    """
    import numpy as np
    import xxhash

    state = np.array([xxhash.xxh3_64_intdigest(f"{seed}:{what}".encode())], np.uint64)
    for key in keys:
        z = state + (np.atleast_1d(np.asarray(key, np.uint64)) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = z ^ (z >> np.uint64(31))
    return state


def unit(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Uniform on (0, 1], 53 bits."""
    import numpy as np

    return ((bits >> np.uint64(11)).astype(np.float64) + 1) * 2.0**-53


def below(bits: NDArray[np.uint64], count: int) -> NDArray[np.int64]:
    """Uniform on 0 .. count - 1, by the upper 32 bits."""
    import numpy as np

    return ((bits >> np.uint64(32)) * np.uint64(count) >> np.uint64(32)).astype(np.int64)
