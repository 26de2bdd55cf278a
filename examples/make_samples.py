"""Write the sample documents again, the same bytes every time: ``python examples/make_samples.py [FOLDER]``."""

from __future__ import annotations

import json
import random
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import sample_abstracts
import sample_pages
import sample_references
from sample_references import LABELS, ONLY_IN_DEV, STYLES, Piece
from sample_words import words_for

REFERENCES = {"train": 42, "dev": 12}
PAGES = {"train": 24, "dev": 7}
ABSTRACTS = 30
TOKEN = re.compile(r"\w+|[^\w\s]")
Span = tuple[int, int]


def main(folder: Path) -> None:
    """Write ``references`` and ``pages``, train and dev, and the files of the first tutorial, below ``folder``."""
    for split, count in REFERENCES.items():
        _write(folder / "references" / f"{split}.jsonl", (_bibliography(split, i) for i in range(count)))
    for split, count in PAGES.items():
        _write(folder / "pages" / f"{split}.jsonl", (sample_pages.paper(split, i) for i in range(count)))
    _write_tutorial(folder / "tutorial")


def _write_tutorial(folder: Path) -> None:
    """Write abstracts that were labelled in brat, a new text, what a person makes of it there, and a PDF."""
    texts = {f"abstracts/{i + 1:02}": sample_abstracts.abstract(i) for i in range(ABSTRACTS)}
    texts["corrected/new"] = text, _ = sample_abstracts.new_text()
    files = {"new.txt": text.encode(), "paper.pdf": sample_abstracts.paper()}
    for name, (text, found) in texts.items():
        files[f"{name}.txt"] = text.encode()
        files[f"{name}.ann"] = sample_abstracts.standoff(text, found).encode()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _write(path: Path, documents: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(document, ensure_ascii=False, separators=(",", ":")) for document in documents]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def _bibliography(split: str, index: int) -> dict[str, Any]:
    """Return a page of references: most lists keep to one style, some are a medley; some are broken into lines."""
    rng = random.Random(f"{split} references {index}")
    words, styles = words_for(split), [*STYLES.values(), *(ONLY_IN_DEV.values() if split == "dev" else ())]
    own = styles[index % len(styles)]
    medley, wrapped = rng.random() < 0.35, rng.random() < 0.5
    number = rng.randint(1, 60)
    symbols = ""
    fields: dict[str, list[Span]] = {label: [] for label in LABELS}
    entries: list[Span] = []
    rows: list[Span] = []
    for offset in range(rng.randint(7, 12)):
        style = rng.choice(styles) if medley else own
        text, found = _laid_out(sample_references.reference(rng, words, style, number + offset), wrapped, rng)
        at = len(symbols)
        for label, (start, stop) in found:
            fields[label].append((at + start, at + stop))
        entries.append((at, at + len(text)))
        rows += [(at + match.start(), at + match.end()) for match in re.finditer(r"[^\n]+", text)]
        symbols += f"{text}\n"
    symbols = symbols[:-1]
    layers = {
        "tokens": [match.span() for match in TOKEN.finditer(symbols)],
        "rows": rows,
        "bib_entries": entries,
        "pages": [(0, len(symbols))],
    }
    return {
        "symbols": symbols,
        "metadata": {"doc_id": f"references-{split}-{index:02}", "dataset": "papermage_core samples"},
        "entities": {name: _entities(spans) for name, spans in (layers | fields).items()},
        "relations": {},
    }


def _laid_out(pieces: Sequence[Piece], wrapped: bool, rng: random.Random) -> tuple[str, list[tuple[str, Span]]]:
    """Return the entry as it stands on the page, maybe over several lines, and where its fields are."""
    text, found = "", []
    for label, given in pieces:
        piece = given.lstrip() if text.endswith(" ") or not text else given
        if label:
            found.append((label, (len(text), len(text) + len(piece))))
        text += piece
    text = text.rstrip()
    if not wrapped:
        return text, found
    lines = _hyphenated(textwrap.wrap(text, 78, break_long_words=False, break_on_hyphens=False), rng)
    page = "\n".join(lines)
    place = _places(text, page)
    return page, [(label, (place[start], place[stop - 1] + 1)) for label, (start, stop) in found]


def _hyphenated(lines: Sequence[str], rng: random.Random) -> list[str]:
    """Return the lines with some words broken over two of them, as narrow columns have it."""
    out = list(lines)
    for i in range(len(out) - 1):
        word, _, rest = out[i + 1].partition(" ")
        if word.isalpha() and len(word) > 7 and rng.random() < 0.4:
            cut = rng.randint(3, len(word) - 3)
            out[i], out[i + 1] = f"{out[i]} {word[:cut]}-", f"{word[cut:]} {rest}".rstrip()
    return out


def _places(text: str, page: str) -> list[int]:
    """Return where each character of ``text`` went on the page, which has line ends for spaces and some hyphens."""
    places, at = [], 0
    for character in text:
        while page[at] != character and not (character.isspace() and page[at].isspace()):
            at += 1
        places.append(at)
        at += 1
    return places


def _entities(spans: Iterable[Span]) -> list[dict[str, Any]]:
    return [{"spans": [list(span)]} for span in spans]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data")
