"""Bibliography entries in the styles, and with the faults, that real reference lists have."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import sample_words as w

Piece = tuple[str | None, str]
"""A label, or None for what belongs to no field, and its text."""

LABELS = (
    "citation_number", "author", "title", "journal", "booktitle", "editor", "edition", "volume", "issue", "page_range",
    "publisher", "location", "date", "doi", "url", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Name:
    given: str
    surname: str
    middle: str = ""

    def initials(self, dot: str, gap: str) -> str:
        parts = [part for name in (self.given, self.middle) if name for part in name.split("-")]
        return gap.join(f"{part[0].upper()}{dot}" for part in parts)


@dataclass(frozen=True)
class Work:
    """What is known of a work; an empty field is not known."""

    kind: str
    authors: Sequence[Name]
    title: str
    year: str
    journal: str = ""
    booktitle: str = ""
    editors: Sequence[Name] = ()
    edition: str = ""
    volume: str = ""
    issue: str = ""
    pages: tuple[str, str] = ("", "")
    publisher: str = ""
    location: str = ""
    month: str = ""
    doi: str = ""
    url: str = ""
    note: str = ""


def reference(rng: random.Random, words: w.Words, style: Style, number: int) -> list[Piece]:
    """Return one entry in ``style``, faults included."""
    pieces = style.print(_forget(_work(rng, words), rng), number, rng)
    return _spoil([(label, text) for label, text in pieces if text], rng)


# Works ---------------------------------------------------------------------------------------------------------------


def _name(rng: random.Random, words: w.Words) -> Name:
    surname = rng.choice(words.surnames)
    if rng.random() < 0.08:
        surname = f"{rng.choice(w.PARTICLES)} {surname}".replace("- ", "-")
    elif rng.random() < 0.05:
        surname = f"{surname}-{rng.choice(words.surnames)}"
    return Name(rng.choice(words.given), surname, rng.choice(words.given) if rng.random() < 0.35 else "")


def _work(rng: random.Random, words: w.Words) -> Work:
    kind = rng.choices(["article", "paper", "book", "chapter", "thesis", "report", "web", "preprint"],
                       [42, 18, 12, 10, 5, 5, 4, 4])[0]  # fmt: skip
    first = rng.randint(1, 1900)
    pages = (f"{first}", f"{first + rng.randint(1, 40)}")
    if rng.random() < 0.1:
        pages = (f"e{first}", "")
    work = Work(
        kind=kind,
        authors=[_name(rng, words) for _ in range(rng.choices([1, 2, 3, 4, 5, 8], [30, 28, 20, 12, 6, 4])[0])],
        title=w.title(rng, words),
        year=f"{int(2023 - 50 * rng.random() ** 2)}" if rng.random() < 0.97 else f"{rng.randint(1880, 1950)}",
        month=rng.choice(w.MONTHS) if rng.random() < 0.15 else "",
        doi=_doi(rng) if kind in ("article", "paper", "chapter") and rng.random() < 0.2 else "",
        note=rng.choice(["in press", "forthcoming", "Original work published 1953", "(in Russian)", "Submitted"])
        if rng.random() < 0.05 else "",
    )  # fmt: skip
    return replace(work, **_MORE[kind](rng, words, pages))


def _article(rng: random.Random, words: w.Words, pages: tuple[str, str]) -> dict[str, object]:
    return {
        "journal": w.journal(rng, words), "volume": f"{rng.randint(1, 140)}",
        "issue": rng.choice(["", f"{rng.randint(1, 12)}", f"{rng.randint(1, 3)}-{rng.randint(4, 6)}"]), "pages": pages,
    }  # fmt: skip


def _paper(rng: random.Random, words: w.Words, pages: tuple[str, str]) -> dict[str, object]:
    ordinal = rng.choice(["", "", "5th ", "12th ", "Third ", "XXII "])
    topic = rng.choice(words.disciplines)
    booktitle = rng.choice(
        [
            f"Proceedings of the {ordinal}International Conference on {topic}", f"Proc. {rng.choice(w.VENUES)}",
            f"{rng.choice(w.VENUES)} {rng.randint(1985, 2023)}", f"Proc. of the {ordinal}Workshop on {topic}",
            f"Proceedings of the {ordinal}Annual Meeting of the Society for {topic}", f"{topic} Conference",
        ]
    )  # fmt: skip
    return {
        "booktitle": booktitle, "pages": pages,
        "editors": [_name(rng, words) for _ in range(rng.choice([0, 0, 0, 1, 2]))],
        "location": rng.choice(words.cities) if rng.random() < 0.4 else "",
        "publisher": rng.choice(["ACM", "IEEE", "ACM Press", "IEEE Computer Society", *words.publishers[:4]])
        if rng.random() < 0.35 else "",
    }  # fmt: skip


def _book(rng: random.Random, words: w.Words, pages: tuple[str, str]) -> dict[str, object]:
    return {
        "publisher": rng.choice(words.publishers), "location": rng.choice(words.cities) if rng.random() < 0.8 else "",
        "edition": rng.choice(["", "", "2nd ed.", "3rd edition", "Rev. ed.", "2. Auflage"]),
        "volume": rng.choice(["", "", "", "2", "III"]),
    }  # fmt: skip


def _chapter(rng: random.Random, words: w.Words, pages: tuple[str, str]) -> dict[str, object]:
    book = _book(rng, words, pages)
    return book | {
        "booktitle": w.title(rng, words), "pages": pages,
        "editors": [_name(rng, words) for _ in range(rng.randint(1, 3))],
    }  # fmt: skip


def _thesis(rng: random.Random, words: w.Words, pages: tuple[str, str]) -> dict[str, object]:
    kind = rng.choice(["PhD thesis", "Ph.D. dissertation", "Doctoral dissertation", "Master's thesis", "Thèse"])
    return {"note": kind, "publisher": rng.choice(w.UNIVERSITIES)}


def _report(rng: random.Random, words: w.Words, pages: tuple[str, str]) -> dict[str, object]:
    number = f"{rng.choice(['TR', 'WP', 'No.', 'CS'])}-{rng.randint(10, 999)}"
    kind = rng.choice(["Technical report", "Working Paper", "Research Memorandum", "Tech. Rep.", "Discussion paper"])
    return {"note": f"{kind} {number}", "publisher": rng.choice([*w.UNIVERSITIES, "World Bank", "NBER", "OECD"])}


def _web(rng: random.Random, words: w.Words, pages: tuple[str, str]) -> dict[str, object]:
    host = f"{rng.choice(words.nouns)}.{rng.choice(['org', 'edu', 'com', 'gov.uk', 'de', 'info'])}"
    slug = "-".join(rng.sample(words.nouns, 2))
    tail = rng.choice(["", f"/{slug}.html", f"/~{rng.choice(words.nouns)}/{slug}.pdf", f"/?id={rng.randint(1, 9999)}"])
    day = f"{rng.randint(1, 28)} {rng.choice(w.MONTHS)} {rng.randint(2001, 2023)}"
    accessed = rng.choice([f"Accessed {day}", f"retrieved {day}", f"[Online; accessed {day}]", ""])
    return {"url": f"{rng.choice(['http://', 'https://', 'http://www.', 'www.'])}{host}{tail}", "note": accessed}


def _preprint(rng: random.Random, words: w.Words, pages: tuple[str, str]) -> dict[str, object]:
    identifier = f"arXiv:{rng.randint(7, 23):02}{rng.randint(1, 12):02}.{rng.randint(1, 99999):05}"
    return {"journal": rng.choice(["arXiv preprint", "arXiv", "bioRxiv", "SSRN"]), "volume": identifier}


_MORE: dict[str, Callable[..., dict[str, object]]] = {
    "article": _article, "paper": _paper, "book": _book, "chapter": _chapter, "thesis": _thesis, "report": _report,
    "web": _web, "preprint": _preprint,
}  # fmt: skip


def _doi(rng: random.Random) -> str:
    code = "".join(rng.choice("abcdeghjlmnp") for _ in range(4))
    tail = rng.choice(
        [
            f"j.{code}.{rng.randint(1999, 2023)}.{rng.randint(1, 12):02}.{rng.randint(1, 99):03}",
            f"s{rng.randint(10000, 49999)}-{rng.randint(10, 23):03}-{rng.randint(1000, 9999)}-{rng.randint(0, 9)}",
            f"{rng.randint(100000, 9999999)}.{rng.randint(100000, 9999999)}",
        ]
    )
    return f"10.{rng.randint(1000, 9999)}/{tail}"


def _forget(work: Work, rng: random.Random) -> Work:
    """Leave out what a careless author leaves out."""
    lost: dict[str, object] = {
        name: "" for name in ("volume", "issue", "location", "publisher", "year") if rng.random() < 0.07
    }
    if rng.random() < 0.06:
        lost["pages"] = ("", "")
    if work.kind in ("web", "book") and rng.random() < 0.12:
        lost["authors"] = ()
    if rng.random() < 0.04:
        lost["title"] = ""  # chemists do
    return replace(work, **lost)


# Styles --------------------------------------------------------------------------------------------------------------


def _people(names: Sequence[Name], show: Callable[[Name], str], last: str, most: int) -> str:
    shown = [show(name) for name in names]
    if len(shown) > most:
        return f"{', '.join(shown[:most])}, et al."
    return f"{', '.join(shown[:-1])}{last}{shown[-1]}" if len(shown) > 1 else "".join(shown)


def _smith_j_dots(name: Name) -> str:
    return f"{name.surname}, {name.initials('.', ' ')}"


def _smith_j(name: Name) -> str:
    return f"{name.surname} {name.initials('', '')}"


def _j_smith(name: Name) -> str:
    return f"{name.initials('.', ' ')} {name.surname}"


def _jane_smith(name: Name) -> str:
    return " ".join(part for part in (name.given, name.middle and f"{name.middle[0]}.", name.surname) if part)


def _smith_jane(name: Name) -> str:
    return f"{name.surname}, {name.given}"


@dataclass(frozen=True)
class Style:
    """How a kind of publication prints its references.

    In a template ``<title>`` stands for a field, and what is in braces is left out where a field in it is not known.
    """

    templates: tuple[str, ...]
    author: Callable[[Name], str]
    editor: Callable[[Name], str]
    last: str = " and "
    most: int = 6
    dash: str = "–"
    capitals: bool = False

    def print(self, work: Work, number: int, rng: random.Random) -> list[Piece]:
        """Return the entry without faults."""
        title = w.headline if self.capitals else str
        first, last = work.pages
        fields = {
            "citation_number": f"{number}", "author": _people(work.authors, self.author, self.last, self.most),
            "editor": _people(work.editors, self.editor, self.last, self.most), "title": title(work.title),
            "booktitle": title(work.booktitle), "journal": work.journal, "edition": work.edition, "volume": work.volume,
            "issue": work.issue, "page_range": f"{first}{self.dash}{last}" if last else first, "note": work.note,
            "publisher": work.publisher, "location": work.location, "doi": work.doi, "url": work.url,
            "date": rng.choice([f"{work.month} {work.year}", f"{work.month[:3]}. {work.year}"])
            if work.month and work.year else work.year,
        }  # fmt: skip
        pieces = _filled(rng.choice(self.templates), fields)
        while pieces and not (pieces[-1][0] and pieces[-1][1]):
            pieces.pop()
        return _one_stop([*pieces, (None, "" if pieces[-1][0] in ("doi", "url") else ".")])


def _filled(template: str, fields: dict[str, str]) -> list[Piece]:
    """Return the pieces of a template, its groups kept or left out."""
    groups: list[tuple[bool, list[Piece]]] = [(True, [])]
    for name, brace, text in re.findall(r"<(\w+)>|([{}])|([^<{}]+)", template):
        if brace == "{":
            groups.append((True, []))
        elif brace == "}":
            known, pieces = groups.pop()
            groups[-1][1].extend(pieces if known else [])
        else:
            known, pieces = groups[-1]
            pieces.append((name, fields[name]) if name else (None, text))
            groups[-1] = (known and bool(text or fields[name]), pieces)
    return groups[0][1]


def _one_stop(pieces: Sequence[Piece]) -> list[Piece]:
    """Return the pieces without the second of two full stops, where an abbreviation ends a field."""
    befores = ["", *(text for _, text in pieces)]
    return [
        (label, text[1:] if label is None and text.startswith(".") and before.endswith(".") else text)
        for before, (label, text) in zip(befores, pieces, strict=False)
    ]


_IMPRINT = "{<location>: }{<publisher>. }"
_VOLUME = "<volume>{(<issue>)}"

STYLES = {
    "apa": Style(
        (
            "{<author> }{(<date>). }{<title>{ (<edition>)}. }{<journal>, {" + _VOLUME + ", }{<page_range>. }}"
            "{In {<editor> (Eds.), }<booktitle>{ (pp. <page_range>)}. }{<note>. }" + _IMPRINT + "{doi:<doi> }"
            "{Retrieved from <url> }",
            "{<author> }{(<date>). }{<title>{. <edition>}. }{In <booktitle>{, edited by <editor>}. }{<journal> {" + _VOLUME
            + ": }{<page_range>. }}{[<note>]. }{<publisher>, }{<location>. }{https://doi.org/<doi> }{<url> }",
        ),
        _smith_j_dots, _j_smith, ", & ",
    ),
    "ieee": Style(
        (
            "[<citation_number>] {<author>, }{“<title>,” }{<edition>, }{in <booktitle>, }{<journal>, }{<location>: }"
            "{<publisher>, }{vol. <volume>, }{no. <issue>, }{pp. <page_range>, }{<note>, }{<date>, }{doi: <doi>, }"
            "{[Online]. Available: <url> }",
            "[<citation_number>] {<author>. }{<title>. }{In {<editor>, editors, }<booktitle>, }{<journal>, }"
            "{<volume>{(<issue>)}{:<page_range>}, }{<edition>. }{<publisher>, }{<location>, }{<note>, }{<date>. }{<url> }",
        ),
        _j_smith, _j_smith, " and ", 5,
    ),
    "vancouver": Style(
        (
            "<citation_number>. {<author>. }{<title>. }{<edition>. }{In: {<editor>, editors. }<booktitle>. }{<journal>. }"
            "{<note>. }{<location>: }{<publisher>; }{<date>}{;" + _VOLUME + "}{:<page_range>}. {doi: <doi> }"
            "{Available from: <url> }",
            "<citation_number> {<author> }{(<date>) }{<title>. }{In: <booktitle>. }{<journal> }{<volume>:}{<page_range>. }"
            "{<edition>. }{<publisher>, }{<location>. }{<note>. }{<url> }",
        ),
        _smith_j, _smith_j, ", ", 6, "-",
    ),
    "mla": Style(
        (
            "{<author>. }{“<title>.” }{<journal>, }{<booktitle>, }{edited by <editor>, }{<edition>, }{vol. <volume>, }"
            "{no. <issue>, }{<publisher>, }{<date>, }{pp. <page_range>. }{<note>. }{<url>. }{<doi>. }",
            "{<author>. }{<title>. }{<journal> }{In <booktitle>. }{Ed. <editor>. }{<volume>{.<issue>} }{(<date>): }"
            "{<page_range>. }{<edition>. }{<location>: }{<publisher>. }{<note>. }{Web. <url> }",
        ),
        _smith_jane, _jane_smith, ", and ", 3, "–", True,
    ),
    "chicago": Style(
        (
            "{<author>. }{<date>. }{“<title>.” }{<journal> {<volume>{, no. <issue>}: }}{In <booktitle>, }{ed. <editor>, }"
            "{<page_range>. }{<edition> }{<note>. }" + _IMPRINT + "{doi:<doi>. }{<url> }",
            "{<author>. }{<date>. }{<title>. }{<edition> }{<journal> }{<volume>}{: <page_range>}. {In: <booktitle>. }"
            "{<editor>, eds. }{<publisher>, }{<location>. }{<note>. }{<url> }",
        ),
        _smith_jane, _jane_smith, ", and ", 3, "–", True,
    ),
    "acm": Style(
        (
            "[<citation_number>] {<author>. }{<date>. }{<title>. }{<journal> }{<volume>{, <issue>}, }{In <booktitle>"
            "{, <editor> (Eds.)}. }{<note>. }{<publisher>, }{<location>, }{<page_range>. }{https://doi.org/<doi> }{<url> }",
        ),
        _jane_smith, _jane_smith, ", and ", 9,
    ),
    "chemist": Style(
        (
            "[<citation_number>] {<author>, }{<journal> }{In <booktitle>, }{<date>, }{<volume>, }{<page_range>. }{<publisher>: }"
            "{<location>. }",
            "({<citation_number>}) {<author> }{<journal> }{<date>, }{<volume>, }{<page_range>. }{<booktitle>; }{<publisher>: }"
            "{<location>. }{<note>. }",
            "{<author>, }{<journal> }{<volume>, }{<page_range> }{(<date>). }{<booktitle>, }{<publisher>. }{<note>. }",
        ),
        _j_smith, _j_smith, ", ", 12, "-",
    ),
    "harvard": Style(
        (
            "{<author>, }{<date>. }{<title>. }{<journal>, {" + _VOLUME + ", }}{in {<editor> (eds), }<booktitle>, }{<edition>, }"
            "{<publisher>, }{<location>, }{pp. <page_range>, }{<note>, }{<url>, }",
            "{<author> }{<date>, }{'<title>', }{<journal>, }{vol. <volume>, }{no. <issue>, }{in <booktitle>, }{<publisher>, }"
            "{<location>, }{p. <page_range>, }{<note>, }{viewed at <url>, }",
        ),
        _smith_j_dots, _j_smith, " and ", 4, "-",
    ),
    "humanist": Style(
        (
            "{<author>, }{«<title>», }{<journal>, }{<volume> }{in {<editor> (éd.), }<booktitle>, }{<edition>, }"
            "{({<location>{: <publisher>}, }<date>), }{pp. <page_range>, }{<note>, }{<url> }",
            "{<author>: }{<title>. }{In: <booktitle>{, hrsg. von <editor>}. }{<journal> }{<volume> }{(<date>), }{<location>: }"
            "{<publisher>, }{S. <page_range>. }{<note>. }{<url> }",
            "{<author>, }{<date>, }{<title>, }{<journal>, }{<booktitle>, }{<volume>, }{<publisher>, }{<edition>, }{<location>, }"
            "{p. <page_range>. }",
        ),
        _jane_smith, _jane_smith, " and ", 3,
    ),
}  # fmt: skip

ONLY_IN_DEV = {
    "title first": Style(
        (
            "<citation_number>. {<title>. }{<author>. }{<date>, }{<journal>, }{<booktitle>, }{Vol. <volume>, }"
            "{pp. <page_range>, }{<publisher>, }{<location>, }{<note>, }{<url> }",
        ),
        _smith_j, _smith_j, ", ", 5, "-",
    ),
    "all commas": Style(
        (
            "{<author>, }{<title>, }{<booktitle>, }{<editor> (ed.), }{<journal>, }{<volume>, }{<issue>, }{<edition>, }"
            "{<publisher>, }{<location>, }{<note>, }{<date>, }{<page_range>, }{<url> }",
        ),
        _jane_smith, _jane_smith, ", ", 8,
    ),
    "slashes": Style(
        (
            "{<author> / }{<date>: }{<title> / }{in: <booktitle> / }{<editor> (Hg.) / }{<journal> / }{Bd. <volume> / }{H. <issue> / }"
            "{<edition> / }{<publisher> / }{<location> / }{<page_range> / }{<note> / }{<url> }",
        ),
        _smith_jane, _smith_jane, "; ", 5,
    ),
}  # fmt: skip


# Faults --------------------------------------------------------------------------------------------------------------


def _spoil(pieces: Sequence[Piece], rng: random.Random) -> list[Piece]:
    """Return the pieces with the faults of scans, of PDF extraction, and of typists."""
    ligatures, lost_stops = rng.random() < 0.12, rng.random() < 0.15
    spoilt = []
    for label, text in pieces:
        new = text
        if ligatures:
            new = new.replace("ffi", "ﬃ").replace("fi", "ﬁ").replace("fl", "ﬂ")
        if lost_stops and label is None and rng.random() < 0.5:
            new = re.sub(r"[.,]", "", new) or " "
        if label in ("title", "booktitle", "author", "journal") and rng.random() < 0.03:
            new = _typo(new, rng)
        spoilt.append((label, new))
    return spoilt


def _typo(text: str, rng: random.Random) -> str:
    at = rng.randrange(max(1, len(text) - 1))
    swapped = text[:at] + text[at : at + 2][::-1] + text[at + 2 :]
    fault = rng.choice([swapped, text[:at] + text[at + 1 :], text.replace("l", "1", 1), text.replace("m", "rn", 1)])
    return fault.strip() or text
