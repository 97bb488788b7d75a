"""TRL's DPOTrainer on rows that are token ids already: what ours is measured beside and tested against."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from capo_trainer.tokenise import Example


def missing() -> str:
    """What TRL's trainer lacks here, as a clause; empty where it can run."""
    from importlib.util import find_spec

    absent = [name for name in ("trl", "datasets") if find_spec(name) is None]
    return f"{' and '.join(absent)} not installed" if absent else ""


def version() -> dict[str, str]:
    """TRL's version by its name; empty where it is not installed."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return {"trl": installed("trl")}
    except PackageNotFoundError:
        return {}


def rows(examples: Sequence[Example]) -> list[dict[str, list[int]]]:
    """The first two responses of each example, as TRL's collator takes them."""
    return [
        {
            "prompt_ids": example.prompt.tolist(),
            "chosen_ids": example.responses[0].tolist(),
            "rejected_ids": example.responses[1].tolist(),
        }
        for example in examples
    ]


def dpo_trainer(
    model: Any,
    data: Sequence[dict[str, list[int]]],
    device: torch.device,
    dtype: torch.dtype,
    *,
    reference: Any = None,
    beta: float = 0.1,
) -> Any:
    """A `trl.DPOTrainer` that saves nothing and tokenises nothing.

    Args:
        model: Bare or with adapters; where it has some, TRL keeps a copy of them as the reference.
        data: From `rows`.
        device: Where it runs.
        dtype: bfloat16 has it compute under autocast.
        reference: The frozen model, for one without adapters.
        beta: Scale of the log-probability ratios.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    trl: Any = import_module("trl")
    datasets: Any = import_module("datasets")

    class Tokenised(trl.DPOTrainer):  # type: ignore[misc]
        """Takes rows that are token ids already."""

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

    words = Tokenizer(WordLevel({"[P]": 0, "[E]": 1}, unk_token="[P]"))
    make: Any = PreTrainedTokenizerFast
    args = trl.DPOConfig(
        output_dir=str(Path(tempfile.gettempdir()) / "capo-train-bench"),  # nothing is saved
        per_device_train_batch_size=1,
        beta=beta,
        max_length=None,
        bf16=str(dtype) == "torch.bfloat16",
        use_cpu=device.type == "cpu",
        report_to="none",
        save_strategy="no",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
    )
    trainer = Tokenised(
        model=model,
        ref_model=reference,
        args=args,
        train_dataset=datasets.Dataset.from_list(list(data)),
        processing_class=make(tokenizer_object=words, pad_token="[P]", eos_token="[E]"),
    )
    trainer.current_gradient_accumulation_steps = 1  # training_step reads it, and train() alone would set it
    return trainer
