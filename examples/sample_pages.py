"""Papers as they look on the page: tokens with boxes, fonts and sizes, and what each stretch of them is."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sample_references
import sample_words as w

LABELS = (
    "title", "author", "abstract", "section", "paragraph", "list", "equation", "caption", "table", "figure", "footnote",
    "reference", "footer",
)  # fmt: skip
FORMATS = ((612.0, 792.0), (420.0, 595.0), (360.0, 504.0))
"""Width and height of pages in points; boxes are shares of them."""


@dataclass(frozen=True)
class Look:
    """The typography of a journal, drawn anew for each paper: no size and no font means the same everywhere."""

    width: float
    height: float
    columns: int
    body: str
    heading: str
    italic: str
    size: float
    title_size: float
    section_size: float
    caption_size: float
    small_size: float
    centred: bool
    numbered: bool
    header: str


@dataclass(frozen=True)
class Block:
    """A stretch of one label, before it is laid out."""

    label: str
    text: str
    font: str
    size: float
    centred: bool = False
    narrow: float = 0.0
    """Taken from both sides of the column, in points."""
    wide: bool = False
    """Over the whole page, whatever the columns."""


def paper(split: str, index: int) -> dict[str, Any]:
    """Return a paper of one to three short pages as Document JSON."""
    rng = random.Random(f"{split} pages {index}")
    words = w.words_for(split)
    look = _look(rng, words)
    press = _Press(look, rng, first_number=rng.choice([1, rng.randint(2, 900)]))
    for block in _blocks(rng, words, look):
        press.set(block)
    return press.document(f"pages-{split}-{index:02}")


# What stands in a paper ----------------------------------------------------------------------------------------------


def _look(rng: random.Random, words: w.Words) -> Look:
    body, heading, italic = rng.choice(
        [
            ("CMR10", "CMBX12", "CMTI10"), ("NimbusRomNo9L-Regu", "NimbusRomNo9L-Medi", "NimbusRomNo9L-ReguItal"),
            ("TimesNewRoman", "Arial-Bold", "TimesNewRoman-Italic"), ("Minion", "Minion", "Minion-It"),
            ("LiberationSerif", "LiberationSans", "LiberationSerif"), ("Garamond", "MyriadPro-Semibold", "Garamond-It"),
        ]
    )  # fmt: skip
    size = rng.choice([8.5, 9.0, 10.0, 10.9, 12.0])
    width, height = rng.choice(FORMATS)
    return Look(
        width=width, height=height, columns=rng.choice([1, 2, 2]) if width > 600 else 1, body=body, heading=heading, italic=italic, size=size,
        title_size=size + rng.choice([2.0, 4.4, 7.0]), section_size=size + rng.choice([0.0, 0.0, 1.0, 2.0]),
        caption_size=size - rng.choice([0.0, 0.0, 1.0]), small_size=size - rng.choice([0.0, 1.0, 2.0]),
        centred=rng.random() < 0.5, numbered=rng.random() < 0.6,
        header=rng.choice(["", w.journal(rng, words), f"{rng.choice(words.surnames)} et al."]),
    )  # fmt: skip


def _blocks(rng: random.Random, words: w.Words, look: Look) -> list[Block]:
    blocks = _front(rng, words, look) if rng.random() < 0.75 else []
    number = 1 if blocks else rng.randint(2, 6)
    for _ in range(rng.randint(1, 6)):
        blocks.append(
            Block("section", _heading(rng, words, look, number), look.heading, look.section_size, look.centred)
        )
        number += 1
        for _ in range(rng.randint(1, 2)):
            blocks.append(Block("paragraph", _prose(rng, words, rng.randint(2, 3)), look.body, look.size))
            if rng.random() < 0.6:
                blocks.append(rng.choice([_equation, _list, _figure, _table, _footnote])(rng, words, look))
    if rng.random() < 0.4:
        blocks.append(Block("section", "References", look.heading, look.section_size, look.centred))
        style = rng.choice(list(sample_references.STYLES.values()))
        for number in range(1, rng.randint(3, 5)):
            entry = "".join(text for _, text in sample_references.reference(rng, words, style, number))
            blocks.append(Block("reference", entry, look.body, look.small_size))
    return blocks


def _front(rng: random.Random, words: w.Words, look: Look) -> list[Block]:
    title = w.headline(w.title(rng, words)) if rng.random() < 0.5 else w.title(rng, words)
    names = [f"{rng.choice(words.given)} {rng.choice(words.surnames)}" for _ in range(rng.randint(1, 4))]
    marked = rng.random() < 0.3
    authors = ", ".join(f"{name} {i}" if marked else name for i, name in enumerate(names, 1))
    home = f"{rng.choice(w.UNIVERSITIES)}, {rng.choice(words.cities)}"
    abstract, opening = _prose(rng, words, rng.randint(2, 4)), rng.choice(["Abstract", "ABSTRACT", "Summary", ""])
    text = f"{opening}{rng.choice([':', '.', ' —'])} {abstract}" if opening else abstract
    fonts = [look.body, look.body, look.italic]
    return [
        Block("title", title, look.heading, look.title_size, look.centred, wide=True),
        Block("author", authors, rng.choice(fonts), look.size + rng.choice([0.0, 1.0]), look.centred, wide=True),
        *([Block("author", home, rng.choice(fonts), look.size, look.centred, wide=True)] if rng.random() < 0.7 else []),
        Block("abstract", text, rng.choice(fonts), rng.choice([look.size, look.small_size]), False,
              rng.choice([0.0, 0.0, 24.0]), wide=rng.random() < 0.6),
    ]  # fmt: skip


def _prose(rng: random.Random, words: w.Words, sentences: int) -> str:
    return " ".join(w.sentence(rng, words) for _ in range(sentences))


def _heading(rng: random.Random, words: w.Words, look: Look, number: int) -> str:
    usual = ["Introduction", "Methods", "Results", "Discussion", "Related Work", "Conclusion", "Data and Materials"]
    own = f"{rng.choice(words.adjectives).capitalize()} {rng.choice(words.nouns)}"
    text = rng.choice([*usual, own, own, own])
    text = text.upper() if rng.random() < 0.2 else text
    return f"{number}{rng.choice(['', '.', '.1'])} {text}" if look.numbered else text


def _equation(rng: random.Random, words: w.Words, look: Look) -> Block:
    left, a, b = rng.sample(["x", "f ( t )", "α", "P ( y | x )", "θ", "H", "∂ u / ∂ t"], 3)
    text = f"{left} = {a} {rng.choice(['+', '−', '·', '∑'])} {rng.randint(2, 9)} {b} ( {rng.randint(1, 20)} )"
    return Block("equation", text, "CMMI10" if look.body.startswith("CM") else look.italic, look.size, True)


def _list(rng: random.Random, words: w.Words, look: Look) -> Block:
    mark = rng.choice(["•", "–", "*"])
    items = [f"{mark} {rng.choice(words.adjectives)} {rng.choice(words.nouns)};" for _ in range(rng.randint(2, 4))]
    return Block("list", " ".join(items), look.body, look.size, False, 12.0)


def _figure(rng: random.Random, words: w.Words, look: Look) -> Block:
    ticks = " ".join(f"0.{digit}" for digit in range(0, 9, rng.choice([2, 3])))
    return Block("figure", f"{ticks} {rng.choice(words.nouns)}", "Helvetica", 6.5, True, 30.0)


def _table(rng: random.Random, words: w.Words, look: Look) -> Block:
    rows = [f"{rng.choice(words.nouns)} {rng.randint(1, 999)} {rng.random():.2f} {rng.random():.2f}" for _ in range(3)]
    return Block("table", " ".join(rows), look.body, look.small_size, False, 20.0)


def _footnote(rng: random.Random, words: w.Words, look: Look) -> Block:
    return Block("footnote", f"{rng.randint(1, 9)} {w.sentence(rng, words)}", look.body, look.small_size)


def _caption(rng: random.Random, words: w.Words, look: Look, kind: str) -> Block:
    name = {"figure": ["Figure", "Fig.", "FIG."], "table": ["Table", "TABLE", "Tab."]}[kind]
    text = f"{rng.choice(name)} {rng.randint(1, 9)}{rng.choice([':', '.', '.'])} {w.sentence(rng, words)}"
    return Block("caption", text, rng.choice([look.body, look.body, look.italic]), look.caption_size)


# Setting it ----------------------------------------------------------------------------------------------------------


@dataclass
class _Press:
    """Lays blocks out, column after column, and keeps where everything came to stand."""

    look: Look
    rng: random.Random
    first_number: int
    symbols: str = ""
    page: int = -1
    column: int = 0
    y: float = 0.0
    column_top: float = 0.0
    page_start: int = 0
    layers: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {name: [] for name in ("tokens", "rows", "pages", *LABELS)}
    )
    notes: list[Block] = field(default_factory=list)

    gutter = 20.0

    @property
    def margin(self) -> float:
        return 0.09 * self.look.width

    @property
    def bottom(self) -> float:
        """Where the text of a page ends; notes and the number stand below."""
        return self.look.height - 90.0

    def set(self, block: Block) -> None:
        """Lay a block out where the last one ended; a footnote waits for the end of its page."""
        if block.label == "footnote":
            self.notes.append(block)
            return
        if self.page < 0:
            self._open_page()
        self._flow(block)
        if block.label in ("figure", "table"):
            words = w.words_for("dev" if self.first_number % 2 else "train")
            self._flow(_caption(self.rng, words, self.look, block.label))
        self.y += self.rng.choice([2.0, 5.0, 9.0])

    def document(self, doc_id: str) -> dict[str, Any]:
        """Return the paper, its last page closed."""
        self._close_page()
        return {
            "symbols": self.symbols[:-1],
            "metadata": {"doc_id": doc_id, "dataset": "papermage_core samples"},
            "entities": self.layers,
            "relations": {},
        }

    def _open_page(self) -> None:
        self.page, self.column, self.y = self.page + 1, 0, self.margin
        self.page_start = len(self.symbols)
        if self.look.header:
            self._place(
                "footer", [self.look.header.split()], Block("footer", "", self.look.italic, 8.0, True, wide=True)
            )
            self.y += 12.0
        self.column_top = self.y

    def _close_page(self) -> None:
        self.y = self.bottom + 8.0
        notes, self.notes = self.notes, []
        for note in notes:
            self._place(note.label, self._lines(note)[:3], note)
        self.y = max(self.y, self.look.height - 40.0)
        number = [str(self.first_number + self.page)]
        self._place("footer", [number], Block("footer", "", self.look.body, self.look.small_size, True, wide=True))
        self.layers["pages"].append(
            {"spans": [[self.page_start, len(self.symbols) - 1]], "boxes": [[0.0, 0.0, 1.0, 1.0, self.page]]}
        )

    def _next_column(self) -> None:
        self.column += 1
        if self.column < self.look.columns:
            self.y = self.column_top
            return
        self._close_page()
        self._open_page()

    def _flow(self, block: Block) -> None:
        lines = self._lines(block)
        while lines:
            room = int((self.bottom - self.y) // (1.2 * block.size))
            if room < min(2, len(lines)):
                self._next_column()
                continue
            self._place(block.label, lines[:room], block)
            lines = lines[room:]
        if block.wide:
            self.column_top = self.y + 6.0

    def _measure(self, block: Block) -> tuple[float, float]:
        """Return the left edge and the width that a block's lines have."""
        if block.wide:
            return self.margin + block.narrow, self.look.width - 2 * (self.margin + block.narrow)
        width = (self.look.width - 2 * self.margin - self.gutter * (self.look.columns - 1)) / self.look.columns
        left = self.margin + self.column % self.look.columns * (width + self.gutter)
        return left + block.narrow, width - 2 * block.narrow

    def _lines(self, block: Block) -> list[list[str]]:
        _, width = self._measure(block)
        lines: list[list[str]] = [[]]
        for word in block.text.split():
            if lines[-1] and _length([*lines[-1], word], block.size) > width:
                lines.append([])
            lines[-1].append(word)
        return lines

    def _place(self, label: str, lines: Sequence[Sequence[str]], block: Block) -> None:
        """Write lines at the current height: their tokens, rows, and one entity of ``label``."""
        start, top = len(self.symbols), self.y
        left, width = self._measure(block)
        for line in lines:
            x = left + (width - _length(line, block.size)) / 2 if block.centred else left
            row_start, row_x = len(self.symbols), x
            for word in line:
                at, length = len(self.symbols), _length([word], block.size)
                self._add("tokens", at, at + len(word), x, self.y, length, block.size,
                          metadata={"font": block.font, "size": round(block.size, 1)})  # fmt: skip
                self.symbols += f"{word} "
                x += length + block.size * 0.28
            self.symbols = f"{self.symbols[:-1]}\n"
            self._add("rows", row_start, len(self.symbols) - 1, row_x, self.y, x - row_x, block.size)
            self.y += 1.2 * block.size
        spans = {} if label == "figure" else {"spans": [[start, len(self.symbols) - 1]]}
        box = self._box(left, top, width, self.y - top)
        self.layers[label].append(spans | ({"boxes": [box]} if label == "figure" else {}))

    def _add(
        self, layer: str, start: int, end: int, x: float, y: float, width: float, height: float, **more: Any
    ) -> None:
        self.layers[layer].append({"spans": [[start, end]], "boxes": [self._box(x, y, width, height)], **more})

    def _box(self, x: float, y: float, width: float, height: float) -> list[float]:
        left, top = max(0.0, min(x / self.look.width, 0.999)), min(y / self.look.height, 0.999)
        shares = (left, top, min(width / self.look.width, 1 - left), min(height / self.look.height, 1 - top))
        return [*(round(share, 4) for share in shares), self.page]


def _length(words: Sequence[str], size: float) -> float:
    """Return the length of a line in points, by a rough width for each kind of letter."""
    narrow, broad = frozenset("iljt.,;:'|!()[] "), frozenset("mwMWABCDGHNOQRU—")
    # in whole hundredths: Pythons differ in the last bit of a sum of floats
    letters = sum(28 if c in narrow else 75 if c in broad else 50 for word in words for c in word)
    return size * (letters + 28 * (len(words) - 1)) / 100
