"""The outside of an answer: whether it is a completion at all, what it took, and whether it holds text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from capo_data.records import Usage

ENDLESS = 64  # characters of white space at the end of a cut answer; no prose has as many


@dataclass(frozen=True, slots=True)
class Envelope:
    """The outside of an answer: whether it is a completion at all, and what it cost.

    Attributes:
        problem: None for a completion, else `not_json`, `error_in_answer` or `no_choices`.
        detail: The server's own words, shortened.
        finish_reason: Of the first choice; None if not given.
        usage: Tokens; zeros where the server does not say. `requests` is 1.
        choice: The first choice; empty unless it is a completion.
    """

    problem: str | None
    detail: str
    finish_reason: str | None
    usage: Usage
    choice: Mapping[str, Any]

    @property
    def message(self) -> Mapping[str, Any]:
        """The first choice's message; empty unless it is a completion."""
        found: Mapping[str, Any] = self.choice.get("message") or {}
        return found


def envelope(body_text: str) -> Envelope:
    """Reads the outside of an answer; never fails, however strange the body.

    This is all that is looked at before an answer is stored: a body that is no completion (HTML with
    status 200, broken JSON, an error object, no choices) was not paid for and is asked again.
    """
    nothing = Usage(requests=1)
    try:
        body = json.loads(body_text)
    except (ValueError, RecursionError):
        return Envelope("not_json", shortened(body_text), None, nothing, {})
    if not isinstance(body, dict):
        return Envelope("not_json", shortened(body_text), None, nothing, {})
    usage = _usage(body.get("usage"))
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        problem = "error_in_answer" if body.get("error") else "no_choices"
        return Envelope(problem, shortened(body_text), None, usage, {})
    reason = choice.get("finish_reason")
    return Envelope(None, "", reason if isinstance(reason, str) else None, usage, choice)


def unreadable(outside: Envelope, text: str) -> tuple[str, str] | None:
    """Why an answer says nothing that could be understood, whatever was asked; None where it may.

    Args:
        outside: Of the answer.
        text: What the completion says.

    Returns:
        `no_completion`, `refused`, `truncated`, `endless_space` or `no_content`, and the detail.
    """
    if outside.problem is not None:
        return "no_completion", f"{outside.problem}: {outside.detail}"
    refusal = outside.message.get("refusal")
    if refusal or outside.finish_reason == "content_filter":
        return "refused", shortened(str(refusal or "finish_reason: content_filter"))
    if outside.finish_reason == "length":
        blank = len(text) - len(text.rstrip())
        if blank >= ENDLESS:
            return "endless_space", f"ends in {blank} characters of white space"
        return "truncated", "finish_reason: length"
    return None if text.strip() else ("no_content", "")


def flat(content: object) -> str:
    """Text of a content field: a string, a list of typed parts, or nothing; lone surrogates replaced."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    if not isinstance(content, str):
        return ""
    return content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _usage(usage: object) -> Usage:
    if not isinstance(usage, dict):
        return Usage(requests=1)
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    prompt = _count(usage.get("prompt_tokens"))
    return Usage(prompt, min(prompt, _count(cached)), _count(usage.get("completion_tokens")), 1)


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40 else 0


def shortened(text: str, length: int = 200) -> str:
    """The text's beginning on one line."""
    line = " ".join(flat(text[: 4 * length]).split())
    return line if len(line) <= length else line[: length - 1] + "…"
