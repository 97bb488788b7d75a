"""The conflict-aware weights w_ij: how far a judge's scores speak for response i over response j (Eq. 7).

Scores are s of shape [B, K], encodings z of shape [B, K, D], weights w of shape [B, K, K] with
w_ij + w_ji = 1 (except `ones`). All is computed in float32, whatever precision the policy has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

# softplus(0): the smallest sigma while a ReLU stands on the heads' outputs.
FLOOR = math.log(2.0)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What the calibrator makes of the scores.

    Attributes:
        weights: w, [B, K, K].
        mu: Calibrated scores, [B, K].
        sigma: Their standard deviations, [B, K].
        active_mu: [B, K], bool: the ReLU of FC1 lets something through (all true without one on the output).
        active_sigma: Likewise FC2.
    """

    weights: Tensor
    mu: Tensor
    sigma: Tensor
    active_mu: Tensor
    active_sigma: Tensor


def ones(scores: Tensor) -> Tensor:
    """W = 1: the Plackett-Luce loss (Lemma 1)."""
    batch, count = scores.shape
    return scores.new_ones(batch, count, count)


def sigmoid(scores: Tensor) -> Tensor:
    """`sigmoid(s_i - s_j)`: variant E of Fig. 5, no encoder."""
    return torch.sigmoid(_differences(scores))


def thurstone(mu: Tensor, sigma: Tensor) -> Tensor:
    """`Phi((mu_i - mu_j) / sqrt(sigma_i^2 + sigma_j^2))`, the chance that i wins."""
    variance = sigma.square()
    gaps = _differences(mu) / (variance.unsqueeze(2) + variance.unsqueeze(1)).sqrt()
    chance: Tensor = torch.special.ndtr(gaps)
    return chance


def probit_fixed(scores: Tensor) -> Tensor:
    """Thurstone's weights of the raw scores with sigma at its floor: tells the slope from the calibration."""
    return thurstone(scores, torch.full_like(scores, FLOOR))


class Calibrator(nn.Module):
    """`gate = sigmoid(Linear(z)); mu = s + gate * FC1(z); sigma = softplus(FC2(z))`, shared by all items.

    Args:
        dimensions: D.
        relu: `outputs`: FC is a linear layer with a ReLU on its output, so mu >= s and sigma >= ln 2.
            `hidden`: FC is two linear layers with the ReLU between them, so both are free.
    """

    def __init__(self, dimensions: int, relu: Literal["outputs", "hidden"] = "outputs") -> None:
        super().__init__()
        self.dimensions = dimensions
        self.relu = relu
        self.gate = nn.Linear(dimensions, 1)
        self.shift = self._head()
        self.spread = self._head()

    def _head(self) -> nn.Module:
        width = self.dimensions
        if self.relu == "outputs":
            return nn.Sequential(nn.Linear(width, 1), nn.ReLU())
        return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, encodings: Tensor, scores: Tensor) -> Calibrated:
        """The weights of a batch.

        Args:
            encodings: z, [B, K, D].
            scores: s, [B, K].
        """
        with torch.autocast(encodings.device.type, enabled=False):
            z, s = encodings.float(), scores.float()
            shift, spread = self.shift(z).squeeze(-1), self.spread(z).squeeze(-1)
            mu = s + torch.sigmoid(self.gate(z)).squeeze(-1) * shift
            sigma = functional.softplus(spread)
            free = self.relu == "hidden"
            return Calibrated(thurstone(mu, sigma), mu, sigma, (shift > 0) | free, (spread > 0) | free)


def _differences(values: Tensor) -> Tensor:
    """d_ij = v_i - v_j, [B, K, K]."""
    return values.unsqueeze(2) - values.unsqueeze(1)
