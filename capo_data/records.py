"""What passes between the rooms: typed, frozen records and the Arrow schemas they are stored in.

The field's terms: an *interaction* is one user touching one item; a *history* S_u is what came before
the *chosen* item i_c; *rejected* items were never touched by the user; the *candidate set* holds the
chosen item and all unobserved ones shown beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

Split = Literal["train", "validation", "test"]
Message = dict[str, str]  # {"role": "system" | "user" | "assistant", "content": text}

RATING_WORDS = ("Terrible", "Bad", "Okay", "Good", "Excellent")


class Reporter(Protocol):
    """Where long work says how far it is. The command line draws it, a library caller may ignore it."""

    def start(self, what: str, total: int | None = None) -> None:
        """A piece of work begins; `total` units are expected if known."""

    def advance(self, count: int = 1) -> None:
        """So many more units are done."""

    def finish(self) -> None:
        """The piece of work begun last is done."""

    def note(self, text: str) -> None:
        """One line a person should see."""


class SilentReporter:
    """A reporter that says nothing."""

    def start(self, what: str, total: int | None = None) -> None:
        """Ignored."""

    def advance(self, count: int = 1) -> None:
        """Ignored."""

    def finish(self) -> None:
        """Ignored."""

    def note(self, text: str) -> None:
        """Ignored."""


@dataclass(frozen=True, slots=True)
class RatingScale:
    """The lowest and highest rating a source can give; anything outside is dirt."""

    low: float
    high: float

    def stars(self, rating: float) -> int:
        """Maps a rating to 1..5; half stars round up (PROTOCOL, Data).

        A scale that ends at 5 is taken as stars already, any other is stretched linearly.
        """
        stars = rating if self.high == 5 else 1 + 4 * (rating - self.low) / (self.high - self.low)
        return min(5, max(1, int(stars + 0.5)))

    def word(self, rating: float | None) -> str | None:
        """The rating word of a prompt (Terrible .. Excellent), None where there is no rating."""
        return None if rating is None else RATING_WORDS[self.stars(rating) - 1]


@dataclass(frozen=True, slots=True)
class StagedSource:
    """A source after reading: Parquet files in the schemas below, and what was dirty.

    Attributes:
        interactions: Parquet files in `interactions_schema()`, in any order.
        items: Parquet files in `items_schema()`; an item may occur more than once (the
            histories settle which row counts, by content), or not at all.
        dropped: Parquet files in `dropped_schema()`: rows that could not be used, with the reason.
        dirt: Count by kind of dirt, used rows with a blemish included.
        scale: The scale that ratings are declared in.
        fingerprint: Hash of the content of the input files and of how they were read.
        touched: Parquet files of user_id, item_id (string): rows that cannot be an interaction for want of
            a time, but tell that the user touched the item, which so is no negative.
    """

    interactions: tuple[Path, ...]
    items: tuple[Path, ...]
    dropped: tuple[Path, ...]
    dirt: Mapping[str, int]
    scale: RatingScale
    fingerprint: str
    touched: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """An item as a prompt shows it: clean, single-line text."""

    item_id: str
    title: str
    description: str | None = None
    details: str | None = None


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One past interaction as a prompt shows it: clean, single-line text, already cut to length."""

    item_id: str
    title: str
    description: str | None
    details: str | None
    rating: str | None  # the word
    rating_value: float | None  # the number, on the source's scale
    review: str | None
    timestamp: int  # ms since 1970


@dataclass(frozen=True, slots=True)
class Instance:
    """One decision: a history, the item that came next, and the unobserved items beside it.

    Attributes:
        id: Stable, opaque; the key of every released row.
        split: `train` instances are judged, the others never.
        user: The released pseudonym.
        history: Titled entries, oldest first.
        history_untitled: How many entries had no title and are left out.
        candidates: The candidate set in prompt order.
        target_index: Where in it the chosen item stands.
        rejected: Indices of the unobserved candidates in the order they were drawn; the first K are
            the rejected items, the following ones the reserve that `redraw` takes from.
    """

    id: str
    split: Split
    user: str
    history: tuple[HistoryEntry, ...]
    history_untitled: int
    candidates: tuple[Item, ...]
    target_index: int
    rejected: tuple[int, ...]

    @property
    def target(self) -> Item:
        """The chosen item."""
        return self.candidates[self.target_index]


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """One question to a judge: may this item follow this history?

    `body` is the exact request that is sent and hashed. The structured fields below it say the same
    and are there for a judge that does not read prose (the lexical one). `user` is whose requests share
    a prefix; empty means that nobody else's do.
    """

    body: Mapping[str, Any]
    instance_id: str
    history: tuple[HistoryEntry, ...]
    item: Item
    user: str = ""


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What a judge sent back, before anybody looked at it.

    Attributes:
        text: The response body as received (OpenAI-shaped JSON), stored before it is parsed.
        url: The address that answered; kept beside the answer, never part of its key.
        seconds: Wall time of the successful attempt.
        attempts: How many attempts it took.
    """

    text: str
    url: str
    seconds: float
    attempts: int


class Judge(Protocol):
    """Something that answers requests: an API, an engine, the lexical baseline."""

    @property
    def name(self) -> str:
        """As it stands in every row: `lexical`, `openai:gpt-4o`."""

    @property
    def identity(self) -> Mapping[str, str | None]:
        """The logical endpoint that is part of every key: provider, model, revision. No address."""

    def body(self, messages: Sequence[Message], *, longer: bool = False) -> Mapping[str, Any]:
        """The exact request for these messages; `longer` doubles the answer's limit."""

    async def ask(self, request: JudgeRequest) -> RawAnswer:
        """One attempt, or as many as its retry policy allows.

        Raises:
            JudgeError: Every request would fail (key, model, address).
            RequestFailed: This request failed for good; see `judges.ask`.
        """

    async def close(self) -> None:
        """Releases connections."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """An answer understood, or the reason why it could not be.

    Attributes:
        status: `ok`, or what is wrong with the answer (`no_rating`, `giveaway`, `failed` ...).
        rationale: Text between the think tags, None unless ok.
        score: 1..7, None unless ok.
        expected_score: Probability-weighted score where log-probabilities were given.
        key: Key of the answer in the journal; empty if the request failed.
    """

    status: str
    rationale: str | None
    score: int | None
    expected_score: float | None
    key: str
    judge: str
    prompt_version: str
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether rationale and score are there."""
        return self.status == "ok"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A row that did not make it, where, and why."""

    row: str
    stage: str
    reason: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that were paid for."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    answer_tokens: int = 0
    requests: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.answer_tokens + other.answer_tokens,
            self.requests + other.requests,
        )


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """What a source is asked to read.

    Attributes:
        kind: `amazon`, `movielens`, `table` or `demo`.
        domain: The domain's name as typed.
        category: Amazon's full category name, or the MovieLens folder's name; empty otherwise.
        path: Folder, file or glob the user named; None means fetch or simulate.
        items: A file or glob of items that replaces the source's own metadata.
        columns: Our column name -> theirs, for tables (user_id, item_id, rating, timestamp, text,
            title, description, details).
        scale: Declared rating scale; None takes the source's own.
        seed: For sources that simulate.
        size: For sources that simulate: how many users, items and interactions (`SimulatedSize`).
        cache: Folder where raw downloads and staged Parquet files are kept.
        memory_limit: DuckDB's, such as `4GB`.
    """

    kind: str
    domain: str
    cache: Path
    category: str = ""
    path: str | None = None
    items: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    scale: RatingScale | None = None
    seed: int = 0
    size: Mapping[str, int] = field(default_factory=dict)
    memory_limit: str = "4GB"


def interactions_schema() -> pa.Schema:
    """user_id, item_id: string; rating: float64 or null; timestamp: int64, ms; review: string or null."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("user_id", pa.string(), nullable=False),
            pa.field("item_id", pa.string(), nullable=False),
            pa.field("rating", pa.float64()),
            pa.field("timestamp", pa.int64(), nullable=False),
            pa.field("review", pa.string()),
        ]
    )


def items_schema() -> pa.Schema:
    """item_id: string; title, description, details: string or null (raw text, not cleaned)."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("item_id", pa.string(), nullable=False),
            pa.field("title", pa.string()),
            pa.field("description", pa.string()),
            pa.field("details", pa.string()),
        ]
    )


def dropped_schema() -> pa.Schema:
    """row: `file:line` or an id; stage; reason."""
    import pyarrow as pa

    return pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("row", "stage", "reason")])
