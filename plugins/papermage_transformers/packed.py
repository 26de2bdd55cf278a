"""BERT and its kin on a CPU without padding, and the last layer for the wordpieces alone that are read.

All but attention makes of each wordpiece a vector by itself. So the wordpieces of a batch are the rows of one matrix,
those that are padding left out; attention has them in sequences again. The results are those of the model, but for
rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from papermage_transformers.attention import SHORT
from papermage_transformers.kernel_mode import linears
from papermage_transformers.runs import runs

__all__ = ["can_pack", "packed_vectors"]

_KINDS = ("Bert", "Camembert", "Electra", "Roberta", "XLMRoberta")
"""Models whose layers are those of `transformers`' BERT."""
_OTHERWISE = ("is_decoder", "add_cross_attention", "chunk_size_feed_forward")
"""Options with which they compute otherwise."""
_without_modes: Any = getattr(torch._C, "DisableTorchFunction", nullcontext)
"""What keeps torch from asking a mode at each call. It has no public name; where it has gone, modes are asked."""


def can_pack(model: Any) -> bool:
    """Whether `packed_vectors` does what a model does: one of the kinds that are known, with nothing put into it."""
    kind = type(model).__name__.removesuffix("Model")
    if kind not in _KINDS or not type(model).__module__.startswith("transformers."):
        return False
    config = model.config
    is_plain = (
        len(model.encoder.layer) > 0
        and not any(getattr(config, name, False) for name in _OTHERWISE)
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
        and getattr(config, "_attn_implementation", None) in ("sdpa", "eager")
    )
    if not is_plain:
        return False
    passed_over = [model, model.encoder]
    for layer in model.encoder.layer:
        if type(layer).__name__ != f"{kind}Layer":
            return False
        passed_over += layer, layer.attention, layer.attention.self
    return not _has_hooks(*passed_over)


def packed_vectors(model: Any, inputs: Mapping[str, Tensor], read: Tensor) -> Tensor:
    """Return the vectors at positions ``read`` (n,), none twice, of a model's last layer. Shape (n, D).

    ``inputs`` are what the model takes by name, sequences (S, T, …) padded at the end, with an ``attention_mask``.
    """
    packing = _Packing.of(inputs["attention_mask"])
    embedded = model.embeddings(**{name: given for name, given in inputs.items() if name != "attention_mask"})
    if hasattr(model, "embeddings_project"):
        embedded = model.embeddings_project(embedded)
    x = _rows(embedded.flatten(0, 1), packing.positions)
    *layers, last = model.encoder.layer
    everything = _Queries.of(packing, np.arange(len(x)), model.config.num_attention_heads)
    for layer in layers:
        x = _layer(layer, x, everything, everything)
    rows = packing.row_of[read]
    some = _Queries.of(packing, rows.numpy(), model.config.num_attention_heads)
    return _layer(last, x, everything, some, rows)


def _layer(layer: Any, x: Tensor, keys: _Queries, queries: _Queries, rows: Tensor | None = None) -> Tensor:
    """Return what a layer makes of all rows, or of some."""
    own = layer.attention.self
    chosen = x if rows is None else _rows(x, rows)
    dropout = own.dropout.p if own.training else 0.0
    if rows is None:
        query, key, value = _linears(x, own.query, own.key, own.value)
    else:
        query, (key, value) = own.query(chosen), _linears(x, own.key, own.value)
    seen = _attention(query, key, value, queries, keys, dropout)
    attended = layer.attention.output(seen, chosen)
    return layer.output(_intermediate(layer.intermediate, attended), attended)  # type: ignore[no-any-return]


def _linears(x: Tensor, *layers: Any) -> Sequence[Tensor]:
    """Return what some layers make of the same rows."""
    return linears(x, *layers) if _are_plain(*layers) else [layer(x) for layer in layers]


def _intermediate(module: Any, x: Tensor) -> Tensor:
    """Return what a layer's first linear layer and its activation make of the rows."""
    dense, activation = module.dense, module.intermediate_act_fn
    is_gelu = getattr(activation, "act", None) is F.gelu
    if is_gelu and _are_plain(dense) and not _has_hooks(module, activation):
        return linears(x, dense, with_gelu=True)[0]
    found: Tensor = module(x)
    return found


def _are_plain(*layers: Any) -> bool:
    """Whether nothing is learnt, and these are linear layers with nothing added to them."""
    is_linear = all(type(layer) is nn.Linear for layer in layers)
    return is_linear and not torch.is_grad_enabled() and not _has_hooks(*layers)


def _has_hooks(*modules: Any) -> bool:
    return any(each._forward_hooks or each._forward_pre_hooks or each._backward_hooks for each in modules)


@attrs.frozen(eq=False)
class _Run:
    """Sequences that follow each other, and are padded to one length for attention."""

    start: int
    """Of its wordpieces, with padding, among those of all runs."""
    sequences: int
    length: int
    mask: Tensor | None
    """Which of the wordpieces are none of padding. Shape (sequences, 1, 1, length); None where all are."""


@attrs.frozen(eq=False)
class _Packing:
    """Where the wordpieces of a batch are in a matrix without padding, the longest sequences first."""

    positions: Tensor
    """Of each row, among the S × T wordpieces of the batch."""
    row_of: Tensor
    """The row of each wordpiece of the batch."""
    runs: tuple[_Run, ...]
    slots: NDArray[np.int64]
    """Of each row, among the wordpieces of all runs, with padding."""

    @classmethod
    def of(cls, mask: Tensor) -> _Packing:
        lengths = mask.sum(1).numpy()
        order = np.argsort(-lengths, kind="stable")
        falling = lengths[order]
        within = np.arange(falling.sum()) - np.repeat(np.cumsum(falling) - falling, falling)
        positions = np.repeat(order * mask.shape[1], falling) + within
        row_of = np.zeros(mask.numel(), np.int64)
        row_of[positions] = np.arange(len(positions))
        made, begins, start = [], [], 0
        for own in np.split(falling, np.cumsum(runs(lengths))[:-1]):
            longest = int(own[0])
            is_text = torch.from_numpy(np.arange(longest) < own[:, None])[:, None, None]
            made.append(_Run(start, len(own), longest, None if own[-1] == longest else is_text))
            begins.append(start + longest * np.arange(len(own)))
            start += longest * len(own)
        slots = np.repeat(np.concatenate(begins), falling) + within
        return cls(torch.from_numpy(positions), torch.from_numpy(row_of), tuple(made), slots)


@attrs.frozen(eq=False)
class _Queries:
    """Rows in the order that attention has them, head by head: (sequences, heads, wordpieces) of each run."""

    runs: tuple[_Run, ...]
    heads: int
    taken: Tensor
    """Which of the rows, cut into heads, stands at each place; some row where it is padding, or not asked for."""
    empty: Tensor
    """Those places."""
    places: Tensor
    """Where each row, cut into heads, is."""
    added: tuple[Tensor, ...]
    """What is added to the scores of each run: little where there is padding. Shapes (sequences · heads, 1, length)."""

    @classmethod
    def of(cls, packing: _Packing, rows: NDArray[np.int64], heads: int) -> _Queries:
        places = np.empty((len(rows), heads), np.int64)
        slots, size = packing.slots[rows], 0
        for run in packing.runs:
            stop = run.start + run.sequences * run.length
            own = (run.start <= slots) & (slots < stop)
            sequence, within = np.divmod(slots[own] - run.start, run.length)
            at = (sequence[:, None] * heads + np.arange(heads)) * run.length + within[:, None]
            places[own] = run.start * heads + at
            size = stop * heads
        taken, is_empty = np.zeros(size, np.int64), np.ones(size, np.bool_)
        taken[places] = np.arange(places.size).reshape(places.shape)
        is_empty[places] = False
        return cls(
            packing.runs,
            heads,
            torch.from_numpy(taken),
            torch.from_numpy(is_empty.nonzero()[0]),
            torch.from_numpy(places.ravel()),
            tuple(_added(run, heads) for run in packing.runs),
        )

    def split(self, x: Tensor) -> Tensor:
        """Return rows (n, heads · E) as attention has them, (places, E)."""
        return x.view(len(x) * self.heads, -1).index_select(0, self.taken)

    def joined(self, x: Tensor) -> Tensor:
        """Return rows (n, heads · E) of what attention has, (places, E)."""
        return x.index_select(0, self.places).view(len(self.places) // self.heads, -1)

    def spread(self, x: Tensor) -> Tensor:
        """Return rows as attention has them, and zero where none of them is."""
        return self.split(x.contiguous()).index_fill_(0, self.empty, 0.0)

    def of_run(self, x: Tensor, run: _Run) -> Tensor:
        """Return what of (places, E) is a run's. Shape (sequences · heads, length, E)."""
        size = run.sequences * run.length * self.heads
        return x.narrow(0, run.start * self.heads, size).view(run.sequences * self.heads, run.length, -1)


def _attention(query: Tensor, key: Tensor, value: Tensor, queries: _Queries, keys: _Queries, dropout: float) -> Tensor:
    """Return what attention gives the rows that ask, (n, heads · E), from all rows."""
    arguments = query, key, value, queries, keys
    longest = max(run.length for run in keys.runs)
    if query.dtype == torch.float32 and longest <= SHORT and not dropout and not torch.is_autocast_enabled("cpu"):
        with _without_modes():  # no mode of ours changes what is called here
            if not torch.is_grad_enabled():
                return _attend(*arguments)[0]
            attended: Tensor = _Attention.apply(*arguments)  # type: ignore[no-untyped-call]
            return attended
    first = keys.runs[0]
    if queries is keys and len(keys.runs) == 1 and first.mask is None:  # as they stand
        shape = first.sequences, first.length, keys.heads, -1
        q, k, v = (x.view(shape).transpose(1, 2) for x in (query, key, value))
        seen = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        return seen.transpose(1, 2).reshape(len(query), -1)
    parts = []
    q, k, v = (_split(x, of) for x, of in ((query, queries), (key, keys), (value, keys)))
    for run in keys.runs:
        shape = run.sequences, keys.heads, run.length, -1
        own_q, own_k, own_v = (keys.of_run(x, run).view(shape) for x in (q, k, v))
        seen = F.scaled_dot_product_attention(own_q, own_k, own_v, attn_mask=run.mask, dropout_p=dropout)
        parts.append(seen.flatten(0, 2))
    found: Tensor = _Joined.apply(torch.cat(parts), queries)  # type: ignore[no-untyped-call]
    return found


def _split(x: Tensor, places: _Queries) -> Tensor:
    found: Tensor = _Split.apply(x, places)  # type: ignore[no-untyped-call]
    return found


class _Split(torch.autograd.Function):
    """Rows as attention has them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: _Queries) -> Tensor:
        ctx.places = places
        return places.split(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.places.joined(gradient), None


class _Joined(torch.autograd.Function):
    """Rows of what attention has."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: _Queries) -> Tensor:
        ctx.places = places
        return places.joined(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.places.spread(gradient), None


class _Attention(torch.autograd.Function):
    """Attention of all runs at once, by whole products."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, queries: _Queries, keys: _Queries) -> Tensor:
        out, *kept = _attend(query, key, value, queries, keys)
        ctx.queries, ctx.keys = queries, keys
        ctx.save_for_backward(*kept)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, *weights = ctx.saved_tensors
        queries, keys = ctx.queries, ctx.keys
        of_out = queries.spread(gradient)
        of_q, of_k, of_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        scale = q.shape[1] ** -0.5
        for run, own in zip(keys.runs, weights, strict=True):
            given = keys.of_run(of_out, run)
            torch.bmm(own.transpose(1, 2), given, out=keys.of_run(of_v, run))
            of_scores = torch.bmm(given, keys.of_run(v, run).transpose(1, 2)).mul_(own)  # through softmax, in place
            of_scores.addcmul_(own, of_scores.sum(-1, keepdim=True), value=-1).mul_(scale)
            torch.bmm(of_scores, keys.of_run(k, run), out=keys.of_run(of_q, run))
            torch.bmm(of_scores.transpose(1, 2), keys.of_run(q, run), out=keys.of_run(of_k, run))
        return queries.joined(of_q), keys.joined(of_k), keys.joined(of_v), None, None


def _attend(query: Tensor, key: Tensor, value: Tensor, queries: _Queries, keys: _Queries) -> tuple[Tensor, ...]:
    """Return what attention gives, and what it was made of: queries, keys, values, and the weights of each run."""
    q, k, v = queries.split(query), keys.split(key), keys.split(value)
    out, weights = torch.empty_like(q), []
    scale = q.shape[1] ** -0.5
    for run, added in zip(keys.runs, keys.added, strict=True):
        scores = torch.baddbmm(added, keys.of_run(q, run), keys.of_run(k, run).transpose(1, 2), alpha=scale)
        weights.append(torch.softmax(scores, -1, out=scores))
        torch.bmm(scores, keys.of_run(v, run), out=keys.of_run(out, run))
    return queries.joined(out), q, k, v, *weights


def _added(run: _Run, heads: int) -> Tensor:
    if run.mask is None:
        return torch.zeros(())
    hidden = (~run.mask).squeeze(1) * torch.finfo(torch.float32).min  # no infinity: less itself, it is no number
    return hidden.repeat_interleave(heads, 0)


def _rows(x: Tensor, rows: Tensor) -> Tensor:
    """Return some rows, none twice."""
    found: Tensor = _Rows.apply(x, rows)  # type: ignore[no-untyped-call]
    return found


class _Rows(torch.autograd.Function):
    """Rows of a matrix: as none is there twice, their gradients need not be added up, which torch does one by one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.length = len(x)
        return x.index_select(0, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        return gradient.new_zeros(ctx.length, gradient.shape[1]).index_copy_(0, rows, gradient), None
