"""Sheets → one file of HTML, written as they come, that loads nothing and runs nothing but its own script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from html import escape
from typing import IO, Any

from papermage_core.document import Document
from papermage_core.errors import DataError, nearest
from papermage_core.evaluation.view.options import ViewOptions
from papermage_core.evaluation.view.sheets import FONT, SHARE, Sheet, sheets
from papermage_core.evaluation.web import asset, data_block, policy

__all__ = ["write_view"]


def write_view(documents: Iterable[Document], target: IO[bytes], options: ViewOptions) -> dict[str, int]:
    """Write documents to a page of HTML as they come, and return how much is not shown, by kind.

    Each sheet (a page, or a stretch of text) is a piece of JSON of its own, which is read when it is seen. Raises
    DataError for a layer that is named and that no document has.
    """
    written = _View(target, options)
    for document in documents:
        written.add(document)
    written.end()
    return {kind: count for kind, count in written.lost.items() if count}


class _View:
    def __init__(self, target: IO[bytes], options: ViewOptions) -> None:
        self.lost: Counter[str] = Counter()
        self._target, self._options = target, options
        self._documents: list[dict[str, Any]] = []
        self._fonts: dict[tuple[Any, ...], int] = {}
        self._layers: dict[str, Counter[str]] = {}
        """Layer → how often it has each label."""
        self._known: set[str] = set()
        self._scored = False
        style, self._script = asset("view", "view.css"), asset("view", "view.js")
        title = escape(options.title)
        target.write(_HEAD.format(policy=policy([self._script], [style]), title=title).encode())
        target.write(f"<style>{style}</style></head>{_BODY.format(title=title)}".encode())

    def add(self, document: Document) -> None:
        """Write the sheets of a document."""
        number = len(self._documents)
        self._count(document)
        found = sheets(document, self._options, self._fonts, self.lost)
        text = document.symbols or ""
        for i, sheet in enumerate(found):
            self._scored = self._scored or any(score is not None for *_, score, _, _, _ in sheet.entities)
            self._data(f"s{number}-{i}", sheet.record(text))
            if sheet.picture:
                self._data(f"p{number}-{i}", sheet.picture)
        if len(metadata := document.metadata):
            self._data(f"m{number}", dict(metadata.items()))
        self._documents.append({"id": document.id, "sheets": [_size(sheet) for sheet in found]})

    def end(self) -> None:
        """Write what is known once all documents are, and the script that draws."""
        if absent := [
            name for name in (*(self._options.layers or ()), *self._options.compare) if name not in self._known
        ]:
            here = ", ".join(sorted(self._known)) or "none"
            raise DataError(f"no document has a layer {absent[0]!r}.{nearest(absent[0], self._known)} Layers: {here}")
        layers = [
            {
                "name": name,
                "on": self._options.is_on(name),
                "compared": name in self._options.compare,
                "labels": list(counts.items()),
            }
            for name, counts in sorted(self._layers.items(), key=lambda layer: not self._options.is_on(layer[0]))
        ]
        known = {"share": SHARE, "fonts": list(self._fonts), "layers": layers, "documents": self._documents}
        self._data("index", known | {"scored": self._scored})
        self._target.write(f"<script>{self._script}</script></body></html>\n".encode())

    def _count(self, document: Document) -> None:
        options, names = self._options, document.layer_names
        self._known.update(names)
        chosen = options.chosen(names)
        for name in chosen:
            counts = self._layers.setdefault(name, Counter())
            counts.update(options.label(entity, name) for entity in document.get_layer(name))
        if options.tokens in names and options.tokens not in chosen:
            layer = document.get_layer(options.tokens)
            known = {*FONT}
            self.lost["metadata of tokens"] += sum(not values.keys() <= known for values in layer.metadata_dicts())

    def _data(self, name: str, value: Any) -> None:
        self._target.write(data_block(name, value))


def _size(sheet: Sheet) -> list[Any]:
    """Return how much room a sheet needs: characters, number and ratio of the page."""
    return [sheet.stop - sheet.start, sheet.page, sheet.ratio]


_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>
"""
_BODY = """<body>
<header role="toolbar" aria-label="View">
<h1>{title}</h1>
<label>Document <select id="document"></select></label>
<button id="mode" title="pages or text (t)">Text</button>
<span role="group" aria-label="Search">
<label class="hidden" for="query">Search</label><input id="query" type="search" placeholder="Search ( / )">
<button id="previous" title="previous (p)" aria-label="previous">↑</button>
<button id="next" title="next (n)" aria-label="next">↓</button>
<output id="found" aria-live="polite"></output></span>
<span role="group" aria-label="Size"><button id="smaller" title="smaller (-)" aria-label="smaller">−</button>
<button id="larger" title="larger (+)" aria-label="larger">+</button></span>
<button id="theme" title="light or dark (d)">Dark</button>
<button id="panel" title="layers and entities (l)" aria-expanded="true" aria-controls="side">Layers</button>
</header>
<aside id="side" aria-label="Layers and entities">
<section id="legend" aria-label="Layers and labels"></section>
<section id="chosen" aria-live="polite" aria-label="Chosen"></section>
<details id="list"><summary>Entities of this document</summary><ol id="entities"></ol></details>
<details id="about"><summary>Metadata of this document</summary><pre id="metadata"></pre></details>
<details id="help"><summary>Keys</summary>
<p><kbd>n</kbd> <kbd>p</kbd> next and previous entity, or place found · <kbd>j</kbd> <kbd>k</kbd> next and previous
page · <kbd>/</kbd> search · <kbd>t</kbd> pages or text · <kbd>b</kbd> boxes of tokens · <kbd>+</kbd> <kbd>-</kbd>
size ·
<kbd>d</kbd> light or dark · <kbd>l</kbd> layers</p></details>
</aside>
<main id="documents" tabindex="-1"></main>
<noscript><p>This page draws documents with JavaScript, which is switched off.</p></noscript>
"""
