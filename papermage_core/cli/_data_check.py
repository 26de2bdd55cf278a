"""``papermage-data check``: every fault of documents and every oddity of their labels, each with its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs

from papermage_core.config.readers import ReaderChoice
from papermage_core.data.gold import encode_gold, label_document
from papermage_core.data.issues import KINDS, Issues
from papermage_core.data.labelling import Labelling, Task
from papermage_core.data.readers import iter_documents
from papermage_core.data.units import Parser, text_digest
from papermage_core.errors import DataError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import ContextNeeds, LabelScheme, LocatedDocument

if TYPE_CHECKING:
    from papermage_core.cli.data import Check

__all__ = ["Findings", "check", "describe"]


@attrs.define
class Findings:
    """What is wrong with documents (`faults`), what was mended when they were read, and what labels are odd."""

    documents: int = 0
    faults: list[DataError] = attrs.field(factory=list)
    """Each names its place; such a document cannot be used."""
    repairs: list[tuple[str, str]] = attrs.field(factory=list)
    """The document's place, and what was mended."""
    issues: Issues = attrs.field(factory=lambda: Issues(keep=None))
    """Oddities that training and scoring handle by a policy, all of them."""

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain dicts, lists and numbers."""
        return {
            "documents": self.documents,
            "faults": [_fault_to_json(fault) for fault in self.faults],
            "repairs": [{"document": document, "repair": repair} for document, repair in self.repairs],
            "issues": {
                kind: {
                    "count": count,
                    "policy": KINDS[kind],
                    "places": [{"document": at.document, "detail": at.detail} for at in self.issues.examples[kind]],
                }
                for kind, count in self.issues.counts.items()
            },
        }


def check(options: Check, reader: ReaderChoice) -> Findings:
    """Return all that is wrong with the documents, reading on after each fault. Raises DataError for a bad path."""
    found = Findings()
    scheme = _scheme(options)
    labelling = Labelling(
        label_field=options.label_field,
        entity_name=options.entity_name,
        context_name=options.context_name,
        label_attribute=options.label_attribute,
    )
    parser = Parser(labelling, ContextNeeds(), found.issues)
    seen: dict[bytes, str] = {}
    for located in iter_documents(options.data_path, reader=reader, on_error=found.faults.append):
        found.documents += 1
        name = _place(located)
        found.repairs += [
            (name, f"{repair.layer}[{repair.entity}]: {repair.kind}, {repair.value!r:.80}: {repair.done}")
            for repair in located.document.repairs
        ]
        digest = text_digest(located.document)
        if digest in seen:
            found.issues.add("same_document", name, f"the same text as {seen[digest]}")
        seen.setdefault(digest, name)
        try:
            _check_labels(located, name, parser, scheme)
        except DataError as fault:
            found.faults.append(located.error(fault))
    found.faults.sort(key=lambda fault: (str(fault.path), fault.line or 0))
    return found


def _place(located: LocatedDocument) -> str:
    line = "" if located.line is None else f", line {located.line}"
    return f"{located.path}{line}" + ("" if located.document.id is None else f", document {located.document.id!r}")


def _scheme(options: Check) -> LabelScheme | None:
    """Return the scheme for the label fields; None where labels come from an attribute, or none are asked for."""
    if not options.label_field or options.label_attribute is not None:
        return None
    config = Plugins(options.plugins_path).config_class("label_scheme", options.label_scheme)
    scheme: LabelScheme = config().build(options.label_field)
    return scheme


def _check_labels(located: LocatedDocument, name: str, parser: Parser, scheme: LabelScheme | None) -> None:
    labelling, issues = parser.labelling, parser.issues
    if not labelling.label_field:
        return
    parsed = label_document(parser.parse(located.document, name), located.document, labelling, issues)
    if parsed is not None and scheme is not None:
        encode_gold(parsed, [Task(labelling.label_field, scheme)], issues, labelling.overlap_policy)


def describe(found: Findings) -> str:
    """Return the findings for the terminal."""
    return "\n".join([*_lines(found), _conclusion(found)])


def _lines(found: Findings) -> Iterator[str]:
    yield from map(str, found.faults)
    for document, repair in found.repairs:
        yield f"mended: {document}: {repair}"
    for kind, count in found.issues.counts.items():
        yield f"{count} × {KINDS[kind]}:"
        yield from (f"  {at.document}: {at.detail}" for at in found.issues.examples[kind])


def _conclusion(found: Findings) -> str:
    odd = sum(found.issues.counts.values())
    return f"{found.documents} documents read, {len(found.faults)} faults, {len(found.repairs)} mended, {odd} oddities"


def _fault_to_json(fault: DataError) -> dict[str, Any]:
    return {
        "message": fault.message,
        "path": None if fault.path is None else str(fault.path),
        "line": fault.line,
        "document": fault.document,
        "layer": fault.layer,
        "entity": fault.entity,
        "expected": fault.expected,
    }
