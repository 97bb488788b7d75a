"""Policy and calibrator in one module whose forward pass returns the loss, which is all a trainer needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from capo_trainer import losses, models, packing, weights
from capo_trainer.errors import TrainingError
from capo_trainer.logprobs import Forward, response_logprobs
from capo_trainer.packing import Row
from capo_trainer.startup import Way
from capo_trainer.tokenise import Example

if TYPE_CHECKING:
    from torch import Tensor

    from capo_trainer.config import TrainConfig
    from capo_trainer.weights import Calibrated, Calibrator

BINS = 10  # of the histograms of w over [0, 1]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some examples as a model takes them; B rows of the dataset with K responses each.

    Attributes:
        ids: Of the rows of the dataset.
        rows: Of tokens.
        scores: s, float32 [B, K]; no columns for SFT.
        tied: bool [B].
        encodings: z, float32 [B, K, D]; None where no calibrator reads them.
        reference: log pi_ref of each response, float32 [B, K]; None where it is computed at the step.
        tokens: In the rows, padding left out.
    """

    ids: tuple[str, ...]
    rows: tuple[Row, ...]
    scores: Tensor
    tied: Tensor
    encodings: Tensor | None
    reference: Tensor | None
    tokens: int

    @property
    def targets(self) -> int:
        """Tokens of responses."""
        return sum(sum(row.lengths) for row in self.rows)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same on a device."""

        def moved(tensor: Any) -> Any:
            return None if tensor is None else tensor.to(device, non_blocking=non_blocking)

        return replace(
            self,
            rows=tuple(row.to(device, non_blocking) for row in self.rows),
            scores=moved(self.scores),
            tied=moved(self.tied),
            encodings=moved(self.encodings),
            reference=moved(self.reference),
        )


@dataclass(frozen=True, slots=True)
class Collator:
    """Examples to a batch.

    Attributes:
        way: Shared prompts or not.
        row_tokens: Budget of a row.
        encodings: z by row id, [K, D].
        reference: Reference log-probabilities by row id, [K].
    """

    way: Way
    row_tokens: int
    encodings: Mapping[str, Any] | None = None
    reference: Mapping[str, Sequence[float]] | None = None

    def __call__(self, examples: Sequence[Example]) -> dict[str, Batch]:
        """As the data loader calls it."""
        rows = packing.rows(examples, share=self.way.share, row_tokens=self.row_tokens)
        tokens = sum(int(row.ids.numel() if row.mask is None else row.mask.sum()) for row in rows)
        return {"batch": replace(self.without_rows(examples), rows=rows, tokens=tokens)}

    def without_rows(self, examples: Sequence[Example]) -> Batch:
        """What a batch holds beside its tokens, which is all that weights are made of."""
        ids = tuple(e.id for e in examples)
        encodings = reference = None
        if self.encodings is not None:
            encodings = torch.from_numpy(np.stack([self.encodings[i] for i in ids]).astype(np.float32))
        if self.reference is not None:
            reference = torch.tensor([list(self.reference[i]) for i in ids], dtype=torch.float32)
        return Batch(
            ids=ids,
            rows=(),
            scores=torch.tensor([e.scores for e in examples], dtype=torch.float32),
            tied=torch.tensor([e.tied for e in examples]),
            encodings=encodings,
            reference=reference,
            tokens=0,
        )


class Objective(nn.Module):
    """The loss of a run as a function of a batch.

    Args:
        config: Of the run.
        policy: A causal language model, bare or with adapters.
        how: Its forward passes.
        reference: How reference log-probabilities are had where a batch does not bring them: `none`,
            `adapter`, `disabled` or `copy` (models.py).
        calibrator: For thurstone weights.
        reference_copy: The frozen model, for `copy`.
    """

    # transformers' Trainer: the loss takes the number of items and is scaled for accumulation already.
    accepts_loss_kwargs = True

    def __init__(
        self,
        config: TrainConfig,
        policy: nn.Module,
        how: Forward,
        *,
        reference: str = "none",
        calibrator: Calibrator | None = None,
        reference_copy: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.run = config
        self.policy = policy
        self.how = how
        self.reference = reference
        self.calibrator = calibrator
        # Which layers a sharded run wraps one by one; accelerate asks the outermost module.
        self._no_split_modules = list(getattr(_bare(policy), "_no_split_modules", None) or ())
        # In a list: no parameter of this module, so neither trained, nor saved, nor wrapped.
        self.reference_copy = [] if reference_copy is None else [reference_copy]

    def forward(self, batch: Batch, num_items_in_batch: Tensor | float | None = None) -> dict[str, Any]:
        """The loss, and sums for the metrics.

        Args:
            batch: On the policy's device.
            num_items_in_batch: What the sum of losses is divided by: rows (tokens for SFT) of all batches
                that make one update; None takes this batch's own.

        Raises:
            TrainingError: The loss of a row is no number; the row is named.
        """
        if self.run.stage == "sft":
            losses_of_rows, sums = self._sft(batch)
            items = batch.targets
        else:
            losses_of_rows, sums = self._prefer(batch)
            items = len(batch.ids)
        _finite(batch.ids, losses_of_rows)
        divisor = items if num_items_in_batch is None else num_items_in_batch
        sums |= {"loss": losses_of_rows.detach().sum(), "items": torch.tensor(float(items))}
        sums["rows"], sums["tokens"] = torch.tensor(float(len(batch.ids))), torch.tensor(float(batch.tokens))
        return {"loss": losses_of_rows.sum() / divisor, "sums": sums}

    def _sft(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return -response_logprobs(self.policy, batch.rows, self.how), {}

    def _prefer(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        shape = batch.scores.shape
        reference = self.reference_logprobs(batch)
        logprobs = response_logprobs(self.policy, batch.rows, self.how).view(shape)
        ratios = self.run.beta * (logprobs - reference)
        loss, calibrated = self._loss(ratios, batch)
        sums = {"chosen_logprob": logprobs[:, 0].detach().sum(), **_margins(ratios.detach(), batch.tied)}
        if calibrated is not None:
            drift = (calibrated.mu - batch.scores).abs().mean(1)
            loss = loss + self.run.calibration.drift_penalty * drift
            sums |= _calibration(calibrated, batch.scores)
        return loss, sums

    def reference_logprobs(self, batch: Batch) -> Tensor:
        """Log pi_ref of each response, [B, K]: the batch's own, or by the frozen weights."""
        if batch.reference is not None:
            return batch.reference
        model = self.reference_copy[0] if self.reference_copy else self.policy
        was_training = model.training
        model.eval()  # no dropout in a reference
        active = models.REFERENCE if self.reference == "adapter" else None
        with torch.no_grad():
            if self.reference in ("adapter", "disabled"):
                with models.adapter(model, active):
                    found = response_logprobs(model, batch.rows, self.how)
            else:
                found = response_logprobs(model, batch.rows, self.how)
        model.train(was_training)
        return found.view(batch.scores.shape)

    def _loss(self, ratios: Tensor, batch: Batch) -> tuple[Tensor, Calibrated | None]:
        """The loss of each row, [B], and what the calibrator made of the scores."""
        if self.run.loss == "dpo":
            return losses.dpo(ratios), None
        if self.run.loss == "sdpo":
            return losses.sdpo(ratios), None
        if self.run.loss == "pl":
            return losses.plackett_luce(ratios, batch.tied), None
        found, calibrated = self.weights(batch)
        return losses.capo(ratios, found, batch.tied), calibrated

    def weights(self, batch: Batch) -> tuple[Tensor, Calibrated | None]:
        """w, [B, K, K], by the run's choice."""
        kind = self.run.calibration.weights
        if kind == "ones":
            return weights.ones(batch.scores), None
        if kind == "sigmoid":
            return weights.sigmoid(batch.scores), None
        if kind == "probit-fixed":
            return weights.probit_fixed(batch.scores), None
        if self.calibrator is None or batch.encodings is None:
            raise TrainingError("thurstone weights need encodings", next_command="capo-train embed DATASET")
        calibrated = self.calibrator(batch.encodings, batch.scores)
        found: Tensor = calibrated.weights
        return found.detach() if self.run.calibration.mode != "joint" else found, calibrated


def _bare(policy: Any) -> Any:
    """The model of transformers within peft's wrapper."""
    return policy.get_base_model() if hasattr(policy, "get_base_model") else policy


def _finite(ids: Sequence[str], values: Tensor) -> None:
    good = torch.isfinite(values)
    if not bool(good.all()):
        per_row = len(values) // len(ids)
        first = int((~good).nonzero()[0, 0]) // per_row
        raise TrainingError(
            f"the loss is {float(values.detach()[first * per_row : (first + 1) * per_row].sum())}",
            where=f"row {ids[first]}",
            why="weights or learning rate have run away, or the model's weights are broken",
            next_command="lower --lr, or go on from an earlier checkpoint",
        )


def _margins(ratios: Tensor, tied: Tensor) -> dict[str, Tensor]:
    """Sums over rows of gaps of g and of who comes first, for the metrics."""
    chosen, rejected = ratios[:, 0], ratios[:, 1:]
    sums = {
        "margin": (chosen.unsqueeze(1) - rejected).mean(1).sum(),
        "accuracy": (chosen.unsqueeze(1) > rejected).float().mean(1).sum(),
        "reward_chosen": chosen.sum(),
        "reward_rejected": rejected.mean(1).sum(),
    }
    if rejected.shape[1] > 1:
        coherent = (rejected[:, 0] > rejected[:, -1]).float()
        sums |= {
            "margin_hard": (chosen - rejected[:, 0]).sum(),
            "margin_easy": (chosen - rejected[:, -1]).sum(),
            "margin_hard_easy": (rejected[:, 0] - rejected[:, -1]).sum(),
            "accuracy_hard_easy": coherent.masked_fill(tied, 0.0).sum(),
            "untied": (~tied).float().sum(),
        }
    return sums


def _calibration(found: Calibrated, scores: Tensor) -> dict[str, Tensor]:
    w = found.weights.detach()
    sums = {
        "mu_minus_s": (found.mu.detach() - scores).mean(1).sum(),
        "sigma": found.sigma.detach().mean(1).sum(),
        "active_mu": found.active_mu.float().mean(1).sum(),
        "active_sigma": found.active_sigma.float().mean(1).sum(),
    }
    last = w.shape[1] - 1
    pairs = {"ch": (0, 1), "ce": (0, last), "he": (1, last)} if last > 1 else {"ch": (0, 1)}
    for name, (i, j) in pairs.items():
        sums[f"w_{name}"] = w[:, i, j].sum()
        sums[f"w_{name}_histogram"] = torch.histc(w[:, i, j].float().cpu(), BINS, 0.0, 1.0)
    return sums
