"""Valid rows of the released contract, small and in plain Python, for tests that break them on purpose."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capo_data.recipe import Recipe
from capo_data.release.schema import SPLITS, response_text, table

HOUR = 3_600_000


def candidate_set(user: int, target: str, title: str) -> list[dict[str, str]]:
    others = [{"item_id": f"N{user}-{n}", "title": f"Unseen thing {n} of {user}"} for n in range(29)]
    place = (7 * user + len(title)) % 30
    return [*others[:place], {"item_id": target, "title": title}, *others[place:]]


def item(user: int, number: int) -> dict[str, str]:
    return {"item_id": f"I{user}-{number}", "title": f"Blue lamp {number} of {user}"}


def instance(user: int, target: int, *, split: str = "train") -> dict[str, Any]:
    """The common columns: user `user` chooses their item `target` after the items 0 .. target - 1."""
    history = [
        {
            **item(user, n),
            "description": None if n % 3 else "A lamp | with <b>bold</b> light",
            "details": None,
            "rating": ("Excellent", "Bad", None)[n % 3],
            "rating_value": (5.0, 2.0, None)[n % 3],
            "review": None if n % 3 == 2 else f"Number {n}: warm light",
            "timestamp": HOUR * (n // 2),  # equal times occur
        }
        for n in range(target)
    ]
    chosen = item(user, target)
    candidates = candidate_set(user, chosen["item_id"], chosen["title"])
    text, spans = "History:\n", []
    for entry in history:
        shown = ("title", "item_id", "description", "details", "rating", "review")
        block = "- " + " / ".join(entry[name] for name in shown if entry[name])
        spans.append({"start": len(text), "end": len(text) + len(block)})
        text += block + "\n"
    text += "Candidates:\n" + "\n".join(f"- {c['title']}" for c in candidates)
    return {
        "id": f"demo-{split}-{user}-{target}",
        "domain": "demo",
        "user": f"u{user}",
        "history": history,
        "history_untitled": 0,
        "history_cut": 0,
        "candidates": candidates,
        "target_index": next(n for n, c in enumerate(candidates) if c["item_id"] == chosen["item_id"]),
        "history_spans": spans,
        "prompt": [
            {"role": "system", "content": "Pick one candidate."},
            {"role": "user", "content": text},
        ],
    }


def answer(chosen: Mapping[str, str], score: int, *, expected: float | None = None) -> dict[str, Any]:
    rationale = f"The lamps in the history were praised for warm light, which {chosen['title']} shares."
    return {
        "item_id": chosen["item_id"],
        "title": chosen["title"],
        "rationale": rationale,
        "score": score,
        "expected_score": expected,
        "response": response_text(rationale, chosen["title"]),
        "judge": "lexical",
        "prompt_version": "paper-1234",
        "request_key": f"key of {chosen['item_id']}",
    }


def capo_row(user: int, scores: tuple[int, int, int] = (6, 4, 2)) -> dict[str, Any]:
    row = instance(user, 3)
    negatives = [c for n, c in enumerate(row["candidates"]) if n != row["target_index"]]
    chosen, hard, easy = scores
    return {
        **row,
        "chosen": answer(row["candidates"][row["target_index"]], chosen),
        "hard_rejected": answer(negatives[3], hard),
        "easy_rejected": answer(negatives[8], easy),
        "more_rejected": [],
        "conflict": max(hard, easy) > chosen,
        "order_by": "score",
    }


def sft_row(user: int, score: int = 6) -> dict[str, Any]:
    row = instance(user, 3)
    chosen = answer(row["candidates"][row["target_index"]], score)
    return {**row, "chosen": chosen, "completion": [{"role": "assistant", "content": chosen["response"]}]}


def held_out_row(user: int, split: str) -> dict[str, Any]:
    row = instance(user, {"validation": 4, "test": 5}[split], split=split)
    return {**row, "target": row["candidates"][row["target_index"]]["item_id"]}


def generation(user: int, **changes: Any) -> dict[str, Any]:
    """What a recommender answered to a test row: a wrong candidate, unless the changes say otherwise."""
    row = held_out_row(user, "test")
    target = row["candidates"][row["target_index"]]
    known = {"id": row["id"], "domain": "demo", "model": "tiny", "sample": 0, "rationale": f"Because {user}."}
    wrong = row["candidates"][row["target_index"] - 1]
    item = {"title": wrong["title"], "item_id": wrong["item_id"], "valid": True}
    goal = {"target_item_id": target["item_id"], "target_title": target["title"], "history_length": 5}
    return {**known, **item, **goal, **changes}


def rows(users: int = 6) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """All given splits for so many users; every third is tied and so not in `capo`; user 1 is a conflict."""
    return {
        ("sft", "train"): [sft_row(user, 3 if user == 1 else 6) for user in range(users)],
        ("capo", "train"): [
            capo_row(user, (3, 5, 2) if user == 1 else (6, 4, 2)) for user in range(users) if user % 3
        ],
        ("test", "validation"): [held_out_row(user, "validation") for user in range(users)],
        ("test", "test"): [held_out_row(user, "test") for user in range(users)],
    }


def write_parts(
    folder: Path, given: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]], *, per_file: int = 4
) -> dict[tuple[str, str], list[Path]]:
    """The rows as bucket files, as a build hands them to `assemble`."""
    import pyarrow.parquet as pq

    parts: dict[tuple[str, str], list[Path]] = {}
    for (config, split), some in given.items():
        assert split in SPLITS[config]
        for start in range(0, len(some), per_file):
            path = folder / f"{config}-{split}-{start:06d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table(config, some[start : start + per_file]), path)
            parts.setdefault((config, split), []).append(path)
    return parts


FACTS: Mapping[str, Any] = {
    "tool": {"name": "capo-data", "version": "0.1.0"},
    "domain": "demo",
    "recipe": {**Recipe(domain="demo").as_dict(), "seed": 17},
    "recipe_hash": "c0ffee" * 8,
    "table1": {
        "users": 11_028,
        "items": 4_321,
        "interactions": 98_765,
        "average_length": 8.9558,
        "purchases_per_item": 22.857,
        "sparsity": 0.99793,
    },
    "prompts": {
        "judge": {
            "name": "paper",
            "version": "paper-1234",
            "text": "Judge {item} after\n```\n{history}\n```",
        },
        "recommender": {"name": "recommender", "version": "rec-5678", "text": "Pick from {candidates}"},
    },
    "judges": {
        "capo": {"name": "lexical", "identity": {"provider": "lexical", "model": "tfidf", "revision": "f00"}},
        "sft": {"name": "lexical", "identity": {"provider": "lexical", "model": "tfidf", "revision": "f00"}},
    },
    "counts": {
        "instances": {"train": 11_028, "validation": 11_020, "test": 11_019},
        "judged": 11_000,
        "kept": 7_700,
        "tied": 3_300,
        "told_apart": 770,
        "redrawn": 0,
        "conflicts": 1_540,
        "dropped": {"rejected items tied": 3_300, "chosen item's answer: no_rating": 28},
        "rows": {"sft": 0, "capo": 0, "validation": 0, "test": 0, "dpo": 0},
    },
    "scores": {
        "chosen": {str(n): 100 * n for n in range(1, 8)},
        "hard_rejected": {"4": 900, "5": 100},
        "easy_rejected": {"1": 400, "2": 600},
    },
    "dirt": {"html_in_text": 292, "empty_text": 2},
    "format": {
        "think_tag": "think",
        "item_tag": "item",
        "candidates": 30,
        "rejected": 2,
        "tie_policy": "drop",
    },
}


RELEASE: Mapping[str, Any] = {
    "license": "cc-by-4.0",
    "license_name": None,
    "license_link": None,
    "terms": {"name": "A shop", "link": "https://shop.example/terms", "text": "With consent."},
    "language": ["en", "de"],
    "redacted": False,
    "personal": {"order_id": 0, "email": 3, "phone": 0},
    "quotes": {"rationales": 2, "rows": 2, "dropped": False},
}


def facts(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(dict(FACTS)), **changes}


def build(
    folder: Path, given: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]] | None = None, **changes: Any
) -> Path:
    """A dataset folder from these rows (valid ones by default)."""
    from capo_data.release.dataset import assemble

    parts = write_parts(folder / "parts", rows() if given is None else given)
    assemble(folder / "dataset", parts, facts(**changes), seed=17)
    return folder / "dataset"
