"""Which weights are trained, and how fast: freezing, layer-wise decay, LoRA."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from papermage_core.errors import ConfigError

__all__ = ["add_lora", "depths", "freeze", "freeze_unreached", "layers", "parameter_groups"]


def layers(model: nn.Module) -> nn.ModuleList:
    """Return the stack of transformer layers: the longest list of modules of one class, the outermost where equal."""
    stacks = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len({type(layer) for layer in m}) == 1]
    return max(stacks, key=len, default=nn.ModuleList())


def depths(model: nn.Module) -> dict[str, int]:
    """Return the depth of each parameter: 0 for embeddings, i + 1 for layer i, one more than the last for the rest."""
    stack = layers(model)
    of_layer = {id(p): i for i, layer in enumerate(stack) for p in layer.parameters()}
    rest = len(stack) + 1
    return {
        name: of_layer[id(p)] + 1 if id(p) in of_layer else 0 if _is_embedding(name) else rest
        for name, p in model.named_parameters()
    }


def _is_embedding(name: str) -> bool:
    return "embed" in name or name in {"shared.weight", "wte.weight", "wpe.weight"}


def freeze(model: nn.Module, n_layers: int) -> None:
    """Stop the training of the embeddings and the first ``n_layers`` layers; of everything for -1, nothing for 0.

    Raises ConfigError for more layers than there are.
    """
    n_stacked = len(layers(model))
    if n_layers > n_stacked:
        raise ConfigError(f"encoder.freeze_layers: expected at most {n_stacked}, the model's layers, got {n_layers}")
    depth = depths(model)
    for name, parameter in model.named_parameters():
        if n_layers < 0 or (n_layers > 0 and depth[name] <= n_layers):
            parameter.requires_grad_(False)


def freeze_unreached(model: nn.Module, vectors: Tensor) -> None:
    """Stop the training of weights that no vector depends on: optimizers and distributed training trip over them.

    The graph of ``vectors``, which the model made of a text, is gone through; no gradient is computed. Experts are left
    as they are: which of them a text reaches depends on the text.
    """
    reached, seen, pending = set(), set(), [vectors.grad_fn]
    while pending:
        step = pending.pop()
        if step is None or step in seen:
            continue
        seen.add(step)
        reached.add(id(getattr(step, "variable", None)))
        pending += [before for before, _ in step.next_functions]
    for name, parameter in model.named_parameters():
        if id(parameter) not in reached and "expert" not in name:
            parameter.requires_grad_(False)


def parameter_groups(
    model: nn.Module, learning_rate: float, weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Return optimizer groups of the trained parameters.

    No weight decay on biases and norms. The learning rate of layer i of n is multiplied by ``layer_decay ** (n-1-i)``,
    that of the embeddings by ``layer_decay ** n`` (Howard and Ruder 2018, Clark et al. 2020).
    """
    depth = depths(model)
    top = len(layers(model))
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = learning_rate * layer_decay ** max(top - depth[name], 0)
            decays = parameter.ndim > 1 and not name.endswith("bias")
            groups[rate, weight_decay if decays else 0.0].append(parameter)
    return [{"params": ps, "lr": rate, "weight_decay": decay} for (rate, decay), ps in groups.items()]


def add_lora(model: nn.Module, *, rank: int, alpha: int, dropout: float, targets: Sequence[str]) -> nn.Module:
    """Return the model with LoRA matrices, only which are trained.

    Without ``targets`` they go where peft puts them in this kind of model, or else to the linear layers of attention
    (Hu et al. 2022, section 4.2). Raises ConfigError where peft is not installed, or finds no such layers.
    """
    try:
        from peft import LoraConfig, get_peft_model
        from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN
    except ImportError as error:
        raise ConfigError("encoder.lora.rank needs peft: pip install 'papermage_core[lora]'") from error
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    described: Any = model.config
    chosen = list(targets)
    if not chosen and described.model_type not in KNOWN:
        chosen = [name for name in linear if "att" in name.lower()]
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=chosen or None)
    try:
        with warnings.catch_warnings():  # peft asks transformers 5 in words that it calls old
            warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
            adapted: nn.Module = get_peft_model(model, config)
    except ValueError as error:
        names = sorted({name.rpartition(".")[2] for name in linear})
        raise ConfigError(
            f"encoder.lora.targets: expected some of the model's linear layers ({', '.join(names)}): {error}"
        ) from error
    return adapted
