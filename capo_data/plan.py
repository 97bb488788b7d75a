"""What a build will fetch, ask and cost, before it does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from capo_data.errors import CapoError, UsageError
from capo_data.judges.addresses import addresses
from capo_data.judges.cost import Estimate, PriceTable
from capo_data.prompting import Prompts, judge_messages, show
from capo_data.recipe import Recipe
from capo_data.records import Instance, Reporter
from capo_data.settings import Settings
from capo_data.sources import SourcePlan

# Tokens of an answer where nothing has been measured yet: a rationale of some ten lines.
ANSWER_TOKENS = 300
# Bytes of a run (journal, stages, dataset) for each train instance: 18,000 on All_Beauty, 23,000 on MovieLens
# with the lexical judge; a language model's answers are longer.
BYTES_PER_INSTANCE = 30_000

_UNKNOWN = "not known before the data is here"

Confirm = Callable[[str], bool | None]


@dataclass(frozen=True, slots=True)
class Plan:
    """The figures a person wants to see first. None where they cannot be known yet.

    Attributes:
        exact: Whether users and tokens were counted on the data, or are the recipe's upper bounds.
    """

    domain: str
    judges: tuple[str, ...]
    exact: bool
    download_bytes: int | None
    disk_bytes: int | None
    users: int | None
    requests: int | None
    prompt_tokens: int | None
    answer_tokens: int | None
    dollars: float | None
    prices_of: str
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        about = "" if self.exact else "at most "
        rows = {
            "judge": ", ".join(dict.fromkeys(self.judges)),
            "download": _bytes(self.download_bytes),
            "disk": _bytes(self.disk_bytes),
            "users": _number(self.users),
            "requests": _number(self.requests),
            "prompt tokens": _number(self.prompt_tokens, about),
            "answer tokens": _number(self.answer_tokens, "about " if self.exact else about),
            "price": self._price(about),
        }
        return [
            f"plan for {self.domain}:",
            *(f"  {name:<14} {text}" for name, text in rows.items()),
            *(f"  note: {note}" for note in self.notes),
        ]

    def _price(self, about: str) -> str:
        if self.dollars is not None:
            return (
                f"{about}${self.dollars:,.2f} (list prices of {self.prices_of})" if self.dollars else "none"
            )
        return _UNKNOWN if self.requests is None else "unknown: the price table has no such model here"


def before_data(recipe: Recipe, settings: Settings, prices: PriceTable, source: SourcePlan) -> Plan:
    """The plan while the data is still far away: the recipe's own bounds."""
    users = recipe.users
    per_user = (recipe.candidates.rejected + 1) * recipe.histories.instances_per_user
    second = recipe.judges.sft != recipe.judges.capo
    requests = None if users is None else users * (per_user + second * recipe.histories.instances_per_user)
    bound = recipe.prompt.max_tokens
    return _plan(
        recipe,
        settings,
        prices,
        source,
        exact=False,
        users=users,
        requests=requests,
        prompt_tokens=None if requests is None else requests * bound,
        answer_tokens=None if requests is None else requests * recipe.judges.max_answer_tokens,
    )


def of_data(
    recipe: Recipe,
    settings: Settings,
    prices: PriceTable,
    source: SourcePlan,
    users: int,
    instances: Iterable[Instance],
    prompts: Prompts,
    report: Reporter,
) -> Plan:
    """The plan on the data itself: every first request is written and measured, none is sent."""
    requests = characters = 0
    second = recipe.judges.sft != recipe.judges.capo
    for instance in instances:
        report.advance()
        shown = show(instance, prompts)
        judged = (instance.target_index, *instance.rejected[: recipe.candidates.rejected])
        for index in (*judged, *([instance.target_index] if second else [])):
            messages = judge_messages(instance, shown, instance.candidates[index], prompts, firmer=False)
            characters += sum(len(message["content"]) for message in messages)
            requests += 1
    return _plan(
        recipe,
        settings,
        prices,
        source,
        exact=True,
        users=users,
        requests=requests,
        prompt_tokens=round(characters / recipe.prompt.characters_per_token),
        answer_tokens=requests * min(ANSWER_TOKENS, recipe.judges.max_answer_tokens),
    )


def agree(plan: Plan, settings: Settings, confirm: Confirm | None) -> None:
    """Asks whoever can be asked whether to go on; nobody has to be asked for what is free and here.

    Raises:
        UsageError: Nobody can be asked and `--yes` was not given.
        CapoError: The answer was no.
    """
    if settings.yes or (not plan.download_bytes and plan.download_bytes is not None and plan.dollars == 0):
        return
    answer = confirm("Go on?") if confirm else None
    if answer is None:
        raise UsageError(
            "this build downloads data or asks a paid judge, and nobody is there to agree",
            why="the plan above was not confirmed on a terminal",
            next_command="add --yes (and --max-cost to set a limit); --dry-run shows the plan alone",
        )
    if not answer:
        raise CapoError("stopped before anything was fetched or asked", why="the plan was not agreed to")


def _plan(
    recipe: Recipe,
    settings: Settings,
    prices: PriceTable,
    source: SourcePlan,
    *,
    exact: bool,
    users: int | None,
    requests: int | None,
    prompt_tokens: int | None,
    answer_tokens: int | None,
) -> Plan:
    names = (recipe.judges.capo, recipe.judges.sft)
    dollars = None
    if set(names) == {"lexical"}:
        dollars, prompt_tokens, answer_tokens = 0.0, 0, 0
    elif requests is not None and prompt_tokens is not None and answer_tokens is not None:
        dollars = _dollars(recipe, settings, prices, Estimate(requests, prompt_tokens, answer_tokens, None))
    per_user = recipe.histories.instances_per_user
    run_bytes = None if users is None else users * per_user * BYTES_PER_INSTANCE
    disk = None if run_bytes is None or source.disk_bytes is None else run_bytes + source.disk_bytes
    return Plan(
        domain=recipe.domain,
        judges=names,
        exact=exact,
        download_bytes=source.download_bytes,
        disk_bytes=disk,
        users=users,
        requests=requests,
        prompt_tokens=prompt_tokens,
        answer_tokens=answer_tokens,
        dollars=dollars,
        prices_of=prices.date,
        notes=source.notes,
    )


def _dollars(recipe: Recipe, settings: Settings, prices: PriceTable, total: Estimate) -> float | None:
    """Each judge's share of the requests at its own price."""
    from capo_data.records import Usage

    capo, sft = recipe.judges.capo, recipe.judges.sft
    per_instance = recipe.candidates.rejected + 1
    shares = (
        {capo: 1.0} if capo == sft else {capo: per_instance / (per_instance + 1), sft: 1 / (per_instance + 1)}
    )
    dollars = 0.0
    for name, share in shares.items():
        provider, _, model = name.partition(":")
        if provider != "openai":  # the built-in judge and one's own GPU send no bill
            continue
        price = prices.price(model, next(iter(addresses(name, recipe.judges, settings)), None))
        if price is None:
            return None
        dollars += price.dollars(
            Usage(round(total.prompt_tokens * share), 0, round(total.answer_tokens * share))
        )
    return dollars


def _number(value: int | None, about: str = "") -> str:
    if value is None:
        return _UNKNOWN
    return f"{about}{value:,}" if value else "0"


def _bytes(value: int | None) -> str:
    if value is None:
        return "not known"
    size = float(value)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")
