"""Lists of terms: text, tables, and the patterns of spaCy and Prodigy."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs

from papermage_core.errors import DataError, nearest
from papermage_core.files import compression, open_bytes

__all__ = ["Case", "Term", "read_terms", "write_terms"]

Case = Literal["auto", "exact", "ignore"]
_COLUMNS = ("term", "label", "identifier")
_KEYS = ("pattern", "label", "identifier", "id", "case")
_REGEX = re.compile(r"/(.+)/", re.DOTALL)
_OF_TOKENS: Mapping[str, Case] = {"lower": "ignore", "text": "exact", "orth": "exact"}


@attrs.frozen
class Term:
    """What is looked for, and what it is."""

    text: str
    label: str = ""
    """Empty: that of the list."""
    identifier: str = ""
    case: Case | None = None
    """None: as the list is matched."""
    regex: re.Pattern[str] | None = attrs.field(default=None, eq=False)
    """Of a term between slashes."""


def read_terms(path: Path) -> list[Term]:
    """Return the terms of a file, in order. Raises DataError with file and line.

    A file whose name ends in ``.jsonl`` holds patterns of spaCy and Prodigy; in any other a line is a term, with label
    and identifier behind tabs, or in ``.csv`` behind commas. A first line of names of the columns says their order.
    """
    try:
        with open_bytes(path.expanduser()) as file:
            text = file.read().decode("utf-8-sig")
    except OSError as exc:
        raise DataError(f"cannot read this list of terms: {exc.strerror or exc}", path=path) from exc
    except UnicodeDecodeError as exc:
        raise DataError(f"is not UTF-8: {exc.reason}", path=path) from exc
    packed = compression(path.name)
    suffix = Path(path.name.removesuffix(packed) if packed else path.name).suffix.lower()
    rows = _patterns(text) if suffix == ".jsonl" else _table(text, "," if suffix == ".csv" else "\t")
    try:
        found = [_with_regex(line, term) for line, term in rows]
    except DataError as exc:
        raise exc.replace(path=path) from exc
    if not found:
        raise DataError("there is no term in this list; expected a term a line", path=path)
    return found


def write_terms(terms: Sequence[Term], path: Path) -> None:
    """Write terms to a file of patterns."""
    lines = (
        {key: value for key, value in zip(_KEYS, (t.text, t.label, t.identifier, None, t.case), strict=True) if value}
        for t in terms
    )
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def _table(text: str, delimiter: str) -> Iterator[tuple[int, Term]]:
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting)
    columns: Sequence[str] = _COLUMNS
    try:
        for number, row in enumerate(rows):
            cells = [cell.strip() for cell in row]
            names = [cell.lower() for cell in cells]
            if not number and "term" in names and len(names) > 1 and set(names) <= {*_COLUMNS}:
                columns = names
                continue
            if not any(cells):
                continue
            if len(cells) > len(columns):
                what = f"this line has {len(cells)} columns; expected at most {', '.join(columns)}"
                raise DataError(what, line=rows.line_num)
            given = dict(zip(columns, cells, strict=False))
            if not given.get("term"):
                raise DataError("this line has no term", line=rows.line_num)
            yield rows.line_num, Term(given["term"], given.get("label", ""), given.get("identifier", ""))
    except csv.Error as exc:
        raise DataError(f"cannot be read as a table: {exc}", line=rows.line_num) from exc


def _patterns(text: str) -> Iterator[tuple[int, Term]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, _pattern(json.loads(line))
            except ValueError as exc:
                if not isinstance(exc, DataError):
                    raise DataError(f"is not JSON: {exc}", line=number) from exc
                raise exc.replace(line=number) from exc


def _pattern(given: Any) -> Term:
    """Return the term of a line: ``{"label": "Drug", "pattern": "aspirin"}``."""
    if not isinstance(given, dict) or not isinstance(given.get("pattern"), (str, list)):
        raise DataError('is no pattern; expected {"label": "Drug", "pattern": "aspirin"}')
    for key in given:
        if key not in _KEYS:
            raise DataError(f"unknown key {key!r}.{nearest(key, _KEYS)} Known here: {', '.join(_KEYS)}")
    texts = [given.get(key) or "" for key in ("label", "identifier", "id")]
    if not all(isinstance(value, (str, int)) for value in texts) or given.get("case") not in (None, "exact", "ignore"):
        raise DataError('expected texts as label and id, and "exact" or "ignore" as case')
    label, identifier, other = map(str, texts)
    pattern, case = given["pattern"], given.get("case")
    if isinstance(pattern, list):
        pattern, case = _of_tokens(pattern)
    if not pattern.strip():
        raise DataError("this pattern is empty")
    return Term(pattern.strip(), label, identifier or other, case)


def _of_tokens(tokens: Sequence[Any]) -> tuple[str, Case]:
    """Return the term that spaCy's list of tokens is, and how case counts in it."""
    words, cases = [], set[Case]()
    for token in tokens:
        ((key, value),) = token.items() if isinstance(token, dict) and len(token) == 1 else ((None, None),)
        case = _OF_TOKENS.get(str(key).lower())
        if case is None or not isinstance(value, str):
            what = f"the token {token!r:.100} cannot be matched"
            raise DataError(what + '; expected {"lower": "word"} or {"text": "Word"}')
        words.append(value)
        cases.add(case)
    if len(cases) > 1:
        raise DataError("some tokens of this pattern are lower and others text; expected one of them for all")
    return " ".join(words), cases.pop() if cases else "exact"


def _with_regex(line: int, term: Term) -> Term:
    if (within := _REGEX.fullmatch(term.text)) is None:
        return term
    try:
        return attrs.evolve(term, regex=re.compile(within[1]))
    except (re.error, OverflowError, RecursionError) as exc:
        raise DataError(f"the regular expression {term.text} is wrong: {exc}", line=line) from exc
