"""The dataset card: README.md, for a stranger who finds the dataset.

Every number comes from `facts`, nothing from the clock or the machine, so the same facts give the same
bytes. Text of shops, users and templates is data: it can neither open a section nor close the front
matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Any

from capo_data.release import card_sections as sections
from capo_data.release import card_words as words
from capo_data.release import front_matter
from capo_data.release.card_text import code, fenced, number, plain, share
from capo_data.release.front_matter import as_yaml
from capo_data.release.schema import ROLES, SCORES


def render(facts: Mapping[str, Any]) -> str:
    """Writes the card.

    Args:
        facts: `tool`, `domain`, `recipe` (as `Recipe.as_dict` has it), `recipe_hash`, `table1`, `prompts`,
            `judges`, `counts`, `scores`, `dirt`, `format`; of a release also `release` (licence, terms, what
            was done to texts), `repository`, `figures`, and, where they were measured, `agreement` and
            `audit`. See `dataset.assemble` and `prepare`.

    Returns:
        The text of README.md.

    Raises:
        KeyError: A fact is missing.
    """
    from importlib.resources import files

    form, counts, tool, recipe = facts["format"], facts["counts"], facts["tool"], facts["recipe"]
    rows, kind = counts["rows"], recipe["source"]["kind"]
    release, withheld = facts.get("release", {}), form.get("text") == "withheld"
    fields = {
        "front_matter": front_matter.render(facts),
        "title": f"{plain(facts['domain'])}: chosen and rejected items with rationales",
        "withheld": words.WITHHELD if withheld else "",
        "rehydrate": sections.rehydrate(facts) if withheld else "",
        "hash_columns": words.HASHES if withheld else "",
        "intended": words.INTENDED_LEXICAL if _warning(facts["judges"]) else words.INTENDED,
        "name": code(facts.get("repository") or "FOLDER_OR_HUB_ID").replace('"', ""),
        "figures": sections.figures(facts.get("figures", ())),
        "agreement": sections.measured(
            "Agreement with human raters", sections.raters(facts), facts.get("agreement")
        ),
        "redacted": words.REDACTED if release.get("redacted") else "",
        "language": words.LANGUAGE.format(languages=sections.languages(release)),
        "personal": sections.personal(release),
        "licence": sections.licence(facts),
        "warning": _warning(facts["judges"]) + (words.SIMULATED if kind == "demo" else ""),
        "candidates": str(int(form["candidates"])),
        "answers": str(1 + int(form["rejected"])),
        "rejected": str(int(form["rejected"])),
        "source": _source(recipe),
        "table1": _table1(facts["table1"]),
        "counts": _counts(counts, form["tie_policy"]),
        "dropped": _dropped(counts["dropped"]),
        "dirt": _dirt(facts["dirt"]),
        "scores": _scores(facts["scores"]),
        "judges": _judges(facts["judges"]),
        "tool": f"{plain(tool['name'])} {plain(tool['version'])}",
        "recipe_hash": code(facts["recipe_hash"]),
        "tie_policy": code(form["tie_policy"]),
        "tie_policy_text": words.TIES.get(form["tie_policy"], "see the recipe"),
        "train_targets": _train_targets(recipe["histories"]["instances_per_user"]),
        "negatives": words.NEGATIVES[recipe["candidates"]["negatives"]],
        "pool": words.POOLS[recipe["candidates"]["pool"]],
        "seed": str(int(recipe["seed"])),
        "characters": number(recipe["prompt"]["field_characters"]),
        "max_tokens": number(recipe["prompt"]["max_tokens"]),
        "recipe": fenced(as_yaml(recipe), "yaml"),
        "prompts": _prompts(facts["prompts"]),
        "think_tag": code(form["think_tag"]),
        "item_tag": code(form["item_tag"]),
        "judge_limits": _judge_limits(facts),
        "people": words.PEOPLE[kind == "demo"],
        "text": words.TEXT[kind == "demo"],
        "license_note": "" if kind == "demo" else "." if release else words.NO_LICENSE,
        **{f"rows_{name}": number(rows[name]) for name in ("sft", "capo", "validation", "test", "dpo")},
    }
    template = files(__package__).joinpath("card.md.template").read_text(encoding="utf-8")
    return Template(template).substitute(fields)


def _warning(judges: Mapping[str, Any]) -> str:
    lexical = [config for config, judge in judges.items() if judge["name"] == "lexical"]
    if not lexical:
        return ""
    return words.LEXICAL.format(configs=" and ".join(f"`{config}`" for config in lexical))


def _source(recipe: Mapping[str, Any]) -> str:
    """Where the logs come from and whose of them were taken."""
    source, histories = recipe["source"], recipe["histories"]
    text = words.SOURCES[source["kind"]].format(category=code(source["category"]))
    text += f" Users with fewer than {number(histories['min_interactions'])} distinct items are left out."
    if histories["k_core"] is not None:
        text += f" The logs are the iterative {number(histories['k_core'])}-core."
    if recipe["users"] is not None:
        text += f" At most {number(recipe['users'])} users were taken, sampled by the seed."
    return text


def _table1(table1: Mapping[str, Any]) -> str:
    cells = [
        number(table1["users"]),
        number(table1["items"]),
        number(table1["interactions"]),
        f"{table1['average_length']:.2f}",
        f"{table1['purchases_per_item']:.2f}",
        f"{100 * table1['sparsity']:.3f}%",
    ]
    return f"| {' | '.join(cells)} |"


def _counts(counts: Mapping[str, Any], tie_policy: str) -> str:
    instances, judged = counts["instances"], counts["judged"]
    lines = [(f"{split} instances, never judged", instances[split], "") for split in ("validation", "test")]
    lines += [("train instances", instances["train"], ""), ("of these judged", judged, "")]
    shares = [("of the judged kept in `capo`", "kept", judged)]
    if tie_policy != "keep":  # where ties are kept, none is counted here
        shares.append(("of the judged left out of `capo`: the rejected items tied", "tied", judged))
    if tie_policy == "expected":
        shares.append(
            ("of the kept with equal scores, told apart by expected score", "told_apart", counts["kept"])
        )
    if tie_policy == "redraw":
        shares.append(("of the kept with a negative redrawn because of a tie", "redrawn", counts["kept"]))
    shares.append(
        ("of the kept in conflict: a rejected item above the chosen one", "conflicts", counts["kept"])
    )
    lines += [(label, counts[name], share(counts[name], whole)) for label, name, whole in shares]
    head = "| what | count | share |\n|---|---:|---:|\n"
    return head + "\n".join(f"| {label} | {number(count)} | {share} |" for label, count, share in lines)


def _dropped(counts: Mapping[str, int]) -> str:
    if not counts:
        return "No instance was left out.\n"
    rows = "\n".join(f"| {plain(reason)} | {number(counts[reason])} |" for reason in sorted(counts))
    return f"{words.DROPPED}\n\n| reason | instances |\n|---|---:|\n{rows}\n"


def _dirt(counts: Mapping[str, int]) -> str:
    if not counts:
        return "No blemish was found in the input.\n"
    rows = "\n".join(
        f"| {plain(kind)} | {words.DIRT.get(kind, '')} | {number(counts[kind])} |" for kind in sorted(counts)
    )
    return (
        f"{words.BLEMISHES}\n\n| kind | what it is and what became of it | count |\n|---|---|---:|\n{rows}\n"
    )


def _scores(scores: Mapping[str, Mapping[str, int]]) -> str:
    columns = [{score: int(scores[role].get(str(score), 0)) for score in SCORES} for role in ROLES]
    totals = [sum(column.values()) for column in columns]
    lines = ["| score | chosen | hard rejected | easy rejected |", "|---|---:|---:|---:|"]
    for score in SCORES:
        cells = [
            f"{number(column[score])} {share(column[score], total, '({})')}".rstrip()
            for column, total in zip(columns, totals, strict=True)
        ]
        lines.append(f"| {score} | {' | '.join(cells)} |")
    below = sum(columns[0][score] for score in SCORES if score < 4)
    if totals[0]:
        lines += ["", f"Chosen items that score below 4: {number(below)} ({share(below, totals[0])})."]
    return "\n".join(lines)


def _judges(judges: Mapping[str, Any]) -> str:
    told = {}
    for config, judge in judges.items():
        identity = ", ".join(f"{plain(k)} {plain(v)}" for k, v in judge["identity"].items() if v is not None)
        told[config] = f"{plain(judge['name'])} ({identity})"
    if len(set(told.values())) == 1:
        return f"- Judge: {next(iter(told.values()))}. {words.ONE_JUDGE}"
    lines = [f"- Judge of `{code(config)}`: {judge}" for config, judge in told.items()]
    return "\n".join([*lines, f"- {words.TWO_JUDGES}"])


def _judge_limits(facts: Mapping[str, Any]) -> str:
    """What each judge knew when it judged."""
    lexical = {judge["name"] == "lexical" for judge in facts["judges"].values()}
    told = words.TOLD.get(facts["prompts"]["judge"]["name"], words.TOLD_BY_TEMPLATE)
    lines = ([words.LEXICAL_LIMIT] if True in lexical else []) + (
        [told, words.LLM] if False in lexical else []
    )
    return "\n".join(f"- {line}" for line in lines)


def _train_targets(count: int) -> str:
    if count == 1:
        return "the last item before these is the train target"
    return f"each of the last {number(count)} items before these is a train target"


def _prompts(prompts: Mapping[str, Any]) -> str:
    parts = []
    for name, prompt in prompts.items():
        label = f"The {plain(name)}'s prompt, template `{code(prompt['name'])}`"
        parts.append(f"{label}, version `{code(prompt['version'])}`:\n\n{fenced(prompt['text'])}\n")
    return "\n".join(parts)
