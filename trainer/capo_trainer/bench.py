"""Ours against TRL's DPOTrainer: step time, tokens a second and peak memory by prompt length, in one process.

Every way trains the same LoRA on the same random weights and the same rows, with activation checkpointing and
the reference (the model without its adapter) computed at each step. A step is forward, backward and update of
one row of the dataset. Rows are random tokens, so neither a dataset nor a tokenizer is needed.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from capo_trainer import attention, bench_trl, compat, models, startup
from capo_trainer.config import TrainConfig, resolve
from capo_trainer.errors import TrainerError
from capo_trainer.logprobs import Forward
from capo_trainer.objective import Collator, Objective
from capo_trainer.startup import Way
from capo_trainer.tokenise import Example

if TYPE_CHECKING:
    from torch import nn

    from capo_trainer.talk import Talk

# Name, loss, responses, shared.
OURS = (
    ("C-APO, 3, shared", "capo", 3, True),
    ("DPO, 2, shared", "dpo", 2, True),
    ("C-APO, 3, separate", "capo", 3, False),
    ("DPO, 2, separate", "dpo", 2, False),
)
TRL = "TRL DPO, 2"
SIZES: Mapping[str, Mapping[str, Any]] = {
    # A Gemma 3 that two cores can train.
    "small": {
        "vocab_size": 32_768,
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 64,
        "sliding_window": 1024,
    },
    # The shape of Gemma 3 4B's text model.
    "4b": {
        "vocab_size": 262_208,
        "hidden_size": 2560,
        "intermediate_size": 10_240,
        "num_hidden_layers": 34,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "sliding_window": 1024,
    },
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One way at one prompt length.

    Attributes:
        way: What was measured.
        prompt: Tokens of the prompt.
        seconds: Median of the steps.
        tokens_per_second: Of prompts and responses as the dataset has them, counted once for each response.
        peak: Bytes above what was in use before the step.
    """

    way: str
    prompt: int
    seconds: float
    tokens_per_second: float
    peak: int


def bench(
    prompts: Sequence[int],
    *,
    response: int = 200,
    size: str = "small",
    repeats: int = 3,
    talk: Talk,
) -> dict[str, Any]:
    """Measures all ways at all prompt lengths.

    Args:
        prompts: Tokens of the prompts.
        response: Tokens of a response.
        size: Of `SIZES`.
        repeats: Steps that are timed, after one that is not.
        talk: Told what happens.

    Returns:
        Conditions, and rows as `Measured`.
    """
    compat.require()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    reason = bench_trl.missing()
    if reason:
        talk.note(f"rows of ours alone: {reason}")
    found: list[Measured] = []
    for prompt in prompts:
        rows = _rows(prompt, response, SIZES[size]["vocab_size"], repeats + 1)
        # Generators: each loads its model when it is measured, and lets it go.
        ways = [
            (name, count, _ours(rows, loss, count, share, size, device, dtype, talk))
            for name, loss, count, share in OURS
        ]
        if not reason:
            ways.append((TRL, 2, _trl(rows, size, device, dtype)))
        for name, count, steps in ways:
            talk.live(f"{prompt:,} tokens: {name}")
            found.append(_measure(name, prompt, count * (prompt + response), steps, device))
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "dtype": str(dtype).removeprefix("torch."),
        "model": size,
        "response_tokens": response,
        "repeats": repeats,
        "versions": compat.versions() | bench_trl.version(),
        "rows": [{name: getattr(m, name) for name in Measured.__slots__} for m in found],
    }


def table(found: Mapping[str, Any]) -> str:
    """The rows as Markdown, with each way's share of TRL's time and memory."""
    trl = {row["prompt"]: row for row in found["rows"] if row["way"] == TRL}
    plain = {row["prompt"]: row for row in found["rows"] if row["way"] == "DPO, 2, separate"}
    header = ["prompt", "way", "s a step", "tokens/s", "peak MiB", "of TRL's s", "of DPO's s", "of TRL's MiB"]
    lines = [header, ["---:", "---", *["---:"] * 6]]
    for row in found["rows"]:
        theirs, ours = trl.get(row["prompt"]), plain[row["prompt"]]
        lines.append(
            [
                f"{row['prompt']:,}",
                row["way"],
                f"{row['seconds']:.3g}",
                f"{row['tokens_per_second']:,.0f}",
                f"{row['peak'] / 2**20:,.0f}",
                "" if theirs is None else f"{row['seconds'] / theirs['seconds']:.2f}",
                f"{row['seconds'] / ours['seconds']:.2f}",
                "" if theirs is None else f"{row['peak'] / theirs['peak']:.2f}",
            ]
        )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _rows(prompt: int, response: int, vocabulary: int, count: int) -> list[Example]:
    random = np.random.default_rng(prompt)

    def ids(length: int) -> Any:
        return random.integers(10, vocabulary, length).astype(np.int32)

    return [
        Example(f"row {n}", ids(prompt), (ids(response), ids(response), ids(response)), (6.0, 4.0, 2.0))
        for n in range(count)
    ]


def _model(size: str, device: torch.device, dtype: torch.dtype, implementation: str) -> nn.Module:
    """A random Gemma 3 with LoRA of the paper's kind and checkpointing; the same weights every time."""
    import peft
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    shape = dict(SIZES[size])
    layers = shape["num_hidden_layers"]
    kinds = [
        "full_attention" if (n + 1) % 6 == 0 or n == layers - 1 else "sliding_attention"
        for n in range(layers)
    ]
    config = Gemma3TextConfig(**shape, layer_types=kinds, max_position_embeddings=32_768)
    config._attn_implementation = implementation
    torch.manual_seed(0)
    with torch.device(device):
        base: Any = Gemma3ForCausalLM(config)
    base.to(dtype=dtype)
    base.config.use_cache = False
    compat.checkpoint_activations(base)
    lora = _config("capo").lora
    targets = models.lora_targets(base, lora.targets)
    return peft.get_peft_model(
        base,
        peft.LoraConfig(r=lora.r, lora_alpha=int(lora.alpha), target_modules=targets, task_type="CAUSAL_LM"),
    )


def _config(loss: str) -> TrainConfig:
    given = {"dataset": "-", "adapter": "-", "out": "-", "loss": loss, "calibration.weights": "probit-fixed"}
    return resolve("prefer", given)


def _ours(
    rows: Sequence[Example],
    loss: str,
    count: int,
    share: bool,
    size: str,
    device: torch.device,
    dtype: torch.dtype,
    talk: Talk,
) -> Iterator[Callable[[], None]]:
    implementation = attention.register() if share else "sdpa"
    model = _model(size, device, dtype, implementation).train()
    way = Way(False)
    if share:
        longest = rows[0].tokens
        way = startup.choose(model, share=True, wanted="auto", window_of_row=longest, note=talk.note)
        if not way.share:
            raise TrainerError("prompts cannot be shared here, so there is nothing to measure")
    objective = Objective(_config(loss), model, Forward(way.mechanism), reference="disabled")
    collate = Collator(way, row_tokens=1 << 30)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-5)
    for row in rows:
        kept = Example(row.id, row.prompt, row.responses[:count], row.scores[:count])
        batch = collate([kept])["batch"].to(device)

        def step(batch: Any = batch) -> None:
            with _autocast(device, dtype):
                value = objective(batch)["loss"]
            value.backward()
            optimizer.step()
            optimizer.zero_grad()

        yield step


def _trl(
    rows: Sequence[Example], size: str, device: torch.device, dtype: torch.dtype
) -> Iterator[Callable[[], None]]:
    model = _model(size, device, dtype, "sdpa").train()
    data = bench_trl.rows(rows)
    trainer = bench_trl.dpo_trainer(model, data, device, dtype)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-5)
    for row in data:
        inputs = trainer.data_collator([row])

        def step(inputs: Any = inputs) -> None:
            trainer.training_step(trainer.model, dict(inputs))
            optimizer.step()
            optimizer.zero_grad()

        yield step


def _autocast(device: torch.device, dtype: torch.dtype) -> Any:
    return torch.autocast(device.type, dtype) if dtype == torch.bfloat16 else contextlib.nullcontext()


def _measure(
    way: str, prompt: int, tokens: int, steps: Iterator[Callable[[], None]], device: torch.device
) -> Measured:
    took: list[float] = []
    peaks: list[int] = []
    for number, step in enumerate(steps):
        _give_back()
        with _peak(device) as peak:
            start = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds = time.perf_counter() - start
        if number:  # the first makes the optimizer's state, and may compile
            took.append(seconds)
            peaks.append(peak[0])
    seconds = statistics.median(took)
    return Measured(way, prompt, seconds, tokens / seconds, int(statistics.median(peaks)))


@contextlib.contextmanager
def _peak(device: torch.device) -> Iterator[list[int]]:
    """Bytes in use at most, above what was in use at the start."""
    found = [0]
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        yield found
        found[0] = torch.cuda.max_memory_allocated(device) - before
        return
    before, ended = _resident(), threading.Event()

    def watch() -> None:
        while not ended.wait(0.003):
            found[0] = max(found[0], _resident() - before)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    yield found
    ended.set()
    watcher.join()
    found[0] = max(found[0], _resident() - before)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _give_back() -> None:
    """Returns what is free to the system, so that one way's leftovers do not hide another's needs."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{os.cpu_count()} cores of {line.split(':')[1].strip()}"
    return f"{os.cpu_count()} cores"
