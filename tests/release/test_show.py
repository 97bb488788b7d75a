"""A row as a person reads it: complete, in order, and harmless to the terminal."""

from __future__ import annotations

import io
import re

import pytest
import release_rows
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from capo_data.errors import ContractError
from capo_data.release.show import render_row, show
from capo_data.text import visible


def printed(row, width=200, **options) -> str:
    console = Console(file=io.StringIO(), width=width, **{"force_terminal": False, **options})
    console.print(render_row(row))
    return console.file.getvalue()


def test_a_triplet_shows_history_candidates_roles_and_answers():
    row = release_rows.capo_row(4)
    text = printed(row)
    assert text.splitlines()[:2] == ["demo-train-4-3", "domain demo   user u4"]
    assert "Blue lamp 0 of 4  [Excellent]" in text
    assert "“Number 0: warm light”" in text
    chosen = next(line for line in text.splitlines() if "<- chosen" in line)
    assert chosen.rstrip() == f"*{row['target_index'] + 1:3d}  Blue lamp 3 of 4   <- chosen"
    assert text.count("<- hard rejected") == text.count("<- easy rejected") == 1
    assert (
        text.index("Chosen: score 6")
        < text.index("Hard rejected: score 4")
        < text.index("Easy rejected: score 2")
    )
    for role in ("chosen", "hard_rejected", "easy_rejected"):
        assert row[role]["rationale"] in text
    assert "CONFLICT" not in text


def test_what_is_unusual_about_a_row_is_called_out():
    row = release_rows.capo_row(1, (3, 5, 2))
    row.update(history_cut=12, history_untitled=1, order_by="expected")
    row["hard_rejected"]["expected_score"] = 5.25
    row["more_rejected"] = [release_rows.answer(row["candidates"][29], 4)]
    text = printed(row)
    assert "CONFLICT: a rejected item scores above the chosen one" in text
    assert "order by: expected" in text
    assert "not shown: 12 older, cut for length, 1 without a title" in text
    assert "score 5 (expected 5.25)" in text
    assert text.index("Hard rejected") < text.index("More rejected: score 4") < text.index("Easy rejected")


def test_every_config_can_be_shown(tmp_path):
    folder = release_rows.build(tmp_path)
    assert "<- target" in printed(show(folder, config="test"))
    assert "Chosen: score 6" in printed(show(folder, "demo-train-3-3", config="sft"))
    dpo = printed(show(folder, config="dpo"))
    assert "chosen: assistant" in dpo
    assert "rejected: assistant" in dpo


def test_markup_and_control_characters_are_shown_not_obeyed():
    row = release_rows.capo_row(4)
    row["history"][0].update(title="[red]Lamp[/red] [/]", review="a\x1b[2Jb\u202ec\x07")
    row["candidates"][0]["title"] = "[link=http://x]Lamp"
    row["chosen"]["rationale"] = "first\nsecond \u2066hidden"
    text = printed(row)
    assert "[red]Lamp[/red] [/]" in text
    assert "“a⟨U+001B⟩[2Jb⟨U+202E⟩c⟨U+0007⟩”" in text
    assert "[link=http://x]Lamp" in text
    assert "second ⟨U+2066⟩hidden" in text


def every_config():
    return {
        "capo": release_rows.capo_row(1, (3, 5, 2)),
        "sft": release_rows.sft_row(2),
        "test": release_rows.held_out_row(3, "test"),
        "dpo": {
            "id": "demo-train-1-3",
            "prompt": release_rows.instance(1, 3)["prompt"],
            "chosen": [{"role": "assistant", "content": "<think>a</think>\n<item>b</item>"}],
            "rejected": [{"role": "assistant", "content": "<think>c</think>\n\n<item>d</item>"}],
        },
    }


def texts(value):
    """Every text within a value of a row, but what `show` leaves to --json."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name in {"title", "review", "rationale", "content"}:
                yield from texts(inner)


@pytest.mark.parametrize("config", ["capo", "sft", "test", "dpo"])
@pytest.mark.parametrize("width", [40, 80, 120])
def test_nothing_is_cut_off_and_nothing_padded(config, width):
    row = every_config()[config]
    text = printed(row, width)
    assert "…" not in text
    assert all(line == line.rstrip() for line in text.splitlines())
    assert max(map(len, text.splitlines())) <= max(width, 45)
    whole = "".join(text.split())
    shown = ("history", "candidates", "chosen", "hard_rejected", "prompt" if config == "dpo" else "")
    for column in shown:
        for piece in texts(row.get(column, [])):
            assert "".join(piece.split()) in whole


@pytest.mark.parametrize("config", ["capo", "sft", "test", "dpo"])
def test_colour_adds_nothing_but_colour(config):
    row = every_config()[config]
    coloured = printed(row, 80, force_terminal=True, color_system="truecolor")
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == printed(row, 80)


def test_a_review_of_100_kb_without_a_space_is_shown_whole():
    row = release_rows.capo_row(4)
    row["history"][0]["review"] = "=cmd|'/c'!A1" + "x" * 100_000 + "\u202e[/italic]"
    lines = printed(row, 80).splitlines()
    assert max(map(len, lines)) == 80
    whole = "".join("".join(lines).split())
    assert "“=cmd|'/c'!A1" + "x" * 100_000 + "⟨U+202E⟩[/italic]”" in whole


@given(st.text())
def test_no_text_reaches_the_terminal_as_a_command(text):
    shown = visible(text)
    assert all(c.isprintable() or c in "\u200c\u200d" or c.isspace() or ord(c) > 0x7F for c in shown)
    assert not set(shown) & set(
        "\x00\x07\x08\x0a\x0d\x1b\x7f\x9b\u061c\u200e\u200f\u202a\u202d\u202e\u2066\u2069"
    )


@pytest.mark.parametrize("title", ["普洱茶", "👩‍🌾 seeds", "قهوة", "naïve ⟨café⟩"])
def test_other_scripts_and_emoji_stay_as_they_are(title):
    assert visible(title) == title


def test_a_time_outside_the_calendar_is_shown_as_the_number():
    row = release_rows.sft_row(2)
    row["history"][0]["timestamp"] = -(2**62)
    assert str(-(2**62)) in printed(row)


def test_a_run_folder_and_an_unknown_id(tmp_path):
    folder = release_rows.build(tmp_path)
    assert show(tmp_path)["id"] == "demo-train-1-3"
    with pytest.raises(ContractError) as error:
        show(folder, "nobody")
    assert "ids look like demo-train-1-3" in str(error.value)
    assert "capo-data show" in error.value.next_command
