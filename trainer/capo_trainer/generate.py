"""Answers of a recommender: prompts in, sampled texts out; by transformers here, or by vLLM where installed.

A prompt goes through the model once and its cache serves all its samples. A sample's random numbers are
those of (seed, row id, sample), so which rows are asked together changes nothing but rounding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from capo_trainer import compat, data
from capo_trainer.errors import UsageError
from capo_trainer.generations import Generation, Store, candidate_ids, understood
from capo_trainer.identity import model_identity
from capo_trainer.tokenise import ChatTokenizer, Ids, fit

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Engine = Literal["auto", "transformers", "vllm"]
Answer = tuple[int, list[str]]  # the prompt's number, a text a sample


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn.

    Attributes:
        samples: Answers to each prompt.
        temperature: 0 takes the most probable token.
        max_new_tokens: Longest answer.
        max_tokens: Of prompt and answer; the oldest history is cut to keep within it.
        seed: Of the draws.
    """

    samples: int = 5
    temperature: float = 0.7
    max_new_tokens: int = 512
    max_tokens: int = 12_000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A row's prompt, ready for a model.

    Attributes:
        row: Of config `test`.
        ids: The prompt, shape [P].
    """

    row: Mapping[str, Any]
    ids: Ids


def asked(
    rows: Sequence[Mapping[str, Any]],
    chat: ChatTokenizer,
    sampling: Sampling,
    note: Callable[[str], None] = lambda _: None,
) -> list[Asked]:
    """The prompts as ids, with as much of the newest history as there is room for.

    Raises:
        DatasetError: Two candidates of a row share a title.
        UsageError: A prompt does not fit even without history.
    """
    room = sampling.max_tokens - sampling.max_new_tokens
    if room <= 0:
        raise UsageError(
            f"--max-tokens {sampling.max_tokens:,} leaves no room for a prompt",
            why=f"an answer may take --max-new-tokens {sampling.max_new_tokens:,} of them",
            next_command="raise --max-tokens, or lower --max-new-tokens",
        )
    found, cut = [], 0
    for row in rows:
        candidate_ids(row)
        ids, left_out = fit(row, chat, room)
        cut += left_out > 0
        if ids is None:
            raise UsageError(
                f"a prompt exceeds {sampling.max_tokens:,} tokens without any history",
                where=f"row {row['id']}",
                next_command="raise --max-tokens",
            )
        found.append(Asked(row, ids))
    if cut:
        note(f"{cut:,} of {len(rows):,} prompts were too long: their oldest history entries are left out")
    return found


def by_transformers(
    model: Any, prompts: Sequence[Asked], end: int, sampling: Sampling, *, batch: int = 8
) -> Iterator[list[tuple[int, list[Ids]]]]:
    """Samples answers, some prompts at a time, the longest first.

    Args:
        model: A causal language model in evaluation mode.
        prompts: What to ask.
        end: Id of the end-of-turn token.
        sampling: How.
        batch: Prompts at a time; each takes `samples` rows.

    Yields:
        For each prompt of a batch its number and the ids of its samples, without the end of turn.
    """
    order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number].ids))
    for start in range(0, len(order), batch):
        numbers = order[start : start + batch]
        texts = _sample(model, [prompts[number] for number in numbers], end, sampling)
        yield list(zip(numbers, texts, strict=True))


def _sample(model: Any, prompts: Sequence[Asked], end: int, sampling: Sampling) -> list[list[Ids]]:
    import torch

    count = sampling.samples if sampling.temperature > 0 else 1
    draws = torch.from_numpy(_draws(prompts, count, sampling)).to(model.device)
    with torch.inference_mode():
        ids, mask = _left_padded([prompt.ids for prompt in prompts], model.device)
        out = model(
            input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            use_cache=True, logits_to_keep=1,
        )  # fmt: skip
        cache, logits = out.past_key_values, out.logits[:, -1].repeat_interleave(count, 0)
        cache.batch_repeat_interleave(count)
        mask = mask.repeat_interleave(count, 0)
        position = mask.sum(1, keepdim=True)
        written = [_next(logits, draws[:, 0], sampling.temperature)]
        over = written[0] == end
        for step in range(1, sampling.max_new_tokens):
            if bool(over.all()):
                break
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
            logits = model(
                input_ids=written[-1][:, None], attention_mask=mask, position_ids=position,
                use_cache=True, **{compat.cache_argument(model): cache},
            ).logits[:, -1]  # fmt: skip
            position = position + 1
            written.append(_next(logits, draws[:, step], sampling.temperature))
            over |= written[-1] == end
    drawn: Ids = torch.stack(written, 1).cpu().numpy().astype(np.int32)
    ended: list[Ids] = [row[: int(np.argmax(row == end))] if (row == end).any() else row for row in drawn]
    each = [ended[start : start + count] for start in range(0, len(ended), count)]
    return [texts * (sampling.samples // count) for texts in each]


def _next(logits: Tensor, draw: Tensor, temperature: float) -> Tensor:
    """The next token of each row, int64 [N], by the inverse of the cumulative distribution."""
    import torch

    if temperature == 0:
        return logits.argmax(-1)
    cumulative = torch.softmax(logits.double() / temperature, -1).cumsum(-1)
    found = torch.searchsorted(cumulative, (draw * cumulative[:, -1])[:, None]).squeeze(1)
    return found.clamp(max=logits.shape[-1] - 1)


def _draws(prompts: Sequence[Asked], count: int, sampling: Sampling) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Uniform numbers, [prompts * count, max_new_tokens], keyed by (seed, row id, sample)."""
    keys = [
        hashlib.blake2b(f"{sampling.seed}:{prompt.row['id']}:{sample}".encode(), digest_size=8).digest()
        for prompt in prompts
        for sample in range(count)
    ]
    return np.stack(
        [np.random.default_rng(int.from_bytes(key)).random(sampling.max_new_tokens) for key in keys]
    )


def _left_padded(prompts: Sequence[Ids], device: torch.device) -> tuple[Tensor, Tensor]:
    import torch

    longest = max(map(len, prompts))
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.from_numpy(prompt.astype(np.int64))
        mask[row, longest - len(prompt) :] = 1
    return ids.to(device), mask.to(device)


@dataclass(frozen=True, slots=True)
class Job:
    """A whole `capo-train generate`.

    Attributes:
        dataset: Folder or Hub id of a released dataset.
        model: A run of `sft` or `prefer`, or a model's folder or Hub id.
        out: Folder of `generations.jsonl`.
        revision: Of a dataset on the Hub.
        split: `test` or `validation`.
        base: The adapter's base model, where it lies elsewhere by now.
        name: What the answers are said to be of; None takes the model's folder.
        engine: `auto` is vLLM where it is installed.
        batch: Prompts at a time (transformers).
        max_rows: Only the first rows.
        sampling: How answers are drawn.
    """

    dataset: str
    model: str
    out: Path
    revision: str | None = None
    split: str = "test"
    base: str | None = None
    name: str | None = None
    engine: Engine = "auto"
    batch: int = 8
    max_rows: int | None = None
    sampling: Sampling = Sampling()

    @property
    def told(self) -> str:
        """The name of who answers."""
        return self.name or Path(self.model).name or self.model


def test_rows(folder: Path, split: str, max_rows: int | None) -> list[dict[str, Any]]:
    """The first rows of a split of config `test`."""
    import itertools

    return list(itertools.islice(data.read_rows(folder, "test", split), max_rows))


def run(
    job: Job, *, fresh: bool = False, note: Callable[[str], None], live: Callable[[str], None]
) -> list[Generation]:
    """Answers every row that has no answer yet, and publishes `generations.jsonl`.

    Args:
        job: What to do.
        fresh: Throw earlier answers away.
        note: Told what is remarkable.
        live: Told of progress.

    Raises:
        UsageError: The folder holds answers made otherwise; vLLM is asked for and not installed.
        DatasetError: The dataset cannot be read, or a row has two candidates of one title.
        ModelError: The model cannot be loaded.
    """
    from capo_trainer import before

    folder = data.located(job.dataset, job.revision)
    rows = test_rows(folder, job.split, job.max_rows)
    before.named(job.model, note)
    before.base_named(job.model, job.base, note)
    store = Store(job.out, settings(job), fresh=fresh)
    done = store.done(job.sampling.samples)
    missing = [row for row in rows if row["id"] not in done]
    if done and missing:
        note(f"{len(done):,} rows have their answers from before; {len(missing):,} are left")
    if missing:
        answered = len(done)
        for answers in _answers(job, data.tags(folder), missing, note):
            store.add(answers)
            answered += len(answers) // job.sampling.samples
            live(f"generating  {answered:,}/{len(rows):,} rows")
    return store.finish([row["id"] for row in rows], job.sampling.samples)


def settings(job: Job) -> dict[str, Any]:
    """All that determines the answer to a row; dataset and weights by content."""
    folder = data.located(job.dataset, job.revision)
    return {
        "dataset": data.fingerprint(folder, "test", job.split), "split": job.split, "model": job.model,
        "weights": model_identity(job.model), "name": job.told, "engine": engine(job), **asdict(job.sampling),
    }  # fmt: skip


def engine(job: Job) -> str:
    """Which engine answers; two do not give the same answers, so that a folder holds those of one."""
    from capo_trainer import generate_vllm

    return ("vllm" if generate_vllm.installed() else "transformers") if job.engine == "auto" else job.engine


def _answers(
    job: Job, tags: data.Tags, rows: Sequence[Mapping[str, Any]], note: Callable[[str], None]
) -> Iterator[list[Generation]]:
    """Whole rows' answers, some rows at a time."""
    from capo_trainer import generate_vllm, models

    chat = models.tokenizer(job.model)
    prompts = asked(rows, chat, job.sampling, note)
    if engine(job) == "vllm":
        note("generating with vLLM")
        batches = generate_vllm.answers(job.model, job.base, prompts, chat.end, job.sampling)
    else:
        import torch

        model, _ = models.for_inference(job.model, base=job.base)
        model = model.to("cuda" if torch.cuda.is_available() else "cpu")
        batches = by_transformers(model, prompts, chat.end, job.sampling, batch=job.batch)
    for batch in batches:
        yield [
            understood(
                prompts[number].row,
                str(chat.tokenizer.decode(ids, skip_special_tokens=True)),
                model=job.told,
                sample=sample,
                tags=tags,
            )
            for number, samples in batch
            for sample, ids in enumerate(samples)
        ]


def greedy(sampling: Sampling) -> Sampling:
    """The same without chance: one answer, the most probable token each time."""
    return replace(sampling, samples=1, temperature=0.0)
