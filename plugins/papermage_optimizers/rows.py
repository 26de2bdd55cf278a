"""AdamW that computes, of an embedding with sparse gradients, the rows that have had some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

__all__ = ["RowwiseAdamW"]


class RowwiseAdamW(torch.optim.AdamW):
    """AdamW, where a row of a matrix whose gradients are sparse stays as it is until its first.

    From then on it gets what AdamW gives it, at steps without a gradient too. Of a row that never has one, AdamW would
    change nothing but by weight decay: a pretrained vector of which the training data say nothing is better left alone.
    Means are kept of those rows alone, so that time and memory are those of the words that training texts have.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step; return what ``closure`` does.

        Raises RuntimeError for gradients that are sparse in other ways than those of ``torch.nn.Embedding``.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        sparse = []
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                if weight.grad.is_sparse:
                    sparse.append((group, weight, weight.grad.coalesce()))
                    weight.grad = None
                else:
                    _spread(self.state[weight], weight)
        super().step()
        for group, weight, gradient in sparse:
            weight.grad = gradient
            _step_rows(group, weight, gradient, self.state[weight])
        return loss


_MEANS = ("exp_avg", "exp_avg_sq")


def _step_rows(group: dict[str, Any], weight: Tensor, gradient: Tensor, state: dict[str, Any]) -> None:
    if gradient.sparse_dim() != 1:
        raise RuntimeError(f"expected a gradient of rows, got one with {gradient.sparse_dim()} sparse dimensions")
    touched = gradient.indices()[0]
    seen = _seen(state, weight)
    if not bool(seen[touched].all()):
        now = seen.index_fill(0, touched, True)
        kept = seen[now]
        for name in _MEANS:
            grown = weight.new_zeros(len(kept), *weight.shape[1:])
            grown[kept] = state[name]
            state[name] = grown
        state["seen"] = seen = now
    rows = seen.nonzero()[:, 0]
    own = weight.index_select(0, rows)
    dense = torch.zeros_like(own).index_copy_(0, torch.searchsorted(rows, touched), gradient.values())
    adamw(
        [own],
        [dense],
        [state["exp_avg"]],
        [state["exp_avg_sq"]],
        [],
        [state["step"]],
        fused=group["fused"],
        amsgrad=False,
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        lr=group["lr"],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=False,
    )
    weight.index_copy_(0, rows, own)


def _seen(state: dict[str, Any], weight: Tensor) -> Tensor:
    """Return which rows have had a gradient, shape (rows,); begin with none, or with all where a run had dense ones."""
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32, device=weight.device)
        state.update({name: weight.new_zeros(0, *weight.shape[1:]) for name in _MEANS})
        state["seen"] = torch.zeros(len(weight), dtype=torch.bool, device=weight.device)
    elif "seen" not in state:
        state["seen"] = torch.ones(len(weight), dtype=torch.bool, device=weight.device)
    state["seen"] = state["seen"].bool()  # what an optimizer loads has the dtype of its weight
    return state["seen"]  # type: ignore[no-any-return]


def _spread(state: dict[str, Any], weight: Tensor) -> None:
    """Give a matrix whose gradients are dense, and were not when the run was stopped, the means of all its rows."""
    if "seen" in state:
        seen = state.pop("seen").bool()
        for name in _MEANS:
            whole = torch.zeros_like(weight)
            whole[seen] = state[name]
            state[name] = whole
