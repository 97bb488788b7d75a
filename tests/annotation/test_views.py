"""The same figures otherwise: weighted by the draw, after a second round, one rater against themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from capo_annotation import gate
from capo_annotation.agreement import agreement
from capo_annotation.draw import Subject, draw
from capo_annotation.ratings import Collector, Ratings
from capo_annotation.reading import read
from capo_annotation.report import AgreementReport
from capo_annotation.scale import Scale
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

SEVEN = Scale(1, 7)
HEADER = "item,rater,score,judge,round,repeat,weight,status,comment\n"
labels = st.integers(1, 7)


def table(folder: Path, lines: str, header: str = HEADER) -> Ratings:
    path = folder / "ratings.csv"
    path.write_text(header + lines, encoding="utf-8")
    collector = Collector(SEVEN)
    collector.add(read(path, {}, {}).entries)
    return collector.table()


def report(ratings: Ratings, draws: int = 0, **more) -> AgreementReport:
    return agreement(ratings, SEVEN, draws=draws, **more)


def quoted(found) -> dict[str, float | None]:
    figures = {**found.mean, **{f"{k}_{n}": f for k, v in found.labels.items() for n, f in v.items()}}
    return {name: figure.value for name, figure in figures.items() if "observed" not in name}


# Weights.


@settings(deadline=None)
@given(st.lists(st.tuples(labels, labels, labels, st.integers(1, 4)), min_size=3, max_size=12))
def test_an_item_that_weighs_three_counts_as_three_items(tmp_path_factory, rows) -> None:
    folder = tmp_path_factory.mktemp("weights")
    rows.append((1, 2, 3, 5))  # one weight at least is another

    def lines(copies: bool) -> str:
        return "".join(
            f"{at}-{copy},{rater},{score},{judge},1,1,{'' if copies else weight},,\n"
            for at, (ann, bo, judge, weight) in enumerate(rows)
            for copy in range(weight if copies else 1)
            for rater, score in (("ann", ann), ("bo", bo))
        )

    weighed, copied = report(table(folder, lines(False))), report(table(folder, lines(True)))
    assert weighed.weighted is not None
    assert copied.weighted is None
    expected = quoted(copied)
    for name, value in quoted(weighed.weighted).items():
        if value is None or expected[name] is None:
            assert value == expected[name], name
        else:
            assert value == pytest.approx(expected[name], abs=1e-9), name


def test_weights_undo_what_a_stratified_draw_inflates(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    judge = generator.choice(np.arange(1, 8), size=3_000, p=[0.02, 0.06, 0.1, 0.5, 0.22, 0.08, 0.02])
    human = np.clip(np.rint(judge + generator.normal(0, 1.2, 3_000)), 1, 7)
    truth = stats.spearmanr(judge, human).statistic
    everything = [Subject(f"i{at}", "r", "chosen", "d", float(one)) for at, one in enumerate(judge)]
    plain, weighted = [], []
    for seed in range(15):
        lines = "".join(
            f"{one.subject.item},ann,{human[int(one.subject.item[1:])]:g},{one.subject.judge:g},1,1,"
            f"{1 / one.probability},,\n"
            for one in draw(everything, 140, seed, ["score"])
        )
        found = report(table(tmp_path, lines))
        assert found.weighted is not None
        plain.append(found.mean["spearman"].value)
        weighted.append(found.weighted.mean["spearman"].value)
    assert np.mean(plain) > truth + 0.1
    assert np.mean(weighted) == pytest.approx(truth, abs=0.05)


def weighed_lines() -> str:
    rows = [(1, 1, 1), (7, 6, 1), (4, 5, 30), (4, 3, 30), (5, 3, 30), (2, 1, 1)]
    return "".join(
        f"i{at},ann,{score},{judge},1,1,{weight},,\n" for at, (score, judge, weight) in enumerate(rows)
    )


def test_the_gate_takes_the_weighted_figure_and_says_so(tmp_path: Path) -> None:
    asked = gate.parse("rho>=0.6,p<1,alpha>0")
    rho, p, alpha = report(table(tmp_path, weighed_lines()), require=asked).gate
    found = report(table(tmp_path, weighed_lines()))
    assert found.weighted is not None
    assert rho.value == found.weighted.mean["spearman"].value != found.mean["spearman"].value
    assert (rho.weighted, p.weighted) == (True, False)
    assert rho.as_dict()["design_weighted"]
    assert p.value == found.mean["spearman"].p
    assert alpha.value is None  # one rater


def test_weighted_figures_have_intervals_and_no_p(tmp_path: Path) -> None:
    weighted = report(table(tmp_path, weighed_lines()), draws=200).weighted
    assert weighted is not None
    rho = weighted.mean["spearman"]
    assert rho.p is None
    assert rho.low is not None
    assert rho.value is not None
    assert rho.low <= rho.value


def test_equal_weights_are_none_and_bad_ones_are_listed(tmp_path: Path) -> None:
    same = table(tmp_path, "a,ann,1,1,1,1,2.5,,\nb,ann,2,2,1,1,2.5,,\n")
    assert same.weights is None
    bad = table(tmp_path, "a,ann,1,1,1,1,-1,,\nb,ann,2,2,1,1,x,,\n")
    assert bad.problems.counts["unreadable"] == 2
    assert "ratings.csv:2: the weight '-1'" in bad.problems.places["unreadable"][0]
    some = table(tmp_path, "a,ann,1,1,1,1,1,,\nb,ann,2,2,1,1,2,,\nc,ann,2,2,1,1,,,\n")
    assert some.weights is None
    assert "c: no weight" in some.problems.places["unreadable"][0]


# Rounds.

FIRST = "a,ann,1,2,1,1,,,\na,bo,7,2,1,1,,,\nb,ann,5,5,1,1,,,\nb,bo,4,5,1,1,,,\n"
FIRST += "c,ann,6,7,1,1,,,\nc,bo,6,7,1,1,,,\n"
SECOND = "a,ann,2,2,2,1,,,\na,bo,3,2,2,1,,,\n"


def test_the_first_round_stays_and_the_second_stands_beside_it(tmp_path: Path) -> None:
    before, both = table(tmp_path, FIRST), table(tmp_path, SECOND + FIRST)
    assert both.scores.tolist() == before.scores.tolist()
    assert both.settled is not None
    assert both.settled.tolist() == [[2, 3], [5, 4], [6, 6]]
    first, found = report(before), report(both)
    assert (found.mean, found.labels, found.among) == (first.mean, first.labels, first.among)
    assert first.settled is None
    assert found.settled is not None
    settled = report(table(tmp_path, FIRST.replace("a,ann,1", "a,ann,2").replace("a,bo,7", "a,bo,3")))
    assert quoted(found.settled) == quoted(settled)
    assert found.as_dict()["after_consensus"]["independent"] is False


def test_items_further_apart_than_the_gap_are_listed_widest_first(tmp_path: Path) -> None:
    found = report(table(tmp_path, FIRST + "d,ann,1,1,1,1,,,\nd,bo,4,1,1,1,,,\n"), gap=2)
    assert [(one.item, dict(one.ratings)) for one in found.disagreements] == [
        ("a", {"ann": 1, "bo": 7}),
        ("d", {"ann": 1, "bo": 4}),
    ]
    assert report(table(tmp_path, FIRST), gap=6).disagreements == []  # 6 apart is not more than 6


# Repeats.


def test_a_repeated_item_is_no_duplicate_and_shows_self_consistency(tmp_path: Path) -> None:
    again = "b,ann,5,5,1,2,,,\na,ann,3,2,1,2,,,\nc,bo,6,7,1,2,,,\n"
    found = table(tmp_path, again + FIRST)
    assert not found.problems
    assert found.repeats == {"ann": [(1, 3), (5, 5)], "bo": [(6, 6)]}
    consistency = report(found).consistency
    assert consistency["ann"]["exact"].value == 0.5
    assert consistency["ann"]["within_one"].value == 0.5
    assert consistency["bo"]["exact"].value == 1


def test_tasks_without_a_score_are_listed_as_what_they_are(tmp_path: Path) -> None:
    rest = "d,ann,,1,1,1,,skipped,\nd,bo,,1,1,1,,draft,\ne,ann,,1,1,1,,missing,\ne,bo,3,1,1,1,,,\n"
    assert table(tmp_path, FIRST + rest).problems.counts == {"skipped": 1, "draft": 1, "missing": 1}
