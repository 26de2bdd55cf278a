"""What tests of formats share."""

from __future__ import annotations

import io
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from papermage_core import Document

_SPACES, _OTHERS = " \u2028\u00a0", "abé𝛼\u0301<&\"'#-_|/;🧬O"
CHARACTERS = st.sampled_from(_OTHERS + _SPACES)
_WORDS = st.text(st.sampled_from(_OTHERS), min_size=1, max_size=4)


def expected(corpora: Path, folder: str) -> dict[str, dict[str, Any]]:
    """Return what other tools found in the files of a folder, by path."""
    files = json.loads((corpora / "formats" / "expected.json").read_bytes())["files"]
    return {name: each["found"] for name, each in files.items() if name.startswith(f"{folder}/")}


def labels(documents: list[Document], without: tuple[str, ...] = ("tokens", "sentences", "passages")) -> dict[str, int]:
    """Return how many entities each layer has."""
    counts: Counter[str] = Counter()
    for document in documents:
        counts.update({name: len(document.get_layer(name)) for name in document.layer_names if name not in without})
    return dict(counts)


def plain(documents: list[Document]) -> list[dict[str, Any]]:
    return [document.to_json() for document in documents]


def written(writer: Any, documents: list[Document]) -> tuple[bytes, dict[str, int]]:
    target = io.BytesIO()
    lost = writer.write(iter(documents), target)
    return target.getvalue(), dict(lost)


@st.composite
def labelled_documents(draw: st.DrawFn, discontinuous: bool = True) -> Document:
    """Draw a document with entities of two labels, anywhere in its text."""
    text = draw(st.text(CHARACTERS, min_size=1, max_size=30).filter(lambda text: not text.isspace()))
    layers: dict[str, list[Any]] = {}
    for label in draw(st.lists(st.sampled_from(["Gene", "a b"]), unique=True)):
        places = draw(
            st.lists(
                st.lists(st.integers(0, len(text)), min_size=2, max_size=4 if discontinuous else 2, unique=True).map(
                    sorted
                ),
                min_size=1,
                max_size=3,
            )
        )
        layers[label] = [{"spans": [p[i : i + 2] for i in range(0, len(p) - 1, 2)]} for p in places]
    return Document.from_json({"symbols": text, "metadata": {"doc_id": "d"}, "entities": layers})


@st.composite
def tokenized_documents(draw: st.DrawFn, *gaps: str, touching: bool = False) -> Document:
    """Draw a document of tokens with gaps between them, and entities of two labels that are stretches of tokens."""
    words = draw(st.lists(_WORDS, min_size=1, max_size=9))
    text, places = "", []
    for number, word in enumerate(words):
        text += draw(st.sampled_from(gaps)) if number else ""
        places.append([len(text), len(text) + len(word)])
        text += word
    layers: dict[str, Any] = {"tokens": [{"spans": [place]} for place in places]}
    for label in draw(st.lists(st.sampled_from(["Gene", "Drug"]), unique=True)):
        ends = st.lists(st.integers(0, len(words)), min_size=2, max_size=2, unique=True).map(sorted)
        chosen = sorted(draw(st.lists(ends, min_size=1, max_size=3)))
        layers[label] = [{"spans": [[places[first][0], places[last - 1][1]]]} for first, last in chosen]
    return Document.from_json({"symbols": text, "metadata": {"doc_id": "d"}, "entities": layers})


def read_back(
    writer: Any, reader: Any, documents: list[Document], name: str = ""
) -> tuple[list[Document], dict[str, int]]:
    """Return the documents that a reader finds in what a writer wrote, and what was lost; both by their configs."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / (name or f"back{writer.suffixes[0]}")
        if writer.target == "folder":
            place.mkdir()
            lost = dict(writer.build().write(iter(documents), place))
            paths = sorted(
                path for path in place.rglob("*") if path.name.endswith(reader.suffixes or reader.shared_suffixes[:2])
            )
        else:
            data, lost = written(writer.build(), documents)
            place.write_bytes(data)
            paths = [place]
        return [located.document for path in paths for located in reader.build().read(path)], lost
