"""Eq. 7 and its controls: floors, slopes, symmetry, what moves w and what does not."""

from __future__ import annotations

import math

import pytest
import torch
from capo_trainer import losses, weights
from capo_trainer.weights import Calibrator
from hypothesis import given, settings
from hypothesis import strategies as st

scores = st.lists(st.floats(1, 7), min_size=2, max_size=5)


def row(values):
    return torch.tensor([values], dtype=torch.float64)


@given(scores)
@settings(max_examples=50, deadline=None)
def test_one_of_two_wins(s):
    for w in (weights.sigmoid(row(s)), weights.probit_fixed(row(s))):
        assert torch.allclose(w + w.transpose(1, 2), torch.ones_like(w))
        assert bool(((w >= 0) & (w <= 1)).all())
    assert bool((weights.ones(row(s)) == 1).all())


def test_the_slopes_at_a_gap_of_one():
    """The floor of sigma makes Eq. 7 steeper than the sigmoid of variant E."""
    s = row([4.0, 3.0])
    assert weights.probit_fixed(s)[0, 0, 1].item() == pytest.approx(0.846, abs=5e-4)
    assert weights.probit_fixed(s)[0, 1, 0].item() == pytest.approx(0.154, abs=5e-4)
    assert weights.sigmoid(s)[0, 0, 1].item() == pytest.approx(0.731, abs=5e-4)


def test_thurstone_against_the_normal_distribution():
    mu, sigma = row([5.0, 3.5]), row([0.8, 1.1])
    x = 1.5 / math.sqrt(0.8**2 + 1.1**2)
    expected = 0.5 * (1 + math.erf(x / math.sqrt(2)))
    assert weights.thurstone(mu, sigma)[0, 0, 1].item() == pytest.approx(expected, abs=1e-15)


@given(st.integers(0, 200))
@settings(max_examples=30, deadline=None)
def test_a_relu_on_the_outputs_bounds_mu_and_sigma_from_below(seed):
    torch.manual_seed(seed)
    s = torch.randint(1, 8, (4, 3)).float()
    found = Calibrator(16)(torch.randn(4, 3, 16), s)
    assert bool((found.mu >= s).all())
    assert bool((found.sigma >= weights.FLOOR - 1e-6).all())
    assert torch.equal(found.active_mu, found.mu > s)
    assert torch.equal(found.active_sigma, found.sigma > math.log(2) + 1e-7)


def test_a_relu_within_leaves_both_free():
    torch.manual_seed(0)
    s = torch.full((64, 3), 4.0)
    found = Calibrator(16, relu="hidden")(torch.randn(64, 3, 16), s)
    assert bool((found.mu < s).any())
    assert bool((found.sigma < weights.FLOOR).any())
    assert bool(found.active_mu.all())


def test_the_calibrator_is_equation_7():
    torch.manual_seed(1)
    model, z, s = Calibrator(8), torch.randn(2, 3, 8), torch.tensor([[6.0, 4, 2], [3, 5, 1]])
    found = model(z, s)
    gate = torch.sigmoid(z @ model.gate.weight.T + model.gate.bias)
    shift = torch.relu(z @ model.shift[0].weight.T + model.shift[0].bias)
    spread = torch.relu(z @ model.spread[0].weight.T + model.spread[0].bias)
    mu = s + (gate * shift).squeeze(-1)
    sigma = torch.log1p(torch.exp(spread)).squeeze(-1)
    torch.testing.assert_close(found.mu, mu)
    torch.testing.assert_close(found.sigma, sigma)
    normal = torch.distributions.Normal(0.0, 1.0)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        expected = normal.cdf((mu[:, i] - mu[:, j]) / torch.sqrt(sigma[:, i] ** 2 + sigma[:, j] ** 2))
        torch.testing.assert_close(found.weights[:, i, j], expected)


def test_the_calibrator_stays_in_float32_under_autocast():
    model = Calibrator(8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(torch.randn(1, 3, 8, dtype=torch.bfloat16), torch.tensor([[6.0, 4, 2]]))
    assert found.weights.dtype == found.mu.dtype == torch.float32


def test_equal_policies_move_no_weight():
    """dL/dw = 0 at g = 0; right pairs push w up, misranked pairs push it down."""
    for gap, direction in ((0.0, 0), (2.0, -1), (-2.0, 1)):
        w = torch.full((1, 3, 3), 0.6, dtype=torch.float64, requires_grad=True)
        g = torch.tensor([[gap, 0.0, -gap]], dtype=torch.float64)
        losses.capo(g, w).sum().backward()
        assert w.grad is not None
        assert [math.copysign(1, x) if x else 0 for x in w.grad[0][[0, 0, 1], [1, 2, 2]].tolist()] == [
            direction
        ] * 3
