"""The card's front matter, written and read: what `datasets`, the Hub and `validate` know a dataset by.

https://huggingface.co/docs/hub/datasets-manual-configuration
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from capo_data.release import features
from capo_data.release.schema import FORMAT, SPLITS

TEXTS = ("included", "withheld")
TIE_POLICIES = ("drop", "redraw", "expected", "keep")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_LICENCE = ("license", "license_name", "license_link")
_TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Format:
    """What a reader must know to read the rows: the `capo_data` mapping of the front matter."""

    think_tag: str = "think"
    item_tag: str = "item"
    candidates: int = 30
    rejected: int = 2
    tie_policy: str = "drop"
    text: str = "included"

    @property
    def withheld(self) -> bool:
        """Whether the rows hold hashes in place of the source's texts."""
        return self.text == "withheld"


def render(facts: Mapping[str, Any]) -> str:
    """The front matter with its fences; `facts` as in `card.render`."""
    form = facts["format"]
    total = sum(int(count) for count in facts["counts"]["rows"].values())
    judges = {judge["name"] == "lexical" for judge in facts["judges"].values()}
    front: dict[str, Any] = {
        "pretty_name": f"{one_line(facts['domain'])}: chosen, hard and easy rejected items with rationales",
        "language": [one_line(code) for code in facts.get("release", {}).get("language") or ("en",)],
        "task_categories": ["text-generation"],
        "tags": [
            "recommender-systems",
            "preference-optimisation",
            "rationales",
            "capo-data",
            *(["llm-as-a-judge"] if False in judges else []),
            *(["lexical-baseline"] if True in judges else []),
        ],
        "size_categories": [next((name for limit, name in _SIZES if total < limit), "n>1M")],
        "configs": [
            {
                "config_name": config,
                **({"default": True} if config == "capo" else {}),
                "data_files": [{"split": split, "path": f"{config}/{split}-*.parquet"} for split in splits],
            }
            for config, splits in SPLITS.items()
        ],
        "dataset_info": features.dataset_info(facts["counts"], form.get("text") == TEXTS[1]),
        "capo_data": {
            "format": FORMAT,
            "think_tag": one_line(form["think_tag"]),
            "item_tag": one_line(form["item_tag"]),
            "candidates": int(form["candidates"]),
            "rejected": int(form["rejected"]),
            "tie_policy": one_line(form["tie_policy"]),
            "text": one_line(form.get("text", TEXTS[0])),
        },
    }
    named = [(name, facts.get("release", {}).get(name)) for name in _LICENCE]
    front = {**{name: one_line(value) for name, value in named if value}, **front}
    return f"---\n{as_yaml(front)}---\n"


def read_format(readme: str) -> tuple[Format, list[str]]:
    """Reads the front matter of a card that anybody may have written.

    Returns:
        The format, with defaults for what cannot be read, and one sentence per thing that is wrong.
    """
    import yaml

    default = Format()
    block = re.match(r"\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|$)", readme, re.DOTALL)
    if block is None:
        return default, ["the card has no YAML front matter"]
    try:
        front = yaml.safe_load(block.group(1))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return default, [f"the front matter is no YAML: {' '.join(str(error).split())}"]
    ours = front.get("capo_data") if isinstance(front, dict) else None
    if not isinstance(ours, dict):
        return default, ["the front matter has no `capo_data` mapping"]

    problems = _config_problems(front.get("configs"))
    if ours.get("format") != FORMAT:
        problems.append(f"capo_data.format is {ours.get('format')!r}; this version reads {FORMAT}")
    known: dict[str, Any] = {}
    for name, sound in (
        ("think_tag", lambda v: isinstance(v, str) and _TAG_NAME.fullmatch(v)),
        ("item_tag", lambda v: isinstance(v, str) and _TAG_NAME.fullmatch(v)),
        ("candidates", lambda v: type(v) is int and v >= 2),
        ("rejected", lambda v: type(v) is int and v >= 2),
        ("tie_policy", lambda v: isinstance(v, str) and v in TIE_POLICIES),
        ("text", lambda v: isinstance(v, str) and v in TEXTS),
    ):
        if sound(value := ours.get(name)):
            known[name] = value
        else:
            problems.append(f"capo_data.{name} cannot be {value!r:.80}")
    return Format(**known), problems


def as_yaml(value: object) -> str:
    """YAML in the given order, the same bytes for the same value."""
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False, width=110)


def one_line(text: object) -> str:
    """Any text as one line of printable characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def _config_problems(configs: object) -> list[str]:
    """Whether `datasets` will find every config and split, and its files, by this front matter."""
    listed = list(_listed(configs))
    problems = []
    for config, splits in SPLITS.items():
        for split in splits:
            patterns = [path for name, part, path in listed if (name, part) == (config, split)]
            example = f"{config}/{split}-00000-of-00001.parquet"
            if not patterns:
                problems.append(f"`configs` does not list {config}/{split}")
            elif not any(fnmatchcase(example, pattern) for pattern in patterns):
                problems.append(f"`configs` looks for {config}/{split} in {patterns[0]!r:.80}")
    return problems


def _listed(configs: object) -> Iterator[tuple[str, str, str]]:
    """Config, split and file pattern of each entry that has them."""
    for config in configs if isinstance(configs, list) else ():
        files = config.get("data_files") if isinstance(config, dict) else None
        for entry in files if isinstance(files, list) else ():
            paths = entry.get("path") if isinstance(entry, dict) else None
            for path in paths if isinstance(paths, list) else [paths]:
                if isinstance(path, str):
                    yield str(config.get("config_name")), str(entry.get("split")), path
