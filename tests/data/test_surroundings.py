"""What an encoder or head asks for in its needs is there, beside the units' text, also after packing."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest

from papermage_core.data.examples import make_examples
from papermage_core.data.issues import Issues
from papermage_core.data.labelling import Labelling
from papermage_core.data.packing import pack_document, unpack_contexts, unpack_document
from papermage_core.data.units import ParsedDocument, Parser
from papermage_core.document import Box, Document, Entity, Image, Span
from papermage_core.errors import PluginError
from papermage_core.plugin import ContextNeeds
from papermage_core.testing import TinyEncoderConfig

LABELLING = Labelling(label_field=(), entity_name="tokens", context_name="pages")


def document() -> Document:
    doc = Document("a b c d e f")
    doc.metadata.set("venue", "ACL")
    doc.metadata.set("year", 1999)
    words = [Span(2 * i, 2 * i + 1) for i in range(6)]
    boxes = [Box(0.1, 0.1, 0.1, 0.1, page=i // 2) for i in range(6)]
    tokens = [Entity(spans=[span], boxes=[box]) for span, box in zip(words, boxes, strict=True)]
    doc.annotate_layer("tokens", tokens)
    doc.annotate_layer("pages", [Entity(spans=[Span(start, start + 3)]) for start in (0, 4, 8)])
    return doc


def parsed(needs: ContextNeeds, doc: Document | None = None) -> ParsedDocument:
    return Parser(LABELLING, needs, Issues()).parse(doc or document(), "doc")


@pytest.mark.parametrize("packed", [False, True])
def test_metadata_of_the_document_and_neighbouring_contexts_are_there_where_they_are_wanted(packed):
    found = parsed(ContextNeeds(document_metadata=("venue", "editor"), neighbours=1))
    if packed:
        found = unpack_document(pack_document(found))
    first, second, third = found.contexts
    assert [dict(context.document_metadata) for context in found.contexts] == [{"venue": "ACL"}] * 3
    assert [list(map(list, each)) for each in (first.before, first.after)] == [[], [["c", "d"]]]
    assert [list(map(list, each)) for each in (second.before, second.after)] == [[["a", "b"]], [["e", "f"]]]
    assert [list(map(list, each)) for each in (third.before, third.after)] == [[["c", "d"]], []]


def test_more_neighbours_are_the_nearest_last_before_and_first_after():
    third = parsed(ContextNeeds(neighbours=5)).contexts[2]
    assert list(map(list, third.before)) == [["a", "b"], ["c", "d"]]
    first = parsed(ContextNeeds(neighbours=5)).contexts[0]
    assert list(map(list, first.after)) == [["c", "d"], ["e", "f"]]


@pytest.mark.parametrize("packed", [False, True])
def test_abbreviations_come_with_what_they_stand_for_wherever_the_document_says_so(packed):
    pages = [
        "HIF is here .",
        "The Hypoxia inducible factor ( HIF ) , VHL ( von Hippel Lindau ) .",
        "No more .",
        "HIF VHL DNA",
    ]
    text = " ".join(pages)
    doc = Document(text)
    doc.annotate_layer("tokens", [Entity(spans=[Span(*each.span())]) for each in re.finditer(r"\S+", text)])
    doc.annotate_layer(
        "pages", [Entity(spans=[Span(text.index(page), text.index(page) + len(page))]) for page in pages]
    )
    found = parsed(ContextNeeds(long_forms=True), doc)
    if packed:
        found = unpack_document(pack_document(found))
    hif, vhl = ("Hypoxia", "inducible", "factor"), ("von", "Hippel", "Lindau")
    both = {"HIF": hif, "VHL": vhl}
    assert [dict(context.long_forms) for context in found.contexts] == [{"HIF": hif}, both, {}, both]
    assert not any(context.long_forms for context in parsed(ContextNeeds(), doc).contexts)


def test_what_nobody_needs_is_not_there():
    for context in unpack_document(pack_document(parsed(ContextNeeds()))).contexts:
        everything = (context.document_metadata, context.before, context.after, context.images, context.labels)
        assert not any(everything)


def test_images_are_those_of_the_pages_of_a_context():
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    doc = document()
    doc.annotate_images([Image.from_array(np.full((4, 4, 3), shade, np.uint8)) for shade in (10, 20, 30)])
    content = pack_document(parsed(ContextNeeds(images=True), doc))
    for number, context in enumerate(unpack_contexts(content)):
        assert list(context.images) == [number]
        pixels = np.array(pillow.open(io.BytesIO(context.images[number])))
        assert (pixels[..., 0] == 10 * (number + 1)).all()
    assert base64.b64decode(doc.images[0].to_base64()) == parsed(ContextNeeds(images=True), doc).contexts[0].images[0]


class Head:
    def __init__(self, made):
        self.made = made

    def features(self, context):
        return self.made(context)


def examples(made, labels=()):
    encoder = TinyEncoderConfig(size=4).build()
    found = parsed(ContextNeeds(neighbours=1))
    return list(make_examples(encoder, [(0, found)], 2, heads=[Head(made), object()], labels=labels))


def test_a_head_turns_contexts_into_rows_and_is_shown_labels():
    def made(context):
        assert context.labels == ("X", "Y")
        return {"near": np.full((len(context), 2), len(context.before) + len(context.after))}

    found = examples(made, ("X", "Y"))
    assert [each.features[0]["near"].tolist() for each in found] == [[[1, 1]] * 2, [[2, 2]] * 2, [[1, 1]] * 2]
    assert all(each.features[1] == {} for each in found)


@pytest.mark.parametrize("made", [np.zeros(3), np.array(["a", "b"]), np.float32(1)])
def test_features_that_are_no_row_a_unit_are_refused(made):
    from papermage_core.plugin.blame import claim
    from papermage_core.plugin.component import ComponentInfo

    head = Head(lambda context: {"x": made})
    claim(head, ComponentInfo("model_head", "mine", "acme", "1.0", "acme"))
    encoder = TinyEncoderConfig(size=4).build()
    with pytest.raises(PluginError, match=r"'mine' of distribution 'acme' 1\.0 failed in features: .* of 2 units"):
        list(make_examples(encoder, [(0, parsed(ContextNeeds()))], 2, heads=[head]))
