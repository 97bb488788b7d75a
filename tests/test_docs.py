"""The pages in `docs/` say what the code does.

Tables between `<!-- table: NAME -->` and `<!-- end -->` are compared with the code. The ones that hold
nothing else are written by `python tests/test_docs.py`.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import capo_prompts
import capo_releases
import pytest
import typer
from capo_trainer.cli.main import app as trainer
from command_line import COMMANDS, called
from pydantic import BaseModel

from capo_data import pipeline, prompting
from capo_data.judges import quality_reply, reply
from capo_data.recipe import Recipe, parse
from capo_data.release.schema import SPLITS, schema
from capo_data.release.validation import RULES
from capo_data.sources import amazon, staging
from capo_data.sources.demo_world import SimulatedSize
from capo_data.sources.table import COMMON_NAMES

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *DOCS]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def between(page: str, name: str) -> re.Match[str]:
    """The marked table of a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = re.search(rf"(<!-- table: {name} -->\n[^\n]*\n[^\n]*\n)(.*?)(<!-- end -->)", text, re.DOTALL)
    assert found is not None, f"docs/{page} has no table {name}"
    return found


def rows(page: str, name: str) -> list[list[str]]:
    """The cells of a marked table."""
    lines = between(page, name)[2].splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def codes(cell: str) -> list[str]:
    """What stands in code font in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def listed(values: Any) -> str:
    return " ".join(f"`{value}`" for value in values)


# Tables that hold nothing but what the code says.


def domains_table() -> list[list[str]]:
    found = []
    for domain, category in amazon.CATEGORIES.items():
        recipe = parse(capo_releases.recipe_text(domain), domain)
        assert recipe.source.category == category
        found.append([f"`{domain}`", category, "all" if recipe.users is None else f"{recipe.users:,}"])
    return found


def places_table() -> list[list[str]]:
    def braces(names: frozenset[str] | set[str]) -> str:
        return listed(f"{{{{{name}}}}}" for name in sorted(names))

    return [
        ["judge", braces(prompting.JUDGE_PLACES), braces({"history", "item"})],
        ["recommender", braces(prompting.RECOMMENDER_PLACES), braces({"history", "candidates"})],
    ]


def names_table() -> list[list[str]]:
    return [[f"`{ours}`", listed(theirs)] for ours, theirs in COMMON_NAMES.items()]


def anchors_table() -> list[list[str]]:
    return [[str(score), words] for score, words in capo_prompts.anchors().items()]


def quality_table() -> list[list[str]]:
    return [[str(rating), words] for rating, words in capo_prompts.quality_anchors().items()]


def rules_table() -> list[list[str]]:
    return [[f"`{rule}`", words] for rule, words in RULES.items()]


WRITTEN = {
    ("sources.md", "domains"): domains_table,
    ("sources.md", "columns"): names_table,
    ("recipes.md", "places"): places_table,
    ("judging.md", "anchors"): anchors_table,
    ("trust.md", "quality"): quality_table,
    ("dataset.md", "rules"): rules_table,
}


@pytest.mark.parametrize(("page", "name"), WRITTEN, ids=lambda part: str(part))
def test_a_written_table_is_what_the_code_says(page: str, name: str) -> None:
    assert rows(page, name) == WRITTEN[page, name](), "run: python tests/test_docs.py"


# Tables with meanings in our own words.


def fields(model: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every dotted field of a recipe with its default as JSON."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from fields(kind, f"{prefix}{name}.")
        else:
            default = "(needed)" if field.is_required() else f"`{json.dumps(field.default)}`"
            yield f"{prefix}{name}", default


def test_every_recipe_field_is_listed_with_its_default() -> None:
    assert [(codes(row[0])[0], row[1]) for row in rows("recipes.md", "fields")] == list(fields())
    assert all(row[3] for row in rows("recipes.md", "fields"))


class Taken(Exception):  # noqa: N818 - it ends a build before it begins
    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe


SAMPLES: Mapping[str, tuple[str, Any]] = {
    "--domain": ("domain", "beauty"),
    "--column": ("column", ["user_id=customer"]),
    "--scale": ("scale", "1-10"),
    "--users": ("users", 7),
    "--seed": ("seed", 7),
    "--min-interactions": ("min_interactions", 7),
    "--k-core": ("k_core", 7),
    "--instances-per-user": ("instances_per_user", 7),
    "--candidates": ("candidates", 7),
    "--rejected": ("rejected", 7),
    "--negatives": ("negatives", "popularity"),
    "--pool": ("pool", "catalogue"),
    "--candidate-field": ("candidate_field", ["details"]),
    "--template": ("template", "neutral"),
    "--characters-per-token": ("characters_per_token", 7.0),
    "--judge": ("judge", "openai:gpt-4o"),
    "--sft-judge": ("sft_judge", "openai:gpt-4o-mini"),
    "--model-revision": ("model_revision", "r7"),
    "--sft-model-revision": ("sft_model_revision", "r8"),
    "--max-answer-tokens": ("max_answer_tokens", 7),
    "--constrain": ("constrain", "regex"),
    "--logprobs": ("logprobs", True),
    "--tie-policy": ("tie_policy", "keep"),
}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and f"{prefix}{name}" not in {"source.columns", "source.size"}:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def taken(monkeypatch: pytest.MonkeyPatch, **given: Any) -> dict[str, Any]:
    """The recipe that a build with these arguments would follow."""

    def stop(recipe: Recipe, *_: Any) -> None:
        raise Taken(recipe)

    monkeypatch.setattr(pipeline, "Build", stop)
    with pytest.raises(Taken) as caught:
        pipeline.build(**{"domain": "demo", **given})
    return flat(caught.value.recipe.as_dict())


def test_a_flag_sets_the_fields_it_is_listed_with_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    flags: dict[str, set[str]] = {}
    for field, _, flag, _ in rows("recipes.md", "fields"):
        for name in codes(flag):
            flags.setdefault(name, set()).add(codes(field)[0])
    assert set(flags) == set(SAMPLES)
    before = taken(monkeypatch)
    for flag, (argument, value) in SAMPLES.items():
        if flag == "--domain":  # another recipe altogether
            continue
        after = taken(monkeypatch, **{argument: value})
        assert {name for name in after if after[name] != before[name]} == flags[flag], flag


def test_the_demo_sizes_are_listed_with_their_defaults() -> None:
    told = {codes(row[0])[0]: row[1] for row in rows("sources.md", "sizes")}
    size = SimulatedSize()
    known = {name: getattr(size, name) for name in SimulatedSize.__slots__}
    assert told == {n: "12 a user" if value is None else str(value) for n, value in known.items()}
    assert size.total == 12 * size.users


def test_every_kind_of_dirt_is_listed_with_its_fate() -> None:
    known = re.findall(r"^    ([a-z]\w*_\w+) .*?(\S+)$", staging.__doc__ or "", re.MULTILINE)
    told = [(codes(row[0])[0], row[2]) for row in rows("sources.md", "dirt")]
    assert [kind for kind, _ in told] == [kind for kind, _ in known]
    assert [k for k, fate in told if fate == "dropped"] == [k for k, fate in known if fate == "dropped"]


def described(parser: ModuleType) -> list[str]:
    """The statuses in the table of a parser's docstring."""
    table = re.findall(r"^\| ([a-z_, ]+) \|", parser.__doc__ or "", re.MULTILINE)
    return [status for cell in table for status in cell.split(", ") if status != "status"]


def test_every_status_of_an_answer_is_listed() -> None:
    told = [status for row in rows("judging.md", "statuses") for status in codes(row[0])]
    assert told == described(reply)


def test_every_status_of_a_rating_is_listed() -> None:
    told = [status for row in rows("trust.md", "quality-statuses") for status in codes(row[0])]
    own = {"incorrect", "failed", "http_400"}  # of no answer
    assert [status for status in told if status not in own] == described(quality_reply)


def test_every_column_is_listed_with_its_configs_and_type() -> None:
    told = [
        (config, codes(name)[0], kind)
        for name, configs, kind, _ in rows("dataset.md", "columns")
        for config in configs.split(", ")
    ]
    wanted = [(config, field.name, kind_of(field.type)) for config in SPLITS for field in schema(config)]
    assert sorted(told) == sorted(wanted)


def test_every_field_of_a_nested_column_is_listed_with_its_type() -> None:
    wanted = {}
    for config in SPLITS:
        for field in schema(config):
            assert not field.nullable
            inner = field.type.value_type if hasattr(field.type, "value_type") else field.type
            for child in inner if hasattr(inner, "fields") else ():
                absent = ", may be null" if child.nullable else ""
                wanted[kind_of(inner), child.name] = f"{kind_of(child.type)}{absent}"
    told = {(row[0], codes(row[1])[0]): row[2] for row in rows("dataset.md", "fields")}
    assert told == wanted


STRUCTS = {
    "timestamp": "entry",
    "content": "message",
    "rationale": "answer",
    "start": "span",
}


def kind_of(kind: Any) -> str:
    """A type in the words of the page."""
    if hasattr(kind, "value_type"):
        return f"list of {kind_of(kind.value_type)}"
    if hasattr(kind, "fields"):
        names = {field.name for field in kind}
        return next((word for name, word in STRUCTS.items() if name in names), "candidate")
    return str(kind)


def test_the_configs_and_splits_are_listed() -> None:
    told = {codes(row[0])[0]: tuple(row[1].split(", ")) for row in rows("dataset.md", "configs")}
    assert told == dict(SPLITS)


# Commands, flags, errors, links.


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def calls(page: Path) -> Iterator[list[str]]:
    """The arguments of every `capo-data` command of a page, in code blocks and in the text."""
    typed = "".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    for line in [*typed, *(code for code in codes(prose(page)) if code.startswith("capo-data "))]:
        words = shlex.split(line, comments=True)
        while words:
            end = next((at for at, word in enumerate(words) if word in {"&&", "|", ";"}), len(words))
            if "capo-data" in words[:end]:
                yield words[words.index("capo-data") + 1 : end]
            words = words[end + 1 :]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_can_be_typed(page: Path) -> None:
    for call in calls(page):
        arguments = [word for word in call if word != "--help"]
        if not arguments:
            continue
        name, rest = called(arguments)
        assert name, f"capo-data {shlex.join(call)}"
        if "--help" in call:
            continue
        try:
            COMMANDS[name].make_context(name, rest)
        except Exception as error:  # noqa: BLE001 - whatever it is, it cannot be typed
            pytest.fail(f"capo-data {shlex.join(call)}: {getattr(error, 'message', error)}")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_flag_that_is_spoken_of_exists(page: Path) -> None:
    trained = typer.main.get_command(trainer).commands  # type: ignore[attr-defined]
    options = [option for command in (*COMMANDS.values(), *trained.values()) for option in command.params]
    known = {name for option in options for name in (*option.opts, *option.secondary_opts)}
    spoken = {flag for code in codes(prose(page)) for flag in re.findall(r"(?<!\S)--[a-z][a-z-]*", code)}
    assert spoken <= known | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_python_block_is_python(page: Path) -> None:
    for block in blocks(page, "python"):
        ast.parse(block)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{target} is not there"
        assert not anchor or anchor in headings(place), f"{target}: no such heading"


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_every_error_of_the_troubleshooting_page_is_said_somewhere() -> None:
    said = [
        node.value
        for path in (ROOT / "capo_data").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    first = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    phrases = [code for cell in first for code in codes(cell)]
    assert len(phrases) > 40
    assert [phrase for phrase in phrases if not any(phrase in text for text in said)] == []


def test_links_lead_from_the_readme_to_every_page() -> None:
    found, left = set[Path](), [ROOT / "README.md"]
    while left:
        page = left.pop()
        found.add(page)
        links = re.findall(r"\]\(([^)\s:#]+\.md)", prose(page))
        left += {(page.parent / link).resolve() for link in links} - found - set(left)
    assert [page.name for page in DOCS if page.resolve() not in found] == []


@pytest.mark.slow
def test_the_loading_examples_print_what_the_page_says(tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-m", "capo_data", "build", "--domain", "demo")
    page = (ROOT / "docs" / "dataset.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", page, re.DOTALL | re.MULTILINE)
    assert len(examples) > 4
    for block, shown in examples:
        printed = run("-c", block).splitlines()
        assert [line for line in shown.splitlines() if line not in [*printed, "..."]] == []


def write() -> None:
    """Writes the tables that hold nothing but what the code says."""
    for (page, name), table in WRITTEN.items():
        path = ROOT / "docs" / page
        found = between(page, name)
        lines = "".join(f"| {' | '.join(cells)} |\n" for cells in table())
        text = path.read_text(encoding="utf-8")
        path.write_text(text[: found.end(1)] + lines + text[found.end(2) :], encoding="utf-8")


if __name__ == "__main__":
    write()
