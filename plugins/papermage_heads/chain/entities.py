"""How entities lie in sequences of tags, and the probability of a whole one under a chain."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from papermage_core.errors import ConfigError
from papermage_core.plugin import LabelScheme
from papermage_heads.chain.compiled import kernels
from papermage_heads.chain.forward_backward import ForwardBackward
from papermage_heads.chain.legal import LegalChain
from papermage_heads.chain.scores import ChainScores

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EntityRules", "entity_probabilities", "likely_entities"]

_MOST_ENDS = 32
"""Ends of an entity that are looked at for each of its beginnings."""
_MOST_PAIRS = 40_000
"""Neighbouring tags of different labels that a scheme is tried on: all of them up to 100 labels under BIO."""


@attrs.frozen(eq=False)
class EntityRules:
    """How entities lie in legal sequences of tags, learned from the scheme's own ``decode``.

    Any scheme will do in which the pair of a tag and the tag before it says whether an entity goes on. L labels, each
    with up to J tags.
    """

    label: NDArray[np.int64]
    """Index of the label of each tag, -1 for a tag outside entities. Shape (K,)."""
    place: NDArray[np.int64]
    """Which of its label's tags each tag is. Shape (K,)."""
    tags: NDArray[np.int64]
    """The tags of each label, filled up with -1. Shape (L, J)."""
    continues: NDArray[np.bool_]
    """[l, i, j]: whether the j-th tag of a label, after the i-th, goes on with its entity. Shape (L, J, J)."""

    @classmethod
    def of(cls, scheme: LabelScheme, chain: LegalChain) -> EntityRules:
        """Return the rules of a scheme. Raises ConfigError where it has no legal sequence, or no such rules."""
        if not scheme.has_legal_sequences():
            raise ConfigError(
                f"head: {type(scheme).__name__} has no legal sequence of tags for some number of units; "
                "choose another label_scheme"
            )
        ways_in, ways_out = _ways(chain.start, chain.ahead), _ways(chain.end, chain.back)
        usable = np.array([bool(way_in and way_out) for way_in, way_out in zip(ways_in, ways_out, strict=True)])
        sequences = [ways_in[tag][:0:-1] + ways_out[tag] for tag in np.flatnonzero(usable).tolist()]
        walk, starts, stops, labels = _read(scheme, chain, sequences)
        label = np.full(len(usable), -1)
        label[walk[_units(starts, stops)]] = np.repeat(labels, stops - starts)
        groups = [np.flatnonzero(label == index) for index in range(len(scheme.labels))]
        tags = np.full((len(groups), max(1, *map(len, groups))), -1)
        place = np.zeros_like(label)
        for row, group in zip(tags, groups, strict=True):
            row[: len(group)] = group
            place[group] = np.arange(len(group))

        before, here = _pairs(tags, len(label))
        fitting = usable[before] & usable[here] & chain.allows(before, here)
        pairs = zip(before[fitting].tolist(), here[fitting].tolist(), strict=True)
        sequences += [ways_in[first][::-1] + ways_out[second] for first, second in pairs]
        walk, starts, stops, labels = _read(scheme, chain, sequences)
        first = _units(starts, stops - 1)
        continues = np.zeros((*tags.shape, tags.shape[1]), np.bool_)
        continues[label[walk[first]], place[walk[first]], place[walk[first + 1]]] = True
        rules = cls(label, place, tags, continues)
        _, *found = rules.find(walk[None], np.ones((1, len(walk)), np.bool_))
        wrong = set(zip(starts, stops, labels, strict=True)).symmetric_difference(zip(*found, strict=True))
        if wrong:
            unit = min(wrong)[0]
            names = " ".join(scheme.tags[tag] for tag in walk[max(0, unit - 2) : unit + 4])
            raise ConfigError(
                f"head: {type(scheme).__name__} does not tell from neighbouring tags whether an entity goes on "
                f"(as in {names!r}); choose another label_scheme"
            )
        return rules

    def find(self, tags: NDArray[np.int64], mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
        """Return context, start, stop and label of the entities in legal sequences (B, U), in order. Shapes (E,)."""
        label = np.where(mask, self.label[tags], -1).ravel()
        inside = np.flatnonzero(label >= 0)
        label, place, n_units = label[inside], self.place[tags.ravel()[inside]], tags.shape[1]
        joined = (np.diff(inside) == 1) & (inside[1:] % n_units > 0) & (label[1:] == label[:-1])
        joined &= self.continues[label[:-1], place[:-1], place[1:]]
        first = np.append(True, ~joined)[: len(inside)]
        last = np.append(~joined, True)[: len(inside)]
        contexts, starts = np.divmod(inside[first], n_units)
        return contexts, starts, inside[last] % n_units + 1, label[first]


def _pairs(tags: NDArray[np.int64], n_tags: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of neighbouring tags to try a scheme on: all of one label, and all others or a sample."""
    first, second = np.broadcast_arrays(tags[:, :, None], tags[:, None, :])
    real = (first >= 0) & (second >= 0)
    few = n_tags**2 <= _MOST_PAIRS
    others = np.arange(n_tags**2) if few else np.random.default_rng(0).integers(n_tags**2, size=_MOST_PAIRS)
    return np.append(first[real], others // n_tags), np.append(second[real], others % n_tags)


def _ways(at_edge: NDArray[np.bool_], reduce: Callable[..., NDArray[Any]]) -> list[list[int]]:
    """Return a shortest legal way from each tag to the edge of a context, both included; empty where there is none."""
    tags = np.arange(len(at_edge))
    onward = np.where(at_edge, tags, -1)
    while True:
        candidates = reduce(np.maximum, np.where(onward < 0, -1, tags), -1)
        new = (onward < 0) & (candidates >= 0)
        if not new.any():
            break
        onward[new] = candidates[new]
    steps = onward.tolist()
    ways = []
    for tag, step in enumerate(steps):
        way = [] if step < 0 else [tag]
        while way and steps[way[-1]] != way[-1]:
            way.append(steps[way[-1]])
        ways.append(way)
    return ways


def _read(
    scheme: LabelScheme, chain: LegalChain, sequences: list[list[int]]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return legal sequences put together, and start, stop and label of the entities that the scheme reads in them.

    Sequences that may follow each other are read in one go.
    """
    walk = np.fromiter(itertools.chain.from_iterable(sequences), np.int64)
    borders = np.cumsum([len(sequence) for sequence in sequences])[:-1]
    cuts = borders[~chain.allows(walk[borders - 1], walk[borders])]
    index = {name: i for i, name in enumerate(scheme.labels)}
    found = [
        (first + span.start, first + span.stop, index[span.label])
        for first, part in zip([0, *cuts.tolist()], np.split(walk, cuts), strict=True)
        for span in scheme.decode(part)
    ]
    starts, stops, labels = np.array(found, np.int64).reshape(-1, 3).T
    return walk, starts, stops, labels


def _units(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the units from each start to its stop, one after the other."""
    sizes = stops - starts
    units: NDArray[np.int64] = np.arange(sizes.sum()) + np.repeat(starts - (sizes.cumsum() - sizes), sizes)
    return units


def entity_probabilities(
    rules: EntityRules,
    emissions: NDArray[np.floating[Any]],
    result: ForwardBackward,
    scores: ChainScores | LegalChain,
    lengths: NDArray[np.int64],
    entities: NDArray[np.int64],
) -> NDArray[np.float64]:
    r"""Return the probability that exactly this entity, with both its ends, is in the sequence. Shape (E,).

    Given the emissions, the tags of a chain are a Markov chain, with $q_i(s, t) = P(y_i = t \mid y_{i-1} = s)
    = e^{m_{st} + x_{it}} \beta_i(t) / \beta_{i-1}(s)$. Let $C_i$ be $q_i$ where t goes on with the entity
    of s and zero elsewhere, over the tags of one label, and $\gamma$ the marginals. An entity over units
    s to e - 1 begins at s, goes on up to e - 1, and does not go on at e:

    $$
    P = (\gamma_s - \gamma_{s-1} C_s) \, C_{s+1} \cdots C_{e-1} \, (1 - C_e 1)
    $$

    Exact, for every scheme whose rules are known (compare the constrained forward–backward of Culotta and McCallum
    2004, "Confidence Estimation for Information Extraction", which needs a run for each entity).

    ``entities`` (E, 4) are context, start, stop and label, ``lengths`` (B,) the units of the contexts, ``result`` what
    forward–backward says, with log beta, for ``emissions`` (B, U, K).
    """
    if not len(entities):
        return np.zeros(0)
    tags, steps = rules.tags, np.where(rules.continues, 0.0, -np.inf)  # (L, J), (L, J, J)
    if isinstance(scores, ChainScores):
        steps += scores.arrays[0][tags[:, :, None], tags[:, None, :]]
    marginals, log_beta = result.marginals.numpy(), result.log_beta.numpy()
    if loops := kernels():
        found = np.zeros(len(entities))
        loops.entity_probabilities(emissions, marginals, log_beta, lengths, tags, steps, entities, found)
        return np.clip(found, 0.0, 1.0)
    order = np.argsort(entities[:, 1] - entities[:, 2], kind="stable")  # longest first: the others drop out on the way
    b, s, e, label = entities[order].T
    tags, steps = tags[label], steps[label]  # (E, J), (E, J, J)

    def going_on(unit: NDArray[np.int64], some: slice | NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return C at ``unit`` for some of the entities. Shape (some, J, J)."""
        here, before = (b[some, None], unit[:, None], tags[some]), (b[some, None], unit[:, None] - 1, tags[some])
        with np.errstate(invalid="ignore"):
            log = steps[some] + (emissions[here] + log_beta[here])[:, None, :] - log_beta[before][:, :, None]
        return np.exp(np.where(np.isfinite(log), log, -np.inf))

    state = np.where(tags < 0, 0.0, marginals[b[:, None], s[:, None], tags])  # (E, J)
    inner = s > 0
    state[inner] -= np.einsum(
        "ej,ejk->ek", marginals[b[inner, None], s[inner, None] - 1, tags[inner]], going_on(s[inner], inner)
    )
    size = e - s
    for offset in range(1, int(size.max())):
        some = slice(int(np.searchsorted(-size, -offset)))
        state[some] = np.einsum("ej,ejk->ek", state[some], going_on(s[some] + offset, some))
    ended = np.ones_like(state)
    inner = e < lengths[b]
    ended[inner] -= going_on(e[inner], inner).sum(2)
    found = np.empty(len(order))
    found[order] = np.clip((state * ended).sum(1), 0.0, 1.0)
    return found


def likely_entities(
    rules: EntityRules,
    emissions: NDArray[np.floating[Any]],
    result: ForwardBackward,
    scores: ChainScores | LegalChain,
    lengths: NDArray[np.int64],
    least: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    r"""Return the entities, in any sequence, that have at least a probability: (E, 4) as above, and theirs, (E,).

    None is more likely than that one begins, ends, or lies at a unit. So the units where its label, its beginning
    $(\gamma_s - \gamma_{s-1} C_s) 1$ and its end $\gamma_e (1 - C_{e+1} 1)$ are likely enough leave few
    to be asked about.
    """
    steps = np.where(rules.continues, 0.0, -np.inf)
    if isinstance(scores, ChainScores):
        steps += scores.arrays[0][rules.tags[:, :, None], rules.tags[:, None, :]]
    marginals, log_beta = result.marginals.numpy(), result.log_beta.numpy()
    inside = np.where(rules.tags < 0, 0.0, marginals[..., rules.tags]).sum(3)  # (B, U, L)
    b, label, unit = np.nonzero(inside.transpose(0, 2, 1) >= least)  # by context, label and unit

    def going_on(b: NDArray[np.int64], unit: NDArray[np.int64], label: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return how likely an entity of the label goes on from the unit before. Shape (n,)."""
        tags = rules.tags[label]
        here, before = (b[:, None], unit[:, None], tags), (b[:, None], unit[:, None] - 1, tags)
        with np.errstate(invalid="ignore"):
            log = steps[label] + (emissions[here] + log_beta[here])[:, None, :] - log_beta[before][:, :, None]
        found: NDArray[np.float64] = np.exp(np.where(np.isfinite(log), log, -np.inf)).sum(2)
        going: NDArray[np.float64] = (np.where(tags < 0, 0.0, marginals[before]) * found).sum(1)
        return going

    here = inside[b, unit, label]
    begins, ends = here.copy(), here.copy()
    some = unit > 0
    begins[some] -= going_on(b[some], unit[some], label[some])
    some = unit + 1 < lengths[b]
    ends[some] -= going_on(b[some], unit[some] + 1, label[some])
    new = np.append(True, (np.diff(b) != 0) | (np.diff(label) != 0) | (np.diff(unit) != 1))[: len(b)]
    run_stop = np.append(np.flatnonzero(new)[1:], len(b))[np.cumsum(new) - 1] if len(b) else np.zeros(0, np.int64)
    first, last = np.flatnonzero(begins >= least), np.flatnonzero(ends >= least)
    low = np.searchsorted(last, first)
    count = np.minimum(np.searchsorted(last, run_stop[first]) - low, _MOST_ENDS)
    start, stop = np.repeat(first, count), last[_units(low, low + count)]
    entities = np.stack([b[start], unit[start], unit[stop] + 1, label[start]], 1)
    found = entity_probabilities(rules, emissions, result, scores, lengths, entities)
    return entities[found >= least], found[found >= least]
