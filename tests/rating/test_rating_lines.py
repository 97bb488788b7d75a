"""Which generations are rated: drawn by hash, one answer a row, none by its own author."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import release_rows

from capo_data.errors import SourceError, UsageError
from capo_data.rating.lines import Line, drawn, read, refuse_own

ROWS = 50


def line(user: int, **changes: Any) -> Line:
    return Line(f"g.jsonl:{user + 1}", release_rows.generation(user, **changes))


def write(path: Path, *values: Any) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def test_a_draw_depends_on_seed_and_ids_alone() -> None:
    lines = [line(user) for user in range(ROWS)]
    ids = [one.id for one in drawn(lines, 20, 0)]
    shuffled = list(lines)
    random.Random(1).shuffle(shuffled)
    assert [one.id for one in drawn(shuffled, 20, 0)] == ids
    assert [one.id for one in drawn(lines, 20, 1)] != ids
    without = [one for one in lines if one.id != ids[3]]
    assert set(ids) - {ids[3]} < {one.id for one in drawn(without, 20, 0)}
    assert ids != sorted(ids)


def test_more_rows_contain_the_fewer() -> None:
    lines = [line(user) for user in range(ROWS)]
    few, many = ({one.id for one in drawn(lines, rows, 0)} for rows in (5, 30))
    assert few < many
    assert len(drawn(lines, 1_000, 0)) == ROWS


def test_every_model_is_rated_on_the_same_rows_and_every_domain_for_itself() -> None:
    lines = [
        line(user, model=model, domain=domain, id=f"{domain}-{user}")
        for model in ("sft", "pl")
        for domain in ("demo", "cds")
        for user in range(ROWS)
    ]
    found = drawn(lines, 7, 0)
    of = {
        (model, domain): {one.id for one in found if one.group == (model, domain)}
        for model in ("sft", "pl")
        for domain in ("demo", "cds")
    }
    assert {len(ids) for ids in of.values()} == {7}
    assert of["sft", "demo"] == of["pl", "demo"]
    # Those of one row follow one another: they share the history that a server's cache holds.
    assert [one.id for one in found[::2]] == [one.id for one in found[1::2]]


def test_of_a_row_the_first_sample_is_rated() -> None:
    lines = [line(0, sample=sample, title=str(sample)) for sample in (3, 1, 2)]
    assert [one.values["sample"] for one in drawn(lines, 10, 0)] == [1]


@pytest.mark.parametrize(
    ("judge", "model"),
    [
        ("openai:gpt-4o", "gpt-4o"),
        ("openai:google/gemma-3-27b-it", "gemma-3-27b-it"),
        ("vllm:gemma-3-27b-it", "google/Gemma-3-27B-it"),
        ("openai:gemma3:27b", "gemma3:27b"),
        ("vllm:/models/pl/", "runs/pl"),
    ],
)
def test_a_judge_does_not_rate_its_own_words(judge: str, model: str) -> None:
    with pytest.raises(UsageError) as caught:
        refuse_own(judge, [line(0), line(1, model=model)])
    assert caught.value.where == "g.jsonl:2"
    assert "--same-model" in caught.value.next_command


@pytest.mark.parametrize(
    ("judge", "model"),
    [("openai:gpt-4o", "gpt-4o-mini"), ("openai:gemma-3-27b-it", "runs/gemma-3-27b-it-sft"), ("vllm:pl", "")],
)
def test_another_model_may_be_alike_in_name(judge: str, model: str) -> None:
    refuse_own(judge, [line(0, model=model)])


def test_a_folder_is_the_file_in_it(tmp_path: Path) -> None:
    write(tmp_path / "generations.jsonl", release_rows.generation(0), release_rows.generation(1))
    assert read([tmp_path]) == read([tmp_path / "generations.jsonl"])
    assert len(read([tmp_path])) == 2


@pytest.mark.parametrize(
    ("second", "where", "why"),
    [
        ("{", ":2", "Expecting"),
        ("[]", ":2", "no object"),
        ('{"id": "a"}', ":2", "no domain"),
        (json.dumps(release_rows.generation(1, history_length="5")), ":2", "history_length is '5'"),
        (json.dumps(release_rows.generation(1, rationale=None)), ":2", "rationale is None"),
        (json.dumps(release_rows.generation(0)), ":2", "is also"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, second: str, where: str, why: str) -> None:
    file = tmp_path / "g.jsonl"
    file.write_text(json.dumps(release_rows.generation(0)) + "\n" + second + "\n")
    with pytest.raises(SourceError) as caught:
        read([file])
    assert caught.value.where == f"{file}{where}"
    assert why in caught.value.why


def test_half_a_character_is_mended_and_lines_end_where_lines_end(tmp_path: Path) -> None:
    odd = release_rows.generation(0, rationale="half \ud83d, whole \U0001f600, a\u2028b\u0085c")
    (found,) = read([write(tmp_path / "g.jsonl", odd)])
    assert found.values["rationale"] == "half \ufffd, whole \U0001f600, a\u2028b\u0085c"


def test_no_file_and_an_empty_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read") as caught:
        read([tmp_path / "absent.jsonl"])
    assert "absent.jsonl" in caught.value.where
    with pytest.raises(SourceError) as caught:
        read([write(tmp_path / "empty.jsonl")])
    assert caught.value.why == "no line in it"
