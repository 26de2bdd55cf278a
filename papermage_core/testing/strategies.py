"""Hypothesis strategies: contexts, labels, entities, tag sequences and configs."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs
import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from numpy.typing import NDArray

from papermage_core.config.structure import nest
from papermage_core.plugin.option_types import OptionType, hints_of, option_type
from papermage_core.plugin.options import OptionDescription, describe_options
from papermage_core.plugin.parts import default_part, part_fields
from papermage_core.plugin.spec import Context, ContextNeeds, LabelScheme, UnitSpan

__all__ = ["configs", "contexts", "labels", "legal_tags", "unit_spans", "words"]

T = TypeVar("T")

WORDS = (
    "the", "of", "Heart", "failure", "BRCA1", "p53", "10.1101/2020.01.05", "(2019)", "naïve", "日本語", "e.g.", "–",
    "a" * 70, "", "\u00ad", "\u200b", "ﬁnding", "🙂", "Smith,", "T", "\ufffd",
)  # fmt: skip
_METADATA: tuple[Any, ...] = (None, 9.5, 12, "Times-Bold", True, ["a", 1], {"size": 9})
_PLAIN = 5
"""How many of these are no list and no mapping."""
LABELS = ("Disease", "author", "B-X", "a-b", "O-ring", "日本", "I", "title")


def words() -> st.SearchStrategy[str]:
    """Return words as documents have them: common, rare, long, wordless, of other scripts."""
    return st.sampled_from(WORDS)


@st.composite
def contexts(
    draw: st.DrawFn, needs: ContextNeeds | None = None, min_units: int = 0, max_units: int = 12, bare: bool = False
) -> Context:
    """Draw a context with what the encoder ``needs``; without boxes, groups and metadata if it is ``bare``."""
    needs = needs or ContextNeeds()
    texts = draw(st.lists(words(), min_size=min_units, max_size=max_units))
    n = len(texts)
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    boxes = _boxes(random, n) if needs.boxes and not bare else None
    pages = None
    if boxes is not None:
        pages = np.where(np.isnan(boxes[:, 0]), -1, random.integers(0, 2, n)).astype(np.int32)
    return Context(
        words=texts,
        space_before=random.random(n) < 0.8,
        boxes=boxes,
        pages=pages,
        groups={} if bare else {name: _groups(random, n) for name in needs.groups},
        metadata={} if bare else _columns(random, n, needs),
        long_forms=dict.fromkeys(texts[1:4], texts[-3:]) if needs.long_forms and not bare else {},
        document_metadata={} if bare else {key: _METADATA[random.integers(5)] for key in needs.document_metadata},
        before=() if bare else tuple(texts[:k] for k in random.integers(0, 4, min(needs.neighbours, 2))),
        after=() if bare else tuple(texts[-k:] for k in random.integers(0, 4, min(needs.neighbours, 1))),
    )


def _boxes(random: np.random.Generator, n: int) -> NDArray[np.float32]:
    corners = np.sort(random.random((n, 2, 2)), axis=1)  # shape: (n, corner, axis)
    boxes = corners.reshape(n, 4)
    boxes[random.random(n) < 0.15] = np.nan
    return boxes.astype(np.float32)


def _groups(random: np.random.Generator, n: int) -> NDArray[np.int32]:
    groups = np.cumsum(random.random(n) < 0.3)
    return np.where(random.random(n) < 0.1, -1, groups).astype(np.int32)


def _keys(needs: ContextNeeds) -> tuple[str, ...]:
    return ("style", "level") if needs.all_metadata else ()


def _columns(random: np.random.Generator, n: int, needs: ContextNeeds) -> dict[str, list[Any]]:
    """Return the units' metadata: of keys that are named, values of any kind; plain ones where all keys are wanted."""
    named = {key: [_METADATA[i] for i in random.integers(0, len(_METADATA), n)] for key in needs.metadata}
    return named | {key: [_METADATA[i] for i in random.integers(0, _PLAIN, n)] for key in _keys(needs)}


def labels(max_size: int = 3) -> st.SearchStrategy[tuple[str, ...]]:
    """Return tuples of different labels, some of them easily mistaken for tags."""
    return st.lists(st.sampled_from(LABELS), min_size=1, max_size=max_size, unique=True).map(tuple)


@st.composite
def unit_spans(
    draw: st.DrawFn, labels: Sequence[str], n_units: int, *, overlap: bool = False, discontinuous: bool = False
) -> list[UnitSpan]:
    """Draw different entities in a context of ``n_units``, in order."""
    spans: list[UnitSpan] = []
    taken = np.zeros(n_units, bool)
    longest = draw(st.sampled_from([1, 5, max(1, n_units)]))
    for _ in range(draw(st.integers(0, min(5, n_units)))):
        touching = [span.stop for span in spans if span.stop < n_units]  # as few of the numbers are by chance
        start = draw(st.integers(0, n_units - 1) | st.sampled_from(touching or [0]))
        end = min(n_units, start + longest)
        stop = draw(st.integers(start + 1, end) | st.just(end))  # numbers alone are mostly small ones
        if not overlap and taken[start:stop].any():
            continue
        taken[start:stop] = True
        spans.append(UnitSpan(draw(st.sampled_from(labels)), _segments(draw, start, stop, discontinuous)))
    return sorted(set(spans))


def _segments(draw: st.DrawFn, start: int, stop: int, discontinuous: bool) -> tuple[tuple[int, int], ...]:
    """Return one segment, or up to four with gaps of any length between them."""
    most = min(4, (stop - start + 1) // 2)
    pieces = draw(st.integers(1, most)) if discontinuous else 1
    between = st.lists(st.integers(start + 1, stop - 1), min_size=2 * pieces - 2, max_size=2 * pieces - 2, unique=True)
    cuts = sorted(draw(between)) if pieces > 1 else []
    ends = [start, *cuts, stop]
    return tuple(zip(ends[::2], ends[1::2], strict=True))


@st.composite
def legal_tags(draw: st.DrawFn, scheme: LabelScheme, n_units: int) -> NDArray[np.int64]:
    """Draw a sequence of tags that the scheme allows. Shape (n_units,)."""
    tags: list[int] = []
    finishing = _finishing(scheme, n_units)
    for i in range(n_units):
        allowed = scheme.start_allowed if i == 0 else scheme.transition_allowed[tags[-1]]
        choices = np.flatnonzero(allowed & finishing[i]).tolist()
        assume(choices)
        tags.append(draw(st.sampled_from(choices)))
    return np.array(tags, np.int64)


def _finishing(scheme: LabelScheme, n_units: int) -> NDArray[np.bool_]:
    """Return [i, k]: whether a sequence with tag k at unit i can be finished legally. Shape (n_units, K)."""
    rows = [np.asarray(scheme.end_allowed, bool)]
    for _ in range(n_units - 1):
        rows.append((scheme.transition_allowed & rows[-1][None, :]).any(1))
    return np.array(rows[::-1])


def configs(config_class: type[T], **given: Any) -> st.SearchStrategy[T]:
    """Return configs of a class: every option drawn from its type and limits, but for those ``given``.

    What a component learns is left as it is before anything is learned.
    """
    return _configs(config_class, given)


def varied_options(config_class: type[Any], given: Container[str]) -> list[OptionDescription]:
    """Return the options that `configs` draws: all but those ``given``, and those of components that are parts."""
    parts = [name for name, part in part_fields(config_class).items() if part.default is not None]
    described = ((option, option.name.partition(".")[0]) for option in describe_options(config_class))
    return [option for option, first in described if first not in given and first not in parts]


@st.composite
def _configs(draw: st.DrawFn, config_class: type[Any], given: Mapping[str, Any]) -> Any:
    parts = [name for name, part in part_fields(config_class).items() if part.default is not None]
    given = {name: default_part(config_class, name) for name in parts} | dict(given)
    options = varied_options(config_class, given)
    drawn = {option.name: draw(_values(option_type(option.type), option.limits)) for option in options}
    with contextlib.suppress(ValueError):  # a rule of options, which only the class knows
        return _made(config_class, {**nest(drawn), **given})
    config, taken = None, {option.name: drawn[option.name] for option in options if option.required}
    for more in ({}, *({name: value} for name, value in drawn.items())):  # one by one, as far as the rule lets them
        with contextlib.suppress(ValueError):
            config = _made(config_class, {**nest({**taken, **more}), **given})
            taken |= more
    assume(config is not None)
    return config


def _made(config_class: type[Any], values: Mapping[str, Any]) -> Any:
    """Return a config, and the configs nested in it, of values as they are."""
    hints = hints_of(config_class)
    nested = {field.alias: hints[field.name] for field in attrs.fields(config_class)}
    return config_class(
        **{k: _made(nested[k], v) if isinstance(v, dict) and attrs.has(nested[k]) else v for k, v in values.items()}
    )


def _values(wanted: OptionType, limits: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    if "choices" in limits:
        return st.sampled_from(list(limits["choices"]))
    if wanted.shape == "union":
        return st.one_of([_values(part, limits) for part in wanted.parts])
    if wanted.shape == "choice":
        return st.sampled_from(list(wanted.choices))
    if wanted.shape == "list":
        return st.lists(_values(wanted.parts[0], {}), max_size=3).map(tuple)
    if wanted.shape == "mapping":
        return st.dictionaries(*(_values(part, limits) for part in wanted.parts), max_size=3)
    if wanted.shape == "none":
        return st.none()
    if wanted.declared in (int, float):
        return _numbers(wanted.declared, limits)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        str: st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=8),
        Path: st.sampled_from([Path("a"), Path("b/c.txt")]),
    }
    return simple[wanted.declared] if wanted.declared in simple else configs(wanted.declared)


def _numbers(hint: Any, limits: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    low = limits.get("ge", limits.get("gt", 0))
    high = limits.get("le", limits.get("lt", low + 8))
    open_low, open_high = "gt" in limits, "lt" in limits
    if hint is int:
        return st.integers(int(low) + open_low, int(high) - open_high)
    return st.floats(low, high, exclude_min=open_low, exclude_max=open_high)
