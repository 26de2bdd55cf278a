"""What ``check`` sees beyond single documents: copies, labels that do not fit each other, windows."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from papermage_core.cli.data import main
from papermage_core.data import check, checking
from papermage_core.data.duplicates import NearDuplicates, sketch_of
from papermage_core.document import Document, Entity, Metadata, Span
from papermage_core.errors import DataError
from papermage_core.testing import make_document, make_documents, write_jsonl

WORDS = ["gene", "protein", "cell", "cancer", "therapy", "patient", "mouse", "effect", "study", "result", "trial"]


def prose(seed: int, n: int = 200) -> str:
    rng = random.Random(seed)
    return " ".join(rng.choice(WORDS) + str(rng.randint(0, 99)) for _ in range(n))


def changed(text: str, share: float, seed: int = 0) -> str:
    rng = random.Random(seed)
    return " ".join("other" if rng.random() < share else word for word in text.split())


def entity(start: int, stop: int, **metadata: str) -> Entity:
    return Entity(spans=[Span(start, stop)], metadata=Metadata(**metadata))


def marked(text: str, layers: dict[str, list[tuple[int, int]]], name: str) -> Document:
    document = make_document(text, doc_id=name)
    for layer, places in layers.items():
        document.annotate_layer(layer, [entity(*place) for place in places])
    return document


def test_likeness_is_about_that_of_all_shingles() -> None:
    def shingles(text: str) -> set[str]:
        return {text[i : i + 16] for i in range(len(text) - 15)}

    text = prose(1, 400)
    for share in (0.0, 0.01, 0.02):
        near = NearDuplicates(threshold=0.3)
        near.add(sketch_of(text), "a")
        other = changed(text, share)
        one, two = shingles(text), shingles(other)
        found = near.add(sketch_of(other), "b")
        assert found is not None
        assert found[0] == "a"
        assert found[1] == pytest.approx(len(one & two) / len(one | two), abs=0.12)
    assert NearDuplicates().add(sketch_of(""), "empty") is None


def test_copies_are_told_within_and_across_splits(tmp_path: Path) -> None:
    texts = [prose(i) for i in range(6)]
    train = write_jsonl([make_document(t, doc_id=f"t{i}") for i, t in enumerate(texts)], tmp_path / "train.jsonl")
    test = write_jsonl(
        [make_document(changed(texts[2], 0.005), doc_id="near"), make_document(texts[4], doc_id="same"),
         make_document(prose(77), doc_id="new")],
        tmp_path / "test.jsonl",
    )  # fmt: skip
    found = check(train, test_data_path=test)
    assert dict(found.shared) == {("train", "test"): 2}
    assert [("'near'" in twin.document, "'t2'" in twin.other) for twin in found.twins] == [(True, True)]
    assert found.issues.counts == {"same_document": 1}
    assert "2 × documents of test with the text, or nearly so, of one of train" in found.summary()
    assert check([train, test]).shared == {(str(train), str(test)): 2}


def test_labels_that_are_rare_or_unseen_and_texts_with_two_labels(tmp_path: Path) -> None:
    text = "BRCA1 and RA and BRCA1"
    both = [marked(text, {"Gene": [(0, 5), (17, 22)], "Drug": [(10, 12)]}, f"d{i}") for i in range(8)]
    odd = marked("RA is here", {"Gene": [(0, 2)], "Drug": []}, "odd")
    dev = marked("X is new", {"Gene": [], "Drug": [], "Virus": [(0, 1)]}, "dev")
    train = write_jsonl([*both, odd], tmp_path / "train.jsonl")
    found = check(train, "Gene,Drug,Virus", val_data_path=write_jsonl([dev], tmp_path / "dev.jsonl"))
    assert found.rare == {"Drug": 8}
    assert found.unseen == {"Virus": 1}
    (pair,) = found.two_ways
    assert (pair.text, dict(pair.labels), pair.odd) == ("RA", {"Drug": 8, "Gene": 1}, 1)
    assert "'odd': Gene[0]" in pair.places["Gene"]
    assert found.entities["train"] == {"Gene": 17, "Drug": 8}


def test_values_of_the_attribute_that_look_alike_are_told_as_labels_of_their_own(tmp_path: Path) -> None:
    kinds = ["Dose"] * 5 + ["dose", "Dose ", "Do\u0301se", "Dóse", "Drug"]
    documents = [marked("5 mg daily", {"L": [(0, 4)]}, f"d{i}") for i in range(len(kinds))]
    for document, kind in zip(documents, kinds, strict=True):
        document.L[0].metadata["kind"] = kind
    path = write_jsonl(documents, tmp_path / "a.jsonl")
    found = check(path, "L", label_attribute="kind")
    assert found.alike == ["Dose 5, dose 1, 'Dose ' 1", "'Do\\u0301se' 1, Dóse 1"]
    assert "labels that look alike, and are learnt as several: Dose 5, dose 1, 'Dose ' 1" in found.costs()
    assert not check(path, "L").alike


def test_entities_that_begin_or_end_unlike_their_peers_are_told(tmp_path: Path) -> None:
    plain = [marked(f"word{i} is", {"L": [(0, 5)]}, f"d{i}") for i in range(40)]
    stray = [marked("word. is", {"L": [(0, 5)]}, "full stop"), marked("word is", {"L": [(0, 5)]}, "space")]
    found = check(write_jsonl([*plain, *stray], tmp_path / "a.jsonl"), "L")
    told = {(edge.side, edge.character): edge for edge in found.edges}
    assert told.keys() == {("end", "'.'"), ("end", "white space")}
    assert "'full stop': L[0] 'word.'" in told["end", "'.'"].places[0]
    dotted = [marked(f"word{i}. is", {"L": [(0, 5 + len(str(i)))]}, f"d{i}") for i in range(40)]
    assert not check(write_jsonl(dotted, tmp_path / "b.jsonl"), "L").edges


def test_places_have_layer_offsets_and_text(tmp_path: Path) -> None:
    path = write_jsonl([marked("BRCA1 is one", {"L": [(1, 5), (6, 8), (6, 8)]}, "d")], tmp_path / "a.jsonl")
    (place,) = check(path, "L").to_json()["issues"]["gold_cut_unit"]["places"]
    assert (place["layer"], place["entity"], place["chars"], place["text"]) == ("L", 0, [[1, 5]], "RCA1")
    lines = tmp_path / "places.jsonl"
    assert main(["check", str(path), "label_field=L", f"output_path={lines}"]) == 0
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [(row["kind"], row["entity"]) for row in rows] == [("gold_cut_unit", 0), ("gold_twice", 2)]
    assert main(["check", str(path), "label_field=L", f"output_path={lines}"]) == 3
    assert main(["check", str(path), "label_field=L", f"output_path={path}", "overwrite=true"]) == 2


def test_strict_fails_for_what_costs_f1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = write_jsonl(make_documents(2), tmp_path / "few.jsonl")
    assert main(["check", str(few), "label_field=Disease"]) == 0
    assert main(["check", str(few), "label_field=Disease", "--strict"]) == 3
    many = write_jsonl(make_documents(6), tmp_path / "many.jsonl")
    capsys.readouterr()
    assert main(["check", str(many), "label_field=Disease", "--strict", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "ready"


def test_no_path_at_all_is_told() -> None:
    with pytest.raises(DataError, match="no path was given"):
        check([], "Disease")


def test_nothing_labelled_is_fatal(tmp_path: Path) -> None:
    path = write_jsonl([marked("BRCA1 is one", {"L": []}, "d")], tmp_path / "a.jsonl")
    assert check(path, "L").fatal() == ["nothing is labelled: L mark no entity"]


def test_a_label_layer_that_no_document_has_is_fatal_and_an_empty_one_is_rare(tmp_path: Path) -> None:
    path = write_jsonl(
        [marked("BRCA1 is one", {"L": [(0, 5)] * 1, "M": []}, f"d{i}") for i in range(12)], tmp_path / "a.jsonl"
    )
    found = check(path, "L,M,Misspelt")
    assert found.fatal() == ["label layers that no document has: Misspelt"]
    assert found.rare == {"M": 0}


def test_a_layer_whose_name_is_a_slip_costs_f1(tmp_path: Path) -> None:
    names = ["Disease"] * 12 + ["Diseaes", "disease", "DiseaseClass", "Other"]
    docs = [marked(prose(i), {"Drug": [(0, 4)], name: [(8, 12)]}, f"d{i}") for i, name in enumerate(names)]
    found = check(write_jsonl(docs, tmp_path / "a.jsonl"), "Disease,Drug")
    counts = {kind: count for kind, count in found.issues.counts.items() if kind.startswith(("layer_", "some_"))}
    assert counts == {"layer_misspelt": 2, "some_layers_missing": 2}, "only near names are taken for slips"
    assert any("nearly its name" in line for line in found.costs())
    assert not any("nearly its name" in line for line in found.odd())
    assert "no layer 'Disease'. Did you mean 'Diseaes'?" in str(found)
    assert "'DiseaseClass'" not in str(found)


def test_of_documents_without_units_no_more_is_claimed_than_was_looked_at(tmp_path: Path) -> None:
    docs = []
    for i in range(12):
        layers = {"Drug": [(0, 4)], "Disease": [(8, 12)]}
        docs.append(Document.from_text(prose(i), layers=layers if i % 2 else dict(reversed(layers.items()))))
    found = check(write_jsonl(docs, tmp_path / "a.jsonl"), "Disease,Drug", keep=5)
    assert found.fatal() == ["12 × documents, or files, that cannot be used"]
    assert len(found.errors) == 5, "one kind, in whatever order a document has its layers"


def test_a_folder_of_copies_is_told_in_a_line(tmp_path: Path) -> None:
    for i in range(6):
        write_jsonl([make_document("The same text in every file of the folder.")], tmp_path / f"{i}.jsonl")
    assert check(tmp_path).costs() == ["5 × documents with the text, or nearly so, of one of another file"]


def test_windows_are_those_that_the_encoder_makes(tmp_path: Path) -> None:
    from papermage_compact.plugin import CompactConfig

    document = make_document(["a " * n for n in (1, 16, 17, 100, 500)])
    path = write_jsonl([document], tmp_path / "a.jsonl")
    config = CompactConfig(max_length=16, layout="off")
    found = check(path, encoder=config, encoder_name="compact", stride=4).windows
    assert found is not None
    from papermage_core.data.issues import Issues
    from papermage_core.data.labelling import Labelling
    from papermage_core.data.units import Parser

    parsed = Parser(Labelling(), config.needs, Issues()).parse(
        make_document(["a " * n for n in (1, 16, 17, 100, 500)]), "d"
    )
    made = [len(windows) for windows in config.build().windows(parsed.contexts, stride=4)]
    assert (found.contexts, found.windows, found.most) == (5, sum(made), max(made))
    assert config.count_windows(parsed.contexts, 4) == made


def test_several_processes_find_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = make_documents(9)
    documents[4].annotate_layer("RA", [entity(0, 5)])
    path = write_jsonl(documents, tmp_path / "a.jsonl")
    with path.open("a") as file:
        file.write("{}\n" + path.read_text().splitlines()[3] + "\n")
    one = check(path, "Disease,RA").to_json()
    monkeypatch.setattr(checking, "processes_for", lambda workers, size: 2)
    two = check(path, "Disease,RA").to_json()
    assert sorted(map(str, one["issues"].pop("some_layers_missing")["places"])) == sorted(
        map(str, two["issues"].pop("some_layers_missing")["places"])
    )
    assert two == one


def test_check_needs_no_torch(tmp_path: Path) -> None:
    path = write_jsonl(make_documents(3), tmp_path / "a.jsonl")
    code = (
        "import sys; from papermage_core.cli.data import main; "
        f"assert main(['check', '{path}', 'label_field=Disease', 'encoder=compact']) == 0; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
