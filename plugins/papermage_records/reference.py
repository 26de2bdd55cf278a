"""A record read as a bibliographic reference: what GROBID's labels, and others, mean in every format of references."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs

from papermage_records.assembly import Value
from papermage_records.persons import Person, persons_in

__all__ = ["KNOWN", "Date", "Reference", "parse_date", "reference_of"]

_MEANING = {
    "authors": "author",
    "editors": "editor",
    "year": "date",
    "pages": "page_range",
    "page": "page_range",
    "address": "location",
    "school": "institution",
    "url": "web",
    "idno": "pubnum",
    "number": "issue",
    "container": "journal",
    "book": "booktitle",
    "label": "mark",
}
"""Other names of a field."""
KNOWN = frozenset(
    {
        *("author", "editor", "collaboration", "title", "journal", "booktitle", "series", "volume", "issue"),
        *("page_range", "date", "publisher", "location", "institution", "tech", "note", "web", "pubnum", "doi"),
    }
)
"""The fields whose meaning is known here."""
_SICI = r"10\.\d{4,9}/[^\s,;\"<>]+<[^\s<>]{1,40}>\d\.\d\.[A-Z]{2};2-[\w#@]"
"""A DOI as publishers made them of a journal's ISSN, volume and pages, ``<1661::AID-SIM968>3.0.CO;2-2`` at its end."""
_IDENTIFIERS = (
    ("doi", re.compile(rf"\b({_SICI}|10\.\d{{4,9}}/[^\s,;\"<>]*[^\s,;\"<>.)\]])")),
    ("arxiv", re.compile(r"arxiv\s*:?\s*((?:\d{4}\.\d{4,5}|[a-z-]+(?:\.[a-z]{2})?/\d{7})(?:v\d+)?)", re.IGNORECASE)),
    ("pmcid", re.compile(r"\b(PMC\d+)\b")),
    ("pmid", re.compile(r"\b(?:PMID|PubMed)\D{0,5}(\d{4,9})\b", re.IGNORECASE)),
    ("isbn", re.compile(r"\bISBN[\s:]*((?:97[89][- ]?)?(?:\d[- ]?){9}[\dXx])\b")),
    ("issn", re.compile(r"\bISSN[\s:]*(\d{4}-?\d{3}[\dXx])\b")),
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAMES = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november"),
    *("december", "sept"),
)
_YEAR = re.compile(r"(?<!\d)(1[4-9]\d\d|20\d\d)(?!\d)")
_ISO = re.compile(r"(?<!\d)((?:1[4-9]|20)\d\d)[-/.](0?[1-9]|1[0-2])(?:[-/.](0?[1-9]|[12]\d|3[01]))?(?!\d)")
_DAY = re.compile(r"(?<![\d./-])(0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th|\.)?(?![\d/]|-\d)")
_WORD = re.compile(r"[^\W\d_]+")


@attrs.frozen
class Date:
    """A date as far as it is known."""

    year: int
    month: int | None = None
    day: int | None = None

    def iso(self) -> str:
        """Return it as TEI and ISO 8601 write it."""
        known = [f"{self.year:04}", *(f"{each:02}" for each in (self.month, self.day) if each is not None)]
        return "-".join(known)


def parse_date(text: str) -> Date | None:
    """Return the date in a text; None where no year is found.

    >>> parse_date("12 March 1999"), parse_date("(2004a)"), parse_date("1999-03-12"), parse_date("in press")
    (Date(year=1999, month=3, day=12), Date(year=2004, month=None, day=None), Date(year=1999, month=3, day=12), None)
    """
    if iso := _ISO.search(text):
        year, month, day = iso.groups()
        return Date(int(year), int(month), int(day) if day else None)
    found = _YEAR.search(text)
    if found is None:
        return None
    rest = text[: found.start()] + " " + text[found.end() :]
    month = next((_MONTHS.index(w[:3].lower()) + 1 for w in _WORD.findall(rest) if _is_month(w)), None)
    days = _DAY.findall(rest) if month else []
    return Date(int(found[1]), month, int(days[0]) if len(days) == 1 else None)


def _is_month(word: str) -> bool:
    lower = word.lower()
    return len(lower) >= 3 and any(name.startswith(lower) for name in _NAMES)


@attrs.frozen(eq=False)
class Reference:
    """A reference: its values by meaning, persons, identifiers, date."""

    value: Value
    fields: Mapping[str, Sequence[Value]]
    """Meaning → values, such as ``title``; fields of other meaning under their own names."""
    authors: Sequence[Person]
    editors: Sequence[Person]
    identifiers: Mapping[str, str]
    """``doi``, ``arxiv``, ``pmid``, ``pmcid``, ``isbn``, ``issn``, ``url``."""
    numbers: Sequence[str]
    """Numbers of publications that are none of these."""
    date: Date | None

    def text(self, name: str) -> str:
        """Return the text of a field; of several values, with ``; `` between."""
        return "; ".join(filter(None, (value.text for value in self.fields.get(name, ()))))

    @property
    def kind(self) -> str:
        """``article``, ``inproceedings``, ``techreport``, ``book`` or ``misc``, as BibTeX calls them."""
        if self.text("journal"):
            return "article"
        if self.text("booktitle"):
            return "inproceedings" if self.text("title") else "book"
        if self.text("tech") or (self.text("institution") and self.text("title")):
            return "techreport"
        return "book" if self.text("publisher") and self.text("title") else "misc"

    @property
    def title(self) -> str:
        """Its own title."""
        return self.text("title") or (self.text("booktitle") if self.kind == "book" else "")


def _meaning(key: str) -> str:
    """Return what a field is, however its name is written; its own name where that is not known."""
    name = _MEANING.get(key.lower(), key.lower())
    return name if name in KNOWN or key.lower() in _MEANING else key


def reference_of(value: Value) -> Reference:
    """Return a record as a reference."""
    fields: dict[str, list[Value]] = {}
    for key, values in value.fields.items():
        fields.setdefault(_meaning(key), []).extend(values)
    texts = [found.text for name in ("pubnum", "web", "doi", "note") for found in fields.get(name, ())]
    identifiers: dict[str, str] = {}
    for name, pattern in _IDENTIFIERS:
        match = next((found for found in map(pattern.search, texts) if found), None)
        if match is not None:
            identifiers[name] = match[1]
    url = next((text for text in (found.text for found in fields.get("web", ())) if text), "")
    if url:
        identifiers["url"] = re.sub(r"\s+", "", url)
    numbers = [found.text for found in fields.get("pubnum", ()) if found.text]
    return Reference(
        value=value,
        fields=fields,
        authors=[person for found in fields.get("author", ()) for person in persons_in(found)],
        editors=[person for found in fields.get("editor", ()) for person in persons_in(found)],
        identifiers=identifiers,
        numbers=[text for text in numbers if not any(pattern.search(text) for _, pattern in _IDENTIFIERS)],
        date=next(filter(None, (parse_date(found.text) for found in fields.get("date", ()))), None),
    )
