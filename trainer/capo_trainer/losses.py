"""Preference losses on log-probability ratios, in forms that stay finite at any gap (PROTOCOL, "Loss").

Throughout, `ratios` is g of shape [B, K]: `beta * (log pi_theta - log pi_ref)` of each response, summed over
its tokens; column 0 is the chosen response, then the rejected ones from hard to easy. Each function returns
the loss of every row, shape [B], in the dtype of `ratios`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def dpo(ratios: Tensor) -> Tensor:
    """`softplus(g_r - g_c)` of one rejected response (Rafailov et al., 2023, Eq. 7).

    Args:
        ratios: [B, 2].
    """
    if ratios.shape[1] != 2:
        raise ValueError(f"DPO compares two responses, not {ratios.shape[1]}")
    return _softplus(ratios[:, 1] - ratios[:, 0])


def sdpo(ratios: Tensor) -> Tensor:
    """`softplus(logsumexp_r(g_r - g_c))` over any number of rejected responses (Chen et al., 2024)."""
    return _softplus(torch.logsumexp(ratios[:, 1:] - ratios[:, :1], dim=1))


def plackett_luce(ratios: Tensor, tied: Tensor | None = None) -> Tensor:
    """The negative log-likelihood of the order of the columns (Eq. 5, for K items).

    Args:
        ratios: [B, K].
        tied: [B], bool: rows in which the order of the rejected responses is no part of the loss.
    """
    return capo(ratios, ratios.new_ones(ratios.shape[0], ratios.shape[1], ratios.shape[1]), tied)


def capo(ratios: Tensor, weights: Tensor, tied: Tensor | None = None) -> Tensor:
    """`sum_{j<K} softplus(logsumexp_{l>j} w_jl (g_l - g_j))`, which is Eq. 6 at three responses.

    Args:
        ratios: [B, K].
        weights: w of shape [B, K, K]; only the part above the diagonal is read.
        tied: [B], bool: rows in which the order of the rejected responses is no part of the loss.
    """
    count = ratios.shape[1]
    loss = torch.zeros_like(ratios[:, 0])
    for j in range(count - 1):
        gaps = weights[:, j, j + 1 :] * (ratios[:, j + 1 :] - ratios[:, j : j + 1])
        term = _softplus(torch.logsumexp(gaps, dim=1))
        if j > 0 and tied is not None:
            term = term.masked_fill(tied, 0.0)
        loss = loss + term
    return loss


def _softplus(x: Tensor) -> Tensor:
    # torch's own softplus turns into the identity at 20, which double precision notices.
    return torch.logaddexp(x, torch.zeros_like(x))
