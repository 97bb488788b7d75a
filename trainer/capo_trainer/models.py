"""Loading models and adapters: for training, as the reference, and for asking afterwards.

What `capo-train sft` and `prefer` write is a folder in peft's format (an adapter) or in transformers' (a
whole model, where it was trained without adapters); `run_kind` tells them apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from capo_trainer import attention
from capo_trainer.errors import ModelError
from capo_trainer.tokenise import ChatTokenizer

if TYPE_CHECKING:
    from capo_trainer.config import Lora, TrainConfig

REFERENCE = "reference"
POLICY = "default"  # peft writes the adapter of this name into the folder itself
Kind = Literal["adapter", "model"]


def run_kind(folder: str | Path) -> Kind:
    """Whether a folder (or Hub id) holds an adapter or a whole model."""
    return "adapter" if (Path(folder) / "adapter_config.json").exists() else "model"


def base_of(adapter: str | Path) -> str:
    """The model that an adapter was trained on.

    Raises:
        ModelError: There is no adapter, or it does not say.
    """
    path = Path(adapter) / "adapter_config.json"
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except FileNotFoundError as error:
        raise ModelError(
            f"{adapter} holds no adapter",
            where=str(path),
            why="there is no such file",
            next_command="name the folder that `capo-train sft --out` was given",
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} names no base model", why=str(error), next_command="train the adapter anew"
        ) from error
    if not name:
        raise ModelError(f"{path} names no base model", next_command="name it with --model")
    return str(name)


def tokenizer(name: str | Path) -> ChatTokenizer:
    """The chat tokenizer of a model or of a run.

    Raises:
        ModelError: It cannot be loaded, or has no chat template.
    """
    from transformers import AutoTokenizer

    with _loading("the tokenizer", name):
        found = AutoTokenizer.from_pretrained(str(name))
    return ChatTokenizer(found)


def causal_lm(name: str | Path, dtype: torch.dtype, implementation: str = "sdpa") -> Any:
    """A causal language model of transformers, on the CPU.

    Args:
        name: Folder or Hub id.
        dtype: Of its weights.
        implementation: Of attention: `sdpa`, or `attention.register()` for shared prompts.

    Raises:
        ModelError: It cannot be loaded.
    """
    from transformers import AutoModelForCausalLM

    with _loading("the model", name):
        return AutoModelForCausalLM.from_pretrained(
            str(name), dtype=dtype, attn_implementation=implementation
        )


def for_inference(
    run: str | Path, *, base: str | None = None, dtype: torch.dtype | None = None
) -> tuple[Any, ChatTokenizer]:
    """A trained run, or any chat model, for generating: no gradient, in evaluation mode, on the CPU.

    Args:
        run: A folder that `sft` or `prefer` wrote, or a model's folder or Hub id.
        base: The adapter's base model where it lies elsewhere by now.
        dtype: Of the weights; None is float32.
    """
    precision = dtype or torch.float32
    if run_kind(run) == "adapter":
        from peft import PeftModel

        model = causal_lm(base or base_of(run), precision)
        with _loading("the adapter", run):
            model = PeftModel.from_pretrained(model, str(run))
    else:
        model = causal_lm(run, precision)
    return model.eval().requires_grad_(False), tokenizer(run)


def precision(config: TrainConfig) -> torch.dtype:
    """Of the computation: bfloat16 on a GPU that has it, unless the config says otherwise."""
    if config.dtype != "auto":
        return torch.bfloat16 if config.dtype == "bfloat16" else torch.float32
    return torch.bfloat16 if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else torch.float32


def policy(config: TrainConfig) -> tuple[nn.Module, str]:
    """The model to train, and how its reference is had.

    Returns:
        The model, and one of: `none` (SFT), `adapter` (a frozen adapter beside the trained one), `disabled`
        (the model without its adapter), `copy` (a frozen copy, for training without adapters).
    """
    name = config.model or config.adapter or ""
    start = config.adapter if config.stage == "prefer" else None
    started_from_adapter = start is not None and run_kind(start) == "adapter"
    if started_from_adapter and start is not None:
        name = config.model or base_of(start)
    elif start is not None:
        name = start
    whole = config.lora.r == 0 and not started_from_adapter
    # Weights that an optimizer updates need more than bfloat16's 8 bits.
    base = causal_lm(name, torch.float32 if whole else precision(config), attention.register())
    base.config.use_cache = False
    if config.checkpointing:
        from capo_trainer.compat import checkpoint_activations

        checkpoint_activations(base)
    if started_from_adapter and start is not None:
        return _adapted_from(base, start), "adapter"
    if whole:
        return _whole(base), "none" if start is None else "copy"
    return _adapted(base, config.lora), "none" if start is None else "disabled"


def _adapted(base: Any, lora: Lora) -> nn.Module:
    import peft

    settings = peft.LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules=lora_targets(base, lora.targets),
        task_type="CAUSAL_LM",
    )
    return peft.get_peft_model(base, settings)


def _adapted_from(base: Any, folder: str) -> nn.Module:
    import peft

    with _loading("the adapter", folder):
        model = peft.PeftModel.from_pretrained(base, folder, adapter_name=POLICY, is_trainable=True)
        model.load_adapter(folder, adapter_name=REFERENCE, is_trainable=False)
        model.set_adapter(POLICY)
    return model


def _whole(base: Any) -> nn.Module:
    """All weights of the language model are trained, those of a vision tower are not."""
    base.requires_grad_(False)
    base.get_decoder().requires_grad_(True)
    base.get_output_embeddings().requires_grad_(True)
    return base  # type: ignore[no-any-return]


def lora_targets(base: Any, names: tuple[str, ...]) -> list[str] | str:
    """The linear layers of the language model with these names, as peft takes them.

    Layers of a vision tower carry the same names; where there is one, a pattern keeps to the language model.

    Raises:
        ModelError: There is none.
    """
    decoder = base.get_decoder()
    linear = [n for n, m in base.named_modules() if isinstance(m, nn.Linear) and n.split(".")[-1] in names]
    prefix = next(n for n, m in base.named_modules() if m is decoder)
    within = [n for n in linear if n.startswith(f"{prefix}.")]
    if not within:
        known = sorted({n.split(".")[-1] for n, m in decoder.named_modules() if isinstance(m, nn.Linear)})
        raise ModelError(
            "the model has none of the layers that adapters are for",
            where="lora.targets",
            why=f"wanted {', '.join(names)}; it has {', '.join(known)}",
            next_command="--set 'lora.targets=[...]'",
        )
    if len(within) == len(linear):
        return sorted({n.split(".")[-1] for n in within})
    return rf"{re.escape(prefix)}\..*\.({'|'.join(names)})"


@contextmanager
def adapter(model: nn.Module, name: str | None) -> Iterator[None]:
    """Within, another adapter is active; None is none at all.

    peft's own calls also change which parameters want gradients, which data-parallel wrappers have noted.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [m for m in model.modules() if isinstance(m, BaseTunerLayer)]
    before = [(layer._active_adapter, layer._disable_adapters) for layer in layers]
    try:
        for layer in layers:
            layer._active_adapter = [name] if name else layer._active_adapter
            layer._disable_adapters = name is None
        yield
    finally:
        for layer, (active, disabled) in zip(layers, before, strict=True):
            layer._active_adapter, layer._disable_adapters = active, disabled


def save(model: nn.Module, folder: Path, state: dict[str, Any] | None = None) -> None:
    """Writes the trained weights: an adapter in peft's format, or a whole model in transformers'."""
    saved: Any = model
    if hasattr(model, "peft_config"):
        saved.save_pretrained(str(folder), selected_adapters=[POLICY], state_dict=state)
    else:
        saved.save_pretrained(str(folder), state_dict=state)


def restore(model: nn.Module, folder: Path) -> None:
    """Reads what `save` wrote into a model of the same make.

    Raises:
        ModelError: The weights are missing, or are of another make.
    """
    from safetensors.torch import load_file

    with _loading("the weights", folder):
        if hasattr(model, "peft_config"):
            from peft import set_peft_model_state_dict

            weights = load_file(folder / "adapter_model.safetensors")
            found: Any = set_peft_model_state_dict(model, weights, adapter_name=POLICY)
            if found.unexpected_keys:
                raise ValueError(f"unexpected weights: {', '.join(found.unexpected_keys[:3])}")
        else:
            weights = {}
            for path in sorted(folder.glob("model*.safetensors")):
                weights |= load_file(path)
            tied = set(getattr(model, "_tied_weights_keys", None) or ())
            missing = model.load_state_dict(weights, strict=False).missing_keys
            if lost := [key for key in missing if key not in tied]:
                raise ValueError(f"missing weights: {', '.join(lost[:3])}")


@contextmanager
def _loading(what: str, name: str | Path) -> Iterator[None]:
    from safetensors import SafetensorError  # a file that is cut short; no OSError to it

    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"{what} of {name} cannot be loaded",
            why=" ".join(str(error).split())[:400],
            next_command="check the name; a model of the Hub needs network, and HF_TOKEN if it is gated",
        ) from error
