"""`capo-data agree`: published figures to every printed digit, the judge's sources, exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import release_rows
import typer
from real_data import real_data
from typer.testing import CliRunner

from capo_data.agreeing import agree
from capo_data.cli import agree as command
from capo_data.errors import UsageError

RATINGS = """item,rater,score,judge
a,ann,5,6
a,bo,4,6
b,ann,2,1
b,bo,1,1
c,ann,7,6
c,bo,6,6
d,ann,3,4
d,bo,4,4
"""


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    made.callback()(lambda: None)  # as in main: a command among others
    command.add(made)
    return made


@pytest.fixture
def run(app, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")

    def invoke(*arguments: object, code: int = 0):
        done = CliRunner().invoke(app, ["agree", *map(str, arguments)])
        assert done.exit_code == code, done.output
        return done

    return invoke


@pytest.fixture
def told(run):
    def figures(*arguments: object, code: int = 0) -> dict[str, Any]:
        return json.loads(run(*arguments, "--json", code=code).stdout)

    return figures


def ratings(folder: Path, text: str = RATINGS, name: str = "ratings.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# Published figures (data README, "Agreement figures to reproduce").


def test_kappa_of_the_anxiety_ratings_as_r_irr_prints_it(told):
    found = told(
        "--human", real_data("agreement") / "anxiety.csv", "--no-judge", "--scale", "1-6", "--draws", 0
    )
    (pair,) = [one for one in found["among_raters"]["pairs"] if one["raters"] == ["rater2", "rater3"]]
    observed = {weighting: values["observed"] for weighting, values in pair["kappa"].items()}
    assert f"{observed['quadratic']:.7f}" == "0.2520325"
    assert f"{observed['linear']:.7f}" == "0.1459075"
    assert f"{observed['unweighted']:.7f}" == "-0.0062893"
    assert (
        f"{found['among_raters']['icc_2_1']['value']:.3f}" == "0.198"
    )  # irr: icc(anxiety, "twoway", "agreement")


def test_the_trap_of_the_scale_that_was_declared_and_not_used(told):
    """Neither of the two uses 5: over 1-6 the figure is another one than over the labels in use."""
    anxiety = real_data("agreement") / "anxiety.csv"
    found = told("--human", anxiety, "--column", "judge=rater3", "--column", "rater=rater2", "--scale", "1-6")
    against = found["judge"]["raters"]["rater2"]
    assert f"{against['qwk']['value']:.4f}" == "0.2298"
    assert f"{against['qwk_observed']['value']:.7f}" == "0.2520325"


def test_krippendorffs_worked_example(told):
    raters = real_data("agreement") / "raw4raters.csv"
    found = told("--human", raters, "--no-judge", "--scale", "1-5", "--allow-partial")
    alphas = {
        metric: f"{found['among_raters'][f'alpha_{metric}']['value']:.3f}"
        for metric in ("nominal", "ordinal")
    }
    assert alphas == {"nominal": "0.743", "ordinal": "0.815"}
    assert f"{found['among_raters']['alpha_interval']['value']:.3f}" == "0.849"
    assert f"{found['among_raters']['alpha_ratio']['value']:.3f}" == "0.797"
    assert found["problems"]["missing"]["count"] == 7


@pytest.mark.parametrize(
    ("metric", "alpha"),
    [
        ("Informativeness", "0.2848732"),
        ("Relevance", "0.1151213"),
        ("Fluency", "-0.0158081"),
        ("Coherence", "0.0649720"),
    ],
)
def test_the_newsroom_ratings_as_judge_bench_prints_them(told, metric, alpha):
    newsroom = real_data("agreement") / "newsroom.csv"
    found = told(
        "--human", newsroom, "--where", f"metric={metric}", "--no-judge", "--scale", "1-5", "--draws", 0
    )
    assert f"{found['among_raters']['alpha_ordinal']['value']:.7f}" == alpha
    assert (found["items"], found["ratings"], found["complete"]) == (420, 1260, True)


# Where the judge's scores come from.


def test_the_judge_column(told, tmp_path):
    found = told("--human", ratings(tmp_path))
    assert found["judge_source"] == "the judge column"
    assert found["judge"]["mean"]["spearman"]["items"] == 4
    assert found["ok"]
    assert found["complete"]


def test_a_second_file(told, tmp_path):
    human = ratings(tmp_path, "item,rater,score\na,ann,5\nb,ann,2\nc,ann,6\n")
    judge = ratings(tmp_path, "item;score\na;6,0\nb;1,5\nc;7\nz;3\n", "judge.csv")
    found = told("--human", human, "--judge", judge)
    assert (found["judged"], found["complete"]) == (3, True)
    assert found["judge"]["mean"]["spearman"]["value"] == pytest.approx(1)
    assert [level["name"] for level in found["levels"]] == ["2", "6", "7"]  # 1.5 is rounded half up


def test_a_run_by_row_id_and_role(told, tmp_path):
    row = release_rows.capo_row(1, (3, 5, 2))
    release_rows.build(tmp_path)
    keys = [f"{row['id']}:{role}" for role in ("chosen", "hard_rejected", "easy")]
    human = ratings(
        tmp_path, "item,rater,score\n" + "".join(f"{key},ann,{at}\n" for at, key in enumerate(keys, 3))
    )
    beside = ratings(
        tmp_path,
        "item,role,rater,score\n"
        + "".join(f"{key.replace(':', ',')},ann,{at}\n" for at, key in enumerate(keys, 3)),
        "beside.csv",
    )
    for path in (human, beside):
        found = told("--human", path, "--run", tmp_path)
        assert found["judged"] == 3
        assert [part["name"] for part in found["roles"]] == ["chosen", "easy_rejected", "hard_rejected"]
        assert [part["name"] for part in found["domains"]] == [row["domain"]]
        assert found["roles"][0]["judge_mean"] == row["chosen"]["score"]


def test_items_that_a_run_does_not_have(told, run, tmp_path):
    release_rows.build(tmp_path)
    known = f"{release_rows.capo_row(1, (3, 5, 2))['id']}:chosen"
    found = told(
        "--human",
        ratings(tmp_path, f"item,rater,score\n{known},a,3\nx:chosen,a,3\n"),
        "--run",
        tmp_path,
        code=3,
    )
    assert found["problems"]["unknown"]["places"] == ["x:chosen"]
    error = told("--human", ratings(tmp_path, "item,rater,score\nx,a,3\n"), "--run", tmp_path, code=2)
    assert error["what"] == "the judge has none of the rated items"
    assert "'x' here" in error["why"]


def test_without_any_score_of_a_judge_the_flags_are_named(told, tmp_path):
    error = told("--human", ratings(tmp_path, "item,rater,score\na,ann,5\n"), code=2)
    assert all(flag in error["next"] for flag in ("--run", "--judge", "--column judge=", "--no-judge"))
    both = told("--human", ratings(tmp_path), "--judge", "x.csv", "--no-judge", code=2)
    assert both["what"] == "--judge and --no-judge do not go together"


def test_a_score_of_the_judge_outside_the_scale_is_listed(told, tmp_path):
    human = ratings(tmp_path, "item,rater,score\na,ann,3\nb,ann,2\n")
    judge = ratings(tmp_path, "item,judge\na,7\nb,2\nc,none\n", "judge.csv")
    found = told("--human", human, "--judge", judge, "--scale", "0-3", code=3)
    assert {kind: one["count"] for kind, one in found["problems"].items()} == {
        "out_of_range": 1,
        "unreadable": 1,
    }


def test_several_files_each_by_its_rater(told, tmp_path):
    for who in ("ann", "bo"):
        ratings(tmp_path, "item,score,judge\na,5,5\nb,2,3\n", f"{who}.csv")
    found = told("--human", f"ann={tmp_path}/ann.csv", "--human", f"bo={tmp_path}/bo.csv")
    assert found["raters"] == {"ann": 2, "bo": 2}


# Exit codes and the gate.


def test_a_gate_that_is_kept_or_missed(run, told, tmp_path):
    path = ratings(tmp_path)
    kept = run("--human", path, "--require", "rho>=0.6,qwk>0.5")
    assert "gate: rho>=0.6 kept: 0." in kept.stdout
    missed = run("--human", path, "--require", "rho>=0.6,p<1e-9", code=1)
    assert "gate: p<1e-09 MISSED: " in missed.stdout
    verdicts = told("--human", path, "--require", "rho>=0.6,p<1e-9", code=1)["gate"]
    assert [(one["condition"], one["kept"]) for one in verdicts] == [("rho>=0.6", True), ("p<1e-09", False)]


def test_an_undefined_figure_misses_the_gate(run, tmp_path):
    constant = ratings(tmp_path, "item,rater,score,judge\na,ann,5,4\nb,ann,3,4\n")
    done = run("--human", constant, "--require", "rho>=0", code=1)
    assert "gate: rho>=0 MISSED: undefined (the judge's score is 4 for every item)" in done.stdout


def test_faulty_ratings_exit_3_unless_that_is_allowed(run, tmp_path):
    path = ratings(tmp_path, RATINGS + "d,bo,9,4\ne,ann,x,1\n")
    done = run("--human", path, code=3)
    assert "1 out of range: a score outside the scale" in done.stdout
    assert f"{path}:11: ann, e: the score 'x' is no number" in " ".join(done.stdout.split())
    assert "--allow-partial" in done.stderr
    assert run("--human", path, "--allow-partial").stdout == done.stdout
    assert run("--human", path, "--require", "rho>=2", code=1)


def test_no_rating_at_all(told, tmp_path):
    assert told("--human", ratings(tmp_path, "item,rater,score\n"), code=1)["what"] == "there is no rating"
    error = told("--human", ratings(tmp_path, "item,rater,score\na,ann,9\n"), code=1)
    assert "1 out of range" in error["why"]
    assert told("--human", tmp_path / "nobody.csv", code=1)["what"] == "ratings cannot be read"


def test_one_rater_has_figures_of_the_judge_and_reasons_for_the_rest(run, tmp_path):
    done = run("--human", ratings(tmp_path, "item,rater,score,judge\na,ann,5,6\nb,ann,2,1\nc,ann,4,4\n"))
    assert "no item has two ratings" in done.stdout
    assert "one rater; two are needed" in done.stdout
    assert "Human ceiling" not in done.stdout


# What is printed.


def test_names_from_files_are_shown_literally(run, tmp_path):
    text = RATINGS.replace("ann", "=cmd|'/c calc'!A1").replace("bo", "[red]\x1b[31mbo")
    done = run("--human", ratings(tmp_path, text))
    assert "'=cmd|'/c calc'!A1" in done.stdout
    assert "[red]⟨U+001B⟩[31mbo" in done.stdout
    assert "\x1b" not in done.stdout


def test_the_table_shows_every_section(run, tmp_path):
    shown = run("--human", ratings(tmp_path)).stdout
    for part in (
        "items: 4, ratings: 8, raters: 2, scale: 1-7, items scored by the judge: 4",
        "95% interval, 2,000 bootstrap draws over items, seed 0",
        "Spearman's rho",
        "mean, rounded half up",
        "Krippendorff's alpha, ordinal",
        "ICC(2,k), the mean of all",
        "ann and bo",
        "Human ceiling",
        "Means by judge's score",
    ):
        assert part in shown


def test_quiet_prints_the_result_alone(run, tmp_path):
    path = ratings(tmp_path, RATINGS + "e,ann,4,4\n")
    done = run("--human", path, "--quiet", code=3)
    assert done.stderr == ""
    assert "Spearman's rho" in done.stdout


def test_the_python_call_gives_the_same_figures(told, tmp_path):
    path = ratings(tmp_path)
    found = agree(human=path, require="rho>=0.6", seed=3, draws=50)
    assert json.loads(json.dumps(found.as_dict())) == told(
        "--human", path, "--require", "rho>=0.6", "--seed", 3, "--draws", 50
    )
    with pytest.raises(AttributeError):
        found.seed = 4  # type: ignore[misc]


def test_without_scipy_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(UsageError) as error:
        agree(ratings(tmp_path))
    assert error.value.next_command == "pip install 'capo-data[annotation]'"


def test_help_has_examples(run):
    done = run("--help")
    assert "capo-data agree --human ratings.csv --run runs/clothing --require" in done.stdout
