"""`agreement.html`: what its figures count, which items are hard, that texts are texts."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import release_rows
from capo_annotation.scale import Scale

import capo_data
from capo_data.agreement_figures import Bins, confusion, distribution, points, scatter
from capo_data.errors import RunError

NAN = float("nan")


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_the_confusion_matrix_counts_means_rounded_half_up() -> None:
    bins = Bins.of(Scale(1, 7))
    found = confusion(column(2.5, 2.4, 7, NAN, 1), column(3, 3, 1, 4, NAN), bins)
    assert found.sum() == 3
    assert (found[2, 2], found[1, 2], found[6, 0]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("scale", "names"),
    [
        (Scale(0, 3), ["0", "1", "2", "3"]),
        (Scale(1, 7), ["1", "2", "3", "4", "5", "6", "7"]),
        (
            Scale(0, 100),
            ["0-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70-79", "80-89", "90-99", "100"],
        ),
    ],
)
def test_wide_scales_stand_in_bins(scale: Scale, names: list[str]) -> None:
    bins = Bins.of(scale)
    assert bins.names == names
    places = bins.place(np.array(scale.labels, dtype=np.float64))
    assert (places[0], places[-1]) == (0, len(names) - 1)
    assert np.all(np.diff(places) >= 0)


def test_each_raters_distribution_is_a_share_of_their_own() -> None:
    found = distribution([column(1, 1, 3, NAN), column(NAN, NAN)], Bins.of(Scale(0, 3)))
    assert found[0].tolist() == [0, 2 / 3, 0, 1 / 3]
    assert np.isnan(found[1]).all()


def test_the_scatter_shows_a_part_of_many_items_by_name() -> None:
    names = [f"item {n}" for n in range(5_000)]
    human = judge = np.full(5_000, 3.0)
    drawn = points(human, judge, names)
    assert len(drawn) == len(set(drawn.tolist())) == 2_000
    turned = points(human, judge, names[::-1])
    assert {names[at] for at in drawn} == {names[::-1][at] for at in turned}
    assert len(scatter(human, judge, names, Scale(1, 7)).axes[0].collections[0].get_offsets()) == 2_000  # type: ignore[arg-type]


HTML = "<script>alert(1)</script> {{ 7*7 }} \u202e =1+1"


def rated(folder: Path) -> tuple[Path, Path]:
    """A dataset whose first row wants to be markup, and ratings that are furthest from the judge on it."""
    given = release_rows.rows()
    given["capo", "train"][0]["chosen"] |= {"title": HTML, "rationale": HTML + "long " * 20_000}
    given["capo", "train"][0]["history"][0]["review"] = HTML
    dataset = release_rows.build(folder, given)
    lines = ["item,rater,score"]
    for at, row in enumerate(given["capo", "train"]):
        for role in ("chosen", "hard_rejected", "easy_rejected"):
            far = at == 0 and role == "chosen"
            lines += [
                f"{row['id']}:{role},{who},{7 if far else row[role]['score']}" for who in ("ann", "<b>bo</b>")
            ]
    path = folder / "ratings.csv"
    path.write_text("\n".join(lines))
    return dataset, path


def test_the_page_and_its_figures(tmp_path: Path) -> None:
    dataset, ratings = rated(tmp_path)
    capo_data.agree(str(ratings), run=dataset, out=tmp_path / "out", draws=20)
    page = (tmp_path / "out" / "agreement.html").read_text()
    figures = sorted(path.name for path in (tmp_path / "out" / "figures").iterdir())
    assert figures == [
        f"{name}.{kind}" for name in ("by_rater", "confusion_matrix", "scatter") for kind in ("png", "svg")
    ]
    hardest = re.findall(r"<h3>(.*?)</h3>", page)
    assert hardest == ["demo-train-1-3:chosen"]
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;b&gt;bo&lt;/b&gt;" in page
    assert "characters in all)" in page
    assert not re.search(r"<script|<b>bo|\u202e|https?://|\sstyle\s*=", page)
    assert "--id demo-train-1-3" in page


def test_without_a_run_the_hardest_items_are_named(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text("item,ann,bo,judge\nx,3,0,0\ny,2,2,2\nz,1,1,1\n")
    capo_data.agree(str(path), scale="0-3", out=tmp_path / "out", draws=0)
    page = (tmp_path / "out" / "agreement.html").read_text()
    assert re.findall(r"<h3>(.*?)</h3>", page) == ["x"]
    assert "where the run is named with --run" in page


def test_raters_alone_have_a_page_without_a_judge(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text("item,ann,bo\nx,3,1\ny,2,2\nz,,1\n")
    capo_data.agree(str(path), scale="1-7", no_judge=True, allow_partial=True, out=tmp_path / "out", draws=0)
    page = (tmp_path / "out" / "agreement.html").read_text()
    assert "Raters among themselves: agreement on 1-7" in page
    assert "1 missing" in page
    assert sorted(path.name for path in (tmp_path / "out" / "figures").iterdir()) == [
        "by_rater.png",
        "by_rater.svg",
    ]


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text("item,ann,bo,judge\nx,3,0,0\ny,2,2,2\n")
    with pytest.raises(RunError, match="page cannot be written"):
        capo_data.agree(str(path), scale="0-3", out=path, draws=0)
