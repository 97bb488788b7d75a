"""Our DPO against TRL's DPOTrainer, on the same ids, weights and reference: loss, rewards, gradients.

The models are in double precision; what differs is the rounding of TRL's language-model head, whose kernel
computes in float32 whatever it is given.
"""

from __future__ import annotations

import copy

import numpy as np
import peft
import pytest
import tiny
import torch
from capo_trainer import attention, bench_trl, models
from capo_trainer.config import LORA_TARGETS, resolve
from capo_trainer.logprobs import Forward
from capo_trainer.objective import Collator, Objective
from capo_trainer.startup import Way
from capo_trainer.tokenise import Example

BETA = 0.3
ROUNDING = 3e-6  # of log-probabilities near -80 in float32; gradients as a share of the largest
PROMPTS, RESPONSES = (30, 21, 11), ((7, 5), (4, 12), (9, 9))
pytestmark = [
    pytest.mark.skipif(bool(bench_trl.missing()), reason=bench_trl.missing() or "-"),
    # TRL 1.16 still says gradient_checkpointing where transformers 5.24 says activation_checkpointing.
    pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning"),
]


def examples():
    random = np.random.default_rng(0)

    def ids(count):
        return random.integers(5, 390, count).astype(np.int32)

    return [
        Example(f"row {n}", ids(length), tuple(map(ids, responses)), (6.0, 2.0))
        for n, (length, responses) in enumerate(zip(PROMPTS, RESPONSES, strict=True))
    ]


def noisy(model, seed):
    """Weights that are elsewhere: at the reference every reward is 0, whatever the code does."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def adapted(kind, folder):
    """A model, and in the folder an adapter for it that is not zero, as `sft` leaves it."""
    torch.manual_seed(3)
    settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules=list(LORA_TARGETS), task_type="CAUSAL_LM")
    noisy(peft.get_peft_model(tiny.model(kind), settings), 4).save_pretrained(
        folder, save_embedding_layers=False
    )
    return tiny.model(kind, attn_implementation=attention.register()).double()


def ours(policy, reference, share, frozen=None):
    config = resolve("prefer", {"dataset": "-", "adapter": "-", "out": "-", "loss": "dpo", "beta": BETA})
    objective = Objective(config, policy, Forward("segments"), reference=reference, reference_copy=frozen)
    policy.train()
    found = objective(Collator(Way(share), row_tokens=120)(examples())["batch"])
    found["loss"].backward()
    sums = {name: float(value) for name, value in found["sums"].items()}
    rewards = [sums[f"reward_{who}"] / len(PROMPTS) for who in ("chosen", "rejected")]
    return found["loss"].item(), rewards, gradients(policy)


def theirs(model, reference=None):
    data = bench_trl.rows(examples())
    trainer = bench_trl.dpo_trainer(
        model.train(), data, torch.device("cpu"), torch.float64, reference=reference, beta=BETA
    )
    noisy(trainer.model, 5)
    loss = trainer.compute_loss(trainer.model, dict(trainer.data_collator(data)))
    loss.backward()
    told = trainer._metrics["train"]
    return (
        loss.item(),
        [told[f"rewards/{who}"][0] for who in ("chosen", "rejected")],
        gradients(trainer.model),
    )


def gradients(model):
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def agree(found, expected):
    (loss, rewards, slopes), (their_loss, their_rewards, their_slopes) = found, expected
    assert abs(their_loss - np.log(2)) > 0.005, "the policy is not its reference"
    assert loss == pytest.approx(their_loss, abs=ROUNDING)
    assert rewards == pytest.approx(their_rewards, abs=ROUNDING)
    assert slopes.keys() == their_slopes.keys()
    largest = max(float(slope.abs().max()) for slope in their_slopes.values())
    for name, slope in their_slopes.items():
        torch.testing.assert_close(slopes[name], slope, rtol=0, atol=ROUNDING * largest)


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_adapters_with_the_sft_adapter_as_reference(tmp_path, kind):
    base = adapted(kind, tmp_path)
    other = copy.deepcopy(base)
    other.set_attn_implementation("sdpa")
    start = peft.PeftModel.from_pretrained(other, tmp_path, is_trainable=True).double()
    expected = theirs(start)
    for share in (True, False):
        policy = models._adapted_from(copy.deepcopy(base), str(tmp_path)).double()
        agree(ours(noisy(policy, 5), "adapter", share), expected)


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_all_weights_with_a_frozen_copy_as_reference(kind):
    base = tiny.model(kind).double()
    expected = theirs(copy.deepcopy(base), reference=copy.deepcopy(base).eval())
    base.set_attn_implementation(attention.register())
    for share in (True, False):
        frozen = copy.deepcopy(base).requires_grad_(False).eval()
        agree(ours(noisy(models._whole(copy.deepcopy(base)), 5), "copy", share, frozen), expected)
