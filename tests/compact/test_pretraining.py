"""Learning from text alone: what is hidden stays hidden, what was learnt is there again, and runs go on."""

from __future__ import annotations

import json

import attrs
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from papermage_compact.plugin import CompactConfig
from papermage_compact.pretraining import Cloze
from papermage_core.cli import pretrain, train
from papermage_core.errors import CheckpointError, ConfigError, DataError, StoppedError
from papermage_core.plugin import Context
from papermage_core.training import EncoderPretrainConfig, EncoderPretrainer
from papermage_transformers.plugin import TransformerEncoderConfig

OPTIONS = {"encoder.width": 16, "encoder.rows": 64, "num_workers": 0}
SETTLED = CompactConfig(width=16, rows=64, layout="off", lines="off", phrases="off", metadata=())


def text(*words: str) -> Context:
    return Context(words=words, space_before=np.ones(len(words), bool))


@pytest.fixture
def corpus(tmp_path):
    """Twelve documents in which each number is followed by its unit."""
    path = tmp_path / "text.jsonl"
    with path.open("w") as file:
        for i in range(12):
            words = [word for j in range(6) for word in ("dose", str(10 * i + j), "mg", "of", f"drug{j}")]
            starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])]).tolist()
            spans = [{"spans": [[start, start + len(word)]]} for start, word in zip(starts, words, strict=True)]
            symbols = " ".join(words)
            drugs = [spans[k] for k in range(4, 30, 5)]
            layers = {"tokens": spans, "pages": [{"spans": [[0, len(symbols)]]}], "Drug": drugs}
            file.write(json.dumps({"symbols": symbols, "entities": layers, "metadata": {}}) + "\n")
    return path


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path / "cache"))


def config(corpus, folder, **options):
    return EncoderPretrainConfig(data_path=corpus, default_root_dir=folder, **{**OPTIONS, **options})


def weights(folder):
    return load_file(folder / "pretrained" / "pretrained.safetensors")


def test_nothing_tells_what_a_hidden_word_is():
    torch.manual_seed(0)
    encoder = SETTLED.build().eval()
    base = [f"w{i}" for i in range(9)]
    seen = []
    for word in ("alpha", "Beta9"):
        features = encoder.collate(encoder.windows([text(*base[:4], word, *base[4:])], stride=0)[0])
        hidden = torch.zeros(10, dtype=torch.bool)
        hidden[4] = True
        with torch.no_grad():
            seen.append(encoder.read({**features, "hidden": hidden}))
    torch.testing.assert_close(seen[0], seen[1])


def test_the_other_places_of_a_hidden_word_do_not_give_it_away(monkeypatch):
    torch.manual_seed(0)
    encoder = SETTLED.build().eval()
    task = Cloze(encoder, SETTLED)
    given = {}
    monkeypatch.setattr(encoder, "read", lambda features: given.update(features) or torch.zeros(5, 16))
    task.loss(encoder.collate(encoder.windows([text("a", "b", "a", "a", "b")], stride=0)[0]))
    hidden = given["hidden"].tolist()
    words = "abaab"
    for i, same in enumerate(given["same"].tolist()):
        alone = 1 if hidden[i] else sum(words[j] == words[i] and not hidden[j] for j in range(5))
        assert given["same_count"][same] == alone


def test_hidden_words_come_to_be_known_from_those_around(corpus, tmp_path):
    EncoderPretrainer(config(corpus, tmp_path / "run", max_epochs=20, learning_rate=0.02)).pretrain()
    losses = [float(line.split(",")[1]) for line in (tmp_path / "run" / "metrics.csv").read_text().split()[1:]]
    assert len(losses) == 20
    assert losses[-1] < 0.8 * losses[0]


def test_what_was_learnt_is_where_training_begins(corpus, tmp_path, caplog):
    result = EncoderPretrainer(config(corpus, tmp_path / "run", max_epochs=1)).pretrain()
    kept = weights(tmp_path / "run")
    for folder in (result.pretrained, result.folder):
        encoder = attrs.evolve(SETTLED, pretrained=folder).build()
        assert all(torch.equal(value, kept[name]) for name, value in encoder.state_dict().items())
    layout = attrs.evolve(SETTLED, pretrained=folder, layout="on").build()  # parts that text alone has not
    assert torch.equal(layout.words.mix.weight, kept["words.mix.weight"])
    code = train.main(
        [
            f"data_path={corpus}",
            "label_field=Drug",
            "max_epochs=1",
            f"default_root_dir={tmp_path / 'trained'}",
            "encoder.width=16",
            "encoder.rows=64",
            f"encoder.pretrained={result.pretrained}",
            "-q",
        ]
    )
    assert code == 0


def test_a_trained_model_needs_the_folder_no_more(tmp_path):
    SETTLED.build()
    gone = attrs.evolve(SETTLED, pretrained=tmp_path / "gone")
    with pytest.raises(ConfigError, match="it is not there; expected the folder that papermage-pretrain made"):
        gone.build()
    assert gone.build(tmp_path) is not None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"width": 32}, r"encoder\.width=16 \(here 32\)"),
        ({"rows": 65}, r"encoder\.rows=64 \(here 65\)"),
        ({"depth": 2}, r"encoder\.depth=1 \(here 2\)"),
        ({"phrases": "on"}, r"encoder\.phrases=off \(here on\)"),
    ],
)
def test_options_of_another_shape_are_named(corpus, tmp_path, options, expected):
    result = EncoderPretrainer(config(corpus, tmp_path / "run", max_epochs=1)).pretrain()
    with pytest.raises(ConfigError, match=expected):
        attrs.evolve(SETTLED, pretrained=result.pretrained, **options).build()


def vectors(path, size, seed=0):
    """A text file of vectors for the corpus' words."""
    values = np.random.default_rng(seed).normal(size=(5, size))
    words = ("dose", "mg", "of", "drug1", "drug2")
    lines = [f"{word} {' '.join(map(str, row))}\n" for word, row in zip(words, values, strict=True)]
    path.write_text("".join(lines))
    return str(path)


def test_word_vectors_are_given_to_an_encoder_that_learnt_without(corpus, tmp_path):
    result = EncoderPretrainer(config(corpus, tmp_path / "run", max_epochs=1)).pretrain()
    kept = weights(tmp_path / "run")
    with_vectors = attrs.evolve(SETTLED, pretrained=result.pretrained, vectors=vectors(tmp_path / "v.txt", 4))
    for options in ({}, {"tune_vectors": True}):
        encoder = attrs.evolve(with_vectors, **options).build().eval()
        mix = encoder.words.mix.weight
        size = kept["words.mix.weight"].shape[1]
        assert mix.shape[1] == size + 4
        assert torch.equal(mix[:, :size], kept["words.mix.weight"])
        without = attrs.evolve(SETTLED, pretrained=result.pretrained).build().eval()
        contexts = [text("dose", "9", "mg", "of", "drug1")]
        with torch.no_grad():
            mix[:, size:] = 0  # of what the vectors add, nothing: what is left is what was learnt
            seen = [e.read(e.collate(e.windows(contexts, stride=0)[0])) for e in (encoder, without)]
        torch.testing.assert_close(seen[0], seen[1])


def test_weights_of_a_wrong_size_are_not_completed(corpus, tmp_path):
    result = EncoderPretrainer(config(corpus, tmp_path / "run", max_epochs=1)).pretrain()
    path = result.pretrained / "pretrained.safetensors"
    cut = weights(tmp_path / "run")
    cut["words.mix.weight"] = cut["words.mix.weight"][:, :-4].contiguous()
    save_file(cut, path)
    for options in ({}, {"vectors": vectors(tmp_path / "v.txt", 3)}):
        with pytest.raises(
            ConfigError,
            match=r"do not fit this version of the encoder: words.mix.weight has the shape \(\d+, \d+\), here",
        ):
            attrs.evolve(SETTLED, pretrained=result.pretrained, **options).build()


def test_weights_that_are_no_numbers_are_told_before_training(corpus, tmp_path):
    result = EncoderPretrainer(config(corpus, tmp_path / "run", max_epochs=1)).pretrain()
    for value in (float("nan"), float("inf")):
        broken = weights(tmp_path / "run")
        broken["words.mix.weight"][0, 0] = value
        save_file(broken, result.pretrained / "pretrained.safetensors")
        with pytest.raises(ConfigError, match=r"weights are no numbers, such as words.mix.weight; pretrain it anew"):
            attrs.evolve(SETTLED, pretrained=result.pretrained).build()


def test_what_learnt_with_word_vectors_wants_the_same(corpus, tmp_path):
    first, second = vectors(tmp_path / "first.txt", 4), vectors(tmp_path / "second.txt", 4, seed=1)
    made = EncoderPretrainer(config(corpus, tmp_path / "run", max_epochs=1, **{"encoder.vectors": first})).pretrain()
    kept = weights(tmp_path / "run")
    same = attrs.evolve(SETTLED, pretrained=made.pretrained, vectors=first).build()
    assert torch.equal(same.words.mix.weight, kept["words.mix.weight"])
    for options, expected in (
        ({}, "here are none"),
        ({"vectors": second}, "here are others"),
        ({"vectors": first, "vectors_size": 3}, "here are others"),
    ):
        with pytest.raises(
            ConfigError, match=rf"made with word vectors, and {expected}; expected the same encoder\.vec"
        ):
            attrs.evolve(SETTLED, pretrained=made.pretrained, **options).build()


@pytest.mark.parametrize("name", ["pretrained.json", "pretrained.safetensors"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 40, b"[1]"])
def test_a_damaged_folder_is_named(corpus, tmp_path, name, content):
    result = EncoderPretrainer(config(corpus, tmp_path / "run", max_epochs=1)).pretrain()
    (result.pretrained / name).write_bytes(content)
    with pytest.raises(ConfigError, match=r"encoder\.pretrained"):
        attrs.evolve(SETTLED, pretrained=result.pretrained).build()


@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_a_run_that_is_stopped_goes_on_to_the_same_weights(corpus, tmp_path, monkeypatch, stop_after):
    options = {"max_epochs": 3, "batch_tokens": 120, "checkpoint_every": None}
    EncoderPretrainer(config(corpus, tmp_path / "whole", **options)).pretrain()
    stopped = EncoderPretrainer(config(corpus, tmp_path / "run", **options))
    count = 0
    loss = Cloze.loss

    def counted(task, features):
        nonlocal count
        count += 1
        if count == stop_after:
            assert stopped.stop("SIGTERM")
        return loss(task, features)

    monkeypatch.setattr(Cloze, "loss", counted)
    with pytest.raises(StoppedError, match="SIGTERM"):
        stopped.pretrain()
    monkeypatch.undo()
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(ConfigError, match="resume=auto"):
        EncoderPretrainer(config(corpus, tmp_path / "run", **options)).pretrain()
    torch.manual_seed(99)
    EncoderPretrainer(config(corpus, tmp_path / "run", resume="auto", **options)).pretrain()
    whole = weights(tmp_path / "whole")
    assert all(torch.equal(value, whole[name]) for name, value in weights(tmp_path / "run").items())


def test_a_run_that_is_done_stays_what_it_is(corpus, tmp_path):
    first = EncoderPretrainer(config(corpus, tmp_path / "run", max_epochs=1)).pretrain()
    again = EncoderPretrainer(config(corpus, tmp_path / "run", max_epochs=1, resume="auto")).pretrain()
    assert again == first
    with pytest.raises(ConfigError, match=r"max_epochs=2: the run in .* was begun with 1"):
        EncoderPretrainer(config(corpus, tmp_path / "run", max_epochs=2, resume="auto")).pretrain()
    with pytest.raises(ConfigError, match="there is no"):
        EncoderPretrainer(config(corpus, tmp_path / "other", max_epochs=1, resume=True)).pretrain()
    EncoderPretrainer(config(corpus, tmp_path / "run", max_epochs=1, overwrite=True, seed=3)).pretrain()
    last = tmp_path / "run" / "last.ckpt"
    middle = last.stat().st_size // 2
    flipped = bytearray(last.read_bytes())
    flipped[middle] ^= 1
    for content, told in ((b"no state", "is cut short"), (flipped, "is damaged: its content")):
        last.write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"last\.ckpt {told}.*overwrite=true"):
            EncoderPretrainer(config(corpus, tmp_path / "run", max_epochs=1, seed=3, resume="auto")).pretrain()


def test_other_documents_are_no_continuation(corpus, tmp_path):
    EncoderPretrainer(config(corpus, tmp_path / "run", max_epochs=1)).pretrain()
    corpus.write_text("\n".join(corpus.read_text().splitlines()[:5]) + "\n")
    with pytest.raises(ConfigError, match="not those that the run"):
        EncoderPretrainer(config(corpus, tmp_path / "run", max_epochs=1, resume="auto")).pretrain()


def test_documents_without_units_are_an_error(corpus, tmp_path):
    with pytest.raises(DataError, match="words"):
        EncoderPretrainer(config(corpus, tmp_path / "run", entity_name="words")).pretrain()


def test_the_command(corpus, tmp_path, capsys, monkeypatch):
    words = [f"data_path={corpus}", f"default_root_dir={tmp_path / 'run'}", "max_epochs=1", "encoder.width=16"]
    assert pretrain.main(["-q", *words, "encoder.rows=64"]) == 0
    assert f"encoder.pretrained={tmp_path / 'run' / 'pretrained'}" in capsys.readouterr().out
    assert pretrain.main(["-q", *words, "encoder.rows=64"]) == 2
    assert "resume=auto" in capsys.readouterr().err
    assert pretrain.main([]) == 2
    assert pretrain.main(["-q", "data_path=x", "encoder.widht=16", "max_epoch=1"]) == 2
    assert "Did you mean 'max_epochs'?" in capsys.readouterr().err
    assert pretrain.main(["-q", f"data_path={corpus}", "encoder.widht=16"]) == 2
    assert "encoder.widht (command line): 'compact' has no such option" in capsys.readouterr().err
    assert pretrain.main(["-q", "data_path=nowhere.jsonl", f"default_root_dir={tmp_path / 'none'}"]) == 3
    assert not (tmp_path / "none").exists()
    assert pretrain.main(["-q", f"data_path={corpus}", "encoder=hf", "encoder.model_name_or_path=/nowhere"]) == 2
    assert "cannot be pretrained" in capsys.readouterr().err


def test_an_encoder_that_is_refused_does_not_tune_the_process(monkeypatch):
    tuned = []
    monkeypatch.setattr(TransformerEncoderConfig, "tune_process", tuned.append)
    assert pretrain.main(["-q", "data_path=x", "encoder=hf", "encoder.model_name_or_path=/nowhere"]) == 2
    assert tuned == []


def test_an_encoder_that_learns_nothing_from_text_says_so():
    from papermage_core.testing import TinyEncoderConfig

    with pytest.raises(ConfigError, match="cannot be pretrained"):
        TinyEncoderConfig().pretraining(None)


@pytest.mark.parametrize(("given", "steps"), [({}, 6), ({"batch_tokens": 30}, 12), ({"batch_tokens": 360}, 1)])
def test_batch_tokens_take_the_place_of_the_encoder_s_own_limit(corpus, tmp_path, monkeypatch, given, steps):
    monkeypatch.setattr(CompactConfig, "default_batch_cost", 60)  # two of the twelve documents of thirty units
    EncoderPretrainer(config(corpus, tmp_path / "run", max_epochs=1, **given)).pretrain()
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert {int(each["step"]) for each in state["optimizer"]["state"].values()} == {steps}
