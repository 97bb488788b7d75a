"""Human ratings: what raters are told. The scale's anchors are the judge's own, from one file."""

from __future__ import annotations

from importlib import resources

import capo_prompts


def guidelines() -> str:
    """The raters' guidelines (Markdown), with the seven anchors that the judge is given."""
    text = (resources.files(__name__) / "guidelines.md").read_text(encoding="utf-8")
    filled, _ = capo_prompts.fill(text, {"anchors": _as_list(capo_prompts.anchors())})
    return filled


def _as_list(anchors: dict[int, str]) -> str:
    return "\n".join(f"- **{score}**: {words}" for score, words in anchors.items())
