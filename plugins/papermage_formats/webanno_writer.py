"""Documents → WebAnno TSV 3.3."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import attrs

from papermage_core.document import Document
from papermage_formats.labelled import Labelled, labelled_entities, text_of
from papermage_formats.noted import noted, relations_of
from papermage_formats.tokenized import PlacedTokens, placed_tokens
from papermage_formats.webanno_table import FORMAT, TOKEN_FEATURES, between

__all__ = ["sheet_of"]

_VALUE = re.compile(r"->|[\\\[\]|_;*\t\n]")
_TEXT = re.compile(r"[\\\t\r\f\x08\n]")
_NAMES = {"\t": "t", "\n": "n", "\r": "r", "\f": "f", "\b": "b"}
_RELATION = "webanno.custom.Relation"
_OF_CHAINS = ("referenceType", "referenceRelation")


class _Of(TypedDict, total=False):
    """What the reader notes of an annotation."""

    layer: str
    feature: str
    features: dict[str, str]


class _OfRelation(TypedDict, total=False):
    relation: str
    slot: str
    feature: str
    features: dict[str, str]


class _Unit(NamedTuple):
    """A token, or where ``part`` a part of one."""

    token: int
    start: int
    """In characters, as `stop`."""
    stop: int
    part: bool


@attrs.define
class _Annotation:
    layer: str
    features: dict[str, str]
    units: list[_Unit]
    chain: int | None = None
    link: int = 0
    """Its place in the chain, from 1."""
    number: int = 0
    """Tells it from others in the file; 0 where nothing else is in its only row."""


class _Relation(NamedTuple):
    layer: str
    features: dict[str, str]
    source: _Annotation
    target: _Annotation


def sheet_of(document: Document, default: tuple[str, str], layers: Sequence[str], lost: Counter[str]) -> str:
    """Return the file of a document; ``default`` are layer and feature of entities that were not read from one.

    Raises DataError for a document without text or tokens.
    """
    symbols = text_of(document)
    tokens = placed_tokens(document, lost, set(TOKEN_FEATURES.values()), at_least_one=True)
    annotations, by_id = _annotations(document, tokens, default, layers, lost)
    relations = list(_relations(document, by_id, lost))
    lost["metadata of documents"] += len(set(document.metadata) - {"doc_id", "relations"})
    _number(annotations)
    return "".join(_lines(document, symbols, tokens, annotations, relations, lost))


def _annotations(
    document: Document, tokens: PlacedTokens, default: tuple[str, str], layers: Sequence[str], lost: Counter[str]
) -> tuple[list[_Annotation], dict[Any, _Annotation]]:
    """Return the annotations to write, and those of them that have an id."""
    starts, stops = [[place[i] for place in tokens.places] for i in (0, 1)]
    found, by_id, links = list[_Annotation](), dict[Any, _Annotation](), Counter[tuple[str, int | None]]()
    for entity in labelled_entities(document, layers, lost, kept=("tokens", "sentences")):
        if len(entity.segments) > 1:
            lost["discontinuous entities"] += 1
            continue
        first, last = bisect_right(stops, entity.start), bisect_left(starts, entity.stop)
        if first >= last:
            lost["entities without tokens"] += 1
            continue
        units = []
        for token in range(first, last):
            start, stop = max(starts[token], entity.start), min(stops[token], entity.stop)
            units.append(_Unit(token, start, stop, (start, stop) != tokens.places[token]))
        lost["ends of entities outside of tokens"] += (entity.start, entity.stop) != (units[0].start, units[-1].stop)
        layer, features, chain = _features(entity, default, lost)
        links[layer, chain] += 1
        found.append(_Annotation(layer, features, units, chain, links[layer, chain]))
        if isinstance(name := entity.metadata.get("id"), (str, int)):
            by_id[name] = found[-1]
    return found, by_id


def _features(entity: Labelled, default: tuple[str, str], lost: Counter[str]) -> tuple[str, dict[str, str], int | None]:
    """Return the layer of an entity, its features, empty where they have no value, and its chain."""
    told: _Of | None = noted(entity.metadata, "webanno", _Of, lost, "metadata of entities")
    own = told is not None and _named(told.get("layer", ""), told.get("feature", ""), told.get("features", {}))
    layer, feature = (told["layer"], told.get("feature", "")) if told and own else default
    short = layer.rpartition(".")[2]
    lost["labels"] += not feature and entity.label != short
    features = {feature: entity.label if entity.label != short else ""} if feature else {}
    others = {key: value for key, value in entity.metadata.items() if key not in ("id", "webanno")}
    chain = others.pop("chain", None) if own else None
    if told and own:
        kept = {key: value for key, value in others.items() if isinstance(value, str) and re.fullmatch(r"\w+", key)}
        features |= {key: value for key, value in kept.items() if value and key != feature}
        features |= told.get("features", {})
        others = {key: value for key, value in others.items() if key not in kept}
    lost["metadata of entities"] += bool(others)
    if chain is not None and type(chain) is not int:
        lost["metadata of entities"] += 1
        chain = None
    return layer, features, chain


def _named(layer: str, feature: str, others: Mapping[str, str]) -> bool:
    """Whether names are such as the tool gives, and the head of a file can hold."""
    names = (name for name in (feature, *others) if name)
    of_tokens = {of for of, _ in TOKEN_FEATURES}  # whose columns say something of tokens
    return (
        bool(re.fullmatch(r"[\w.]+", layer))
        and layer not in of_tokens
        and all(re.fullmatch(r"\w+", name) for name in names)
    )


def _relations(document: Document, by_id: dict[Any, _Annotation], lost: Counter[str]) -> Iterator[_Relation]:
    for relation in relations_of(document, lost, webanno=_OfRelation):
        told: _OfRelation = relation.get("webanno") or _OfRelation()
        ends = [by_id.get(of) for _, of in relation["arguments"]]
        if len(ends) != 2 or ends[0] is None or ends[1] is None:
            lost["relations"] += 1
            continue
        if "slot" in told or ends[0].layer != ends[1].layer or ends[0].chain is not None:
            lost["slots, and relations between layers"] += 1
            continue
        if not _named(told.get("relation", _RELATION), told.get("feature", ""), told.get("features", {})):
            told = _OfRelation()
        layer, label = told.get("relation", _RELATION), relation.get("label") or ""
        feature = told.get("feature", "") if "relation" in told else "label"
        features = {feature: label if label != layer.rpartition(".")[2] else ""} if feature else {}
        yield _Relation(layer, features | told.get("features", {}), ends[0], ends[1])


def _number(annotations: Sequence[_Annotation]) -> None:
    """Give numbers to annotations of several units, and to those that share one with another of their layer."""
    stacked = Counter((each.layer, unit) for each in annotations for unit in each.units)
    numbers = iter(range(1, len(annotations) + 1))
    for each in annotations:
        if len(each.units) > 1 or stacked[each.layer, each.units[0]] > 1:
            each.number = next(numbers)


def _lines(
    document: Document,
    symbols: str,
    tokens: PlacedTokens,
    annotations: Sequence[_Annotation],
    relations: Sequence[_Relation],
    lost: Counter[str],
) -> Iterator[str]:
    """Yield the lines of a file; of each sentence, its text and a row for each token and part of one."""
    of_tokens = _of_tokens(tokens)
    columns: dict[str, dict[str, None]] = {}
    for layer, feature in of_tokens:
        columns.setdefault(layer, {})[feature] = None
    spans, chains, arcs = _layers(annotations, relations)
    yield from _head([*columns.items(), *spans.items()], chains, arcs)
    by_unit: dict[_Unit, list[_Annotation]] = {}
    for annotation in annotations:
        for unit in annotation.units:
            by_unit.setdefault(unit, []).append(annotation)
    parts: dict[int, list[_Unit]] = {}
    for unit in sorted(by_unit):
        if unit.part:
            parts.setdefault(unit.token, []).append(unit)
    ends_at: dict[_Unit, list[_Relation]] = {}
    for relation in relations:
        ends_at.setdefault(relation.target.units[0], []).append(relation)
    borders, names = _sentences(document, tokens)
    units = {
        unit: f"{s}-{t - first + 1}" + (f".{i}" if unit.part else "")
        for s, (first, last) in enumerate(zip(borders, [*borders[1:], len(tokens.places)], strict=True), 1)
        for t in range(first, last)
        for i, unit in enumerate([_Unit(t, *tokens.places[t], False), *parts.get(t, ())])
    }
    at = _offsets(symbols)
    ends = [*borders[1:], len(tokens.places)]
    texts = list(_texts(symbols, tokens, list(zip(borders, ends, strict=True)), lost))
    for first, last, name, text in zip(borders, ends, names, texts, strict=True):
        yield "\n" + (f"#Sentence.id={_text(name)}\n" if name else "")
        yield from (f"#Text={_text(line)}\n" for line in text.split("\n"))
        for t in range(first, last):
            for unit in [_Unit(t, *tokens.places[t], False), *parts.get(t, ())]:
                word = symbols[unit.start : unit.stop]
                cells = [units[unit], f"{at(unit.start)}-{at(unit.stop)}", re.sub(r"[\t\n\r]", " ", word)]
                cells += ["_" if unit.part else _value(values[t]) or "*" for values in of_tokens.values()]
                cells += _of_spans(spans, by_unit.get(unit, ()))
                cells += _of_chains(chains, by_unit.get(unit, ()))
                cells += _of_relations(arcs, ends_at.get(unit, ()), units)
                yield "\t".join(cells) + "\t\n"


def _of_tokens(tokens: PlacedTokens) -> dict[tuple[str, str], list[str | None]]:
    """Return layer and feature → the value of each token, of the features of tokens that some have."""
    found = {
        place: [v if isinstance(v, str) and v else None for v in tokens.column(key)]
        for place, key in TOKEN_FEATURES.items()
    }
    return {place: values for place, values in found.items() if any(values)}


def _layers(
    annotations: Sequence[_Annotation], relations: Sequence[_Relation]
) -> tuple[dict[str, dict[str, None]], dict[str, None], dict[tuple[str, str], dict[str, None]]]:
    """Return the layers of spans, of chains, and of relations by their base, the first and last with their features."""
    spans: dict[str, dict[str, None]] = {}
    chains: dict[str, None] = {}
    arcs: dict[tuple[str, str], dict[str, None]] = {}
    for annotation in annotations:
        if annotation.chain is None:
            spans.setdefault(annotation.layer, {}).update(dict.fromkeys(annotation.features))
        else:
            chains[annotation.layer] = None
    for relation in relations:
        arcs.setdefault((relation.layer, relation.target.layer), {}).update(dict.fromkeys(relation.features))
    return spans, chains, arcs


def _texts(
    symbols: str, tokens: PlacedTokens, sentences: Sequence[tuple[int, int]], lost: Counter[str]
) -> Iterator[str]:
    """Yield the text of each sentence, given by its first token and their end; count what stands in none."""
    end = 0
    for number, (first, last) in enumerate(sentences):
        start = tokens.places[first][0]
        stop = tokens.places[last][0] if last < len(tokens.places) else len(symbols)
        text = symbols[start:stop].rstrip()
        text += symbols[start + len(text) : tokens.places[last - 1][1]]
        skipped = symbols[end:start]
        lost["text before the first token"] += bool(skipped.strip())
        lost["white space between sentences"] += skipped != between(len(skipped), number > 0)
        end = start + len(text)
        yield text
    lost["white space at the end of the text"] += end < len(symbols)


def _head(
    spans: Sequence[tuple[str, dict[str, None]]],
    chains: dict[str, None],
    arcs: dict[tuple[str, str], dict[str, None]],
) -> Iterator[str]:
    """Yield the lines that declare the layers and their features, in the order of the columns."""
    yield f"{FORMAT} 3.3\n"
    for layer, features in spans:
        yield f"#T_SP={layer}|{'|'.join(features)}\n"
    for layer in chains:
        yield f"#T_CH={layer}|{'|'.join(_OF_CHAINS)}\n"
    for (layer, base), features in arcs.items():
        yield f"#T_RL={layer}|{''.join(f'{feature}|' for feature in features)}BT_{base}\n"
    yield "\n"


def _of_spans(layers: dict[str, dict[str, None]], found: Sequence[_Annotation]) -> list[str]:
    cells = []
    for layer, features in layers.items():
        own = [each for each in found if each.layer == layer and each.chain is None]
        for feature in features or ("",):
            values = [
                (_value(each.features.get(feature)) or "*") + (f"[{each.number}]" if each.number else "")
                for each in own
            ]
            cells.append("|".join(values) or "_")
    return cells


def _of_chains(layers: dict[str, None], found: Sequence[_Annotation]) -> list[str]:
    cells = []
    for layer in layers:
        own = [each for each in found if each.layer == layer and each.chain is not None]
        kinds, relations = ([_value(each.features.get(name)) or "*" for each in own] for name in _OF_CHAINS)
        cells.append("|".join(f"{kind}[{each.chain}]" for kind, each in zip(kinds, own, strict=True)) or "_")
        links = (f"{kind}->{each.chain}-{each.link}" for kind, each in zip(relations, own, strict=True))
        cells.append("|".join(links) or "_")
    return cells


def _of_relations(
    layers: dict[tuple[str, str], dict[str, None]], found: Sequence[_Relation], units: dict[_Unit, str]
) -> list[str]:
    cells = []
    for (layer, base), features in layers.items():
        own = [each for each in found if (each.layer, each.target.layer) == (layer, base)]
        cells += ["|".join(_value(each.features.get(feature)) or "*" for each in own) or "_" for feature in features]
        references = []
        for each in own:
            numbers = each.source.number, each.target.number
            told = f"[{numbers[0]}_{numbers[1]}]" if any(numbers) else ""
            references.append(units[each.source.units[0]] + told)
        cells.append("|".join(references) or "_")
    return cells


def _sentences(document: Document, tokens: PlacedTokens) -> tuple[list[int], list[str]]:
    """Return the first token of each sentence, and the id of each; without sentences a line is one."""
    starts = [place[0] for place in tokens.places]
    symbols, names = document.symbols or "", {0: ""}
    if document.has_layer("sentences") and len(document.get_layer("sentences")):
        for sentence in document.get_layer("sentences"):
            if sentence.spans:
                first, last = bisect_left(starts, sentence.start), bisect_left(starts, sentence.end)
                if first < last:
                    told = sentence.metadata.get("id", None)
                    names[first] = told if isinstance(told, str) else ""
                    if last < len(starts):
                        names.setdefault(last, "")
    else:
        for token in range(1, len(starts)):
            if "\n" in symbols[tokens.places[token - 1][1] : starts[token]]:
                names[token] = ""
    borders = sorted(names)
    return borders, [names[border] for border in borders]


def _offsets(symbols: str) -> Any:
    """Return what gives the UTF-16 unit of a character."""
    wide = [i for i, c in enumerate(symbols) if c > "\uffff"] if not symbols.isascii() else []
    return lambda place: place + bisect_left(wide, place)


def _value(value: Any) -> str:
    return _VALUE.sub(lambda found: "\\" + _NAMES.get(found[0], found[0]), value) if isinstance(value, str) else ""


def _text(line: str) -> str:
    return _TEXT.sub(lambda found: "\\" + _NAMES.get(found[0], found[0]), line)
