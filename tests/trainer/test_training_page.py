"""`docs/training.md` says what the trainer does: commands that can be typed, flags and fields that exist.

`python tests/trainer/test_training_page.py` writes its table of fields.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import capo_trainer
import pytest
import typer
import yaml
from capo_trainer.cli.main import app
from capo_trainer.config import Calibration, Lora, TrainConfig
from pydantic import BaseModel

PAGE = Path(__file__).parents[2] / "docs" / "training.md"
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
TABLE = re.compile(r"(<!-- table: config -->\n[^\n]*\n[^\n]*\n)(.*?)(<!-- end -->)", re.DOTALL)


def calls() -> Iterator[list[str]]:
    for block in re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            for start in ("capo-train", "capo_trainer"):
                if start in words:
                    yield words[words.index(start) + 1 :]


def test_every_command_can_be_typed():
    found = list(calls())
    assert {call[0] for call in found} <= set(COMMANDS)
    for name, *rest in found:
        COMMANDS[name].make_context(name, rest)


def test_every_flag_that_is_spoken_of_exists():
    prose = re.sub(r"^```.*?^```", "", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    spoken = {
        f for code in re.findall(r"`([^`]+)`", prose) for f in re.findall(r"(?<!\S)--[a-z][a-z-]*", code)
    }
    known = {f for command in COMMANDS.values() for option in command.params for f in option.opts}
    known |= {f for command in COMMANDS.values() for option in command.params for f in option.secondary_opts}
    assert spoken <= known


def meanings(model: type[BaseModel]) -> dict[str, str]:
    found = re.findall(
        r"^ {4,8}(\w+): (.*?)(?=\n {4,8}\w+: |\Z)", attributes(model), re.DOTALL | re.MULTILINE
    )
    return {name: " ".join(words.split()) for name, words in found}


def attributes(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").split("Attributes:\n")[1].rstrip()


def fields(model: type[BaseModel] = TrainConfig, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    said = meanings(model)
    for name, field in model.model_fields.items():
        if name in {"lora", "calibration"}:
            yield from fields({"lora": Lora, "calibration": Calibration}[name], f"{name}.")
        elif name != "stage":
            default = "" if field.is_required() else f"`{json.dumps(field.default)}`"
            yield f"`{prefix}{name}`", default, said[name].replace("|", "\\|")


def lines() -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in fields())


def test_every_field_is_listed_with_its_default():
    found = TABLE.search(PAGE.read_text())
    assert found is not None
    assert found[2] == lines(), "run: python tests/trainer/test_training_page.py"


@pytest.mark.parametrize("name", ["ddp", "fsdp2", "zero2"])
def test_the_settings_for_accelerate_are_understood(name):
    from accelerate.commands.config.config_args import ClusterConfig

    path = capo_trainer.CONFIGS / f"{name}.yaml"
    assert f"{name}.yaml" in PAGE.read_text()
    found = ClusterConfig.from_yaml_file(str(path))
    assert found.num_processes == 2
    assert set(yaml.safe_load(path.read_text())) <= set(vars(found))


if __name__ == "__main__":
    PAGE.write_text(TABLE.sub(lambda m: m[1] + lines() + m[3], PAGE.read_text()))
