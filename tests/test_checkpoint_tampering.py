"""Checkpoints that somebody changed: each ends in a CheckpointError or PluginError, or is an equal model after all."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import re
import shutil
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from papermage_core import checkpoint
from papermage_core.data.labelling import Labelling
from papermage_core.errors import CheckpointError, PluginError
from papermage_core.model.blueprint import Blueprint, TaskBlueprint
from papermage_core.plugin.manager import Plugins
from tests.warm import run_warm

PLUGINS = Plugins()
COMPONENTS = {"context_encoder": "compact", "label_scheme": "bio", "model_head": "crf"}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with word vectors, so that its encoder has a file of its own."""
    place = tmp_path_factory.mktemp("sound")
    vectors = place / "vectors.txt"
    vectors.write_text("".join(f"word{i} {i % 3} {i % 5} {i % 7}\n" for i in range(20)))
    encoder, scheme, head = (PLUGINS.config_class(kind, name) for kind, name in COMPONENTS.items())
    blueprint = Blueprint(
        encoder=encoder(width=16, rows=200, layout="off", vectors=str(vectors), vectors_size=2),
        scheme=scheme(),
        tasks=(TaskBlueprint(label_field=("A", "B"), labels=("A", "B"), head=head()),),
        labelling=Labelling(label_field=("A", "B")),
        sources={kind: PLUGINS.provenance(kind, name) for kind, name in COMPONENTS.items()},
    )
    calibration = {"crf": {"method": "beta", "a": 1.0, "b": 1.0, "c": 0.0, "fitted_on": 3}}
    checkpoint.save(place / "c", blueprint, blueprint.build_model(), card="# Card", calibration=calibration)
    vectors.unlink()
    return place / "c"


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    """A copy to tamper with."""
    return Path(shutil.copytree(sound, tmp_path / "c"))


def facts_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "papermage.json").read_text(encoding="utf-8"))
    return found


def change_facts(folder: Path, **facts: Any) -> None:
    (folder / "papermage.json").write_text(json.dumps(facts_of(folder) | facts), encoding="utf-8")


def record(folder: Path, *names: str) -> None:
    """Record files as they are now, as whoever tampers with them would."""
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    change_facts(folder, checksums=facts_of(folder)["checksums"] | sums)


def outcome(folder: Path, expected: dict[str, torch.Tensor]) -> str:
    try:
        state = checkpoint.load(folder, plugins=PLUGINS).model.state_dict()
    except (CheckpointError, PluginError) as error:
        return str(error)
    equal = state.keys() == expected.keys() and all(state[name].equal(expected[name]) for name in state)
    return "equal" if equal else "different"


# Every field of papermage.json × values that do not belong there


class Raw(str):
    """JSON as it stands, which may be none."""


def deep(levels: int) -> Raw:
    return Raw("[" * levels + "]" * levels)


BAD: list[Any] = [
    None, True, 0, -1, 3, 0.5, 10**9, 10**18, 10**30, Raw("9" * 5000), Raw("NaN"), Raw("1e400"), "", "x", "../..",
    "/etc/passwd", "/dev/zero", "\x1b[2J\u202e", "\ud800", "x" * 1_000_000, [], {}, [[]], {"a": 1}, deep(200),
    deep(100_000), ["A"], ["A", "A"], [""], [1], ["A", "B", "C"], [f"l{i}" for i in range(100_000)],
    {f"k{i}": i for i in range(20_000)},
]  # fmt: skip


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield above
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*above, key))


def changed(facts: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    result = copy.deepcopy(facts)
    inner = result
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return result


def as_json(value: Any) -> str:
    """Return JSON, with what is `Raw` as it stands."""
    raw: list[str] = []

    def marked(inner: Any) -> Any:
        if isinstance(inner, Raw):
            raw.append(inner)
            return f"raw {len(raw) - 1}"
        if isinstance(inner, dict):
            return {key: marked(each) for key, each in inner.items()}
        return [marked(each) for each in inner] if isinstance(inner, list) else inner

    return re.sub(r'"raw (\d+)"', lambda found: raw[int(found[1])], json.dumps(marked(value)))


def fuzz_facts(folder: Path) -> dict[str, int]:
    facts, counts = facts_of(folder), {"equal": 0, "refused": 0}
    del facts["digest"]  # else that is why most are refused
    expected = checkpoint.load(folder).model.state_dict()
    for number, place in enumerate(places(facts)):
        for value in BAD if len(place) < 2 else BAD[number % 2 :: 2]:  # the others at the next place
            (folder / "papermage.json").write_text(as_json(changed(facts, place, value)), encoding="utf-8")
            found = outcome(folder, expected)
            where = f"{place} = {value!r:.80}"
            assert found != "different", where
            assert "MemoryError" not in found, where
            assert len(found) < 2000, where
            counts["equal" if found == "equal" else "refused"] += 1
        if place and isinstance(place[-1], str):
            without = copy.deepcopy(facts)
            inner = without
            for key in place[:-1]:
                inner = inner[key]
            del inner[place[-1]]
            (folder / "papermage.json").write_text(as_json(without), encoding="utf-8")
            assert outcome(folder, expected) != "different", place
    return counts


# Bytes of every file


def fuzz_bytes(folder: Path, number: int, *, recorded: bool) -> dict[str, int]:
    """Change files at random; with ``recorded``, their checksums too. Whether the model is equal is asked without."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    expected = checkpoint.load(folder).model.state_dict()
    facts = (folder / "papermage.json").read_bytes()
    counts = {"equal": 0, "different": 0, "refused": 0}
    for seed in range(number):
        chance = random.Random(seed)
        name = chance.choice(names)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(mutated(content, chance))
        if recorded and name != "papermage.json":
            record(folder, name)
        found = outcome(folder, expected)
        assert recorded or found != "different" or name == "papermage.json", seed
        counts[found if found in counts else "refused"] += 1
        (folder / name).write_bytes(content)
        (folder / "papermage.json").write_bytes(facts)
    return counts


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Return content changed in one of several ways, more often near its start, where headers are."""
    place = chance.randrange(len(content)) if chance.random() < 0.5 else chance.randrange(min(len(content), 2000))
    other = chance.randrange(len(content))
    return chance.choice(
        [
            lambda: content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :],
            lambda: content[:place] + chance.randbytes(8) + content[place + 8 :],
            lambda: content[:place],
            lambda: content[:place] + chance.randbytes(20) + content[place:],
            lambda: content[:place] + content[place + chance.randint(1, 50) :],
            lambda: content[:place] + content[other : other + 50] + content[place + 50 :],
            lambda: content + b"\0" * 100,
            lambda: content[:place] + b"9" * 20 + content[place + 20 :],
        ]
    )()


def fuzz(folder: Path) -> None:
    """Do all of this under a limit of memory, and end where a load hangs."""
    import faulthandler
    import resource

    found = re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    limit = (int(found[1]) << 10) + (2 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    load = checkpoint.load

    def watched(folder: Path, **given: Any) -> Any:
        faulthandler.dump_traceback_later(120, exit=True)
        return load(folder, **given)

    checkpoint.load = watched  # type: ignore[assignment]
    copies = [Path(shutil.copytree(folder, folder.with_name(f"c{i}"))) for i in range(3)]
    results = [
        fuzz_facts(copies[0]),
        fuzz_bytes(copies[1], 300, recorded=False),
        fuzz_bytes(copies[2], 300, recorded=True),
    ]
    print(json.dumps(results))


FUZZ = """
import pathlib, sys
sys.path.insert(0, sys.argv[2])
from tests.test_checkpoint_tampering import fuzz
fuzz(pathlib.Path(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_whatever_is_changed_is_found_or_changes_nothing(folder: Path) -> None:
    done = run_warm(FUZZ, str(folder), str(Path(__file__).parents[1]))
    assert done.returncode == 0, done.stderr[-5000:]
    facts, as_it_was, recorded = json.loads(done.stdout)
    assert facts["equal"] > 50
    assert facts["refused"] > 1000
    assert as_it_was["refused"] > 150
    assert recorded["refused"] > 50
    assert recorded["different"] > 0  # weights that are others are as good as any


# What a mutation at random would seldom hit


def test_names_of_labels_and_options_that_were_changed_are_told(folder: Path, sound: Path) -> None:
    """Nothing else shows that the labels stand in another order, or that an option without weights is another."""
    facts = facts_of(sound)
    changes: list[tuple[tuple[Any, ...], Any]] = [
        (("tasks", 0, "labels"), facts["tasks"][0]["labels"][::-1]),
        (("tasks", 0, "labels", 0), "another"),
        (("labelling", "context_name"), "sentences"),
        (("stride",), facts["stride"] + 1),
        (("encoder", "options", "lines"), "off"),
        (("encoder", "options", "word_dropout"), 0.1),
        (("scheme", "options", "reading"), "strict"),
        (("guarantees",), {"recall": {"": {"0.9": 0.1}}, "precision": {}, "confidence": None, "documents": 50}),
    ]
    for place, value in changes:
        (folder / "papermage.json").write_text(json.dumps(changed(facts, place, value)), encoding="utf-8")
        with pytest.raises(CheckpointError, match=r"papermage\.json was changed since it was written"):
            checkpoint.load(folder, plugins=PLUGINS)
        with pytest.raises(CheckpointError, match="changed since"):  # which would make it look sound
            checkpoint.update(folder, val_f1=0.5)
        without = changed(facts, place, value)
        del without["digest"]  # as checkpoints that were made before it was recorded
        (folder / "papermage.json").write_text(json.dumps(without), encoding="utf-8")
        assert checkpoint.load(folder, plugins=PLUGINS).facts == without
    versions = changed(facts, ("encoder", "version"), "0.0.9")
    (folder / "papermage.json").write_text(json.dumps(versions), encoding="utf-8")
    assert checkpoint.load(folder, plugins=PLUGINS).facts == versions


def test_the_hash_of_former_checkpoints_holds_for_labels(folder: Path, sound: Path) -> None:
    facts = facts_of(sound)
    task = facts["tasks"][0]
    chosen = [[each["name"], each["options"]] for each in (facts["scheme"], task["head"])]
    tasks = [[task["label_field"], task["labels"], chosen[1]]]
    values = [chosen[0], tasks, facts["labelling"], facts["stride"], facts.get("calibration")]
    facts["digest"] = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    (folder / "papermage.json").write_text(json.dumps(facts), encoding="utf-8")
    assert checkpoint.load(folder, plugins=PLUGINS).facts == facts
    other = changed(facts, ("tasks", 0, "labels"), task["labels"][::-1])
    (folder / "papermage.json").write_text(json.dumps(other), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"papermage\.json was changed since it was written"):
        checkpoint.load(folder, plugins=PLUGINS)


def test_a_key_that_stands_twice_is_told(folder: Path) -> None:
    """Of which only the last would be checked."""
    path = folder / "papermage.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"stride":', '"stride": 1,\n"stride":', 1), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"papermage\.json is damaged: key 'stride' stands twice in the object"):
        checkpoint.load(folder, plugins=PLUGINS)


WIDE = [
    ("options of the encoder", {"encoder.options.width": 10**7}),
    ("options of the encoder", {"encoder.options.width": 10**30}),
    ("options of the encoder", {"encoder.options.depth": 10**7}),
    ("options of the encoder", {"encoder.options.depth": 10**12}),
    ("labels", {"tasks.0.labels": [f"label {i}" for i in range(1_000_000)]}),
    ("tasks", {"tasks": 10_000}),
]


@pytest.mark.parametrize(("what", "change"), WIDE)
def test_a_model_larger_than_its_weights_is_refused_before_it_is_made(
    folder: Path, what: str, change: dict[str, Any]
) -> None:
    facts = facts_of(folder)
    if what == "tasks":
        facts["tasks"] *= change["tasks"]
    else:
        for dotted, value in change.items():
            place = tuple(int(key) if key.isdecimal() else key for key in dotted.split("."))
            facts = changed(facts, place, value)
    change_facts(folder, **facts)
    with pytest.raises(
        CheckpointError,
        match=r"larger than its weights|the weights are [0-9,]+ at most|(Overflow|Type)Error|labels, and the weights",
    ):
        checkpoint.load(folder)


def test_weights_of_another_type_or_shape_are_refused(folder: Path) -> None:
    weights = {key: each.clone() for key, each in load_file(folder / "model.safetensors").items()}  # no view of it
    name = next(name for name, value in weights.items() if value.dim() == 2)
    value = weights[name]
    for other in (value.half(), value.bfloat16(), value.double(), value.long(), value.T.contiguous(), value[:1], None):
        new = {key: each for key, each in weights.items() if key != name} | ({} if other is None else {name: other})
        save_file(new, folder / "model.safetensors")
        record(folder, "model.safetensors")
        with pytest.raises(CheckpointError, match=rf"{name}: expected float32 \(.*got .*was it changed\? Copy the"):
            checkpoint.load(folder)
    save_file(weights | {"more": value.clone()}, folder / "model.safetensors")
    record(folder, "model.safetensors")
    with pytest.raises(CheckpointError, match="more: expected none, got float32"):
        checkpoint.load(folder)


def header(length: int, text: bytes) -> bytes:
    return struct.pack("<Q", length) + text


@pytest.mark.parametrize(
    "content",
    [
        b"", b"1234567", header(2**63, b"{}"), header(10**12, b"{}"), header(3, b"{}"), header(2, b"{}"),
        header(0, b""), header(200_000, b"[" * 200_000), header(2, b"[]"), header(4, b"null"),
        header(61, b'{"a":{"dtype":"F32","shape":[1,1],"data_offsets":[0,9999999]}}'),
        header(60, b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}     '),
        header(80, b'{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}'.ljust(80)),
        header(120, b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],'
               b'"data_offsets":[0,4]}}'.ljust(120)) + b"1234",
    ],
    ids=range(14),
)  # fmt: skip
def test_a_header_that_is_none_is_refused(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    record(folder, "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged|does not fit|labels"):
        checkpoint.load(folder)


SUM = "0" * 64


@pytest.mark.parametrize(
    "name",
    ["/dev/zero", "/dev/stdin", "/etc/passwd", "../secret", "encoder/../../secret", "", ".", "./README.md",
     "encoder//x", "a\0b", "papermage.json", "encoder", "nowhere", "x" * 5000, "\\\\host\\share", "\x1b[2J"],
)  # fmt: skip
def test_checksums_name_files_of_the_folder_alone(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_bytes(b"")
    change_facts(folder, checksums=facts_of(folder)["checksums"] | {name: SUM})
    with pytest.raises(CheckpointError):
        checkpoint.load(folder)


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # its whole path may be too long for one
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


SPECIAL: dict[str, Callable[[Path], Any]] = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a socket": make_socket,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link out": lambda path: path.symlink_to(path.parents[1] / "outside"),
    "a link in circles": lambda path: path.symlink_to(path),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
}


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("what", SPECIAL)
@pytest.mark.parametrize(
    "name", ["papermage.json", "model.safetensors", "README.md", "encoder/vectors.safetensors", "encoder/new"]
)
def test_what_is_no_ordinary_file_is_never_opened(folder: Path, name: str, what: str) -> None:
    path = folder / name
    outside = path.parents[1] / "outside"
    if path.exists():
        path.rename(outside)
    else:
        outside.write_bytes(b"")
    if outside.parent == folder:
        outside.rename(folder.parent / "outside")
        outside = folder.parent / "outside"
    (SPECIAL[what] if what != "a link out" else lambda path: path.symlink_to(outside))(path)
    if name == "encoder/new" and what == "a folder":
        (path / "unknown").write_bytes(b"")
    with pytest.raises(CheckpointError):
        checkpoint.load(folder)


def test_a_link_inside_the_folder_is_a_file_of_it(folder: Path, sound: Path) -> None:
    (folder / "model.safetensors").rename(folder / "blob")
    (folder / "model.safetensors").symlink_to("blob")
    assert outcome(folder, checkpoint.load(sound).model.state_dict()) == "equal"


@pytest.mark.parametrize("name", ["encoder/added_tokens.json", "encoder/deep/x", "encoder/.hidden"])
def test_a_file_that_a_component_might_read_is_recorded_or_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}")
    with pytest.raises(CheckpointError, match=f"{name} is not of this checkpoint, which does not record it"):
        checkpoint.load(folder)


def test_what_a_hub_adds_beside_is_let_be(folder: Path, sound: Path) -> None:
    (folder / ".gitattributes").write_text("x")
    (folder / "README.md").write_text("my own card")
    assert outcome(folder, checkpoint.load(sound).model.state_dict()) == "equal"


@pytest.mark.parametrize(
    ("distribution", "version"),
    [
        ("x; rm -rf ~", "1.0"),
        ("x", "1.0; rm -rf ~"),
        ("$(x)", "1.0"),
        ("--option=elsewhere x", "1.0"),
        ("x\x1b[2J", "1.0"),
        ("x\n", "1.0"),
        ("x", "1.0\n"),
        ("x", ""),
        ("../x.py", "sha256:0123456789ab"),
        ("x.py; rm -rf ~", "sha256:0123456789ab"),
    ],
)
def test_nobody_is_asked_to_type_what_a_checkpoint_says_unchecked(
    folder: Path, distribution: str, version: str
) -> None:
    facts = facts_of(folder)
    for component in (facts["encoder"], facts["scheme"], facts["tasks"][0]["head"]):
        component |= {"distribution": distribution, "version": version}
    change_facts(folder, **facts)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(folder)
    assert "pip install" not in str(caught.value)
    assert "plugins_path" not in str(caught.value)


TRACED = """
import os, pathlib, sys
import papermage_core.checkpoint, papermage_core.model.entity_model, papermage_core.model.bounds
import papermage_core.model.weights, papermage_compact.encoder, papermage_heads.crf.head, safetensors.torch
from papermage_core import checkpoint
from papermage_core.errors import CheckpointError
found = []
def note(event, arguments):
    if event == "open" or event.split(".")[0] == "socket" or event in ("os.listdir", "os.scandir", "subprocess.Popen"):
        found.append((event, str(arguments[0]) if arguments else ""))
sys.addaudithook(note)
try:
    checkpoint.load(sys.argv[1])
except CheckpointError as error:
    print(error, file=sys.stderr)
code = [sys.prefix, sys.base_prefix, *filter(None, sys.path), str(pathlib.Path(papermage_core.__file__).parents[1])]
for event, path in found:
    known = os.path.abspath(path).startswith((sys.argv[1], *code)) or (event, path) == ("os.listdir", ".")
    if event.startswith("socket") or not known:
        print(event, path)
"""


@pytest.mark.parametrize("vectors", ["{outside}", "{outside}/vectors.txt", "some-hub/name", "/etc/passwd", None])
def test_loading_looks_at_nothing_but_the_folder(folder: Path, tmp_path: Path, vectors: str | None) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "vectors.txt").write_text("a 1 2\nb 3 4\n")
    facts = facts_of(folder)
    if vectors is not None:
        facts["encoder"]["options"]["vectors"] = vectors.format(outside=outside)
        (folder / "encoder" / "vectors.safetensors").unlink()
        del facts["checksums"]["encoder/vectors.safetensors"]
    change_facts(folder, **facts)
    done = run_warm(TRACED, str(folder))
    assert (done.returncode, done.stdout) == (0, "")
    assert (done.stderr == "") == (vectors is None)


# What a message names


def change_weights(folder: Path, name: str, value: float) -> None:
    weights = load_file(folder / "model.safetensors")
    weights[name].view(-1)[-1] = value
    save_file(weights, folder / "model.safetensors")
    record(folder, "model.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused_though_few_documents_need_them(folder: Path, value: float) -> None:
    names = [name for name, each in load_file(folder / "model.safetensors").items() if each.is_floating_point()]
    name = max((name for name in names if name.startswith("encoder.")), key=len)
    change_weights(folder, name, value)
    said = rf"model\.safetensors holds NaN or infinity, in {re.escape(name)}: .*Copy it again, or train again"
    with pytest.raises(CheckpointError, match=said):
        checkpoint.load(folder, plugins=PLUGINS)


DAMAGED_FACTS: list[tuple[str, Any, str]] = [
    ("reference", {"documents": "x"}, "expected a reference for shifts"),
    ("reference", [], "expected a reference for shifts"),
    ("guarantees", {}, "expected guarantees with recall and precision"),
    ("guarantees", 1, "expected guarantees with recall and precision"),
    ("calibration", {"crf": {"method": "exec"}}, "expected a calibration of the method 'beta'"),
    ("calibration", {"crf": {"method": "beta", "a": 1e308, "b": 1e308, "c": 0.0, "fitted_on": 3}}, "numbers up to"),
    ("calibration", {"crf": {"method": "beta", "a": 1.0, "b": 1.0, "c": -1e308, "fitted_on": 3}}, "numbers up to"),
]


@pytest.mark.parametrize(("key", "value", "said"), DAMAGED_FACTS)
def test_what_is_no_fact_of_its_kind_is_told_with_its_file(folder: Path, key: str, value: Any, said: str) -> None:
    change_facts(folder, **{key: value})
    with pytest.raises(CheckpointError, match=rf"papermage\.json is damaged: .*{said}"):
        checkpoint.load(folder, plugins=PLUGINS)


@pytest.mark.parametrize("content", ["[]", "null", '{"documents": 1}', '{"words": "A"}'])
def test_a_profile_that_is_none_is_told_with_its_file(folder: Path, content: str) -> None:
    (folder / "profile.json").write_text(content)
    record(folder, "profile.json")
    with pytest.raises(CheckpointError, match=r"profile\.json is damaged: "):
        checkpoint.read_profile(folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "Expected `object`, got `array`"),
        ("{}", "missing required field `encoder`"),
        ('{"encoder": {}, "heads": [1]}', r"Expected `object`, got `int` - at `\$\.heads\[0\]`"),
        ('{"encoder": {}, "heads": [{}, {}]}', "expected what 1 head learned, got 2"),
    ],
)
def test_what_components_learned_says_what_it_lacks(folder: Path, content: str, said: str) -> None:
    (folder / "learned.json").write_text(content)
    record(folder, "learned.json")
    with pytest.raises(CheckpointError, match=rf"learned\.json does not fit .*{said}"):
        checkpoint.load(folder, plugins=PLUGINS)


def test_a_file_in_place_of_the_folder_says_which_folder(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"it is a file; give the folder \S*/c$"):
        checkpoint.load(folder / "model.safetensors")
    run = tmp_path / "run"
    run.mkdir()
    (run / "last.ckpt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="it is a file; give the folder of a run"):
        checkpoint.load(run / "last.ckpt")
    folder.rename(run / "checkpoints")
    with pytest.raises(CheckpointError, match=r"it is a file; give the folder \S*/run/checkpoints$"):
        checkpoint.load(run / "last.ckpt")


@pytest.mark.parametrize("name", ["papermage.json", "model.safetensors", "encoder/vectors.safetensors"])
def test_a_pointer_of_git_lfs_is_called_one(folder: Path, name: str) -> None:
    """What a clone without ``git lfs`` has in place of large files."""
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
    (folder / name).write_text(pointer)
    with pytest.raises(CheckpointError, match=rf"{name} is a Git LFS pointer in place of the file: type git lfs pull$"):
        checkpoint.load(folder)
