"""What a reference is made of: dates, kinds, and what the three formats write of odd ones."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_records.csl import CslJsonConfig
from papermage_records.reference import Date, parse_date
from papermage_records.tei import BiblStructConfig
from tests.formats.helpers import written
from tests.records.test_writers import TEI, references


@given(day=st.dates(date(1500, 1, 1), date(2099, 12, 31)), form=st.sampled_from(["%Y-%m-%d", "%d %B %Y", "%B %d, %Y"]))
def test_a_whole_date_is_read_in_every_form(day: date, form: str) -> None:
    assert parse_date(day.strftime(form)) == Date(day.year, day.month, day.day)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2004-07", Date(2004, 7, None)),
        ("Sept. 1999", Date(1999, 9, None)),
        ("(2004a)", Date(2004, None, None)),
        ("3-5 May 2010", Date(2010, 5, None)),
        ("3–5 May 2010", Date(2010, 5, None)),
        ("12-May-2010", Date(2010, 5, 12)),
        ("12. 1999", Date(1999, None, None)),
        ("Ma 1999", Date(1999, None, None)),
        ("forthcoming", None),
        ("", None),
    ],
)
def test_what_is_not_said_of_a_date_is_not_guessed(text: str, found: Date | None) -> None:
    assert parse_date(text) == found


@given(year=st.integers(1, 9999), month=st.none() | st.integers(1, 12), day=st.none() | st.integers(1, 28))
def test_a_date_as_iso_is_read_back(year: int, month: int | None, day: int | None) -> None:
    known = Date(year, month, day if month else None)
    if 1500 <= year <= 2099:
        assert parse_date(known.iso()) == known
    assert known.iso().count("-") == sum(part is not None for part in (known.month, known.day))


def csl(**entry: Any) -> dict[str, Any]:
    (item,) = json.loads(written(CslJsonConfig().build(), [references(entry)])[0])
    return item


def tei(**entry: Any) -> ElementTree.Element:
    found = ElementTree.fromstring(written(BiblStructConfig().build(), [references(entry)])[0])
    return next(found.iter(f"{TEI}biblStruct"))


def test_a_date_without_a_year_is_kept_as_it_stands() -> None:
    assert csl(title="A", date="in press")["issued"] == {"raw": "in press"}
    assert [(e.text, e.get("when")) for e in tei(title="A", date="in press").iter(f"{TEI}date")] == [("in press", None)]


def test_a_preprint_has_its_number() -> None:
    found = csl(title="A", pubnum="arXiv:2304.02623")
    assert found["number"] == "arXiv:2304.02623"
    (number,) = tei(title="A", pubnum="arXiv:2304.02623").iter(f"{TEI}idno")
    assert (number.get("type"), number.text) == ("arXiv", "2304.02623")


@pytest.mark.parametrize(
    "doi",
    [
        "10.1002/(SICI)1097-0258(19980815/30)17:15/16<1661::AID-SIM968>3.0.CO;2-2",
        "10.1577/1548-8659(1994)123<0613:ATCOTW>2.3.CO;2-#",
        "10.1016/S0140-6736(05)66740-0",
    ],
)
def test_a_doi_with_the_signs_of_older_ones_is_whole(doi: str) -> None:
    for text in (f"doi:{doi}.", f"<https://doi.org/{doi}>", f"{doi}; see also"):
        assert csl(title="A", pubnum=text)["DOI"] == doi


def test_fields_mean_the_same_however_they_are_written() -> None:
    entry = {"title": "On it", "date": "1999", "pubnum": "x", "author": [[("forename", "Jo"), ("surname", "Foo")]]}
    told = []
    for fields in (
        "title,date,number=pubnum,author[forename,surname]",
        "Title=title,YEAR=date,Number=pubnum,Author=author[ForeName=forename,Surname=surname]",
    ):
        config = CslJsonConfig(records=f"bib_entries({fields})")
        (item,) = json.loads(written(config.build(), [references(entry)])[0])
        told.append({key: value for key, value in item.items() if key != "custom"})
    assert told[0] == told[1]
    assert told[0]["author"] == [{"family": "Foo", "given": "Jo"}]


def test_an_article_in_a_collection_keeps_both() -> None:
    found = csl(title="A", journal="LNCS", booktitle="Proc. X")
    assert (found["container-title"], found["collection-title"]) == ("LNCS", "Proc. X")


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"title": "A", "journal": "J"}, "article-journal"),
        ({"title": "A", "booktitle": "B"}, "paper-conference"),
        ({"booktitle": "B"}, "book"),
        ({"title": "A", "institution": "MIT"}, "report"),
        ({"title": "A", "publisher": "P"}, "book"),
    ],
)
def test_the_kind_follows_from_what_holds_the_text(fields: dict[str, str], kind: str) -> None:
    assert csl(**fields)["type"] == kind


def test_what_has_no_title_of_its_own_is_all_monograph() -> None:
    book = tei(booktitle="Handbook of X", editor="E. Berg", pubnum="ISBN 978-3-16-148410-0")
    assert book.find(f"{TEI}analytic") is None
    monograph = book.find(f"{TEI}monogr")
    assert monograph is not None
    assert [title.text for title in monograph.iter(f"{TEI}title")] == ["Handbook of X"]


def test_an_address_with_odd_signs_is_a_sound_attribute() -> None:
    (pointer,) = tei(title="A", web='http://example.org/a?b=<c>&d="é"').iter(f"{TEI}ptr")
    assert set(pointer.get("target", "")).isdisjoint('<>"é ')


def test_a_page_range_is_divided_where_it_is_one() -> None:
    ranges = [(s.get("from"), s.get("to")) for s in tei(title="A", page_range="12–15").iter(f"{TEI}biblScope")]
    odd = [(s.get("from"), s.text) for s in tei(title="A", page_range="12, 14").iter(f"{TEI}biblScope")]
    assert ranges == [("12", "15")]
    assert odd == [(None, "12, 14")]
