"""PDF files: time against PDFium's own text and pdfplumber's words with fonts; words and boxes against pdfplumber's."""

from __future__ import annotations

import gc
import importlib
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pypdfium2 as pdfium

from benchmarks import NotMeasured, Record, Rows, corpora, interleaved, record
from papermage_core import Document
from papermage_core.data import read_documents
from papermage_formats.pdf import PdfReaderConfig

_FILES = ("papermage_docs/papermage.pdf", "formats/pdf/2202.00535.pdf", "formats/pdf/pdkids.pdf")
_PAGES, _BEFORE = 1000, 200
_PEERS = ("pypdfium2", "pdfplumber", "numpy")


def run() -> Rows:
    """Yield the records."""
    folder = corpora()
    try:
        pdfplumber = importlib.import_module("pdfplumber")
    except ImportError:
        pdfplumber = None
        yield NotMeasured("what pdfplumber does", "pip install pdfplumber")
    for name in _FILES:
        path = folder / name
        functions = {
            "ours": lambda path=path: _ours(path),
            "one": lambda path=path: _ours(path, 1),
            "plain": lambda path=path: _plain(path),
        }
        for _ in range(_BEFORE // 10):
            _ours(path)  # the second process starts once there were many pages
        times = interleaved(functions, repeats=15)
        yield from (
            record(
                f"PDF to Document, speed{said}, {path.name}",
                1 / times[name],
                "files/s",
                reference="pypdfium2's own text",
                reference_value=1 / times["plain"],
                target=">= 0.7",
                peers=_PEERS,
            )
            for name, said in (("ours", ""), ("one", " of one process"))
        )
        if pdfplumber is not None:
            yield from _against_pdfplumber(path, pdfplumber, times["ours"])
    yield _memory(folder / _FILES[0])


def _ours(path: Path, processes: int = 2) -> Document:
    (document,) = read_documents(path, PdfReaderConfig(processes=processes))
    return document


def _plain(path: Path) -> list[str]:
    with pdfium.PdfDocument(path) as pdf:
        found = []
        for page in pdf:
            text_page = page.get_textpage()
            found.append(text_page.get_text_range())
            text_page.close()
            page.close()
        return found


def _against_pdfplumber(path: Path, pdfplumber: Any, ours: float) -> list[Record]:
    words: list[tuple[int, dict[str, Any], float, float]] = []

    def read() -> None:
        words.clear()
        with pdfplumber.open(path) as pdf:
            for number, page in enumerate(pdf.pages):
                found = page.extract_words(extra_attrs=["fontname", "size"])
                words.extend((number, word, page.width, page.height) for word in found)

    seconds = interleaved({"pdfplumber": read}, repeats=1, warmup=0)["pdfplumber"]
    (document,) = read_documents(path, PdfReaderConfig(style="words"))
    recall, overlap = _agreement(document, words)
    common: dict[str, Any] = {"reference": "pdfplumber's words", "reference_value": 1.0, "peers": _PEERS}
    return [
        record(
            f"PDF to Document, speed, {path.name}",
            1 / ours,
            "files/s",
            reference="pdfplumber's extract_words with fonts",
            reference_value=1 / seconds,
            target=">= 15",
            peers=_PEERS,
        ),
        record(f"text of words found, {path.name}", recall, "", target=">= 0.99", **common),
        record(f"IoU of boxes of equal words, {path.name}", overlap, "", target=">= 0.7", **common),
    ]


def _agreement(document: Document, words: list[tuple[int, dict[str, Any], float, float]]) -> tuple[float, float]:
    """Return the share of their words that our text has on the page, and the mean IoU of boxes of one text, nearest."""
    boxes = document.tokens.box_arrays()
    ours: dict[tuple[int, str], list[tuple[float, float, float, float]]] = defaultdict(list)
    for text, left, top, width, height, page in zip(
        document.tokens.texts(),
        *(values.tolist() for values in (boxes.left, boxes.top, boxes.width, boxes.height, boxes.page)),
        strict=True,
    ):
        ours[page, text].append((left, top, left + width, top + height))
    pages = {
        box.page: "".join(str(document.symbols)[page.spans[0].start : page.spans[0].end].split())
        for page in document.pages
        for box in page.boxes
        if page.spans
    }
    found, shares = 0, []
    for number, word, width, height in words:
        found += word["text"] in pages.get(number, "")
        box = word["x0"] / width, word["top"] / height, word["x1"] / width, word["bottom"] / height
        if same := ours.get((number, word["text"])):
            shares.append(max(_iou(box, other) for other in same))
    return found / len(words), sum(shares) / max(1, len(shares))


def _iou(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0.0, across) * max(0.0, down)
    return both / (sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)) - both or 1)


def _memory(path: Path) -> Record:
    """Return the peak of memory above the start while a file of many pages is read, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large.pdf"
        with pdfium.PdfDocument.new() as many, pdfium.PdfDocument(path) as few:
            while len(many) < _PAGES:
                many.import_pages(few)
            many.save(large)
        code = (
            "import sys, pypdfium2, benchmarks.pdf as b; from pathlib import Path; b._ours(Path(sys.argv[2]), 1);"
            "start = b._peak(); d = b._ours(Path(sys.argv[1]), 1); print(b._peak() - start, len(d.pages))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(large), str(path)], capture_output=True, text=True, check=True
        )
    peak, pages = done.stdout.split()
    return record(
        f"peak memory above start, {pages} pages",
        int(peak) / 1e6,
        "MB",
        reference="300 MB",
        reference_value=300.0,
        target="< 1",
        peers=_PEERS,
    )


def _peak() -> int:
    gc.collect()
    status = Path("/proc/self/status")
    if status.exists():  # what rusage tells of a new process begins with the size of the one that started it
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
