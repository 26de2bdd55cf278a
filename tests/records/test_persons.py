"""Names in a list of authors, put together to persons."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from papermage_core import Document, Entity, Span
from papermage_records.assembly import records_of
from papermage_records.fields import parse_fields
from papermage_records.persons import persons_in


def persons(marked: str) -> list[str]:
    """Return the persons of a text with its parts marked: <f family>, <g given>, <s suffix>, <p particle>."""
    layers: dict[str, list[tuple[int, int]]] = {"forename": [], "surname": [], "suffix": [], "particle": []}
    names = {"g": "forename", "f": "surname", "s": "suffix", "p": "particle"}
    text = ""
    for before, kind, part in re.findall(r"([^<]*)(?:<(\w) ([^>]*)>)?", marked):
        text += before
        if part:
            layers[names[kind]].append((len(text), len(text) + len(part)))
            text += part
    document = Document(text)
    document.annotate_layer("author", [Entity(spans=[Span(0, len(text))])])
    for name, places in layers.items():
        if places:
            document.annotate_layer(name, [Entity(spans=[Span(*place)]) for place in places])
    (record,) = records_of(document, parse_fields("author(forename,surname,suffix,particle)"), Counter())
    return [
        each.literal or "|".join(filter(None, (each.part("given"), each.family, each.part("suffix"))))
        for each in persons_in(record)
    ]


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("<g J.> <f Smith>, <g A.> <f Jones>", ["J.|Smith", "A.|Jones"]),
        ("<f Smith>, <g J.>, <f Jones>, <g A.>", ["J.|Smith", "A.|Jones"]),
        ("<f Smith>, <g J.>, <g A.> <f Jones> and <g B.> <f Lee>", ["J.|Smith", "A.|Jones", "B.|Lee"]),
        ("<f Coyne> <g JA>, <f Orr> <g HA>", ["JA|Coyne", "HA|Orr"]),
        ("<f Mayr> <g E>", ["E|Mayr"]),
        ("<f Mayr>, <f Dobzhansky> & <f Simpson>", ["Mayr", "Dobzhansky", "Simpson"]),
        ("<g B.> <f VOGIN>, <g F.> <f BARONNET> et <g G.> <f SCACCHI>", ["B.|VOGIN", "F.|BARONNET", "G.|SCACCHI"]),
        ("<f Smith>, <g J.> <g B.>; <f Lee>, <g K.>", ["J. B.|Smith", "K.|Lee"]),
        ("<f King>, <s Jr.>, <g M. L.>, <f Parks>, <g R.>", ["M. L.|King|Jr.", "R.|Parks"]),
        ("<g M. L.> <f King> <s Jr.> and <g R.> <f Parks>", ["M. L.|King|Jr.", "R.|Parks"]),
        ("<g Jan> <p van der> <f Berg>, <g A.> <f de la Cruz>", ["Jan|van der Berg", "A.|de la Cruz"]),
        ("<f García> <f Márquez>, <g G.>, <f Borges>, <g J. L.>", ["G.|García Márquez", "J. L.|Borges"]),
        ("<g Plato>", ["Plato"]),
        ("<f 山田> <g 太郎>, <f 鈴木> <g 花子>", ["太郎|山田", "花子|鈴木"]),
        ("ATLAS Collaboration", ["ATLAS Collaboration"]),
    ],
)
def test_each_person_has_one_family_name(marked: str, expected: list[str]) -> None:
    assert persons(marked) == expected


def test_a_list_of_any_length_is_cut() -> None:
    marked = ", ".join(f"<f Name{i}>, <g A.{i}>" for i in range(300))
    assert persons(marked) == [f"A.{i}|Name{i}" for i in range(300)]
