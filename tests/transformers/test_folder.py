"""Loading a checkpoint: the folder alone is read, and whatever is in it ends in an encoder or in one of our errors."""

from __future__ import annotations

import copy
import json
import os
import shutil
from pathlib import Path

import attrs
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from papermage_compact.plugin import CompactConfig
from papermage_core.errors import CheckpointError, PapermageError
from papermage_transformers.plugin import LoraOptions, TransformerEncoderConfig
from tests.warm import run_warm

OPTIONS = {"cpu_precision": "float32", "boxes": False, "tune_allocator": False}
CONFIG = TransformerEncoderConfig(model_name_or_path="gone/away", **OPTIONS)


def save_checkpoint(model, folder, **options):
    """Write what a checkpoint holds of an encoder, the weights beside the folder; return the folder."""
    made = TransformerEncoderConfig(model_name_or_path=str(model), **OPTIONS | options).build()
    (folder / "encoder").mkdir(parents=True)
    made.save(folder / "encoder")
    save_file({f"encoder.{name}": value for name, value in made.state_dict().items()}, folder / "model.safetensors")
    return folder / "encoder"


@pytest.fixture(scope="module")
def checkpoint(model_folder, tmp_path_factory):
    return save_checkpoint(model_folder("bert"), tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def copied(checkpoint, tmp_path):
    """The encoder's folder in a copy of the checkpoint, to be damaged."""
    return shutil.copytree(checkpoint.parent, tmp_path / "checkpoint") / "encoder"


def built(folder):
    """The encoder and no message, or none and what our error says."""
    try:
        return CONFIG.build(folder), ""
    except PapermageError as error:
        return None, str(error)


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_is_saved_is_all_that_is_needed_and_says_nothing_of_where_it_came_from(checkpoint, model_folder):
    assert {path.name for path in checkpoint.iterdir()} == {"config.json", "tokenizer.json", "tokenizer_config.json"}
    assert all(str(model_folder("bert").parent) not in path.read_text() for path in checkpoint.iterdir())


def test_what_transformers_saves_of_a_tokenizer_is_read_too(model_folder, checkpoint, tmp_path, make_context, texts):
    folder = save_checkpoint(model_folder("bert"), tmp_path / "checkpoint")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model_folder("bert") / name, folder)
    ours, theirs = CONFIG.build(checkpoint), CONFIG.build(folder)
    contexts = [make_context(text) for text in texts]
    windows = [[w.features["ids"].tolist() for ws in e.windows(contexts, stride=4) for w in ws] for e in (ours, theirs)]
    assert windows[0] == windows[1]
    assert attrs.asdict(ours._collator) == attrs.asdict(theirs._collator)


def test_transformers_reads_what_is_saved_of_a_tokenizer(checkpoint, model_folder, texts):
    from transformers import AutoTokenizer

    ours, theirs = AutoTokenizer.from_pretrained(checkpoint), AutoTokenizer.from_pretrained(model_folder("bert"))
    assert [ours(text)["input_ids"] for text in texts] == [theirs(text)["input_ids"] for text in texts]
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert ours.model_max_length == theirs.model_max_length


# Nothing but the folder

TRACED = """
import json, os, pickle, sys
from pathlib import Path
import numpy as np, torch
import papermage_compact.encoder, papermage_transformers.build
from papermage_compact.plugin import CompactConfig
from papermage_core.plugin import Context
from papermage_transformers.plugin import TransformerEncoderConfig

folder, name, options = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
code = Path(papermage_transformers.build.__file__).parents[2]
python = [os.path.realpath(place) for place in (sys.prefix, sys.base_prefix, *sys.path, code) if place]
python += ["/proc", "/sys", "/dev/null"]
ours = [os.path.realpath(folder.parent)]
opened, reached = [], []

def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        if not any(path == place or path.startswith(place + os.sep) for place in [*python, *ours]):
            opened.append(path)
    if event.startswith(("socket.", "subprocess.", "os.exec", "os.system", "os.posix_spawn")):
        reached.append([event, str(arguments)])

class Terminal:
    def __getattr__(self, name):
        raise SystemExit(f"stdin.{name} was used")

sys.stdin = Terminal()
sys.addaudithook(watch)
config = {"hf": TransformerEncoderConfig, "compact": CompactConfig}[name](**options)
try:
    encoder = config.build(folder)
    config.needs
    context = Context(words=["a", "b"], space_before=np.ones(2, bool))
    encoder(encoder.collate(encoder.windows([context], stride=1)[0]))
    encoder.save(folder)
    outcome = "built"
except Exception as error:
    outcome = type(error).__name__
print(json.dumps([outcome, opened, reached]))
"""


def traced(folder, name, options):
    done = run_warm(TRACED, str(folder), name, json.dumps(options), given="yes\n" * 100)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_loading_opens_nothing_outside_the_folder_and_no_connection(copied, model_folder, tmp_path):
    other = model_folder("roberta")
    elsewhere = {"name_or_path": str(other), "_name_or_path": str(other), "base_model_name_or_path": str(other)}
    edit(
        copied / "config.json", **elsewhere, tokenizer_class="RobertaTokenizer", configuration_files=["../config.json"]
    )
    files = {
        f"{kind}_file": str(other / "tokenizer.json")
        for kind in ("tokenizer", "vocab", "merges", "special_tokens_map", "added_tokens")
    }
    edit(copied / "tokenizer_config.json", **elsewhere, **files, tokenizer_class="RobertaTokenizer")
    (copied / "adapter_config.json").write_text(json.dumps(elsewhere))
    (copied / "special_tokens_map.json").write_text(json.dumps({"cls_token": str(other)}))
    options = OPTIONS | {"model_name_or_path": str(other), "revision": "main"}
    assert traced(copied, "hf", options) == ["built", [], []]
    assert traced(copied, "hf", options | {"model_name_or_path": "bert-base-uncased"}) == ["built", [], []]


def test_an_option_that_is_left_open_is_not_looked_up(copied):
    for name in ("bert-base-uncased", str(copied)):
        assert traced(copied, "hf", {"model_name_or_path": name, "boxes": None}) == ["CheckpointError", [], []]


def test_code_is_not_run_nor_asked_about(copied):
    (copied / "code.py").write_text("raise SystemExit('run')")
    code = {"AutoConfig": "code.Config", "AutoModel": "code.Model", "AutoTokenizer": ["code.T", "code.T"]}
    options = OPTIONS | {"model_name_or_path": "gone/away"}
    edit(copied / "tokenizer_config.json", auto_map=code)
    assert traced(copied, "hf", options) == ["CheckpointError", [], []]
    edit(copied / "tokenizer_config.json", auto_map=None)
    for kind in ("bert", "surprise", "../code", 3, None, ["bert"]):
        edit(copied / "config.json", auto_map=code, model_type=kind)
        assert traced(copied, "hf", options) == ["CheckpointError", [], []]


@pytest.mark.parametrize(
    "changes",
    [
        {"auto_map": {"AutoModel": "somebody/model--code.Model"}},
        {"attn_implementation": "somebody/kernel"},
        {"_attn_implementation": "kernels-community/flash-attn"},
        {"_attn_implementation_internal": "somebody/kernel@v1:layer"},
        {"_attn_implementation": {"": "somebody/kernel"}},
        {"experts_implementation": "somebody/kernel"},
        {"text_config": {"_attn_implementation": "somebody/kernel"}},
        {"vision_config": [{"auto_map": {"AutoModel": "code.Model"}}]},
        {"backbone": "hf-hub:somebody/model", "use_pretrained_backbone": True},
        {"model_type": "timm_wrapper", "architecture": "hf-hub:somebody/model", "timm_backbone": True},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
    ],
)
def test_what_may_bring_code_or_models_of_others_is_refused(changes, copied):
    edit(copied / "config.json", **changes)
    with pytest.raises(CheckpointError, match=r"config\.json (names|has|is of) "):
        CONFIG.build(copied)


@pytest.mark.parametrize("value", ["eager", "sdpa", None])
def test_attention_of_torch_and_transformers_may_be_named(value, copied):
    edit(copied / "config.json", attn_implementation=value)
    assert CONFIG.build(copied).output_size == 24


def test_compact_opens_nothing_outside_the_folder_either(tmp_path):
    words = [f"word{i} " + " ".join(str((i * j) % 7) for j in range(1, 5)) for i in range(40)]
    (tmp_path / "vectors.txt").write_text("\n".join(words))
    options = {"width": 16, "rows": 64, "layout": "off", "vectors": str(tmp_path / "vectors.txt"), "vectors_size": 4}
    (tmp_path / "checkpoint" / "encoder").mkdir(parents=True)
    CompactConfig(**options).build().save(tmp_path / "checkpoint" / "encoder")
    for source in (options["vectors"], "/etc/hostname", "somebody/model"):
        found = traced(tmp_path / "checkpoint" / "encoder", "compact", options | {"vectors": source})
        assert found == ["built", [], []]
    (tmp_path / "checkpoint" / "encoder" / "vectors.safetensors").unlink()
    assert traced(tmp_path / "checkpoint" / "encoder", "compact", options) == ["CheckpointError", [], []]


# Damaged files


def fifo(path):
    path.unlink()
    os.mkfifo(path)


def folder_in_place(path):
    path.unlink()
    path.mkdir()


def device(path):
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda path: os.truncate(path, path.stat().st_size // 2),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\x00\xff" * 100),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text("null"),
        lambda path: path.write_text('{"a":' * 50_000),
        lambda path: os.truncate(path, 1 << 40),
        fifo,
        folder_in_place,
        device,
    ],
    ids=["missing", "cut", "empty", "binary", "list", "null", "deep", "sparse", "fifo", "folder", "device"],
)
def test_a_damaged_file_is_named(name, damage, copied):
    damage(copied / name)
    with pytest.raises(CheckpointError) as caught:
        CONFIG.build(copied)
    assert str(copied / name) in str(caught.value)
    assert "\n" not in str(caught.value)


HUGE = [
    *({"hidden_size": n} for n in (10**9, 10**6, 2**63, 10**400, 4096, 1e9, 1e300)),
    *({"num_hidden_layers": n} for n in (10**7, 10**9, 5000)),
    *({"vocab_size": n} for n in (10**9, 10**7, 16_000_000)),
    *({"intermediate_size": n} for n in (10**9, 10**7)),
    *({"max_position_embeddings": n} for n in (10**9, 10**7)),
    *({"hidden_size": n} for n in (-24, 0, True, "24", None, [24], {"a": 1}, 24.5, float("inf"), float("nan"))),
    *({"num_hidden_layers": n} for n in (True, "3", None, [3])),
    *({"num_attention_heads": n} for n in (0, -4, 5, 10**7, "4")),
    *({"hidden_act": value} for value in ("surprise", 3, None)),
    {"hidden_dropout_prob": 7},
    {"attention_probs_dropout_prob": "much"},
    {"model_type": "t5"},
    {"model_type": "gpt_neox", "max_position_embeddings": 10**7},
    {"num_labels": 10**7, "id2label": None, "hidden_size": -1},
]


@pytest.mark.parametrize("changes", HUGE, ids=lambda changes: str(changes)[:60])
def test_numbers_that_are_no_models_are_refused(changes, copied):
    edit(copied / "config.json", **changes)
    made, refusal = built(copied)
    if made is None:
        assert str(copied / "config.json") in refusal
    else:  # a small model, which the weights do not fit
        assert sum(p.numel() for p in made.parameters()) < 1_000_000


MEMORY = """
import json, resource, sys
from pathlib import Path
from papermage_compact.plugin import CompactConfig
from papermage_core.errors import CheckpointError
from papermage_transformers.plugin import TransformerEncoderConfig
config = TransformerEncoderConfig(model_name_or_path="gone", boxes=False)
folder = Path(sys.argv[1])
original = json.loads((folder / "config.json").read_text())
config.build(folder)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for changes in json.loads(sys.argv[2]):
    (folder / "config.json").write_text(json.dumps(original | changes))
    try:
        config.build(folder)
    except CheckpointError:
        pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_huge_numbers_take_no_memory(copied):
    done = run_warm(MEMORY, str(copied), json.dumps(HUGE))
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < 400  # MB


JUNK = st.sampled_from(
    [None, True, False, -1, 0, 1, 2, 7, 10**4, 10**7, 10**12, -0.5, 1e300, "", "x", [], {}, [1, "a"], {"a": {"b": []}}]
)


def places(node, path=()):
    """Every place in a JSON value."""
    yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def replaced(node, path, value):
    """A JSON value with another value in one place."""
    if not path:
        return value
    changed = copy.copy(node)
    changed[path[0]] = replaced(node[path[0]], path[1:], value)
    return changed


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_in_a_file_the_encoder_works_or_an_error_of_ours_is_raised(
    name, data, copied, checkpoint, make_context
):
    content = json.loads((checkpoint / name).read_text())
    path = data.draw(st.sampled_from(sorted(places(content), key=lambda p: (len(p), str(p)))))
    (copied / name).write_text(json.dumps(replaced(content, path, data.draw(JUNK))))
    made, refusal = built(copied)
    if made is None:
        assert str(copied) in refusal
        return
    windows = [w for ws in made.windows([make_context("inherited breast cancer BRCA1 ( 12 ) ∆")], stride=2) for w in ws]
    with torch.inference_mode():
        assert made.eval()(made.collate(windows)).shape[-1] == made.output_size


def test_a_tokenizer_of_another_model_is_refused(copied, model_folder):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model_folder("roberta") / name, copied)
    with pytest.raises(
        CheckpointError, match=r"tokenizer\.json has wordpieces up to \d+, and config\.json a table of 1"
    ):
        CONFIG.build(copied)


@pytest.mark.parametrize("place", ["vocab", "added token"])
def test_a_wordpiece_as_long_as_a_book_is_refused_before_it_is_built(copied, place):
    """The library dies of one of a million characters, which no exception tells."""
    path = copied / "tokenizer.json"
    found = json.loads(path.read_text())
    if place == "vocab":
        found["model"] = {"type": "Unigram", "unk_id": 0, "vocab": [["[UNK]", 0.0], ["x" * 1_000_000, -1.0]]}
    else:
        found["added_tokens"][0]["content"] = "x" * 1_000_000
    path.write_text(json.dumps(found))
    encoder, message = built(copied)
    assert encoder is None
    assert "a wordpiece of 1,000,000 characters" in message


def test_damaged_weights_beside_the_folder_are_named(copied):
    weights = copied.parent / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be used"):
        CONFIG.build(copied)


def test_a_rank_that_no_model_has_is_refused():
    with pytest.raises(ValueError):
        LoraOptions(rank=10**9)
