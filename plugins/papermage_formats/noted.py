"""What readers note in metadata, and writers of the same formats take up again.

Under the same key may stand what somebody else put there, in another form: that is lost, and counted.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from papermage_core.document import Document, Metadata

__all__ = ["noted", "relations_of"]


class _Ends(TypedDict):
    arguments: list[tuple[str, str | int | None]]
    """The role of each, and the entity's id."""


class _Relation(_Ends, total=False):
    id: str | int | None
    label: str | None


def noted(metadata: Metadata | Mapping[str, Any], key: str, form: Any, lost: Counter[str], kind: str) -> Any:
    """Return the value of a key, if it is of the form, a type; else None, and count what is there as ``kind``.

    >>> lost = Counter()
    >>> noted({"notes": [["Note", "sure"]]}, "notes", list[list[str]], lost, "metadata of entities")
    [['Note', 'sure']]
    >>> noted({"notes": "sure"}, "notes", list[list[str]], lost, "metadata of entities"), dict(lost)
    (None, {'metadata of entities': 1})
    """
    value = metadata.get(key, None)
    if value is None or _fits(value, form):
        return value
    lost[kind] += 1
    return None


def relations_of(document: Document, lost: Counter[str], **more: Any) -> list[dict[str, Any]]:
    """Return the relations of a document that are such as readers make; others are counted.

    ``more`` are forms of further keys; a relation in which one has another form is counted, too.
    """
    found = document.metadata.get("relations", None)
    listed = found if isinstance(found, list) else [] if found is None else [found]
    kept = [each for each in listed if _fits(each, _Relation) and all(_fits(each.get(k), more[k] | None) for k in more)]
    lost["relations"] += len(listed) - len(kept)
    return kept


def _fits(value: Any, form: Any) -> bool:
    try:
        msgspec.convert(value, form)
    except (msgspec.ValidationError, AttributeError, TypeError, RecursionError):
        return False
    return True
