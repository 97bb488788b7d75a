"""Label Studio's JSON export: tasks with their annotations, skipped ones and drafts among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from capo_annotation.cells import as_text
from capo_annotation.columns import COMMON
from capo_annotation.entries import Entry
from capo_data.errors import UsageError

Task = Mapping[str, Any]


def recognised(found: Sequence[Task]) -> bool:
    """Whether these objects are tasks."""
    return all("data" in task and "annotations" in task for task in found)


def entries(
    path: Path,
    tasks: Sequence[Task],
    given: Mapping[str, tuple[str, ...]],
    where: Mapping[str, str],
    *,
    rater: str = "",
) -> Iterator[Entry]:
    """One entry an annotation, a draft, or a task without either.

    Args:
        path: Where the tasks come from.
        tasks: As the export has them.
        given: `item`, `judge`, `role` and `domain` name fields of a task's data, `score` the rating control.
        where: Only tasks whose data has these values.
        rater: Who rated, whatever `completed_by` says.

    Raises:
        UsageError: No task has the field that says what was rated.
    """
    names = {ours: given.get(ours, common) for ours, common in COMMON.items()}
    told = [task["data"] for task in tasks if isinstance(task["data"], dict)]
    if not any(name in data for data in told for name in names["item"]):
        raise UsageError(
            f"{path.name} does not say what was rated",
            where=str(path),
            why=f"no task's data has the field {' or '.join(names['item'])}",
            next_command="name the field of the tasks' data that does: --column item=THEIRS",
        )
    return _entries(path, tasks, names, where, rater)


def of_tasks(place: str, tasks: Iterable[Task]) -> Iterator[Entry]:
    """The same of tasks that we made: the item is the task's `capo_id`, whoever rated it."""
    names = {ours: (ours,) for ours in COMMON} | {"item": ("capo_id",), "score": ("rating",)}
    return _entries(place, tasks, names, {}, "-")


def _entries(
    path: Path | str,
    tasks: Iterable[Task],
    names: Mapping[str, tuple[str, ...]],
    where: Mapping[str, str],
    rater: str,
) -> Iterator[Entry]:
    for at, task in enumerate(tasks, 1):
        data = task["data"] if isinstance(task["data"], dict) else {}
        if any(as_text(data.get(name)) != value for name, value in where.items()):
            continue
        place = f"{path}, task {task.get('id', at)}"
        item, judge, role, domain = (
            next((as_text(data[name]).strip() for name in names[ours] if name in data), "")
            for ours in ("item", "judge", "role", "domain")
        )
        # The first one submitted counts where there are several.
        answers = sorted(task["annotations"] or (), key=lambda one: str(one.get("created_at") or ""))
        drafts = list(task.get("drafts") or ())
        for answer in answers:
            who = rater or _person(answer.get("completed_by"))
            result = answer.get("result") or ()
            score, comment = _score(result, names["score"]), _comment(result, names["comment"])
            status, why = "", ""
            if answer.get("was_cancelled"):
                status = "skipped"
            elif score is None:
                status, why = "unreadable", f"the annotation has no {' or '.join(names['score'])}"
            yield Entry(place, item, who, score or "", judge, role, domain, "", status, why, comment)
        for draft in drafts:
            if isinstance(draft, dict):
                who = rater or _person(draft.get("user") or draft.get("completed_by"))
                yield Entry(place, item, who, status="draft")
        if not answers:
            yield Entry(place, item, judge=judge, role=role, domain=domain, status="listed")


def _person(value: Any) -> str:
    """`completed_by`: a number, an address, or an object with both."""
    if isinstance(value, dict):
        value = value.get("email") or value.get("username") or value.get("id")
    return as_text(value).strip()


def _comment(result: Sequence[Any], controls: Sequence[str]) -> str:
    """What was written into a text control of this name."""
    for region in result:
        if isinstance(region, dict) and region.get("from_name") in controls:
            text = (region.get("value") or {}).get("text")
            return "\n".join(map(str, text)) if isinstance(text, list) else as_text(text)
    return ""


def _score(result: Sequence[Any], controls: Sequence[str]) -> str | None:
    """The rating that a control of this name holds."""
    for region in result:
        if isinstance(region, dict) and region.get("from_name") in controls:
            value = region.get("value") or {}
            for kind in ("rating", "number"):
                if kind in value:
                    return as_text(value[kind])
            if choices := value.get("choices"):
                return as_text(choices[0])
    return None
