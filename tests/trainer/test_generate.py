"""Sampling with one cache a prompt, and candidates' probabilities, against the plain way."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from capo_trainer import attention, evaluate, evaluate_scores, metrics
from capo_trainer.data import Tags
from capo_trainer.evaluate_scores import cooled
from capo_trainer.generate import Asked, Sampling, by_transformers, greedy
from capo_trainer.startup import Way
from capo_trainer.tokenise import ChatTokenizer

END = 4


def asked(*lengths):
    random = np.random.default_rng(0)
    return [
        Asked({"id": f"r{n}"}, random.integers(5, 399, length).astype(np.int32))
        for n, length in enumerate(lengths)
    ]


def answers(model, prompts, sampling, batch=8):
    found = [one for some in by_transformers(model, prompts, END, sampling, batch=batch) for one in some]
    return [[ids.tolist() for ids in texts] for _, texts in sorted(found, key=lambda one: one[0])]


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3-text"])
@torch.no_grad()
def test_greedy_answers_are_those_without_any_cache(kind):
    model, prompts = tiny.model(kind).eval(), asked(21, 9, 14)
    for prompt, found in zip(
        prompts, answers(model, prompts, greedy(Sampling(max_new_tokens=7))), strict=True
    ):
        ids = prompt.ids.tolist()
        for _ in range(7):
            ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        wanted = ids[len(prompt.ids) :]
        assert found == [wanted[: wanted.index(END)] if END in wanted else wanted]


def test_a_samples_draws_do_not_depend_on_who_is_asked_beside():
    model, prompts = tiny.model("llama").eval(), asked(12, 30, 7)
    sampling = Sampling(samples=3, max_new_tokens=5)
    together, alone = answers(model, prompts, sampling), answers(model, prompts, sampling, batch=1)
    assert together == alone
    assert together != answers(model, prompts, Sampling(samples=3, max_new_tokens=5, seed=1))
    assert any(len({tuple(text) for text in texts}) > 1 for texts in together)


@torch.no_grad()
def test_candidates_probabilities_are_those_of_the_whole_text_at_a_temperature():
    chat = ChatTokenizer(tiny.tokenizer())
    model = tiny.model("qwen3").eval()
    model.set_attn_implementation(attention.register())
    titles, rationales = ["Oak ladle", "Oak tray, big", "pan"], ["It fits.", "So.", "It fits."]
    prompt = chat.prompt([{"role": "user", "content": "Pick an item of the list."}])
    found = evaluate_scores.candidate_probabilities(
        model, chat, prompt, titles, rationales, tags=Tags(), temperature=0.7, way=Way(True)
    )
    assert found.shape == (3, 3)
    assert (found[0] == found[2]).all()
    for row, rationale in zip(found, rationales, strict=True):
        for p, title in zip(row, titles, strict=True):
            head = f"<think>{rationale}</think>\n<item>"
            whole = [*prompt.tolist(), *chat.response(f"{head}{title}</item>")[:-1].tolist()]
            start = len(prompt) + len(chat.response(head)) - 1
            logs = torch.log_softmax(model(torch.tensor([whole])).logits[0].double() / 0.7, -1)
            wanted = sum(float(logs[place - 1, whole[place]]) for place in range(start, len(whole)))
            assert np.log(p) == pytest.approx(wanted, abs=1e-3)


def test_cooling_meets_the_entropy_and_keeps_the_order():
    p = np.random.default_rng(0).dirichlet(np.ones(30), 50) * 0.9
    found, temperature = cooled(p, 1.5)
    assert metrics.entropy(found).mean() == pytest.approx(1.5, abs=1e-4)
    assert temperature < 1
    assert (found.argsort(1) == p.argsort(1)).all()


def test_a_uniform_model_stands_at_the_level_of_sampling():
    found = evaluate.expected([3, 17], [np.full(30, 1 / 30)] * 2)
    assert found["HR@5"].mean() == pytest.approx(0.15592, abs=1e-4)
    assert found["NDCG@5"].mean() == pytest.approx(0.0935, abs=1e-4)
    assert found["invalid"] == pytest.approx(0, abs=1e-9)
