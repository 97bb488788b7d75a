"""Licences are named, never assumed, and the terms of known sources are known."""

from __future__ import annotations

import pytest

from capo_data.errors import UsageError
from capo_data.release.terms import settle


@pytest.mark.parametrize(
    ("kind", "name", "key"),
    [
        ("amazon", "Amazon Reviews 2023", "amazon-reviews-2023"),
        ("movielens", "MovieLens", "movielens"),
    ],
)
def test_the_terms_of_known_sources_are_named(kind: str, name: str, key: str) -> None:
    found = settle({"kind": kind}, {}, "other", None)
    assert found["terms"]["name"].startswith(name)
    assert found["license_name"] == key
    assert found["license_link"] == found["terms"]["link"]


def test_movielens_may_only_be_passed_on_under_its_own_terms() -> None:
    with pytest.raises(UsageError, match="may not be passed on under the licence mit") as caught:
        settle({"kind": "movielens"}, {}, "mit", None)
    assert "--license other" in caught.value.next_command


def test_the_command_line_goes_before_the_recipe() -> None:
    recipe = {"license": "mit", "terms": "Ours."}
    assert settle({"kind": "table"}, recipe, None, None)["license"] == "mit"
    found = settle({"kind": "table"}, recipe, "cc-by-4.0", "Theirs, see https://x.example/t.")
    assert found["license"] == "cc-by-4.0"
    assert found["license_name"] is None
    assert found["terms"] == {
        "name": "Terms of the source",
        "link": "https://x.example/t",
        "text": "Theirs, see https://x.example/t.",
    }
