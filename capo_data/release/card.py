"""The dataset card: README.md with the front matter that `datasets` and the Hub read.

Every number comes from `facts`, nothing from the clock or the machine, so the same facts give the same
bytes. Text of shops, users and templates is data: it can neither open a section nor close the front
matter. Front matter: https://huggingface.co/docs/hub/datasets-manual-configuration
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from string import Template
from typing import Any

from capo_data.release.schema import FORMAT, ROLES, SCORES, SPLITS

TIE_POLICIES: Mapping[str, str] = {
    "drop": "instances whose rejected items score the same are left out of `capo`",
    "redraw": "where the rejected items score the same, another negative is drawn until the scores differ",
    "expected": "equal scores are told apart by their probability-weighted mean",
    "keep": "instances whose rejected items score the same are kept with `order_by: tied`",
}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_MARKUP = re.compile(r"([\\`*_\[\]<>|~#&!$])")
_TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Format:
    """What a reader must know to read the rows: the `capo_data` mapping of the front matter."""

    think_tag: str = "think"
    item_tag: str = "item"
    candidates: int = 30
    rejected: int = 2
    tie_policy: str = "drop"


def render(facts: Mapping[str, Any]) -> str:
    """Writes the card.

    Args:
        facts: `tool`, `domain`, `recipe`, `recipe_hash`, `table1`, `prompts`, `judges`, `counts`, `scores`,
            `dirt`, `format`, optionally `license` and `language` (a list). See `dataset.assemble`.

    Returns:
        The text of README.md.

    Raises:
        KeyError: A fact is missing.
    """
    from importlib.resources import files

    form, counts, tool = facts["format"], facts["counts"], facts["tool"]
    rows = counts["rows"]
    fields = {
        "front_matter": _front_matter(facts),
        "title": f"{plain(facts['domain'])}: why this item, and not those",
        "warning": _warning(facts["judges"]),
        "candidates": str(int(form["candidates"])),
        "answers": str(1 + int(form["rejected"])),
        "table1": _table1(facts["table1"]),
        "counts": _counts(counts),
        "dropped": _tally("Dropped, by reason", counts["dropped"]),
        "dirt": _tally("Blemishes of the input, by kind (a blemished row may still be used)", facts["dirt"]),
        "scores": _scores(facts["scores"]),
        "judges": _judges(facts["judges"]),
        "tool": f"{plain(tool['name'])} {plain(tool['version'])}",
        "recipe_hash": _code(facts["recipe_hash"]),
        "tie_policy": _code(form["tie_policy"]),
        "tie_policy_text": TIE_POLICIES.get(form["tie_policy"], "see the recipe"),
        "recipe": _fenced(_yaml(facts["recipe"]), "yaml"),
        "prompts": _prompts(facts["prompts"]),
        "think_tag": _code(form["think_tag"]),
        "item_tag": _code(form["item_tag"]),
        "license_note": "" if facts.get("license") else "; no licence is granted for them here",
        **{f"rows_{name}": _number(rows[name]) for name in ("sft", "capo", "validation", "test", "dpo")},
    }
    template = files(__package__).joinpath("card.md.template").read_text(encoding="utf-8")
    return Template(template).substitute(fields)


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
    ):
        if sound(value := ours.get(name)):
            known[name] = value
        else:
            problems.append(f"capo_data.{name} cannot be {value!r:.80}")
    return Format(**known), problems


def plain(text: object) -> str:
    """Any text as one line of markdown that shows it literally."""
    line = "".join(" " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in str(text))
    return _MARKUP.sub(r"\\\1", " ".join(line.split()))


def _config_problems(configs: object) -> list[str]:
    """Whether `datasets` will find every config and split by this front matter."""
    listed: set[tuple[str, str]] = set()
    for config in configs if isinstance(configs, list) else ():
        files = config.get("data_files") if isinstance(config, dict) else None
        for entry in files if isinstance(files, list) else ():
            if isinstance(entry, dict):
                listed.add((str(config.get("config_name")), str(entry.get("split"))))
    wanted = ((config, split) for config, splits in SPLITS.items() for split in splits)
    return [f"`configs` does not list {c}/{s}" for c, s in wanted if (c, s) not in listed]


def _front_matter(facts: Mapping[str, Any]) -> str:
    form = facts["format"]
    total = sum(int(n) for n in facts["counts"]["rows"].values())
    lexical = _lexical(facts["judges"])
    front: dict[str, Any] = {
        "pretty_name": f"{_line(facts['domain'])}: chosen, hard and easy rejected items with rationales",
        "language": [_line(code) for code in facts.get("language", ("en",))],
        "tags": [
            "recommender-systems",
            "preference-optimisation",
            "rationales",
            "capo-data",
            *(["lexical-baseline"] if lexical else ["llm-as-a-judge"]),
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
        "capo_data": {
            "format": FORMAT,
            "think_tag": _line(form["think_tag"]),
            "item_tag": _line(form["item_tag"]),
            "candidates": int(form["candidates"]),
            "rejected": int(form["rejected"]),
            "tie_policy": _line(form["tie_policy"]),
            "text": "included",
        },
    }
    if facts.get("license"):
        front = {"license": _line(facts["license"]), **front}
    return f"---\n{_yaml(front)}---\n"


def _lexical(judges: Mapping[str, Any]) -> list[str]:
    """The configs whose rationales the lexical baseline wrote."""
    return [config for config, judge in judges.items() if judge["name"] == "lexical"]


def _warning(judges: Mapping[str, Any]) -> str:
    if not (lexical := _lexical(judges)):
        return ""
    which = " and ".join(f"`{config}`" for config in lexical)
    return (
        f"> **No language model judged {which}.** The rationales and scores come from the lexical judge, a\n"
        "> baseline that measures word overlap between an item and the history and fills sentence patterns.\n"
        "> Use it to try the tools and as a floor to compare against, not to teach a model to reason.\n\n"
    )


def _table1(table1: Mapping[str, Any]) -> str:
    cells = [
        _number(table1["users"]),
        _number(table1["items"]),
        _number(table1["interactions"]),
        f"{table1['average_length']:.2f}",
        f"{table1['purchases_per_item']:.2f}",
        f"{100 * table1['sparsity']:.3f}%",
    ]
    return f"| {' | '.join(cells)} |"


def _counts(counts: Mapping[str, Any]) -> str:
    instances, judged = counts["instances"], counts["judged"]
    lines = [("train instances", instances["train"], "")]
    lines += [(f"{split} instances, never judged", instances[split], "") for split in ("validation", "test")]
    lines += [("train instances judged", judged, "")]
    lines += [
        (label, counts[name], _share(counts[name], whole))
        for label, name, whole in (
            ("kept in `capo`", "kept", judged),
            ("tied: rejected items with the same score", "tied", judged),
            ("with a negative redrawn because of a tie", "redrawn", judged),
            ("conflicts: a rejected item above the chosen one", "conflicts", counts["kept"]),
        )
    ]
    head = "| what | count | share |\n|---|---:|---:|\n"
    note = "\n\nShares are of the judged instances; that of conflicts is of the kept ones."
    return (
        head + "\n".join(f"| {label} | {_number(count)} | {share} |" for label, count, share in lines) + note
    )


def _tally(label: str, counts: Mapping[str, int]) -> str:
    if not counts:
        return f"{label}: none.\n"
    rows = "\n".join(f"| {plain(kind)} | {_number(counts[kind])} |" for kind in sorted(counts))
    return f"{label}:\n\n| what | count |\n|---|---:|\n{rows}\n"


def _scores(scores: Mapping[str, Mapping[str, int]]) -> str:
    columns = [{score: int(scores[role].get(str(score), 0)) for score in SCORES} for role in ROLES]
    totals = [sum(column.values()) for column in columns]
    lines = ["| score | chosen | hard rejected | easy rejected |", "|---|---:|---:|---:|"]
    for score in SCORES:
        cells = [
            f"{_number(column[score])} {_share(column[score], total, '({})')}".rstrip()
            for column, total in zip(columns, totals, strict=True)
        ]
        lines.append(f"| {score} | {' | '.join(cells)} |")
    below = sum(columns[0][score] for score in SCORES if score < 4)
    if totals[0]:
        lines += ["", f"Chosen items that score below 4: {_number(below)} ({_share(below, totals[0])})."]
    return "\n".join(lines)


def _judges(judges: Mapping[str, Any]) -> str:
    lines = []
    for config, judge in judges.items():
        identity = ", ".join(f"{plain(k)} {plain(v)}" for k, v in judge["identity"].items() if v is not None)
        lines.append(f"- Judge of `{_code(config)}`: {plain(judge['name'])} ({identity})")
    if len(judges) > 1 and len({_yaml(judge) for judge in judges.values()}) == 1:
        lines.append("- One judge for both: `sft` and `capo` carry the same rationales.")
    return "\n".join(lines)


def _prompts(prompts: Mapping[str, Any]) -> str:
    parts = []
    for name, prompt in prompts.items():
        label = f"The {plain(name)}'s prompt, template `{_code(prompt['name'])}`"
        parts.append(f"{label}, version `{_code(prompt['version'])}`:\n\n{_fenced(prompt['text'])}\n")
    return "\n".join(parts)


def _fenced(text: str, language: str = "") -> str:
    """A code block that no run of backticks inside can close."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    visible = "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") else " " for c in text)
    return f"{fence}{language}\n{visible.rstrip()}\n{fence}"


def _yaml(value: object) -> str:
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False, width=110)


def _line(text: object) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def _code(text: object) -> str:
    """A value inside an inline code span."""
    return re.sub(r"[`|<>]", "", _line(text))


def _number(value: int) -> str:
    return f"{value:,}"


def _share(part: int, whole: int, form: str = "{}") -> str:
    return form.format(f"{100 * part / whole:.1f}%") if whole else ""
