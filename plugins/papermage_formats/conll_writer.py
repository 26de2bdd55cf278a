"""Documents → tables of a token a line."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import IO

from papermage_core.document import Document
from papermage_formats.conll_columns import SPECIAL, known_columns
from papermage_formats.labelled import labelled_entities, losses
from papermage_formats.noted import noted
from papermage_formats.tags import encode_tags, is_tag
from papermage_formats.tokenized import PlacedTokens, covered_sentences, covered_tokens, placed_tokens

__all__ = ["ConllWriter"]

_OF_FILES = re.compile(r"\s*(?:global\.columns|newdoc|doc_id|begin document|end document)\b")
"""Comments that would say something of the file, such as where another document begins."""
_BORDER = re.compile(r"-DOCSTART-|#\s*(?:newdoc|doc_id|begin document)\b")


class ConllWriter:
    """Writes a token a line. Of entities that overlap, the first of the longest is written."""

    def __init__(self, columns: Sequence[str], scheme: str, *, comments: bool, layers: Sequence[str]) -> None:
        self._columns, self._scheme = known_columns(columns), scheme
        self._comments, self._layers = comments, tuple(layers)

    def write(self, documents: Iterable[Document], target: IO[bytes], first: int | None = None) -> dict[str, int]:
        """Write the documents; return what a table of tokens does not hold. Raises DataError for one without tokens."""
        lost: Counter[str] = Counter()
        for document in documents:
            target.write(self._table(document, lost).encode())
        return losses(lost)

    def _table(self, document: Document, lost: Counter[str]) -> str:
        symbols = document.symbols or ""
        tokens = placed_tokens(document, lost, {*SPECIAL, *self._columns}, at_least_one=True, blank=False)
        places, texts = tokens.places, tokens.words(document.symbols or "")
        words = [re.sub(r"[\t\n\r]+", " ", text) for text in texts]
        if len(self._columns) == 1:  # which are told apart by spaces, too
            words = ["_".join(word.split(" ")) for word in words]
        lost["white space in tokens"] += sum(text != word for text, word in zip(texts, words, strict=True))
        entities = labelled_entities(document, self._layers, lost, kept=("tokens", "sentences"))
        covered = covered_tokens(entities, places, lost)
        stretches = [(re.sub(r"[\t\n\r]+", " ", each.label), first, last) for each, first, last in covered]
        changed = (each.label != label for (each, *_), (label, *_) in zip(covered, stretches, strict=True))
        lost["white space in labels"] += sum(changed)
        borders, comments = _sentences(document, places, lost)
        cut = [piece for stretch in stretches for piece in _cut(stretch, borders)]
        lost["borders of sentences within entities"] += len(cut) - len(stretches)
        tags = encode_tags(cut, len(places), self._scheme, lost)
        columns = [self._column(name, tokens, words, tags, borders) for name in self._columns]
        lost["metadata of documents"] += len(set(document.metadata.keys()) - {"doc_id"})
        rows = list(map("\t".join, zip(*columns, strict=True)))
        for i, row in enumerate(rows):
            if row.startswith(("#", "-DOCSTART-")) and (_BORDER.match(row) or not is_tag(row.rpartition("\t")[2])):
                rows[i] = f"_{row}"
                lost["tokens that look like comments"] += 1
        doc_id = "" if document.id is None else " ".join(document.id.split())
        lost["white space in document ids"] += doc_id != (document.id or "")
        pieces = [f"-DOCSTART-\t({doc_id})\n\n" if doc_id else "-DOCSTART-\n\n"]
        for first, last, said in zip(borders, [*borders[1:], len(rows)], comments, strict=True):
            text = symbols[places[first][0] : places[last - 1][1]]
            if " ".join(words[first:last]) != text and "start" not in self._columns:
                if not self._comments or "\n" in text or "\r" in text or text.split() != text.strip().split():
                    lost["white space between tokens"] += 1
                else:
                    said = [f"text = {text}", *said]
            if self._comments:
                pieces += [f"# {_one_line(comment)}\n" for comment in said]
            else:
                lost["comments"] += len(said)
            pieces += ["\n".join(rows[first:last]), "\n\n"]
        return "".join(pieces)

    def _column(
        self, name: str, tokens: PlacedTokens, words: list[str], tags: list[str], borders: list[int]
    ) -> list[str]:
        if name in ("token", "tag"):
            return words if name == "token" else tags
        if name in ("start", "end"):
            return [str(place[name == "end"]) for place in tokens.places]
        if name == "id":
            return [str(i - borders[bisect_right(borders, i) - 1] + 1) for i in range(len(words))]
        return ["_" if value is None else " ".join(str(value).split()) or "_" for value in tokens.column(name)]


def _cut(stretch: tuple[str, int, int], borders: Sequence[int]) -> list[tuple[str, int, int]]:
    """Return what of a stretch is in each sentence: tags go on over no border."""
    label, first, last = stretch
    ends = [first, *borders[bisect_right(borders, first) : bisect_left(borders, last)], last]
    return [(label, start, stop) for start, stop in pairwise(ends)]


def _one_line(comment: str) -> str:
    """Return a comment as it is read again: in one line, and not as a token with its tag."""
    spaced = "\n" in comment or "\r" in comment or ("\t" in comment and is_tag(comment.rpartition("\t")[2]))
    return " ".join(comment.split()) if spaced else comment


def _sentences(
    document: Document, places: list[tuple[int, int]], lost: Counter[str]
) -> tuple[list[int], list[list[str]]]:
    """Return the first token of each sentence, and the comments of each."""
    comments: dict[int, list[str]] = {0: []}
    for sentence, first, last in covered_sentences(document, places):
        said = noted(sentence.metadata, "comments", list[str], lost, "comments") or []
        comments[first] = [comment for comment in said if not _OF_FILES.match(comment)]
        lost["comments"] += len(said) - len(comments[first])
        if last < len(places):
            comments.setdefault(last, [])
    lost["documents without sentences"] += not (
        document.has_layer("sentences") and len(document.get_layer("sentences"))
    )
    borders = sorted(comments) if places else []
    text = document.symbols or ""
    gaps = (text[places[border - 1][1] : places[border][0]] for border in borders[1:])
    lost["white space between sentences"] += sum(gap != "\n" for gap in gaps)
    return borders, [comments[border] for border in borders]
