"""The writer ``csl_json``: references as citation managers and citeproc read them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import attrs

from papermage_core.plugin import DocumentWriterConfig, hookimpl
from papermage_formats.labelled import unique_id
from papermage_records.assembly import Value
from papermage_records.base import Records, RecordWriter, RecordWriterConfig
from papermage_records.persons import Person
from papermage_records.reference import Reference, reference_of

__all__ = ["CslJsonConfig", "csl_item"]

_TYPES = {
    "article": "article-journal",
    "inproceedings": "paper-conference",
    "techreport": "report",
    "book": "book",
    "misc": "document",
}
_VARIABLES = {
    "collection-title": "series",
    "volume": "volume",
    "issue": "issue",
    "publisher-place": "location",
    "genre": "tech",
    "note": "note",
}
_IDENTIFIERS = {"doi": "DOI", "isbn": "ISBN", "issn": "ISSN", "pmid": "PMID", "pmcid": "PMCID", "url": "URL"}


@attrs.frozen(kw_only=True)
class CslJsonConfig(RecordWriterConfig):
    """Options of the writer ``csl_json``."""

    suffixes: ClassVar[tuple[str, ...]] = (".csl.json",)
    shared_suffixes: ClassVar[tuple[str, ...]] = (".json",)

    def build(self) -> CslJson:
        """Return a new writer."""
        return CslJson(self)


class CslJson(RecordWriter):
    """Writes a list of items; ``custom`` of each holds the document, and score and place of every value."""

    def parts(self, records: Records, lost: Counter[str]) -> Iterator[str]:
        """Yield the items of the list."""
        taken: Counter[str] = Counter()
        name = ""
        yield "["
        for count, (document, number, value) in enumerate(records):
            name = unique_id(document, taken) if number == 1 else name
            item = {"id": f"{name}#{number}", **csl_item(reference_of(value)), "custom": _custom(document, value)}
            yield (",\n" if count else "\n") + json.dumps(item, ensure_ascii=False)
        yield "\n]\n"


def csl_item(reference: Reference) -> dict[str, Any]:
    """Return the variables of CSL, without the id."""
    item: dict[str, Any] = {"type": _TYPES[reference.kind], "title": reference.title}
    container = "journal" if reference.text("journal") else "booktitle"
    item["container-title"] = reference.text(container) if reference.title != reference.text(container) else ""
    if container == "journal" and reference.text("booktitle"):
        item["collection-title"] = reference.text("booktitle")
    literal = reference.text("collaboration")
    item["author"] = [*map(_name, reference.authors), *([{"literal": literal}] if literal else [])]
    item["editor"] = [*map(_name, reference.editors)]
    item |= {name: item.get(name) or reference.text(field) for name, field in _VARIABLES.items()}
    item["publisher"] = reference.text("publisher") or reference.text("institution")
    item["page"] = reference.text("page_range").replace("–", "-").replace("—", "-")
    item["number"] = "; ".join(reference.numbers)
    item |= {name: reference.identifiers.get(key, "") for key, name in _IDENTIFIERS.items()}
    if "arxiv" in reference.identifiers:
        item["number"] = item["number"] or f"arXiv:{reference.identifiers['arxiv']}"
    if reference.date is not None:
        parts = (reference.date.year, reference.date.month, reference.date.day)
        item["issued"] = {"date-parts": [[part for part in parts if part is not None]]}
    elif raw := reference.text("date"):
        item["issued"] = {"raw": raw}
    return {name: value for name, value in item.items() if value}


def _name(person: Person) -> dict[str, str]:
    if person.literal:
        return {"literal": person.literal}
    known = {"family": person.family, "given": person.part("given"), "suffix": person.part("suffix")}
    return {name: value for name, value in known.items() if value}


def _custom(document: str, value: Value) -> dict[str, Any]:
    """Return where a reference and its values were found, and how sure that is."""
    values: dict[str, list[Any]] = {}
    for path, found in value.all():
        values.setdefault(path, []).append(found.place())
    return {"document": document, **value.place(), "values": values}


@hookimpl
def papermage_document_writer(name: str) -> type[DocumentWriterConfig]:
    """Return the config class."""
    return CslJsonConfig
