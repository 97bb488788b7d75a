"""A training run from its config to a folder with the trained weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_trainer import compat, trackers
from capo_trainer.config import TrainConfig
from capo_trainer.errors import ModelError
from capo_trainer.identity import model_identity
from capo_trainer.runs import RunFolder, read_metrics
from capo_trainer.talk import Silence, Talk

if TYPE_CHECKING:
    import torch

    from capo_trainer.objective import Collator, Objective
    from capo_trainer.prepare import Prepared
    from capo_trainer.reference import Reference
    from capo_trainer.tokenise import ChatTokenizer


@dataclass(frozen=True, slots=True)
class Assembled:
    """Everything that a run needs before its first step."""

    config: TrainConfig
    chat: ChatTokenizer
    prepared: Prepared
    objective: Objective
    collate: Collator
    dtype: torch.dtype


def train(
    config: TrainConfig, *, fresh: bool = False, cache: Path | None = None, talk: Talk | None = None
) -> dict[str, Any]:
    """Trains, or goes on with a run that was interrupted, and writes the result to `config.out`.

    Args:
        config: Of the run.
        fresh: Throw away what another run left in the folder.
        cache: Where encodings and reference log-probabilities are kept; None is beside the dataset.
        talk: Told what happens.

    Returns:
        What run.json holds: the result's folder, counts, versions, the first and last line of metrics.

    Raises:
        TrainerError: Something that a person can act on.
    """
    compat.require()
    from capo_trainer import before

    talk = talk or Silence()
    config = before.settled(config, talk.note)
    import torch

    from capo_trainer import loop
    from capo_trainer.figure import write_weights

    folder = RunFolder(config)
    read = made_of(config) if loop.rank() == 0 else {}
    checkpoint = folder.open(read, fresh=fresh) if loop.rank() == 0 else folder.last_whole()
    if folder.finished:
        talk.note(f"{config.out} is finished; to train again, remove it")
        return {**folder.read(), "out": str(config.out)}
    if checkpoint is not None:
        folder.sound(checkpoint)
    args = loop.arguments(config, _dtype(config))
    torch.manual_seed(config.seed)
    assembled = assemble(config, device=args.device, cache=cache, talk=talk)
    facts = {**describe(assembled), **read}
    if loop.rank() == 0:
        folder.write({**facts, "finished": False})
        folder.forget_metrics_after(0 if checkpoint is None else int(checkpoint.name.rsplit("-", 1)[1]))
    trainer = loop.CapoTrainer(
        assembled.objective,
        args,
        assembled.prepared.examples,
        assembled.collate,
        folder,
        assembled.chat,
        talk.live,
    )
    if checkpoint is not None:
        talk.note(f"goes on from {checkpoint}")
    with trackers.explained(config.report_to):
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    trainer.save_model(str(config.out))
    facts = {**facts, "steps": trainer.state.global_step}
    if loop.rank() == 0:
        if config.stage == "prefer" and config.loss == "capo":
            write_weights(assembled, config.out)
        facts = {**facts, **_ends(folder), "finished": True}
        folder.write(facts)
    trainer.accelerator.wait_for_everyone()  # a process that leaves earlier takes the others with it
    return facts


def reference(config: TrainConfig, *, cache: Path | None = None, talk: Talk | None = None) -> Reference:
    """The reference log-probabilities of a preference run, computed unless they are kept already.

    Args:
        config: Of the run that will use them.
        cache: Where they are kept; None is beside the dataset.
        talk: Told what happens.
    """
    compat.require()
    import torch

    from capo_trainer import before, models
    from capo_trainer import reference as references
    from capo_trainer.prepare import cache_folder, prepare

    talk = talk or Silence()
    config = before.settled(config, talk.note)
    prepared = prepare(config, models.tokenizer(tokenizer_of(config)))
    kept = cache_folder(prepared.folder, cache)
    known = references.cached(config, prepared, kept)
    if known is not None:
        return known
    # The loss asks for nothing that the reference does not: no encoder is needed here.
    plain = config.model_copy(update={"loss": "dpo" if config.loss == "dpo" else "pl"})
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    made = assemble(plain, device=device, cache=cache, talk=talk)
    return references.compute(
        made.objective,
        prepared,
        made.collate,
        references.path_of(config, prepared, kept),
        batch=config.batch,
        progress=_progress(talk, "rows"),
    )


def assemble(
    config: TrainConfig, *, device: torch.device, cache: Path | None = None, talk: Talk | None = None
) -> Assembled:
    """Loads and checks everything: dataset, tokenizer, model, adapters, encodings, reference, attention."""
    from capo_trainer import models, startup
    from capo_trainer.logprobs import Forward
    from capo_trainer.objective import Collator, Objective
    from capo_trainer.prepare import cache_folder, prepare

    talk = talk or Silence()
    chat = models.tokenizer(tokenizer_of(config))
    prepared = prepare(config, chat)
    _tell(prepared, talk)
    kept = cache_folder(prepared.folder, cache)
    policy, kind = models.policy(config)
    _check_vocabulary(policy, chat)
    frozen = copy.deepcopy(policy).requires_grad_(False).to(device) if kind == "copy" else None
    policy.to(device)
    way = startup.choose(
        policy,
        share=config.share,
        wanted=config.attention,
        window_of_row=_typical(prepared, config),
        note=talk.note,
    )
    encodings = _encodings(config, prepared, kept, talk)
    reference = _reference(config, prepared, kept, talk)
    objective = Objective(
        config,
        policy,
        Forward(way.mechanism, config.logit_rows),
        reference=kind,
        calibrator=_calibrator(config, encodings),
        reference_copy=frozen,
    )
    collate = Collator(way, config.row_tokens, encodings, reference)
    return Assembled(config, chat, prepared, objective.to(device), collate, _dtype(config))


def tokenizer_of(config: TrainConfig) -> str:
    """Where the run's tokenizer lies: what SFT wrote holds one, else the model's."""
    start = config.adapter
    if start is not None and (Path(start) / "tokenizer_config.json").exists():
        return start
    from capo_trainer.models import base_of

    return config.model or base_of(start or "")


def made_of(config: TrainConfig) -> dict[str, str]:
    """What a run reads, by content: its dataset, the weights that it starts from, its encoder."""
    from capo_trainer import prepare

    read = {
        "dataset_fingerprint": prepare.fingerprint(config),
        "starts_from": model_identity(config.adapter or config.model or ""),
    }
    if config.needs_encoder:
        read["encoder"] = model_identity(config.calibration.encoder)
    return read


def describe(assembled: Assembled) -> dict[str, Any]:
    """What a run writes down about itself."""
    config, prepared = assembled.config, assembled.prepared
    trained = sum(p.numel() for p in assembled.objective.parameters() if p.requires_grad)
    return {
        "stage": config.stage,
        "out": str(config.out),
        "dataset": config.dataset,
        "dataset_revision": config.revision,
        "seed": config.seed,
        "versions": compat.versions(),
        "shared_prompt": assembled.collate.way.share,
        "attention": assembled.collate.way.mechanism,
        "dtype": str(assembled.dtype).removeprefix("torch."),
        "trained_parameters": trained,
        "reference": assembled.objective.reference if assembled.collate.reference is None else "cache",
        **prepared.summary(),
    }


def _ends(folder: RunFolder) -> dict[str, Any]:
    lines = read_metrics(folder.path) if folder.metrics.exists() else []
    return {"first": lines[0], "last": lines[-1]} if lines else {}


def _dtype(config: TrainConfig) -> torch.dtype:
    from capo_trainer import models

    return models.precision(config)


def _tell(prepared: Prepared, talk: Talk) -> None:
    counts = prepared.summary()
    talk.note(
        f"{counts['rows']:,} rows of {prepared.config}, {counts['responses_per_row']} responses each: "
        f"{counts['tokens_shared']:,} tokens ({counts['tokens_apart']:,} without sharing prompts)"
    )
    if counts["rows_cut"]:
        talk.note(
            f"{counts['rows_cut']:,} prompts were too long: {counts['history_entries_cut']:,} of the oldest "
            "history entries left out"
        )


def _typical(prepared: Prepared, config: TrainConfig) -> int:
    lengths = sorted(e.tokens for e in prepared.examples)
    return min(config.row_tokens, lengths[len(lengths) // 2] * config.batch)


def _check_vocabulary(policy: Any, chat: ChatTokenizer) -> None:
    size = policy.get_input_embeddings().weight.shape[0]
    if len(chat.tokenizer) > size:
        raise ModelError(
            "tokenizer and model do not belong together",
            why=f"the tokenizer has {len(chat.tokenizer):,} tokens, the model {size:,}",
        )


def _encodings(config: TrainConfig, prepared: Prepared, kept: Path, talk: Talk) -> Mapping[str, Any] | None:
    if not config.needs_encoder:
        return None
    from capo_trainer.encode import encodings

    found = encodings(
        prepared.folder,
        config.calibration.encoder,
        kept,
        max_rows=config.max_rows,
        progress=_progress(talk, "encoded"),
    )
    talk.note(f"{'encoded' if found.computed else 'encodings'}: {found.path}")
    return found.by_row


def _reference(config: TrainConfig, prepared: Prepared, kept: Path, talk: Talk) -> Mapping[str, Any] | None:
    if config.stage == "sft":
        return None
    from capo_trainer.reference import cached

    found = cached(config, prepared, kept)
    if found is None:
        return None
    talk.note(f"reference: {found.path}")
    return found.by_row


def _calibrator(config: TrainConfig, encodings: Mapping[str, Any] | None) -> Any:
    if encodings is None:
        return None
    from capo_trainer.weights import Calibrator

    calibrator = Calibrator(next(iter(encodings.values())).shape[-1], config.calibration.relu)
    if config.calibration.mode == "frozen" or (
        config.calibration.mode == "detached" and not config.calibration.drift_penalty
    ):
        calibrator.requires_grad_(False)  # nothing would reach it
    return calibrator


def _progress(talk: Talk, what: str) -> Callable[[int, int], None]:
    return lambda done, total: talk.live(f"{what} {done:,}/{total:,}")
