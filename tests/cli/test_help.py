"""Help: there for every command, with examples, and without waiting for libraries."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest
from builds import capo_data
from command_line import COMMANDS, say

HEAVY = {"torch", "vllm", "ray", "datasets", "duckdb", "pyarrow", "numpy", "pandas", "openai", "httpx2"}
HEAVY |= {"aiohttp", "huggingface_hub", "pydantic", "rich"}


def test_the_first_screen_names_the_commands_the_first_thing_to_type_and_the_exit_codes() -> None:
    said = say("--help")
    assert said.code == 0
    for command in COMMANDS:
        assert f"\n  {command.split()[0]} " in said.out
    assert "Start with: capo-data build --domain demo" in said.out
    assert "0 done, 1 failed, 2 usage, 3 done in part, 4 budget reached" in said.out
    assert said.err == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_shows_examples_that_start_with_its_name(command: str) -> None:
    said = say(*command.split(), "--help")
    assert said.code == 0
    examples = said.out.partition("\n  Examples:\n")[2].splitlines()
    assert len(examples) >= 2
    starts = [line for line in examples if not line.startswith("        ")]
    assert all(line.startswith(f"    capo-data {command} ") for line in starts)
    assert "--json" in said.out
    assert "--quiet" in said.out
    assert say(*command.split(), "-h").out == said.out


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_can_be_pasted_into_a_shell(command: str) -> None:
    pasted = say(*command.split(), "--help").out.partition("\n  Examples:\n")[2].replace("\\\n", " ")
    for line in pasted.splitlines():
        said = say(*shlex.split(line)[1:], "--help")  # help is shown once the flags are understood
        assert said.code == 0


def test_nothing_typed_is_answered_with_help() -> None:
    found = capo_data()
    assert found.returncode == 2
    assert "Commands:" in found.stderr
    assert say("--version").out.startswith("capo-data ")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([*name.split(), "--help"] for name in COMMANDS)]
)
def test_help_imports_no_heavy_library(arguments: list[str]) -> None:
    # typer checks the values of a command's flags with pydantic.
    heavy = HEAVY if len(arguments) == 1 else HEAVY - {"pydantic"}
    program = (
        "import json, sys\n"
        f"sys.argv = ['capo-data', *{arguments!r}]\n"
        "from capo_data.cli.main import main\n"
        "try: main()\n"
        f"except SystemExit: print('\\n' + json.dumps([n for n in {sorted(heavy)!r} if n in sys.modules]))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout.splitlines()[-1]) == []


def test_a_shell_is_given_completion_that_works() -> None:
    # Named, not detected: which shell a test runs under is found among its ancestors, where none may be.
    script = capo_data("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert script.returncode == 0
    assert "complete -o default -F _capo_data_completion capo-data" in script.stdout
    assert subprocess.run(["bash", "-n"], input=script.stdout, text=True, check=False).returncode == 0
    for typed, words in (("capo-data va", {"validate"}), ("capo-data build --tie", {"--tie-policy"})):
        asked = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
        found = capo_data(_CAPO_DATA_COMPLETE="complete_bash", **asked)
        assert set(found.stdout.split()) == words
