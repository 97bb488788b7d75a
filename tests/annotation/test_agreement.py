"""The figures equal their definitions, their published values and other people's code."""

from __future__ import annotations

import warnings
from fractions import Fraction
from itertools import combinations, permutations

import numpy as np
import pytest
from capo_annotation import kappa, reliability
from capo_annotation.agreement import agreement
from capo_annotation.correlation import Pairs
from capo_annotation.grouping import Rows
from capo_annotation.plan import half_up
from capo_annotation.problems import Problems
from capo_annotation.ratings import Ratings
from capo_annotation.report import AgreementReport
from capo_annotation.scale import Scale
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import cohen_kappa_score

NAN = float("nan")
SEVEN = Scale(1, 7)
# Shrout and Fleiss 1979, table 2: six targets, four judges.
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float
)
labels = st.integers(1, 7)
unhurried = settings(deadline=None)  # a machine under load is no failure
gaps = st.one_of(st.none(), labels)


def ratings(scores, judge=None, roles=None, domains=None) -> Ratings:
    table = np.array(scores, dtype=float)
    size = len(table)
    return Ratings(
        items=tuple(f"item{at:03d}" for at in range(size)),
        raters=tuple(f"rater{at}" for at in range(table.shape[1])),
        scores=table,
        judge=None if judge is None else np.array(judge, dtype=float),
        judge_source="" if judge is None else "a test",
        roles=tuple(roles or [""] * size),
        domains=tuple(domains or [""] * size),
        later_rounds=0,
        problems=Problems(),
    )


def report(
    scores, judge=None, *, draws: int = 0, scale: Scale = SEVEN, seed: int = 0, **more
) -> AgreementReport:
    return agreement(ratings(scores, judge, **more), scale, draws=draws, seed=seed)


def weighted_once(statistic):
    """A weighted form with every item counted once."""
    return lambda rows: float(statistic(rows.counts.astype(float)[:, None])[0])


# Correlations.


@unhurried
@given(st.lists(st.tuples(labels, st.integers(7, 49), st.integers(1, 4)), min_size=3, max_size=30))
def test_weighted_correlations_are_scipys_on_items_written_out(rows):
    x, y, times = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    y /= 7
    assume(len(set(x)) > 1)
    assume(len(set(y)) > 1)
    every = Rows(np.arange(len(x)), np.ones(len(x), dtype=np.int64))
    pairs, weight = Pairs(x, y, every), times[:, None]
    long_x, long_y = np.repeat(x, times.astype(int)), np.repeat(y, times.astype(int))
    assert pairs.spearman(weight)[0] == pytest.approx(stats.spearmanr(long_x, long_y).statistic, abs=1e-9)
    assert pairs.kendall(weight)[0] == pytest.approx(stats.kendalltau(long_x, long_y).statistic, abs=1e-9)
    assert pairs.pearson(weight)[0] == pytest.approx(stats.pearsonr(long_x, long_y).statistic, abs=1e-9)


def test_the_reported_correlations_and_p_are_scipys():
    generator = np.random.default_rng(0)
    scores, judge = generator.integers(1, 8, (60, 3)), generator.integers(1, 8, 60)
    found, mean = report(scores, judge).mean, scores.mean(axis=1)
    for name, test in (
        ("spearman", stats.spearmanr),
        ("kendall", stats.kendalltau),
        ("pearson", stats.pearsonr),
    ):
        value, p = test(judge, mean)
        assert (found[name].value, found[name].p) == (value, p)


def test_a_draw_in_which_a_score_never_varies_has_no_correlation():
    x, y = np.array([1.0, 2.0, 2.0]), np.array([1 / 7, 5 / 7, 5 / 7])
    pairs = Pairs(x, y, Rows.of(x, y))
    drawn = np.array([[0.0, 1.0], [3.0, 2.0]])
    for figure in (pairs.spearman, pairs.kendall, pairs.pearson):
        assert np.isnan(figure(drawn)).tolist() == [True, False]


# Kappa.


@unhurried
@given(st.lists(st.tuples(labels, labels), min_size=1, max_size=40))
def test_kappa_is_scikit_learns_with_the_labels_given(rows):
    a, b = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    for ours, theirs in (("quadratic", "quadratic"), ("linear", "linear"), ("unweighted", None)):
        for declared in (list(SEVEN.labels), None):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                known = sorted({*a, *b}) if declared is None else declared
                expected = cohen_kappa_score(a, b, labels=known, weights=theirs)
            found = kappa.kappa(a, b, declared, ours)
            assert np.isnan(expected) if found is None else found == pytest.approx(expected, abs=1e-9)


def test_a_label_that_nobody_uses_counts_on_the_declared_scale_alone():
    a, b = np.array([1.0, 1.0, 4.0, 6.0]), np.array([1.0, 4.0, 4.0, 4.0])
    assert kappa.kappa(a, b, [1, 2, 3, 4, 5, 6]) == pytest.approx(12 / 25)
    assert kappa.kappa(a, b, None) == pytest.approx(3 / 7)


def test_exact_and_within_one():
    found = report([[1], [4], [4], [7]], [1, 5, 2, 7]).by_rater["rater0"]
    assert (found["exact"].value, found["within_one"].value) == (0.5, 0.75)


def test_means_and_judges_between_two_labels_are_rounded_half_up():
    assert half_up(np.array([2.5, 3.5, 4.49, -0.5, NAN])).tolist()[:4] == [3, 4, 4, 0]
    found = report([[2, 3], [4, 5]], [3, 5]).labels
    assert found["rounded_mean"]["exact"].value == 1
    assert report([[3], [5]], [2.5, 4.6]).by_rater["rater0"]["exact"].value == 1


# Krippendorff's alpha.


def alpha_by_definition(scores: np.ndarray, metric: str) -> float | None:
    """From the pairs of values themselves, with exact numbers; None where nothing could disagree."""
    units = [[Fraction(int(value)) for value in row if not np.isnan(value)] for row in scores]
    units = [unit for unit in units if len(unit) > 1]
    values = [value for unit in units for value in unit]
    used = sorted(set(values))

    def cost(c: Fraction, k: Fraction) -> Fraction:
        if metric == "nominal":
            return Fraction(c != k)
        if metric == "interval":
            return (c - k) ** 2
        if metric == "ratio":
            return ((c - k) / (c + k)) ** 2
        between = [values.count(g) for g in used if min(c, k) <= g <= max(c, k)]
        return (sum(between) - Fraction(values.count(c) + values.count(k), 2)) ** 2 if c != k else Fraction(0)

    seen = sum(cost(a, b) / (len(unit) - 1) for unit in units for a, b in permutations(unit, 2))
    expected = sum(cost(a, b) for a, b in permutations(values, 2))
    return float(1 - (len(values) - 1) * seen / expected) if expected else None


def alphas(scores: np.ndarray) -> dict[str, float | None]:
    found = report(scores, scale=Scale(0, 10)).among
    return {metric: found[f"alpha_{metric}"].value for metric in reliability.METRICS}


@unhurried
@given(st.lists(st.lists(gaps, min_size=3, max_size=3), min_size=1, max_size=8))
def test_alpha_is_its_definition(rows):
    scores = np.array(rows, dtype=float)
    for metric, value in alphas(scores).items():
        expected = alpha_by_definition(scores, metric)
        assert value == (None if expected is None else pytest.approx(expected, abs=1e-9))


@unhurried
@given(st.lists(labels, min_size=2, max_size=20), st.integers(2, 4))
def test_alpha_is_one_where_all_agree(values, raters):
    assume(len(set(values)) > 1)
    scores = np.repeat(np.array([values], dtype=float).T, raters, axis=1)
    assert list(alphas(scores).values()) == pytest.approx([1] * 4)


@unhurried
@given(st.lists(st.lists(gaps, min_size=3, max_size=3), min_size=2, max_size=10), st.randoms())
def test_alpha_does_not_depend_on_the_order_of_items_or_raters(rows, shuffle):
    scores = np.array(rows, dtype=float)
    items, raters = list(range(len(scores))), [0, 1, 2]
    shuffle.shuffle(items)
    shuffle.shuffle(raters)
    for one, other in zip(alphas(scores).values(), alphas(scores[items][:, raters]).values(), strict=True):
        assert other == (None if one is None else pytest.approx(one, abs=1e-9))


@unhurried
@given(st.lists(st.lists(gaps, min_size=3, max_size=3), min_size=2, max_size=10))
def test_ordinal_and_nominal_alpha_see_only_the_order_of_labels_and_interval_alpha_their_distance(rows):
    scores = np.array(rows, dtype=float)
    stretched = np.where(
        np.isnan(scores), NAN, np.array([0, 0, 1, 2, 4, 5, 9, 10])[np.nan_to_num(scores).astype(int)]
    )
    one, other = alphas(scores), alphas(stretched)
    moved = alphas(10 - scores)
    for metric in ("ordinal", "nominal"):
        assert other[metric] == (None if one[metric] is None else pytest.approx(one[metric], abs=1e-9))
    for metric in ("ordinal", "nominal", "interval"):
        assert moved[metric] == (None if one[metric] is None else pytest.approx(one[metric], abs=1e-9))


def test_krippendorffs_own_example_with_gaps():
    rows = ["11_1", "2232", "3333", "3333", "2222", "1234", "4444", "1121", "2222", "_555", "__11", "__3_"]
    scores = [[NAN if cell == "_" else float(cell) for cell in row] for row in rows]
    found = {metric: round(value or 0, 3) for metric, value in alphas(np.array(scores)).items()}
    assert found == {"nominal": 0.743, "ordinal": 0.815, "interval": 0.849, "ratio": 0.797}


# Intraclass correlations.


def icc_by_definition(scores: np.ndarray) -> tuple[float, float]:
    """Two-way analysis of variance in exact numbers (McGraw and Wong 1996, cases 2A)."""
    table = [[Fraction(int(value)) for value in row] for row in scores]
    n, k = len(table), len(table[0])
    grand = sum(map(sum, table)) / Fraction(n * k)
    rows = [sum(row) / Fraction(k) for row in table]
    columns = [sum(row[j] for row in table) / Fraction(n) for j in range(k)]
    msr = k * sum((mean - grand) ** 2 for mean in rows) / Fraction(n - 1)
    msc = n * sum((mean - grand) ** 2 for mean in columns) / Fraction(k - 1)
    mse = sum(
        (table[i][j] - rows[i] - columns[j] + grand) ** 2 for i in range(n) for j in range(k)
    ) / Fraction((n - 1) * (k - 1))
    one = (msr - mse) / (msr + (k - 1) * mse + Fraction(k, n) * (msc - mse))
    return float(one), float((msr - mse) / (msr + (msc - mse) / n))


def test_icc_of_shrout_and_fleiss():
    found = report(SHROUT_FLEISS, scale=Scale(1, 10)).among
    one, mean = icc_by_definition(SHROUT_FLEISS)
    assert (round(one, 2), round(mean, 2)) == (0.29, 0.62)  # as printed
    assert found["icc_2_1"].value == pytest.approx(one, abs=1e-9)
    assert found["icc_2_k"].value == pytest.approx(mean, abs=1e-9)


@unhurried
@given(st.lists(st.lists(labels, min_size=3, max_size=3), min_size=2, max_size=12))
def test_icc_is_its_definition(rows):
    scores = np.array(rows, dtype=float)
    found = report(scores).among
    try:
        expected = icc_by_definition(scores)
    except ZeroDivisionError:
        return
    value = found["icc_2_1"].value
    assert value == pytest.approx(expected[0], abs=1e-9)
    if found["icc_2_k"].value is not None:  # near its pole the mean's figure has no meaning
        assert found["icc_2_k"].value == pytest.approx(expected[1], rel=1e-6, abs=1e-9)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::Warning:pingouin", "ignore::Warning:pandas", "ignore::Warning:seaborn")
def test_icc_is_pingouins_to_nine_digits():
    import pandas as pd
    import pingouin

    generator = np.random.default_rng(0)
    tables = [SHROUT_FLEISS, *(generator.integers(1, 8, size) for size in ((20, 3), (400, 7), (5, 2)))]
    for scores in tables:
        targets, raters = np.indices(scores.shape)
        long = pd.DataFrame({"t": targets.ravel(), "r": raters.ravel(), "s": scores.ravel()})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pingouin's own, of pandas
            table = pingouin.intraclass_corr(long, targets="t", raters="r", ratings="s")
        theirs = dict(zip(table["Type"], table["ICC"], strict=True))
        ours = report(scores, scale=Scale(1, 10)).among
        # Its names of the two differ between versions.
        assert ours["icc_2_1"].value == pytest.approx(theirs.get("ICC2", theirs.get("ICC(A,1)")), abs=1e-9)
        assert ours["icc_2_k"].value == pytest.approx(theirs.get("ICC2k", theirs.get("ICC(A,k)")), abs=1e-9)


def test_icc_leaves_items_with_gaps_out_and_says_on_how_many_it_rests():
    scores = np.vstack([SHROUT_FLEISS, [[1, NAN, 2, 3]]])
    found = report(scores, scale=Scale(1, 10)).among["icc_2_1"]
    assert (found.value, found.items) == (pytest.approx(icc_by_definition(SHROUT_FLEISS)[0]), 6)


# The human ceiling, parts of the items.


def test_the_ceiling_sets_each_rater_and_the_judge_beside_the_others_on_the_same_items():
    generator = np.random.default_rng(1)
    scores, judge = (
        generator.integers(1, 8, (40, 3)).astype(float),
        generator.integers(1, 8, 40).astype(float),
    )
    scores[:5, 0] = NAN
    found = report(scores, judge, draws=200)
    own = ~np.isnan(scores[:, 0])
    others = scores[own, 1:].mean(axis=1)
    first = found.ceiling["rater0"]
    assert first["rater_rho"].value == stats.spearmanr(scores[own, 0], others).statistic
    assert first["judge_rho"].value == stats.spearmanr(judge[own], others).statistic
    assert first["rater_rho"].items == first["judge_rho"].items == 35
    expected = cohen_kappa_score(judge[own], half_up(others), weights="quadratic", labels=SEVEN.labels)
    assert first["judge_qwk"].value == pytest.approx(expected, abs=1e-9)
    apart = [one["judge_rho"].value - one["rater_rho"].value for one in found.ceiling.values()]
    mean = found.ceiling_mean["difference_rho"]
    assert mean.value == pytest.approx(np.mean(apart))
    assert mean.low < mean.value < mean.high


def test_means_and_bias_by_score_level_role_and_domain():
    found = report(
        [[2, 4], [4, 4], [6, 7], [1, 2]],
        [4, 4, 5, 1],
        roles=["chosen", "chosen", "easy_rejected", "easy_rejected"],
        domains=["", "", "cds", "cds"],
    )
    levels = [(part.name, part.items, part.human_mean, part.figures["bias"].value) for part in found.levels]
    assert levels == [("1", 1, 1.5, -0.5), ("4", 2, 3.5, 0.5), ("5", 1, 6.5, -1.5)]
    roles = {part.name: (part.items, part.judge_mean, part.figures["bias"].value) for part in found.roles}
    assert roles == {"chosen": (2, 4, 0.5), "easy_rejected": (2, 3, -1)}
    assert found.roles[0].figures["rho"].reason == "the judge's score is 4 for every item"
    assert [(part.name, part.items) for part in found.domains] == [("cds", 2)]
    assert found.domains[0].figures["rho"].value == pytest.approx(1)


# The whole report.


def test_undefined_figures_say_why():
    one = report([[5], [5], [5]], [4, 4, 4])
    assert one.mean["spearman"].reason == "the judge's score is 4 for every item"
    assert one.among["alpha_ordinal"].reason == "no item has two ratings"
    assert one.among["icc_2_1"].reason == "one rater; two are needed"
    assert one.ceiling == {}
    constant = report([[5, 5], [5, 5]], [5, 5])
    assert constant.among["alpha_ordinal"].reason == "every rating is 5, so nothing could have disagreed"
    assert constant.among["icc_2_k"].reason == "every rating is 5"
    assert constant.labels["median"]["qwk"].reason == "both give every item 5"
    assert constant.labels["median"]["exact"].value == 1
    apart = report([[5, NAN], [NAN, 4]], [5, 4])
    assert apart.pairs[0].qwk.reason == "no item has both scores"
    assert apart.among["icc_2_1"].reason == "items that all 2 raters rated: 0; two are needed"
    assert apart.ceiling_mean["rater_rho"].value is None


@unhurried
@given(st.lists(st.tuples(gaps, gaps, gaps, gaps), min_size=1, max_size=6))
def test_any_table_has_an_answer_for_every_figure(rows):
    scores = np.array(rows, dtype=float)
    found = report(scores[:, :3], scores[:, 3], draws=20).as_dict()

    def figures(value):
        if isinstance(value, dict):
            if {"value", "low", "high"} <= set(value):
                yield value
            for inner in value.values():
                yield from figures(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from figures(inner)

    for figure in figures(found):
        assert figure["value"] is not None or figure["reason"]
        if figure["low"] is not None:
            assert figure["low"] <= figure["high"]


def test_the_report_does_not_depend_on_the_order_of_items():
    generator = np.random.default_rng(5)
    scores, judge = generator.integers(1, 8, (30, 3)), generator.integers(1, 8, 30)
    mixed = generator.permutation(30)
    one, other = report(scores, judge, draws=100), report(scores[mixed], judge[mixed], draws=100)
    assert one.as_dict()["judge"]["rounded_mean"] == other.as_dict()["judge"]["rounded_mean"]
    for name in ("spearman", "kendall", "pearson"):
        assert one.mean[name].low == pytest.approx(other.mean[name].low, abs=1e-9)


def test_better_judges_have_better_figures():
    generator = np.random.default_rng(7)
    truth = generator.normal(4, 1.5, 400)

    def seen(noise: float) -> np.ndarray:
        return np.clip(np.rint(truth + generator.normal(0, noise, 400)), 1, 7)

    humans = np.stack([seen(0.8) for _ in range(7)], axis=1)
    good, bad = report(humans, seen(0.8), draws=200), report(humans, seen(4), draws=200)
    for one, other in combinations((good, bad), 2):
        assert one.mean["spearman"].low > other.mean["spearman"].high
        assert one.labels["rounded_mean"]["qwk"].low > other.labels["rounded_mean"]["qwk"].high
    assert good.ceiling_mean["difference_rho"].low < 0 < good.ceiling_mean["difference_rho"].high
    assert bad.ceiling_mean["difference_rho"].high < 0
