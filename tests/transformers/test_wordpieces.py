"""Words → wordpieces, against the tokenizers themselves."""

from __future__ import annotations

import pickle
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from papermage_transformers.wordpieces import WordpieceTable

KINDS = ["wordpiece", "byte-level", "metaspace"]
FILLER = 1


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request, tokenizers):
    return tokenizers[request.param]()


@pytest.fixture(scope="module")
def table(tokenizer):
    return WordpieceTable(tokenizer, FILLER)


def encode(table, words, space_before=None):
    spaced = np.ones(len(words), np.bool_) if space_before is None else np.array(space_before, np.bool_)
    ids, counts = table.encode(words, spaced)
    return [part.tolist() for part in np.split(ids, np.cumsum(counts)[:-1])] if words else []


@settings(deadline=None)
@given(st.lists(st.text(max_size=12), max_size=12))
def test_words_become_what_the_tokenizer_makes_of_split_words(table, tokenizer, words):
    split = tokenizer.__class__.from_str(tokenizer.to_str())
    split.encode_special_tokens = True
    if table.marks_spaces and "ByteLevel" in str(split.pre_tokenizer):
        split.pre_tokenizer.add_prefix_space = True
    encoding = split.encode(words, is_pretokenized=True, add_special_tokens=False)
    expected = [[i for i, w in zip(encoding.ids, encoding.word_ids, strict=True) if w == k] for k in range(len(words))]
    # An add_prefix_space tokenizer leaves a word that begins with a space as it is; we always write one.
    comparable = [k for k, w in enumerate(words) if not w[:1].isspace() and w]
    got = encode(table, words)
    assert [got[k] for k in comparable] == [expected[k] or [FILLER] for k in comparable]


def test_words_without_a_wordpiece_get_the_filler(tokenizers):
    table = WordpieceTable(tokenizers["wordpiece"](), FILLER)
    assert encode(table, ["", "\u00ad", "\u200b", "\x00", "cancer", ""])[:4] == [[FILLER]] * 4
    ids, counts = table.encode(["", "cancer", ""], np.ones(3, np.bool_))
    assert ids[0] == ids[-1] == FILLER
    assert counts[0] == counts[2] == 1


def test_touching_words_are_encoded_as_in_running_text(tokenizers):
    tokenizer = tokenizers["byte-level"]()
    words, spaced = ["(", "BRCA1", ")", "is", "cancer", ";"], [True, False, False, True, True, False]
    running = tokenizer.encode(" (BRCA1) is cancer;", add_special_tokens=False).ids
    assert [*chain(*encode(WordpieceTable(tokenizer, FILLER), words, spaced))] == running


def test_only_words_after_a_space_are_marked_by_a_metaspace_tokenizer(tokenizers):
    tokenizer = tokenizers["metaspace"]()
    spaced, touching = (
        "".join(map(tokenizer.id_to_token, encode(WordpieceTable(tokenizer, FILLER), ["cancer"], [space])[0]))
        for space in (True, False)
    )
    assert spaced == "▁" + touching == "▁cancer"


def test_a_tokenizer_that_makes_marks_of_spaces_marks_words_after_one():
    words, spaced = ["(", "BRCA1", ")", "is", "a", "gene", ";"], [True, False, False, True, True, True, False]
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))  # as Gemma's
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    trainer = trainers.BpeTrainer(vocab_size=60, special_tokens=["[PAD]", "[UNK]"])
    tokenizer.train_from_iterator([" is", " a", " gene", "BRCA1", " (", ")", ";"], trainer)
    running = tokenizer.encode(" (BRCA1) is a gene;", add_special_tokens=False).ids
    assert tokenizer.token_to_id("▁gene") in running
    assert [*chain(*encode(WordpieceTable(tokenizer, FILLER), words, spaced))] == running


def test_a_prefix_space_in_the_tokenizers_own_settings_changes_nothing(tokenizers):
    plain, prefixing = tokenizers["byte-level"](), tokenizers["byte-level"]()
    prefixing.pre_tokenizer.add_prefix_space = True
    words, spaced = ["see", "[", "12", "]"], [True, True, False, False]
    assert encode(WordpieceTable(plain, FILLER), words, spaced) == encode(
        WordpieceTable(prefixing, FILLER), words, spaced
    )


def test_the_text_of_a_document_is_never_a_special_token(table, tokenizer):
    special = {tokenizer.token_to_id(name) for name in ("[PAD]", "[CLS]", "[SEP]", "[MASK]")}
    assert not special & set(chain(*encode(table, ["[SEP]", "[MASK]", "[PAD]", "a[CLS]b"])))


def test_settings_that_cut_and_pad_are_ignored(tokenizers):
    tokenizer = tokenizers["wordpiece"]()
    plain = encode(WordpieceTable(tokenizer, FILLER), ["mutations", "inherited"])
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=50)
    assert encode(WordpieceTable(tokenizer, FILLER), ["mutations", "inherited"]) == plain


def test_a_full_table_starts_anew_and_answers_the_same(tokenizers, monkeypatch):
    monkeypatch.setattr("papermage_transformers.wordpieces._MOST_WORDS", 3)
    tokenizer = tokenizers["wordpiece"]()
    table = WordpieceTable(tokenizer, FILLER)
    words = [f"word{i} cancer{i % 3}" for i in range(20)]
    fresh = [encode(WordpieceTable(tokenizer, FILLER), [w])[0] for w in words]
    assert [encode(table, [w])[0] for w in words] == fresh
    assert sum(map(len, table._rows)) <= 4


def test_a_pickled_table_answers_the_same(table):
    words = ["Germline", "mutations", "", "BRCA1"]
    assert encode(pickle.loads(pickle.dumps(table)), words) == encode(table, words)
