"""The losses against closed forms: Eq. 8, Lemmas 1-3 with their constants, the first loss, huge gaps."""

from __future__ import annotations

import math

import pytest
import torch
from capo_trainer import losses
from hypothesis import given, settings
from hypothesis import strategies as st

gaps = st.floats(-30, 30)
shares = st.floats(0, 1)
triple = st.tuples(gaps, gaps, gaps)
weighting = st.tuples(shares, shares, shares)


def ratios(*values):
    return torch.tensor([values], dtype=torch.float64, requires_grad=True)


def matrix(ch, ce, he):
    w = torch.full((1, 3, 3), math.nan, dtype=torch.float64)  # what is not read may be anything
    w[0, 0, 1], w[0, 0, 2], w[0, 1, 2] = ch, ce, he
    return w


@given(triple, weighting)
@settings(max_examples=200, deadline=None)
def test_the_gradient_is_equation_8(g, w):
    ours = ratios(*g)
    losses.capo(ours, matrix(*w)).sum().backward()
    (gc, gh, ge), (ch, ce, he) = g, w
    a, b = ch * (gh - gc), ce * (ge - gc)
    top = max(a, b)
    s1 = top + math.log(math.exp(a - top) + math.exp(b - top))
    s2 = he * (ge - gh)
    ph, pe = math.exp(a - s1), math.exp(b - s1)
    sig1, sig2 = 1 / (1 + math.exp(-s1)), 1 / (1 + math.exp(-s2))
    expected = [
        -sig1 * (ph * ch + pe * ce),
        sig1 * ph * ch - sig2 * he,
        sig1 * pe * ce + sig2 * he,
    ]
    assert ours.grad[0].tolist() == pytest.approx(expected, abs=1e-12)


@given(triple, weighting)
@settings(max_examples=100, deadline=None)
def test_three_responses_give_equation_6(g, w):
    (gc, gh, ge), (ch, ce, he) = g, w
    expected = math.log1p(math.exp(ch * (gh - gc)) + math.exp(ce * (ge - gc))) + math.log1p(
        math.exp(he * (ge - gh))
    )
    assert losses.capo(ratios(*g), matrix(*w)).item() == pytest.approx(expected, rel=1e-12)


@given(st.lists(gaps, min_size=2, max_size=6))
@settings(max_examples=100, deadline=None)
def test_lemma_1_weights_of_one_give_the_likelihood_of_the_order(g):
    """Plackett-Luce: the first of what is left wins with probability proportional to exp(g)."""
    expected = 0.0
    for j in range(len(g) - 1):
        top = max(g[j:])
        expected += top + math.log(sum(math.exp(x - top) for x in g[j:])) - g[j]
    x = ratios(*g)
    assert losses.plackett_luce(x).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert losses.capo(x, torch.ones(1, len(g), len(g), dtype=x.dtype)).item() == pytest.approx(
        expected, rel=1e-12, abs=1e-12
    )


@given(triple)
@settings(max_examples=100, deadline=None)
def test_lemma_2_without_the_coherence_term_it_is_sdpo_plus_log_2(g):
    ours = losses.capo(ratios(*g), matrix(1, 1, 0))
    assert ours.item() - losses.sdpo(ratios(*g)).item() == pytest.approx(math.log(2), abs=1e-12)


@given(triple, st.floats(0.05, 1))
@settings(max_examples=100, deadline=None)
def test_lemma_3_a_constant_weight_scales_beta(g, share):
    scaled = losses.plackett_luce(ratios(*[share * x for x in g]))
    assert losses.capo(ratios(*g), matrix(share, share, share)).item() == pytest.approx(
        scaled.item(), rel=1e-12
    )


@given(weighting)
@settings(max_examples=50, deadline=None)
def test_the_first_loss_is_log_6_at_any_weights(w):
    start = ratios(0, 0, 0)
    assert losses.capo(start, matrix(*w)).item() == pytest.approx(math.log(6), abs=1e-12)
    assert losses.plackett_luce(start).item() == pytest.approx(1.791759, abs=1e-6)
    assert losses.sdpo(start).item() == pytest.approx(math.log(3))
    assert losses.dpo(start[:, :2]).item() == pytest.approx(math.log(2))


def test_one_rejected_response_makes_all_of_them_dpo():
    x = ratios(0.3, -1.2)
    one = torch.ones(1, 2, 2, dtype=torch.float64)
    same = [losses.dpo(x), losses.sdpo(x), losses.plackett_luce(x), losses.capo(x, one)]
    assert {round(loss.item(), 12) for loss in same} == {round(math.log1p(math.exp(-1.5)), 12)}
    with pytest.raises(ValueError, match="two responses, not 3"):
        losses.dpo(ratios(0, 0, 0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("signs", [(1, 0, -1), (-1, 0, 1), (0, 1, -1), (1, -1, 1)])
def test_gaps_of_ten_thousand_stay_finite(dtype, signs):
    x = (1e4 * torch.tensor([signs], dtype=dtype)).requires_grad_()
    for loss in (losses.sdpo(x), losses.plackett_luce(x), losses.dpo(x[:, :2])):
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        assert torch.isfinite(loss).all()
        assert torch.isfinite(gradient).all()


def test_gaps_as_wide_as_that_cost_what_they_should():
    assert losses.sdpo(ratios(-1e4, 0, 0)).item() == pytest.approx(1e4 + math.log(2))
    assert losses.plackett_luce(ratios(1e4, 0, -1e4)).item() == 0


def test_a_tied_row_leaves_out_the_order_of_the_rejected():
    x = torch.tensor([[0.1, 0.7, -0.2], [0.1, 0.7, -0.2]], dtype=torch.float64, requires_grad=True)
    w = torch.rand(2, 3, 3, dtype=torch.float64)
    w[1] = w[0]
    both = losses.capo(x, w, torch.tensor([False, True]))
    coherence = losses.dpo(x[:1, 1:] * w[0, 1, 2])
    assert both[0].item() - both[1].item() == pytest.approx(coherence.item())
    assert losses.plackett_luce(x, torch.tensor([True, True])).tolist() == pytest.approx(
        losses.sdpo(x).tolist()
    )


@given(st.lists(gaps, min_size=4, max_size=5), st.randoms())
@settings(max_examples=50, deadline=None)
def test_more_items_follow_the_same_sum(g, random):
    count = len(g)
    w = torch.tensor([[[random.random() for _ in g] for _ in g]], dtype=torch.float64)
    expected = sum(
        math.log1p(sum(math.exp(w[0, j, k].item() * (g[k] - g[j])) for k in range(j + 1, count)))
        for j in range(count - 1)
    )
    assert losses.capo(ratios(*g), w).item() == pytest.approx(expected, rel=1e-10)
