"""The audit's figures against libraries and closed forms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pingouin
import pytest
from scipy import stats

from capo_data.audit import figures_of, roles

GENERATOR = np.random.default_rng(1)


def test_the_partial_rank_correlation_is_pingouin_s() -> None:
    table = pd.DataFrame(GENERATOR.normal(size=(80, 4)), columns=["x", "y", "a", "b"])
    table["x"] = (table["x"] + table["a"]).round(1)
    table["y"] = (table["y"] - table["a"] + table["b"]).round(0)
    theirs = pingouin.partial_corr(table, "x", "y", ["a", "b"], method="spearman")["r"].iloc[0]
    ours = figures_of.partial_spearman(
        *(table[name].to_numpy() for name in "xy"), table[["a", "b"]].to_numpy()
    )
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_without_controls_it_is_spearman_s_and_a_constant_control_changes_nothing() -> None:
    x, y = GENERATOR.integers(1, 8, 60).astype(float), GENERATOR.integers(1, 30, 60).astype(float)
    plain = figures_of.partial_spearman(x, y, np.empty((60, 0)))
    assert plain == pytest.approx(stats.spearmanr(x, y).statistic)
    assert figures_of.partial_spearman(x, y, np.ones((60, 1))) == pytest.approx(plain)
    assert np.isnan(figures_of.partial_spearman(np.ones(60), y, np.empty((60, 0))))


def test_a_confounder_explains_what_it_makes() -> None:
    cause = GENERATOR.normal(size=2_000)
    x, y = cause + GENERATOR.normal(size=2_000), cause + GENERATOR.normal(size=2_000)
    assert figures_of.partial_spearman(x, y, np.empty((2_000, 0))) > 0.4
    assert abs(figures_of.partial_spearman(x, y, cause[:, None])) < 0.1


def test_paired_scores_have_the_shares_and_differences_that_were_put_in() -> None:
    before, after = [4, 4, 5, 6, 7], [4, 5, 5, 4, 7]
    found = figures_of.paired(before, after, 200, 0, ("a", "b"))
    assert found["exact"].value == pytest.approx(3 / 5)
    assert found["within_one"].value == pytest.approx(4 / 5)
    assert found["mean_absolute_difference"].value == pytest.approx(3 / 5)
    assert found["mean_difference"].value == pytest.approx(-1 / 5)
    assert found["spearman"].value == pytest.approx(stats.spearmanr(before, after).statistic)
    for name in ("exact", "mean_absolute_difference", "mean_difference"):
        figure = found[name]
        assert figure.low <= figure.value <= figure.high
    assert figures_of.cross(before, after)[5][3] == 1  # a 6 that became a 4
    assert figures_of.paired([], [], 10, 0, ("a", "b"))["exact"].reason == "no item has both scores"


def test_an_interval_over_rows_is_wider_than_over_items_that_repeat_one_another() -> None:
    values = np.repeat(GENERATOR.normal(size=40), 5)

    def mean(at):
        return float(values[at].mean())

    rows = figures_of.clustered(mean, [str(number // 5) for number in range(200)], 400, 0)
    items = figures_of.clustered(mean, [str(number) for number in range(200)], 400, 0)
    assert rows.high - rows.low > 1.5 * (items.high - items.low)


def texts(informed: bool) -> tuple[list[str], list[bool], list[str]]:
    words = ["soft", "warm", "light", "sturdy", "cheap", "green", "round", "plain"]
    found, labels, rows = [], [], []
    for row in range(60):
        for role in range(3):
            drawn = GENERATOR.choice(words, 6).tolist()
            found.append(" ".join([*drawn, "loved" if informed and role == 0 else "seen"]))
            labels.append(role == 0)
            rows.append(str(row))
    return found, labels, rows


def test_a_word_that_gives_the_role_away_is_found_and_named() -> None:
    told = roles.told(*texts(informed=True), 50, 0)
    assert told.auc.value > 0.95
    assert "loved" in told.words
    assert max(told.shuffled) < 0.75


def test_words_that_say_nothing_reach_no_more_than_shuffled_roles() -> None:
    told = roles.told(*texts(informed=False), 50, 0)
    assert abs(told.auc.value - np.mean(told.shuffled)) < 0.2
    assert len(told.shuffled) == roles.SHUFFLES


def test_too_few_rows_are_said_to_be_too_few() -> None:
    assert roles.told(["a b", "c d"], [True, False], ["1", "2"], 10, 0).auc.reason.startswith("fewer than")
