"""Each command is a Python call of the same name and arguments: `annotate export` is `annotate.export`."""

from __future__ import annotations

import inspect
from operator import attrgetter
from typing import Any

import pytest
from command_line import COMMANDS, say

import capo_data

# What only one of the two has: how a command shows its result, and whom a call tells and asks.
COMMAND_ALONE = {"json", "quiet", "help"}
CALL_ALONE = {"report", "confirm"}


def of_command(name: str) -> dict[str, Any]:
    return {one.name: one for one in COMMANDS[name].params if one.name not in COMMAND_ALONE}


def of_call(name: str) -> dict[str, inspect.Parameter]:
    # `capo_data.recipe` is the record, so `recipe show` is `recipe_show`.
    path = name.replace("recipe ", "recipe_").replace(" ", ".")
    parameters = inspect.signature(attrgetter(path)(capo_data)).parameters
    return {name: one for name, one in parameters.items() if name not in CALL_ALONE}


def test_every_flag_of_build_is_an_argument_and_the_other_way_round() -> None:
    assert set(of_command("build")) == set(of_call("build"))


def test_build_has_the_same_defaults_either_way() -> None:
    calls = of_call("build")
    for name, flag in of_command("build").items():
        assert (flag.default or None) == (calls[name].default or None), name


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "build"])
def test_the_other_commands_take_what_their_calls_take(command: str) -> None:
    assert list(of_command(command)) == list(of_call(command))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_flag_is_called_as_its_argument(command: str) -> None:
    for name, flag in of_command(command).items():
        if flag.param_type_name == "option":
            assert f"--{name.replace('_', '-')}" in flag.opts


def test_every_argument_of_build_is_described_in_its_docstring_and_its_help() -> None:
    described = inspect.getdoc(capo_data.build) or ""
    helped = say("build", "--help").out
    for name in of_call("build"):
        assert f"\n    {name}: " in described
        assert f"--{name.replace('_', '-')} " in helped


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_flag_is_a_usage_error_that_names_it_and_the_help(command: str) -> None:
    said = say(*command.split(), "--nonsense")
    assert said.code == 2
    assert said.out == ""
    assert "No such option: --nonsense" in said.err
    assert f"capo-data {command} -h" in said.err


def test_an_unknown_command_is_a_usage_error() -> None:
    said = say("biuld")
    assert said.code == 2
    assert "biuld" in said.err
