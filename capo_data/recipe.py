"""A recipe: everything that determines a release. Read from YAML, checked to the line.

Where things lie (paths, addresses), how fast they go and what they may cost is no recipe's business:
that is `build.Settings`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from capo_data import yaml_places
from capo_data.errors import RecipeError

Positive = Annotated[int, Field(gt=0)]
TagName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,30}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SourcePart(_Part):
    """Where interactions come from, and how their columns are called."""

    kind: Literal["amazon", "movielens", "table", "demo"] = "table"
    category: str = ""
    columns: dict[str, str] = {}
    scale: tuple[float, float] | None = None
    size: dict[str, int] = {}

    @field_validator("columns", "size")
    @classmethod
    def _sorted(cls, value: dict[str, Any]) -> dict[str, Any]:
        # Their order says nothing, so it must not stand in the card: a manifest has it sorted.
        return dict(sorted(value.items()))

    @field_validator("scale", mode="before")
    @classmethod
    def _pair(cls, value: Any) -> Any:
        if isinstance(value, list) and len(value) == 2 and all(isinstance(end, int | float) for end in value):
            return (float(value[0]), float(value[1]))
        return value

    @field_validator("scale")
    @classmethod
    def _rising(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not (math.isfinite(value[0]) and value[0] < value[1] < math.inf):
            raise ValueError("the scale's lowest rating must be below its highest, both finite")
        return value


class HistoriesPart(_Part):
    """Which users, and how many decisions each gives.

    Four is the least: a history of one, a chosen item, the validation and the test target.
    """

    min_interactions: Annotated[int, Field(ge=4)] = 5
    k_core: Annotated[int, Field(ge=2)] | None = None
    instances_per_user: Positive = 1


class CandidatesPart(_Part):
    """What stands beside the chosen item."""

    size: Annotated[int, Field(ge=3, le=100)] = 30
    rejected: Annotated[int, Field(ge=2)] = 2
    negatives: Literal["uniform", "popularity"] = "uniform"
    pool: Literal["interacted", "catalogue"] = "interacted"
    fields: tuple[Literal["title", "item_id", "description", "details"], ...] = ("title",)

    @field_validator("fields", mode="before")
    @classmethod
    def _tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _fits(self) -> CandidatesPart:
        if self.rejected > self.size - 1:
            raise ValueError(f"rejected ({self.rejected}) must leave room in a set of {self.size}")
        if "title" not in self.fields:
            raise ValueError("fields must hold title: responses name items by it")
        return self


class PromptPart(_Part):
    """Templates (by name, or the path of your own), tags and lengths."""

    judge: str = "paper"
    recommender: str = "recommender"
    think_tag: TagName = "think"
    item_tag: TagName = "item"
    field_characters: Positive = 300
    max_tokens: Annotated[int, Field(ge=500)] = 12_000
    characters_per_token: Annotated[float, Field(gt=0.5, lt=20)] = 4.0

    @model_validator(mode="after")
    def _two_tags(self) -> PromptPart:
        if self.think_tag.lower() == self.item_tag.lower():
            raise ValueError("think_tag and item_tag must differ")
        return self


class JudgesPart(_Part):
    """Who scores the triplets (`capo`) and who writes the rationales of `sft`.

    A `temperature` of null is not sent, for models that take none but their own. `constrain` has the server
    hold answers to their form: `regex`, where the server is vLLM; `auto` does so where the model runs in
    this process. `logprobs` null asks for probabilities where the tie policy needs them.
    """

    capo: str = "lexical"
    sft: str = "lexical"
    model_revision: str | None = None
    sft_model_revision: str | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 0.0
    max_answer_tokens: Positive = 1024
    constrain: Literal["auto", "regex", "none"] = "auto"
    logprobs: bool | None = None

    def revision(self, name: str) -> str | None:
        """The revision of a judge's model: `sft_model_revision` is that of an `sft` judge of its own."""
        return self.model_revision if name == self.capo else self.sft_model_revision

    @field_validator("capo", "sft")
    @classmethod
    def _known(cls, value: str) -> str:
        provider, _, model = value.partition(":")
        if value == "lexical" or (provider in {"openai", "openai-batch", "vllm"} and model):
            return value
        raise ValueError(f"judge {value!r} is not lexical, openai:MODEL, openai-batch:MODEL or vllm:MODEL")


class TiesPart(_Part):
    """What happens where rejected items score alike."""

    policy: Literal["drop", "redraw", "expected", "keep"] = "drop"
    max_redraws: Positive = 8


class ReleasePart(_Part):
    """What a published dataset says of its rights, and whether it holds the source's texts.

    None of it changes a row of a build, so a run may go on with another.
    """

    license: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]*$")] | None = None
    terms: Annotated[str, Field(min_length=1)] | None = None
    text: Literal["with", "without"] | None = None
    language: tuple[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")], ...] = ("en",)

    @field_validator("language", mode="before")
    @classmethod
    def _tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value


# Flags that are not called as the field they set.
_FLAGS = {
    "candidates.fields": "--candidate-field",
    "candidates.size": "--candidates",
    "judges.capo": "--judge",
    "judges.sft": "--sft-judge",
    "prompt.judge": "--template",
    "source.columns": "--column",
    "ties.policy": "--tie-policy",
}


class Recipe(_Part):
    """Everything that determines a release."""

    domain: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    source: SourcePart = SourcePart()
    users: Positive | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    histories: HistoriesPart = HistoriesPart()
    candidates: CandidatesPart = CandidatesPart()
    prompt: PromptPart = PromptPart()
    judges: JudgesPart = JudgesPart()
    ties: TiesPart = TiesPart()
    release: ReleasePart = ReleasePart()

    @model_validator(mode="after")
    def _has_probabilities(self) -> Recipe:
        if self.ties.policy != "expected":
            return self
        if self.judges.logprobs is False:
            raise ValueError("ties.policy expected needs probabilities, judges.logprobs: false asks for none")
        if self.judges.capo == "lexical":
            raise ValueError("ties.policy expected needs a judge that gives probabilities, not lexical")
        return self

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in a manifest."""
        values: dict[str, Any] = json.loads(self.model_dump_json())
        return values

    def of_rows(self) -> dict[str, Any]:
        """What determines the rows: everything but `release`."""
        return {name: value for name, value in self.as_dict().items() if name != "release"}


def parse(text: str, where: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Reads a recipe from YAML.

    Args:
        text: The YAML.
        where: File name for error messages.
        overrides: Dotted field -> value that replaces what the text says (`ties.policy`).

    Raises:
        RecipeError: Not YAML, an unknown key, a wrong type or an impossible value; names the line.
    """
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"{where}:{mark.line + 1}" if mark else where
        why = getattr(error, "problem", None) or str(error)
        raise RecipeError("the recipe is not valid YAML", where=line, why=why) from error
    if not isinstance(values, dict):
        raise RecipeError("the recipe is not a mapping of fields", where=where, why="see docs/recipes.md")
    if twice := yaml_places.repeated_key(tree):
        raise RecipeError(
            f"recipe field {twice.value}: stands here a second time",
            where=f"{where}:{twice.start_mark.line + 1}",
            why="YAML would keep the last one and drop the others without a word",
            next_command="remove one of them and run again",
        )
    for dotted, value in (overrides or {}).items():
        _put(values, dotted.split("."), value)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = tuple(str(step) for step in first["loc"])
        given = dict(overrides or {})
        flag = next((name for name in given if tuple(name.split(".")) == path[: len(name.split("."))]), None)
        raise RecipeError(
            f"recipe field {'.'.join(path) or '(whole)'}: {_plain(first['msg'])}",
            where=_FLAGS.get(flag, f"--{flag.rpartition('.')[2].replace('_', '-')}")
            if flag
            else f"{where}:{yaml_places.line(tree, path)}",
            why=f"found {first['input']!r}"[:300]
            if first["type"] != "extra_forbidden"
            else _known_keys(path),
            next_command="correct the field and run again",
        ) from error


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of fields whose values differ, with both values."""
    found: list[str] = []
    for name in sorted(set(old) | set(new)):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{prefix}{name}.")
        elif before != after:
            found.append(f"{prefix}{name} (was {before!r}, now {after!r})")
    return found


def _put(values: dict[str, Any], path: list[str], value: Any) -> None:
    for step in path[:-1]:
        inner = values.get(step)
        values[step] = dict(inner) if isinstance(inner, dict) else {}
        values = values[step]
    values[path[-1]] = value


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Extra inputs are not permitted", "unknown key")


def _known_keys(path: tuple[str, ...]) -> str:
    model: type[BaseModel] = Recipe
    for step in path[:-1]:
        inner = model.model_fields[step].annotation if step in model.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        model = inner
    return "known keys here: " + ", ".join(model.model_fields)


def read(path: Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Reads a recipe file.

    Raises:
        RecipeError: The file cannot be read, or see `parse`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            "the recipe cannot be read",
            where=str(path),
            why=str(error),
            next_command="name a YAML file with --recipe, or a shipped recipe with --domain",
        ) from error
    return parse(text, str(path), overrides)
