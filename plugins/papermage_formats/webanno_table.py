"""WebAnno TSV 3 as it stands in a file: layers, rows of tokens and of parts of them, annotations over rows.

The format is described in INCEpTION's user guide, appendix "WebAnno TSV 3.3 File format". Offsets are UTF-16 units.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import numpy as np

from papermage_core.errors import DataError
from papermage_formats.labelled import decode_text, gap, read_bytes, with_line_ends
from papermage_formats.utf16 import utf16_places

__all__ = ["FORMAT", "TOKEN_FEATURES", "Annotation", "Key", "Layer", "Relation", "Sheet", "between"]

FORMAT = "#FORMAT=WebAnno TSV"
_CORE = "de.tudarmstadt.ukp.dkpro.core.api."
TOKEN_FEATURES = {
    (f"{_CORE}lexmorph.type.pos.POS", "PosValue"): "pos",
    (f"{_CORE}lexmorph.type.pos.POS", "coarseValue"): "upos",
    (f"{_CORE}segmentation.type.Lemma", "value"): "lemma",
    (f"{_CORE}segmentation.type.Stem", "value"): "stem",
    (f"{_CORE}lexmorph.type.morph.MorphologicalFeatures", "value"): "feats",
}
"""What of layers that have an annotation a token is metadata of the tokens."""
_OF_TOKENS = {layer for layer, _ in TOKEN_FEATURES}
_KINDS = {"#T_SP=": "span", "#T_CH=": "chain", "#T_RL=": "relation"}
_UNIT = re.compile(r"(\d{1,9})-(\d{1,9})(?:\.(\d{1,9}))?")
_OFFSETS = re.compile(r"(\d{1,12})-(\d{1,12})")
_ESCAPED = re.compile(r"\\(->|.)", re.DOTALL)
_NUMBER = re.compile(r"((?:\\.|[^\\])*)\[(\d{1,9})\]", re.DOTALL)
_REFERENCE = re.compile(r"(\d+-\d+(?:\.\d+)?)(?:\[(\d+)(?:_(\d+))?\])?")
_LINK = re.compile(r"((?:\\.|[^\\])*)->(\d{1,9})-(\d{1,9})", re.DOTALL)
_EXPECTED = "1-1, a tab, 0-4, a tab, the token, and its annotations"
_CHARACTERS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "b": "\b"}

Key = tuple[str, str]
"""An annotation: the name of its layer, and its number in the file, or else where it stands alone."""


@attrs.frozen
class Layer:
    """A layer of the file's head, and the columns that are its own."""

    kind: str
    """span, chain or relation."""
    name: str
    columns: tuple[str, ...]

    @property
    def short(self) -> str:
        """The last part of its name."""
        return self.name.rpartition(".")[2]


@attrs.define
class Annotation:
    """An annotation, over one row or more."""

    key: Key
    layer: Layer
    start: int
    """In characters of the document, as `stop`."""
    stop: int
    features: dict[str, str | None]
    chain: int | None = None


class Relation(NamedTuple):
    """A relation or slot between two annotations."""

    kind: str
    """relation or slot."""
    name: str
    """The layer of the relation, or the slot."""
    feature: str
    """The feature that is the label; empty where none has a value."""
    label: str
    source: Key
    target: Key
    features: dict[str, str]
    """The others that have a value."""


class _Reference(NamedTuple):
    """What a row says that its annotation is related to, before all annotations are known."""

    layer: Layer
    kind: str
    name: str
    """The layer of the relation, or the slot."""
    base: str
    """The layer of what is referred to."""
    to: str
    features: dict[str, str | None]
    own: Key | str
    """The annotation that has the slot, or the row of the relation."""
    line: int


class _Row(NamedTuple):
    line: int
    unit: str
    start: int
    """In what the file counts, as `stop`."""
    stop: int
    text: str
    cells: list[str]


@attrs.define
class _Sentence:
    line: int
    name: str = ""
    lines: list[str] = attrs.Factory(list)
    rows: list[_Row] = attrs.Factory(list)


class Sheet:
    """What a file holds, in characters of its text."""

    def __init__(self, layers: list[Layer], sentences: list[_Sentence]) -> None:
        self.sentence_ids = [each.name for each in sentences]
        self.sentences: list[tuple[int, int]] = []
        self.tokens: list[tuple[int, int]] = []
        self.token_metadata: list[dict[str, Any]] = []
        self.relations: list[Relation] = []
        self._found: dict[Key, Annotation] = {}
        self._alone: dict[str, list[Key]] = {}
        self._addresses: dict[Key, str] = {}
        self._references: list[_Reference] = []
        self.symbols, place = _placed(sentences)
        for sentence in sentences:
            first = len(self.tokens)
            for row in sentence.rows:
                start, stop = int(place[row.start]), int(place[row.stop])
                if "." not in row.unit:
                    self.tokens.append((start, stop))
                    self.token_metadata.append({})
                self._read_row(layers, row, start, stop)
            self.sentences.append((self.tokens[first][0], self.tokens[-1][1]))
        self._resolve()

    @property
    def annotations(self) -> list[Annotation]:
        """The annotations, in the order in which they begin in the file."""
        return list(self._found.values())

    def address(self, key: Key) -> str:
        """Return what tells an annotation from the others of the document."""
        return self._addresses[key]

    @classmethod
    def read(cls, path: Path) -> Sheet:
        """Return what a file holds. Raises DataError with the line."""
        text = decode_text(with_line_ends(read_bytes(path)), advice=False)
        lines = enumerate(text.replace("\r\n", "\n").split("\n"), 1)
        _, first = next(lines)
        if not first.startswith(f"{FORMAT} 3"):
            raise DataError(
                f"is not WebAnno TSV 3: {first:.60}", line=1, value=first, expected=f"{FORMAT} 3.3 in the first line"
            )
        layers, rest = _head(lines)
        width = sum(len(layer.columns) for layer in layers)
        return cls(layers, list(_sentences(rest, width)))

    def _read_row(self, layers: list[Layer], row: _Row, start: int, stop: int) -> None:
        at = 0
        for layer in layers:
            cells = row.cells[at : at + len(layer.columns)]
            at += len(layer.columns)
            if all(cell == "_" for cell in cells):
                continue
            stacks = [_split(cell, "|") for cell in cells]
            if len({len(stack) for stack in stacks}) > 1:
                raise DataError(
                    f"the columns of {layer.name} hold {' and '.join(str(len(stack)) for stack in stacks)} annotations",
                    line=row.line,
                    value=cells,
                    expected="as many in each",
                )
            for number, values in enumerate(zip(*stacks, strict=True)):
                self._read_annotation(layer, row, number, values, (start, stop))

    def _read_annotation(
        self, layer: Layer, row: _Row, number: int, values: tuple[str, ...], place: tuple[int, int]
    ) -> None:
        if layer.kind == "relation":
            features = {name: _value(_numbered(v)[0]) for name, v in zip(layer.columns[:-1], values, strict=False)}
            base = layer.columns[-1].removeprefix("BT_")
            self._references.append(
                _Reference(layer, "relation", layer.name, base, values[-1], features, row.unit, row.line)
            )
            return
        if layer.name in _OF_TOKENS:
            if "." not in row.unit and number == 0:
                for name, value in zip(layer.columns, values, strict=True):
                    named, text = TOKEN_FEATURES.get((layer.name, name)), _value(_numbered(value)[0])
                    if named and text is not None:
                        self.token_metadata[-1][named] = text
            return
        chain, numbers, features = None, list[str](), dict[str, str | None]()
        slots: list[tuple[str, str, str, str]] = []
        columns = iter(zip(layer.columns, values, strict=True))
        for name, value in columns:
            plain, given = _numbered(value)
            if layer.kind == "chain" and (link := _LINK.fullmatch(value)):
                chain, numbers = int(link[2]), [f"{link[2]}-{link[3]}"]
                features[name] = _value(link[1])
                continue
            if name.startswith("ROLE_"):
                slots.append((name, plain, *next(columns, ("", ""))))
            else:
                features[name] = _value(plain)
            if given is not None and layer.kind == "span":
                numbers.append(given)
        features.pop("", None)
        if len(set(numbers)) > 1:
            raise DataError(f"an annotation of {layer.name} has two numbers", line=row.line, value=list(values))
        key: Key = (layer.name, f"[{numbers[0]}]" if numbers else f"{row.unit}/{number}")
        self._alone.setdefault(row.unit, []).append(key)
        if known := self._found.get(key):
            known.start, known.stop = min(known.start, place[0]), max(known.stop, place[1])
            return
        self._found[key] = Annotation(key, layer, *place, features, chain)
        self._addresses[key] = row.unit + (key[1] if numbers else "")
        for name, roles, base, targets in slots:
            slot = name.removeprefix("ROLE_").rpartition(":")[2].partition("_")[0]
            for role, to in zip(_split(roles, ";"), _split(targets, ";"), strict=False):
                if to not in ("_", "*", ""):
                    told = {"label": _value(role)}
                    self._references.append(_Reference(layer, "slot", slot, base, to, told, key, row.line))

    def _resolve(self) -> None:
        """Turn references into relations between annotations; those to tokens are passed over."""
        for each in self._references:
            found = _REFERENCE.fullmatch(each.to)
            if not found:
                raise DataError(f"{each.to!r} is no reference", line=each.line, value=each.to, expected="1-2 or 1-2[3]")
            unit, first, second = found.groups()
            if each.base.startswith(_CORE) and each.base.rpartition(".")[2] in ("Token", "POS", "Lemma"):
                continue
            other = self._at(unit, first, each.base) or self._at(unit, first, "")
            own = self._at(each.own, second, each.base) if isinstance(each.own, str) else each.own
            if other is None or own is None:
                raise DataError(
                    f"{each.to} is referred to, and there is no such annotation of {each.base}", line=each.line,
                    value=each.to, expected="the row of an annotation",
                )  # fmt: skip
            features = {name: value for name, value in each.features.items() if value is not None}
            name = next(iter(features), next(iter(each.features), ""))
            label = features.pop(name, each.name if each.kind == "slot" else each.layer.short)
            ends = (own, other) if each.kind == "slot" else (other, own)
            self.relations.append(Relation(each.kind, each.name, name, label, *ends, features))

    def _at(self, unit: str, number: str | None, layer: str) -> Key | None:
        """Return the annotation that a reference to a unit means, None where there is none."""
        keys = self._alone.get(unit, [])
        if number is not None and number != "0":
            keys = [key for key in keys if key[1] == f"[{number}]"]
        return next((key for key in keys if layer in (key[0], "", "uima.tcas.Annotation")), None)


def _head(lines: Iterator[tuple[int, str]]) -> tuple[list[Layer], Iterator[tuple[int, str]]]:
    """Return the layers that the head declares, and the lines after it."""
    layers: list[Layer] = []
    for number, line in lines:
        kind = next((kind for prefix, kind in _KINDS.items() if line.startswith(prefix)), None)
        if kind is None:
            if line.startswith("#T_"):
                raise DataError(
                    f"declares a layer of no known kind: {line:.60}", line=number, expected=", ".join(_KINDS)
                )
            if line.strip():
                return layers, _before((number, line), lines)
            continue
        name, *columns = [part for part in line.partition("=")[2].strip().split("|") if part]
        if kind == "relation" and not (columns and columns[-1].startswith("BT_")):
            raise DataError("a layer of relations names no base", line=number, expected="BT_ and a layer at the end")
        layers.append(Layer(kind, name, tuple(columns) or ("",)))
    return layers, iter(())


def _before(first: tuple[int, str], rest: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield first
    yield from rest


def _sentences(lines: Iterator[tuple[int, str]], width: int) -> Iterator[_Sentence]:
    """Yield the sentences, each with at least one token."""
    sentence: _Sentence | None = None
    for number, line in lines:
        if line[:1].isdigit():
            if sentence is None:
                sentence = _Sentence(number)
            row = _row(number, line, width)
            if not sentence.rows and "." in row.unit:
                raise DataError(f"{row.unit} is a part of a token that is not there", line=number, value=row.unit,
                                expected="the row of the token before it")  # fmt: skip
            sentence.rows.append(row)
        elif line.startswith("#") or not line.strip():
            if sentence is not None and sentence.rows:
                yield sentence
                sentence = None
            if line.startswith("#"):
                sentence = sentence or _Sentence(number)
                key, _, value = line.partition("=")
                if key == "#Text":
                    sentence.lines.append(_unescape(value))
                elif key == "#Sentence.id":
                    sentence.name = _unescape(value)
        else:
            raise DataError(
                f"is no row of a token: {line:.60}", line=number, value=line, expected="1-1, a tab, offsets"
            )
    if sentence is not None and sentence.rows:
        yield sentence


def _row(number: int, line: str, width: int) -> _Row:
    unit, *rest = line.split("\t")
    offsets = _OFFSETS.fullmatch(rest[0]) if rest else None
    if not _UNIT.fullmatch(unit) or offsets is None or len(rest) < 2:
        raise DataError(
            f"is no row of a token: {line:.60}",
            line=number,
            value=line,
            expected="1-1, a tab, offsets, a tab, the token",
        )
    cells = rest[2:]
    if cells and not cells[-1]:  # rows end with a tab
        cells.pop()
    if len(cells) != width:
        raise DataError(
            f"has {len(cells)} columns of annotations, and the head declares {width}", line=number, value=line,
            expected=f"{width} columns after the token",
        )  # fmt: skip
    start, stop = int(offsets[1]), int(offsets[2])
    if stop < start:
        raise DataError(f"{rest[0]} ends before it begins", line=number, value=rest[0], expected="start-stop")
    return _Row(number, unit, start, stop, rest[1], cells)


def _placed(sentences: list[_Sentence]) -> tuple[str, Any]:
    """Return the text, and the character of it at each offset that the file counts. Raises DataError.

    Offsets are UTF-16 units; where tokens are not there, code points, which some scripts write.
    """
    error = None
    for wide in (True, False):
        try:
            return _placed_by(sentences, wide)
        except DataError as exc:
            error = error or exc
    assert error is not None
    raise error


def _placed_by(sentences: list[_Sentence], wide: bool) -> tuple[str, Any]:
    pieces: list[str] = []
    at = 0
    for sentence in sentences:
        first = sentence.rows[0]
        text = "\n".join(sentence.lines) if sentence.lines else _of_tokens(sentence, wide)
        lead = text[: len(text) - len(text.lstrip())]
        if lead and not text.startswith(first.text) and text.lstrip().startswith(first.text):
            start = first.start - _size(lead, wide)  # a text that begins before its first token, against the rule
        else:
            start = first.start
        if start < at:
            raise DataError(
                f"the sentence begins at {start}, and the one before ends at {at}", line=sentence.line, value=start,
                expected=f"{at} or more",
            )  # fmt: skip
        pieces += [between(start - at, bool(pieces)), text]
        at = start + _size(text, wide)
    symbols = "".join(pieces)
    place = utf16_places(symbols) if wide else np.arange(len(symbols) + 1)
    for sentence in sentences:
        for row in sentence.rows:
            there = None
            if row.stop < len(place) and place[row.start] >= 0 and place[row.stop] >= 0:
                there = symbols[place[row.start] : place[row.stop]]
            if there is None or _spaced(there) != _spaced(row.text):
                said = "which is outside of the text" if there is None else f"where {there!r:.60} stands"
                raise DataError(
                    f"{row.text!r:.60} is at {row.start} to {row.stop}, {said}", line=row.line, value=row.text,
                    expected="the text of the sentence at its offsets",
                )  # fmt: skip
    return symbols, place


def between(size: int, inside: bool) -> str:
    """Return what stands for ``size`` characters that the file leaves out: a line end first, ``inside`` the text.

    >>> between(1, True), between(3, True), between(2, False), between(0, True)
    ('\\n', '\\n  ', '  ', '')
    """
    return "\n" + gap(size - 1) if inside and size else gap(size)


def _of_tokens(sentence: _Sentence, wide: bool) -> str:
    text, begin = "", sentence.rows[0].start
    for row in sentence.rows:
        if "." not in row.unit:
            missing = row.start - begin - _size(text, wide)
            text += gap(max(missing, 0)) + row.text
    return text


def _size(text: str, wide: bool) -> int:
    return len(text) + sum(c > "\uffff" for c in text) if wide and not text.isascii() else len(text)


def _spaced(text: str) -> str:
    return re.sub(r"[\t\n\r]", " ", text)


def _split(cell: str, mark: str) -> list[str]:
    """Return the parts of a cell between marks that are not escaped.

    >>> _split("a[1]|b", "|"), _split(r"a\\|b|c", "|"), _split("a" + 2 * chr(92) + "|b", "|")
    (['a[1]', 'b'], ['a\\\\|b', 'c'], ['a\\\\\\\\', 'b'])
    """
    if "\\" not in cell:
        return cell.split(mark)
    parts = [""]
    for piece in re.findall(r"\\.|[^\\]|\\$", cell, re.DOTALL):
        if piece == mark:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def _numbered(value: str) -> tuple[str, str | None]:
    """Return a value without the number of its annotation, and that.

    >>> _numbered("PER[12]"), _numbered("PER"), _numbered(chr(92) + "[1" + chr(92) + "]")
    (('PER', '12'), ('PER', None), ('\\\\[1\\\\]', None))
    """
    found = _NUMBER.fullmatch(value)
    return (found[1], found[2]) if found else (value, None)


def _value(text: str) -> str | None:
    """Return the value of a feature, None where it has none."""
    return None if text in ("*", "_", "") else _unescape(text)


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda found: _CHARACTERS.get(found[1], found[1]), text) if "\\" in text else text
