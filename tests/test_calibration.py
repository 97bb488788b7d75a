from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
from scipy import stats

from capo_data import calibration
from capo_data.candidates import Log, Pool


def pool(items: int) -> Pool:
    keys = pa.array(range(items), pa.uint64())
    return Pool(pa.array([f"i{n:05d}" for n in range(items)]), keys, np.ones(items, dtype=np.int64))


def logs(users: int, salt: str = "") -> list[Log]:
    items = tuple(f"i{n:05d}" for n in range(6))
    return [Log(f"u{n}", f"{salt}{n}", items, tuple(range(6))) for n in range(users)]


def test_at_most_a_thousand_train_decisions_are_sampled_with_two_items_each() -> None:
    assert len(calibration.sample(logs(30), pool(50), 0, 1)) == 30
    drawn = calibration.sample(logs(2_500), pool(50), 0, 1)
    assert len(drawn) == calibration.DECISIONS
    assert {item for _, item in drawn} == {"i00003"}  # the last train item of six
    assert {len(rows) for rows in drawn.values()} == {2}


def test_neither_the_salt_nor_the_order_of_users_has_a_say() -> None:
    one = calibration.sample(logs(2_500, "a-"), pool(50), 0, 1)
    two = calibration.sample(logs(2_500, "b-")[::-1], pool(50), 0, 1)
    assert {user[2:]: rows for (user, _), rows in one.items()} == {
        user[2:]: rows for (user, _), rows in two.items()
    }
    assert calibration.sample(logs(2_500), pool(50), 1, 1) != calibration.sample(logs(2_500), pool(50), 0, 1)


def test_the_items_are_uniform_over_the_titled_ones() -> None:
    counts = Counter(row for rows in calibration.sample(logs(1_000), pool(40), 0, 1).values() for row in rows)
    assert stats.chisquare([counts[row] for row in range(40)]).pvalue > 1e-3
