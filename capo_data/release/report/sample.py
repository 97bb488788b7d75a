"""Which rows a page shows where not all of them fit: a seeded, stratified sample."""

from __future__ import annotations

from collections import Counter, defaultdict

import xxhash

from capo_data.release.report.measure import Triplets


def order(triplets: Triplets, seed: int) -> list[int]:
    """Every row's place, so that any first n of them are a stratified sample of n.

    A stratum is a domain, whether there is a conflict, and the chosen item's score. Within it the order is
    that of xxh3_64("<seed>:<id>"); across strata a row comes by the share of its stratum before it. So the
    first n hold the same share of every stratum, rounded up to whole rows, and none is left out while n is
    at least the number of strata. The order of the rows in the dataset changes nothing.
    """
    strata = [
        (domain, bool(conflict), int(score))
        for domain, conflict, score in zip(
            triplets.domains, triplets.conflict, triplets.scores[:, 0], strict=True
        )
    ]
    drawn = [xxhash.xxh3_64_intdigest(f"{seed}:{row}".encode()) for row in triplets.ids]
    sizes = Counter(strata)
    members: dict[tuple[str, bool, int], list[int]] = defaultdict(list)
    for place in sorted(range(len(strata)), key=lambda place: (drawn[place], triplets.ids[place])):
        members[strata[place]].append(place)
    share = {
        place: rank / sizes[stratum]
        for stratum, places in members.items()
        for rank, place in enumerate(places)
    }
    return sorted(share, key=lambda place: (share[place], drawn[place], triplets.ids[place]))
