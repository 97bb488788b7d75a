"""What a build will fetch, ask and cost, before it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from capo_data.errors import CapoError, UsageError
from capo_data.judges.addresses import addresses
from capo_data.judges.cost import PriceTable, price_of
from capo_data.judges.forecast import Account, Counted, Pilot, account, forecast
from capo_data.prompting import Prompts, judge_messages, show
from capo_data.recipe import Recipe
from capo_data.records import Instance, Reporter, Usage
from capo_data.settings import Settings
from capo_data.sources import SourcePlan

# Bytes of a run (journal, stages, dataset) for each train instance: 18,000 on All_Beauty, 23,000 on MovieLens
# with the lexical judge; a language model's answers are longer.
BYTES_PER_INSTANCE = 30_000
# A ratio that is off by less needs no word.
TOLERANCE = 0.1

_UNKNOWN = "not known before the data is here"

Confirm = Callable[[str], bool | None]


@dataclass(frozen=True, slots=True)
class Work:
    """First requests, written and measured.

    Attributes:
        by_judge: How many, and their characters.
        longest: Characters of the longest.
        cut: Instances whose oldest history has no room.
    """

    by_judge: Mapping[str, Counted] = field(default_factory=dict)
    longest: int = 0
    cut: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """The figures a person wants to see first. None where they cannot be known yet.

    Attributes:
        exact: Whether users and tokens were counted on the data, or are the recipe's upper bounds.
        pilot: Requests of a pilot that the figures were measured by; 0 without one.
        characters_per_token: As the pilot measured it.
    """

    domain: str
    judges: tuple[str, ...]
    exact: bool
    download_bytes: int | None
    disk_bytes: int | None
    users: int | None
    requests: int | None
    prompt_tokens: int | None
    cached_tokens: int | None
    answer_tokens: int | None
    dollars: float | None
    prices_of: str
    pilot: int = 0
    characters_per_token: float | None = None
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)

    def account(self) -> dict[str, Any]:
        """What a bill is compared with."""
        names = ("requests", "prompt_tokens", "cached_tokens", "answer_tokens", "dollars", "pilot")
        return {name: getattr(self, name) for name in names}

    def lines(self) -> list[str]:
        """For people."""
        about = "" if self.exact else "at most "
        guess = "" if self.pilot else "about " if self.exact else about
        measured = f", measured by a pilot of {self.pilot:,} requests" if self.pilot else ""
        rows = {
            "judge": ", ".join(dict.fromkeys(self.judges)),
            "download": _bytes(self.download_bytes),
            "disk": _bytes(self.disk_bytes),
            "users": _number(self.users),
            "requests": _number(self.requests),
            "prompt tokens": _number(self.prompt_tokens, about),
            **({"of these cached": _number(self.cached_tokens)} if self.pilot else {}),
            "answer tokens": _number(self.answer_tokens, guess),
            "price": self._price(about),
        }
        return [
            f"plan for {self.domain}{measured}:",
            *(f"  {name:<15} {text}" for name, text in rows.items()),
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
    total = None
    if users is not None:
        instances = users * recipe.histories.instances_per_user
        most = recipe.prompt.max_tokens, recipe.judges.max_answer_tokens
        total = account(
            {
                name: Usage(each * instances * most[0], 0, each * instances * most[1], each * instances)
                for name, each in _requests_each(recipe).items()
            },
            lambda name: price_of(name, prices, addresses(name, recipe.judges, settings)),
        )
    return _plan(recipe, prices, source, users, total, exact=False)


def count(instances: Iterable[Instance], prompts: Prompts, report: Reporter) -> Work:
    """Writes and measures every first request of these instances; none is sent."""
    recipe = prompts.recipe
    capo, sft = recipe.judges.capo, recipe.judges.sft
    requests: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    longest = cut = 0
    for instance in instances:
        report.advance()
        shown = show(instance, prompts)
        cut += bool(shown.cut)
        judged = (instance.target_index, *instance.rejected[: recipe.candidates.rejected])
        asked = [(capo, index) for index in judged] + ([(sft, instance.target_index)] if sft != capo else [])
        for name, index in asked:
            messages = judge_messages(instance, shown, instance.candidates[index], prompts, firmer=False)
            size = sum(len(message["content"]) for message in messages)
            requests[name] += 1
            characters[name] += size
            longest = max(longest, size)
    return Work({name: Counted(requests[name], characters[name]) for name in requests}, longest, cut)


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans on the data itself: before a pilot by what was counted, after it by what it measured."""

    recipe: Recipe
    settings: Settings
    prices: PriceTable
    source: SourcePlan
    users: int
    work: Work

    def plan(self, pilots: Mapping[str, Pilot] | None = None) -> Plan:
        """The plan; `pilots` are what judges took, by name."""
        known, recipe, most = pilots or {}, self.recipe, self.settings.max_cost
        ratio, limit = recipe.prompt.characters_per_token, recipe.judges.max_answer_tokens
        total = account(
            {
                name: forecast(counted, ratio, limit, known.get(name))
                for name, counted in self.work.by_judge.items()
            },
            lambda name: price_of(name, self.prices, addresses(name, recipe.judges, self.settings)),
        )
        pilot = known.get(recipe.judges.capo)
        measured = pilot.characters_per_token if pilot else None
        notes = list(_length_notes(recipe, self.work, measured))
        if most is not None and (total.dollars or 0.0) > most:
            notes.append(f"this is above --max-cost {most:g}: the build will stop there, exit 4")
        return _plan(
            recipe,
            self.prices,
            self.source,
            self.users,
            total,
            exact=True,
            pilot=sum(one.usage.requests for one in known.values()),
            characters_per_token=measured,
            notes=tuple(notes),
        )


def _length_notes(recipe: Recipe, work: Work, measured: float | None) -> Iterable[str]:
    """What a measured ratio says about prompts that were budgeted by another one.

    The recipe alone determines the dataset, so nothing is changed here: whoever wants other lengths says so.
    """
    told, limit = recipe.prompt.characters_per_token, recipe.prompt.max_tokens
    if measured is None:
        return
    longest = work.longest / measured + recipe.judges.max_answer_tokens
    flag = f"--characters-per-token {measured:.1f} in a folder of its own (answers that fit are taken over)"
    if measured < told * (1 - TOLERANCE) and longest > limit * (1 + TOLERANCE):
        yield (
            f"{measured:.1f} characters make a token here, the recipe says {told:g}: with its answer the"
            f" longest prompt has about {longest:,.0f} tokens, {limit:,} are wanted; {flag} shortens it"
        )
    if measured > told * (1 + TOLERANCE) and work.cut:
        yield (
            f"{measured:.1f} characters make a token here, the recipe says {told:g}: {work.cut:,} histories"
            f" are cut earlier than they need be; {flag} shows more of them"
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


def _requests_each(recipe: Recipe) -> dict[str, int]:
    """First requests an instance by judge."""
    capo, sft = recipe.judges.capo, recipe.judges.sft
    each = {capo: recipe.candidates.rejected + 1}
    return each if sft == capo else {**each, sft: 1}


def _plan(
    recipe: Recipe,
    prices: PriceTable,
    source: SourcePlan,
    users: int | None,
    total: Account | None,
    *,
    exact: bool,
    pilot: int = 0,
    characters_per_token: float | None = None,
    notes: tuple[str, ...] = (),
) -> Plan:
    names = (recipe.judges.capo, recipe.judges.sft)
    requests = None if total is None else total.usage.requests
    if set(names) == {"lexical"}:  # it reads no tokens
        total = Account(Usage(), 0.0)
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
        prompt_tokens=None if total is None else total.usage.prompt_tokens,
        cached_tokens=None if total is None else total.usage.cached_tokens,
        answer_tokens=None if total is None else total.usage.answer_tokens,
        dollars=None if total is None else total.dollars,
        prices_of=prices.date,
        pilot=pilot,
        characters_per_token=characters_per_token,
        notes=(*source.notes, *notes),
    )


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
