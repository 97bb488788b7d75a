"""Ratings in: every shape of file gives the same table, and nothing is lost without being listed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from capo_annotation import columns
from capo_annotation.cells import neutral, number
from capo_annotation.ratings import Collector, JudgeScores, Ratings, item_key, role_of
from capo_annotation.reading import read
from capo_annotation.scale import Scale
from hypothesis import given
from hypothesis import strategies as st

from capo_data.errors import SourceError, UsageError

LONG = """item,rater,score,judge,role,comment
a,ann,5,6,,fine
a,bo,4,6,,
b,ann,2,1,,"weak, at best"
b,bo,1,1,,
"""


def table(
    path: Path, *pairs: str, scale: str = "1-7", rater: str = "", where: tuple[str, ...] = ()
) -> Ratings:
    collector = Collector(Scale.parse(scale))
    source = read(path, columns.mapping(pairs), columns.conditions(where), rater=rater)
    collector.add(source.entries)
    return collector.table()


def shape(path: Path, *pairs: str) -> str:
    return read(path, columns.mapping(pairs), {}).shape


def write(folder: Path, text: str | bytes, name: str = "ratings.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def is_the_example(found: Ratings) -> None:
    assert found.items == ("a", "b")
    assert found.raters == ("ann", "bo")
    assert found.scores.tolist() == [[5, 4], [2, 1]]
    assert found.problems.as_dict() == {}


def counts(found: Ratings) -> dict[str, int]:
    return dict(found.problems.counts)


# Shapes.


def test_long_form(tmp_path):
    path = write(tmp_path, LONG)
    assert shape(path) == "long form"
    found = table(path)
    is_the_example(found)
    assert found.judge is not None
    assert found.judge.tolist() == [6, 1]


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + LONG.encode(),
        LONG.encode("utf-16"),
        LONG.replace("\n", "\r\n").encode(),
        LONG.replace('"weak, at best"', "").replace(",", ";").encode(),
        LONG.replace('"weak, at best"', "").replace(",", "\t").encode(),
        LONG.replace('"weak, at best"', "").replace(",", " ,  ").encode(),
        LONG.replace('"weak, at best"', "").replace(",", ";").replace("5", '"5,0"').encode(),
        LONG.replace("\n", "\n\n").replace(",\n", "\n").encode(),
        LONG.replace("item,rater,score", "Item,Annotator,RATING").encode(),
    ],
    ids=["BOM", "UTF-16", "CRLF", "semicolons", "tabs", "spaces", "decimal commas", "gaps", "other names"],
)
def test_a_spreadsheet_may_write_it_its_way(tmp_path, text):
    is_the_example(table(write(tmp_path, text)))


def test_columns_of_other_names_are_named(tmp_path):
    path = write(tmp_path, LONG.replace("item,rater,score", "task,who,stars"))
    is_the_example(table(path, "item=task", "rater=who", "score=stars"))
    with pytest.raises(UsageError, match="no column 'nobody'"):
        table(path, "item=nobody")
    with pytest.raises(UsageError, match="there is no 'title'"):
        table(path, "title=task")


def test_wide_form_has_a_column_a_rater(tmp_path):
    path = write(tmp_path, "item,title,ann,bo,judge\na,Lamp,5,4,6\nb,Mug,2,1,1\n")
    assert shape(path) == "wide form"
    is_the_example(table(path))


def test_the_raters_of_a_wide_table_can_be_named(tmp_path):
    path = write(tmp_path, "item,year,ann,bo\na,2020,5,4\nb,2021,2,1\n")
    is_the_example(table(path, "rater=ann", "rater=bo"))
    assert counts(table(path))["out_of_range"] == 2  # the year is taken for a rater, and said to be none


def test_without_an_item_column_the_rows_are_numbered(tmp_path):
    notes: list[str] = []
    path = write(tmp_path, "ann,bo\n5,4\n2,1\n")
    collector = Collector(Scale(1, 7))
    collector.add(read(path, {}, {}, note=notes.append).entries)
    assert collector.table().items == ("1", "2")
    assert notes == ["ratings.csv has no item column: its rows are numbered"]


def test_json_and_json_lines_of_the_long_form(tmp_path):
    rows = [
        {"item": item, "rater": rater, "score": score}
        for item, rater, score in [("a", "ann", 5), ("a", "bo", 4.0), ("b", "ann", "2"), ("b", "bo", 1)]
    ]
    is_the_example(table(write(tmp_path, json.dumps(rows))))
    is_the_example(table(write(tmp_path, "\n".join(map(json.dumps, rows)))))


def task(key: str, *annotations: dict, number: int = 1, **more) -> dict:
    return {
        "id": number,
        "data": {"capo_id": key, "id": "shop's own"},
        "annotations": list(annotations),
        **more,
    }


def annotation(who: object, score: int | None, **more) -> dict:
    region = {"from_name": "rating", "to_name": "review", "type": "rating", "value": {"rating": score}}
    comment = {"from_name": "comment", "to_name": "review", "type": "textarea", "value": {"text": ["ok"]}}
    return {"completed_by": who, "result": [comment, region] if score else [comment], **more}


def test_label_studio_json(tmp_path):
    tasks = [
        task("a", annotation({"id": 1, "email": "ann"}, 5), annotation("bo", 4)),
        task("b", annotation({"id": 1, "email": "ann"}, 2), annotation("bo", 1)),
    ]
    path = write(tmp_path, json.dumps(tasks))
    assert shape(path) == "Label Studio JSON"
    is_the_example(table(path))


def test_label_studio_json_min_and_csv_are_keyed_by_capo_id_not_by_their_id(tmp_path):
    rows = [
        {"capo_id": key, "id": at, "rating": [{"rating": score}], "annotator": who, "annotation_id": at}
        for at, (key, who, score) in enumerate(
            [("a", "ann", 5), ("a", "bo", 4), ("b", "ann", 2), ("b", "bo", 1)]
        )
    ]
    path = write(tmp_path, json.dumps(rows), "min.json")
    assert shape(path) == "Label Studio JSON_MIN"
    is_the_example(table(path))
    lines = ["capo_id,id,rating,annotator,annotation_id"]
    for row in rows:
        cell = json.dumps(row["rating"]).replace('"', '""')
        lines.append(f'{row["capo_id"]},{row["id"]},"{cell}",{row["annotator"]},{row["annotation_id"]}')
    path = write(tmp_path, "\n".join(lines))
    assert shape(path) == "Label Studio CSV"
    is_the_example(table(path))
    is_the_example(table(write(tmp_path, "\n".join(lines).replace('""rating""', "'rating'"))))


def test_a_label_studio_export_without_our_key_is_refused_with_the_flag_to_give(tmp_path):
    path = write(tmp_path, "id,rating,annotator,annotation_id\n1,5,ann,7\n")
    with pytest.raises(UsageError, match="does not say what was rated") as error:
        table(path)
    assert "--column item=" in error.value.next_command
    path = write(tmp_path, json.dumps([{"id": 1, "data": {"text": "x"}, "annotations": []}]))
    with pytest.raises(UsageError, match="does not say what was rated"):
        table(path)


def test_one_file_a_rater_who_is_named_with_it(tmp_path):
    collector = Collector(Scale(1, 7))
    for who, (a, b) in {"ann": (5, 2), "bo": (4, 1)}.items():
        path = write(
            tmp_path, json.dumps([task("a", annotation(1, a)), task("b", annotation(1, b))]), f"{who}.json"
        )
        collector.add(read(path, {}, {}, rater=who).entries)
    is_the_example(collector.table())


# Reconciliation.


def test_what_does_not_count_is_listed_by_kind_with_its_place(tmp_path):
    path = write(
        tmp_path,
        "item,rater,score,judge\n"
        "a,ann,5,6\na,ann,4,6\na,bo,9,6\na,cy,3.5,6\n"
        "b,ann,good,1\nb,bo,2,2\nb,cy,2,1\n"
        ",ann,3,1\nc,,3,1\nc,bo,2,\nc,cy,,\n",
    )
    found = table(path)
    assert counts(found) == {
        "duplicate": 1,
        "out_of_range": 2,
        "unreadable": 3,
        "missing": 2,
        "judge_differs": 1,
        "unjudged": 1,
    }
    places = {kind: problem["places"] for kind, problem in found.problems.as_dict().items()}
    assert places["duplicate"] == [f"{path}:3: ann, a: 4, and 5 before"]
    assert places["out_of_range"][0] == f"{path}:4: bo, a: 9 is not on the scale 1-7"
    assert places["unreadable"] == [
        f"{path}:6: ann, b: the score 'good' is no number",
        f"{path}:9: the item is empty",
        f"{path}:10: the rater is empty",
    ]
    assert places["missing"] == ["ann, c", "cy, c"]
    assert places["judge_differs"] == [f"{path}:7: b has 2, and 1 before"]
    assert places["unjudged"] == ["c"]
    assert found.scores[0].tolist()[0] == 5  # the first rating counts


def test_skipped_tasks_drafts_and_tasks_nobody_opened_are_told_apart(tmp_path):
    tasks = [
        task("a", annotation("ann", 5)),
        task("b", annotation("ann", None, was_cancelled=True), number=2),
        task("c", drafts=[{"user": "ann", "result": []}], number=3),
        task("d", number=4),
        task("e", annotation("ann", None), number=5),
    ]
    found = table(write(tmp_path, json.dumps(tasks)))
    assert counts(found) == {"skipped": 1, "draft": 1, "missing": 1, "unreadable": 1}
    assert found.problems.places["missing"] == ["ann, d"]


def test_rows_of_the_wrong_width_are_named_by_line_even_after_a_cell_of_several_lines(tmp_path):
    path = write(tmp_path, 'item,rater,score,comment\na,ann,5,"two\nlines"\nb,ann,2,x,y,z\n')
    found = table(path)
    assert found.problems.places["unreadable"] == [f"{path}:4: 6 cells, 4 expected"]


@pytest.mark.parametrize("cell", ['"weak', '"weak" maybe', 'x","y'])
def test_a_stray_quote_costs_its_own_line_and_no_other(tmp_path, cell):
    path = write(
        tmp_path, f'item,rater,score,comment\na,ann,5,fine\nb,ann,2,{cell}\nc,ann,3,ok\nd,ann,3,"ok"\n'
    )
    found = table(path)
    (place,) = found.problems.places["unreadable"] or [""]
    assert place.startswith(f"{path}:3: ")
    assert found.items == ("a", "c", "d")


def test_the_first_round_counts(tmp_path):
    found = table(write(tmp_path, "item,rater,score,round\na,ann,5,1\na,ann,2,2\nb,ann,3,\nb,ann,3,x\n"))
    assert found.scores.tolist() == [[5], [3]]
    assert found.later_rounds == 1
    assert counts(found) == {"unreadable": 1}


def test_only_the_rows_that_were_asked_for(tmp_path):
    path = write(tmp_path, "item,rater,score,metric\na,ann,5,x\na,ann,2,y\n")
    assert table(path, where=("metric=y",)).scores.tolist() == [[2]]
    with pytest.raises(UsageError, match="no column 'nothing'"):
        table(path, where=("nothing=y",))


def test_items_that_the_judge_does_not_know_are_listed():
    collector = Collector(Scale(1, 7))
    from capo_annotation.entries import Entry

    collector.add([Entry("f:2", "a", "ann", "3"), Entry("f:3", "b", "ann", "4")])
    found = collector.table(JudgeScores("run", {"a": 5.0}))
    assert counts(found) == {"unknown": 1}
    assert found.judge is not None
    assert np.isnan(found.judge).tolist() == [False, True]


# Keys and cells.


def test_an_items_key_holds_its_role():
    assert item_key("r1", "chosen") == "r1:chosen"
    assert item_key("r1:chosen", "chosen") == "r1:chosen"
    assert item_key("r1", "hard") == item_key("r1:hard", "") == "r1:hard_rejected"
    assert item_key("r1", "") == "r1"
    assert [role_of(key) for key in ("r1:chosen", "r1:more_rejected_2", "r1", "b:c")] == [
        "chosen",
        "more_rejected_2",
        "",
        "",
    ]


def test_a_cell_that_a_spreadsheet_would_run_is_text(tmp_path):
    path = write(tmp_path, "item,rater,score\n=cmd|'/c calc'!A1,@ann,5\nb,@ann,=1+1\n")
    found = table(path)
    assert found.items == ("=cmd|'/c calc'!A1", "b")
    assert counts(found) == {"unreadable": 1}
    assert neutral("=cmd") == "'=cmd"
    assert [neutral(text) for text in ("-1,5", "+2", "ann", "")] == ["-1,5", "+2", "ann", ""]


@pytest.mark.parametrize(
    ("cell", "value"),
    [("5", 5), (" 4,5 ", 4.5), ("3.", 3), ("-1", -1), ('[{"rating": 6}]', 6), ("{'rating': 6.0}", 6)],
)
def test_numbers_as_people_and_label_studio_write_them(cell, value):
    assert number(cell) == value


@pytest.mark.parametrize("cell", ["", "five", "1 2", "1e3", "nan", "inf", "0x5", "=5", "1.2.3", "٣؟"])
def test_what_is_no_number(cell):
    assert number(cell) is None


@given(st.text())
def test_any_text_is_a_number_or_none_and_can_be_neutralised(text):
    number(text)
    shown = neutral(text)
    assert shown.removeprefix("'").endswith(text.removeprefix("'"))
    assert shown[:1] not in {"=", "@"}


# Files that hold no ratings.


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no rows"),
        ("\n \n", "holds no rows"),
        ("[]", "holds no rows"),
        ('"item,rater\na,ann\n', "header of ratings.csv cannot be read"),
        (",,\n,,\n", "holds no rows"),
        ("item,ann\n", "holds no rows"),
        ("[1, 2]", "JSON of another kind"),
        ('[{"item": "a",]', "broken JSON"),
        ("item,item\na,b\n", "two columns of one name"),
        (b"item,rater,score\na,J\xf6rg,5\n", "is not UTF-8"),
    ],
)
def test_a_file_without_ratings_is_refused_by_name(tmp_path, text, says):
    with pytest.raises(SourceError, match=says) as error:
        table(write(tmp_path, text))
    assert "ratings.csv" in error.value.where


def test_a_broken_line_of_json_is_named(tmp_path):
    path = write(tmp_path, '{"item": "a", "rater": "r", "score": 1}\n{"item": \n')
    with pytest.raises(SourceError) as error:
        table(path)
    assert error.value.where == f"{path}:2"


def test_a_table_without_numbers_says_which_columns_it_has(tmp_path):
    with pytest.raises(UsageError, match="holds no scores") as error:
        table(write(tmp_path, "item,title\na,Lamp\n"))
    assert "item, title" in error.value.why


@pytest.mark.parametrize("text", ["7", "7-1", "1-1", "a-b", "1-7.5", "0-1000", ""])
def test_a_scale_is_two_whole_numbers(text):
    with pytest.raises(UsageError, match="is not LO-HI"):
        Scale.parse(text)


def test_scales():
    assert list(Scale.parse("0-3").labels) == [0, 1, 2, 3]
    assert Scale.parse("-2-2") == Scale(-2, 2)
