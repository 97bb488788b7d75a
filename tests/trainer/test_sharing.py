"""A shared prompt gives log-probabilities and gradients of separate forwards; five mistakes would not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import peft
import pytest
import tiny
import torch
from capo_trainer import attention, compat, packing, startup
from capo_trainer.config import LORA_TARGETS
from capo_trainer.errors import ModelError
from capo_trainer.logprobs import Forward, response_logprobs, token_logprobs
from capo_trainer.packing import Layout, Part
from capo_trainer.tokenise import Example

attention.register()
PROMPTS = (30, 21)  # longer than the sliding window of 8
RESPONSES = ((7, 5, 9), (4, 12, 3))


def examples(seed=0):
    random = np.random.default_rng(seed)

    def ids(count):
        return random.integers(5, 390, count).astype(np.int32)

    return [
        Example(f"row {n}", ids(length), tuple(ids(r) for r in responses))
        for n, (length, responses) in enumerate(zip(PROMPTS, RESPONSES, strict=True))
    ]


def separate(model, given):
    """The plain definition: one forward of transformers for each response, log-softmax over everything."""
    found = []
    for example in given:
        for response in example.responses:
            ids = torch.from_numpy(np.concatenate([example.prompt, response]).astype(np.int64))[None]
            scores = model(input_ids=ids).logits[0].log_softmax(-1)
            start = len(example.prompt) - 1
            found.append(sum(scores[start + t, int(token)] for t, token in enumerate(response)))
    return torch.stack(found)


def adapted(kind, implementation, dtype=torch.float64):
    """A model with LoRA on the paper's layers (random, not zero) and gradient checkpointing, as trained."""
    model = tiny.model(kind, attn_implementation=implementation)
    layers = "|".join(LORA_TARGETS)
    targets = rf".*language_model.*\.({layers})" if kind == "gemma3" else list(LORA_TARGETS)
    model = peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=8, target_modules=targets))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    compat.checkpoint_activations(model.get_base_model())
    return model.to(dtype).train()


@pytest.mark.parametrize("mechanism", ["segments", "masked"])
@pytest.mark.parametrize("kind", tiny.KINDS)
def test_log_probabilities_and_gradients_are_those_of_separate_forwards(kind, mechanism):
    given = examples()
    pull = torch.tensor([1.0, -0.5, 0.3, 2.0, -1.0, 0.7], dtype=torch.float64)
    theirs = adapted(kind, "sdpa")
    expected = separate(theirs, given)
    (expected * pull).sum().backward()
    for share, logit_rows in ((True, 256), (True, 5), (False, 7)):
        ours = adapted(kind, attention.NAME)
        rows = packing.rows(given, share=share, row_tokens=150)
        found = response_logprobs(ours, rows, Forward(mechanism, logit_rows))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
        (found * pull).sum().backward()
        gradients = dict(ours.named_parameters())
        trained = 0
        for name, parameter in theirs.named_parameters():
            if parameter.grad is not None:
                trained += 1
                error = (gradients[name].grad - parameter.grad).abs().max()
                assert error <= 1e-5 * parameter.grad.abs().max(), name  # norms round to float32
        assert trained >= 24


@pytest.mark.parametrize("kind", ["llama", "gemma3-text"])
def test_single_precision_stays_close(kind):
    given = examples(3)
    expected = separate(adapted(kind, "sdpa", torch.float64), given)
    found = response_logprobs(
        adapted(kind, attention.NAME, torch.float32), packing.rows(given, share=True, row_tokens=1000)
    )
    assert (found - expected).abs().max() < 1e-3


def test_two_responses_and_one_go_the_same_way():
    given = [replace(e, responses=e.responses[: n + 1]) for n, e in enumerate(examples())]
    model = adapted("llama", attention.NAME)
    found = response_logprobs(model, packing.rows(given, share=True, row_tokens=1000))
    torch.testing.assert_close(found, separate(adapted("llama", "sdpa"), given), rtol=0, atol=1e-10)


class Wrong:
    """Five mistakes that train without complaint."""

    @staticmethod
    def positions_go_on(row):
        return replace(row, positions=torch.arange(row.ids.shape[1])[None])

    @staticmethod
    def responses_see_each_other(row):
        parts = tuple(replace(p, responses=(sum(p.responses),)) for p in row.layout.parts)
        return replace(row, layout=Layout(parts))

    @staticmethod
    def examples_leak(row):
        _, second = row.layout.parts
        merged = Part(0, second.start + second.prompt, second.responses)
        return replace(row, layout=Layout((merged,)))

    @staticmethod
    def no_mask_at_all(row):
        return replace(row, layout=None)


@pytest.mark.parametrize(
    "mistake",
    [Wrong.positions_go_on, Wrong.responses_see_each_other, Wrong.examples_leak, Wrong.no_mask_at_all],
)
@pytest.mark.parametrize("kind", ["qwen3", "gemma3-text"])
def test_a_mistake_in_the_packing_would_show(kind, mistake):
    model = adapted(kind, attention.NAME)
    (row,) = packing.rows(examples(), share=True, row_tokens=1000)
    right = token_logprobs(model, row, Forward())
    wrong = token_logprobs(model, mistake(row), Forward())
    assert (right - wrong).abs().max() > 0.02


def test_a_window_by_place_instead_of_position_would_show(monkeypatch):
    model = adapted("gemma3-text", attention.NAME)
    (row,) = packing.rows(examples(), share=True, row_tokens=1000)
    right = token_logprobs(model, row, Forward("masked"))

    def by_place(layout, window, device):
        seen = exact(layout, None, device)
        place = torch.arange(layout.length)
        return seen if window is None else seen & (place[:, None] - place[None] < window)

    exact = attention.mask_of
    monkeypatch.setattr(attention, "mask_of", by_place)
    (row,) = packing.rows(examples(), share=True, row_tokens=1000)
    wrong = token_logprobs(model, row, Forward("masked"))
    assert (right - wrong).abs().max() > 0.02


def test_rows_keep_to_the_budget_and_the_order():
    given = examples() * 3
    for share in (True, False):
        rows = packing.rows(given, share=share, row_tokens=120)
        assert all(row.ids.numel() <= 120 for row in rows)
        assert len(rows) > 2
        lengths = [n for row in rows for n in row.lengths]
        assert lengths == [len(r) for e in given for r in e.responses]
        targets = torch.cat([row.targets for row in rows])
        assert targets.tolist() == [t for e in given for r in e.responses for t in r.tolist()]
        assert all(row.index.shape == row.targets.shape for row in rows)
    assert sum(row.ids.numel() for row in packing.rows(given, share=True, row_tokens=120)) == sum(
        e.tokens for e in given
    )


LAYOUT = Layout((Part(0, 30, (7, 5, 9)), Part(51, 21, (4, 12))))


@pytest.mark.parametrize("window", [None, 8, 25])
def test_flex_attention_masks_as_the_dense_mask_does(window):
    """Backwards it runs on GPUs alone; the mask itself can be looked at here."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, heads, LAYOUT.length, 16) for heads in (4, 2, 2))
    expected = attention.compute(q, k, v, LAYOUT, "masked", window=window)
    from torch.nn.attention.flex_attention import flex_attention

    attention._compiled_flex.cache_clear()
    layout = Layout(LAYOUT.parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "_compiled_flex", lambda: flex_attention)
        patch.setattr("warnings.warn", lambda *_, **__: None)  # that it is slow without compiling
        found = attention.compute(q, k, v, layout, "flex", window=window)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_varlen_sequences_hold_each_response_behind_its_prompt():
    """The kernel runs on GPUs alone; what it is given can be looked at here."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, LAYOUT.length, 16) for _ in range(3))
    gather, queries, keys, longest_query, longest_key = attention._sequences(LAYOUT, q.device)
    found = []
    for n in range(len(queries) - 1):
        mine = gather[keys[n] : keys[n + 1]]
        asked = q[:, :, queries[n] : queries[n + 1]]
        rows, columns = asked.shape[2], len(mine)
        causal = torch.ones(rows, columns, dtype=torch.bool).tril(columns - rows)
        found.append(
            torch.nn.functional.scaled_dot_product_attention(
                asked, k[:, :, mine], v[:, :, mine], attn_mask=causal
            )
        )
    expected = attention.compute(q, k, v, LAYOUT, "masked")
    torch.testing.assert_close(torch.cat(found, dim=2), expected, rtol=1e-5, atol=1e-5)
    assert (longest_query, longest_key) == (30, 39)


def test_the_start_up_check_takes_an_exact_mechanism():
    told = []
    way = startup.choose(
        tiny.model("gemma3", attn_implementation=attention.NAME),
        share=True,
        wanted="auto",
        window_of_row=1000,
        note=told.append,
    )
    assert way == startup.Way(True, "segments")
    assert told == []


def test_the_start_up_check_falls_back_loudly(monkeypatch):
    model = tiny.model("qwen3", attn_implementation=attention.NAME)

    def blind(query, key, value, layout, scaling, window):
        return exact(query, key, value, layout, scaling, None)

    exact = attention._segments
    monkeypatch.setattr(attention, "_segments", blind)
    told = []
    way = startup.choose(model, share=True, wanted="auto", window_of_row=1000, note=told.append)
    assert way == startup.Way(True, "masked")
    assert "segments is not exact" in told[0]
    told.clear()
    way = startup.choose(model, share=True, wanted="segments", window_of_row=1000, note=told.append)
    assert way == startup.Way(False)
    assert "NOT shared" in told[-1]


def test_a_mechanism_that_does_not_run_is_told():
    told = []
    model = tiny.model("llama", attn_implementation=attention.NAME)
    way = startup.choose(model, share=True, wanted="varlen", window_of_row=1000, note=told.append)
    assert way == startup.Way(False)
    assert "varlen does not run here" in told[0]


@pytest.mark.parametrize("mechanism", ["segments", "masked"])
def test_kernels_are_exact_by_themselves(mechanism):
    shape = startup._Shape(4, 2, 16, (None, 64))
    error = startup.kernel_error(mechanism, shape, torch.device("cpu"), torch.float32)
    assert error < 1e-5


def test_attention_that_is_more_than_a_softmax_is_refused():
    query = torch.randn(1, 2, LAYOUT.length, 8)
    with pytest.raises(ModelError, match="computes attention with softcap"):
        attention._attention(
            torch.nn.Linear(1, 1), query, query, query, None, capo_layout=LAYOUT, softcap=50.0
        )
