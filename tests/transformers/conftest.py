"""Tiny random models and tokenizers of every family, made on the spot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModel, AutoModelForTextEncoding, PreTrainedTokenizerFast

from papermage_core.plugin import Context
from papermage_transformers.encoder import TransformerEncoder
from papermage_transformers.plugin import TransformerEncoderConfig

TEXTS = [
    "Germline mutations in BRCA1 are responsible for most cases of inherited breast and ovarian cancer .",
    "We show that BRCA1 encodes a 190 - kD protein ( with homology to granins ) ; see Table 2 and Figure 3 [12] .",
    "Naïve façade , Ångström-scale measurements : µ = 3.5 ± 0.1 nm .",
]
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def wordpiece_tokenizer() -> Tokenizer:
    """A tokenizer like BERT's: lower-cased words cut into pieces."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=150, special_tokens=SPECIALS))
    return _with_specials(tokenizer)


def byte_level_tokenizer() -> Tokenizer:
    """A tokenizer like RoBERTa's: bytes, the space belongs to the word after it."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=SPECIALS, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return _with_specials(tokenizer)


def metaspace_tokenizer() -> Tokenizer:
    """A tokenizer like T5's: a unigram model over words marked with ▁, and only an end mark."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=SPECIALS, unk_token="[UNK]")
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A [SEP]", special_tokens=[("[SEP]", tokenizer.token_to_id("[SEP]"))]
    )
    return tokenizer


def _with_specials(tokenizer: Tokenizer) -> Tokenizer:
    specials = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=specials)
    return tokenizer


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "wordpiece": wordpiece_tokenizer,
    "byte-level": byte_level_tokenizer,
    "metaspace": metaspace_tokenizer,
}

_SMALL = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 32}
_BERT = _SMALL | {"max_position_embeddings": 64}
_BOXES = _BERT | {"max_2d_position_embeddings": 1024}


@attrs.frozen
class Family:
    """A kind of model, with the options that make it tiny."""

    config: str
    tokenizer: str
    options: dict[str, Any]
    boxes: bool = False


FAMILIES = {
    "bert": Family("BertConfig", "wordpiece", _BERT),
    "electra": Family("ElectraConfig", "wordpiece", _BERT | {"embedding_size": 16}),
    "distilbert": Family(
        "DistilBertConfig",
        "wordpiece",
        {"dim": 24, "n_layers": 3, "n_heads": 4, "hidden_dim": 32, "max_position_embeddings": 64},
    ),
    "roberta": Family("RobertaConfig", "byte-level", _BERT),
    "mpnet": Family("MPNetConfig", "wordpiece", _BERT),
    "deberta": Family(
        "DebertaConfig", "byte-level", _BERT | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
    ),
    "deberta-v2": Family(
        "DebertaV2Config",
        "metaspace",
        _BERT
        | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 16, "share_att_key": True},
    ),
    "modernbert": Family("ModernBertConfig", "byte-level", _BERT | {"local_attention": 8}),
    "t5": Family("T5Config", "metaspace", {"d_model": 24, "d_ff": 32, "d_kv": 6, "num_layers": 3, "num_heads": 4}),
    "umt5": Family("UMT5Config", "metaspace", {"d_model": 24, "d_ff": 32, "d_kv": 6, "num_layers": 3, "num_heads": 4}),
    "longformer": Family("LongformerConfig", "byte-level", _BERT | {"attention_window": 8}),
    "convbert": Family("ConvBertConfig", "wordpiece", _BERT | {"embedding_size": 16}),
    "fnet": Family("FNetConfig", "metaspace", _BERT),
    "layoutlm": Family("LayoutLMConfig", "wordpiece", _BOXES, boxes=True),
    "layoutlmv3": Family(
        "LayoutLMv3Config", "byte-level", _BOXES | {"coordinate_size": 4, "shape_size": 4, "input_size": 32}, boxes=True
    ),
    "lilt": Family("LiltConfig", "byte-level", _BOXES | {"channel_shrink_ratio": 2}, boxes=True),
    "bros": Family("BrosConfig", "wordpiece", _BERT | {"hidden_size": 64}, boxes=True),
}


TEXT_ENCODERS = {"t5", "umt5"}
"""The families that decode too, and have a class for their encoder alone."""


def save_model(name: str, folder: Path) -> Path:
    """Write a tiny random model of a family to ``folder``, as a user has one."""
    family = FAMILIES[name]
    backend = TOKENIZERS[family.tokenizer]()
    ids = {f"{kind}_token_id": backend.token_to_id(f"[{kind.upper()}]") for kind in ("pad", "cls", "sep")}
    ids |= {"bos_token_id": ids["cls_token_id"], "eos_token_id": ids["sep_token_id"]}
    config = getattr(transformers, family.config)(vocab_size=backend.get_vocab_size(), **family.options, **ids)
    torch.manual_seed(5)
    auto = AutoModelForTextEncoding if name in TEXT_ENCODERS else AutoModel
    auto.from_config(config).save_pretrained(folder)
    tokens = {f"{kind}_token": f"[{kind.upper()}]" for kind in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=62, **tokens).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Family → the folder of a tiny random model of it."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = save_model(name, tmp_path_factory.mktemp(name))
        return made[name]

    return folder


@pytest.fixture(scope="session")
def encoder(model_folder: Callable[[str], Path]) -> Callable[..., TransformerEncoder]:
    """(Family, options) → a new encoder in eval mode that computes in float32."""

    def build(name: str, **options: Any) -> TransformerEncoder:
        options = {"cpu_precision": "float32", "tune_allocator": False} | options
        return TransformerEncoderConfig(model_name_or_path=str(model_folder(name)), **options).build().eval()

    return build


def context(text: str | Sequence[str], **fields: Any) -> Context:
    """A context of words, each after a space."""
    words = text.split(" ") if isinstance(text, str) else list(text)
    return Context(words=words, space_before=np.ones(len(words), np.bool_), **fields)


@pytest.fixture(scope="session")
def make_context() -> Callable[..., Context]:
    """(Text or words, fields) → a context of words, each after a space."""
    return context


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Sentences that the tokenizers have seen."""
    return TEXTS


@pytest.fixture(scope="session")
def tokenizers() -> dict[str, Callable[[], Tokenizer]]:
    """Kind → a function that makes a tiny tokenizer of it."""
    return TOKENIZERS


@pytest.fixture(params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def layout_families() -> set[str]:
    """The families whose models take boxes."""
    return {name for name, family in FAMILIES.items() if family.boxes}
