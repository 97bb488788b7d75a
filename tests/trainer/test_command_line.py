"""`capo-train` as a user meets it: fast help, errors that say what to do, nothing of capo_data inside."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import capo_trainer
import pytest
import typer
from capo_trainer.cli.main import app

FOLDER = Path(capo_trainer.__file__).parent
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def capo_train(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "capo_trainer", *arguments], capture_output=True, text=True, check=False
    )


def test_help_needs_no_heavy_library():
    code = (
        "import sys; from capo_trainer.cli.main import app; "
        "heavy = {'torch', 'transformers', 'peft', 'pyarrow', 'numpy', 'pydantic', 'rich'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_module_imports_what_made_the_dataset():
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            foreign = [n for n in names if n.split(".")[0].startswith("capo_") and "capo_trainer" not in n]
            assert foreign == [], path


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_and_speaks_json(name):
    command = COMMANDS[name]
    assert f"capo-train {name}" in (command.epilog or "")
    flags = {flag for option in command.params for flag in option.opts}
    assert {"--json", "--quiet"} <= flags
    assert all(getattr(option, "help", None) for option in command.params), name


def test_a_command_line_that_cannot_be_understood():
    done = capo_train("no-such-command", "--json")
    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert told["error"] == "UsageError"
    assert told["next"] == "capo-train --help"
