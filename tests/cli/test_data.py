"""``papermage-data``, typed as a user would."""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from papermage_core import Document, Entity, Metadata, Span, data, write_documents
from papermage_core.cli.data import main
from papermage_core.errors import counted
from papermage_core.files import whole

TEXT = "Solon, G. (1999). Intergenerational mobility.\nHeidegger 1927"
TOKENS = [match.span() for match in re.finditer(r"\w+|[^\w\s]", TEXT)]

Run = Callable[..., tuple[int, str, str]]


def document(name: str = "d", text: str = TEXT, **layers: list[Any]) -> dict[str, Any]:
    """A document whose layers are given as spans, or as lists of spans for discontinuous entities."""

    def entity(given: Any) -> dict[str, Any]:
        return {"spans": [list(given)] if isinstance(given[0], int) else [list(span) for span in given]}

    entities = {"tokens": TOKENS, "pages": [(0, 45), (46, 60)], **layers}
    return {
        "symbols": text,
        "metadata": {"doc_id": name},
        "entities": {key: [entity(span) for span in spans] for key, spans in entities.items()},
    }


def write(path: Path, *documents: Any) -> Path:
    lines = [each if isinstance(each, str) else json.dumps(each) for each in documents]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: Any) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


# check


def test_check_of_sound_documents_finds_nothing(tmp_path: Path, run: Run) -> None:
    path = write(tmp_path / "a.jsonl", document(author=[(0, 9)]))
    code, out, err = run("check", path, "label_field=author")
    assert (code, out.splitlines()[0], err) == (0, "1 document read, 0 errors, 0 repairs, 0 issues", "")
    assert out.splitlines()[2:] == ["costs F1  1 × labels with fewer than 10 entities to learn from: author 1"]


def test_names_of_files_may_hold_commas(tmp_path: Path, run: Run) -> None:
    one = write(tmp_path / "a,b.jsonl", document(author=[(0, 9)]))
    two = write(tmp_path / "c.jsonl", document("e", author=[(0, 9)]))
    for words in ([one, two], [f"data_path={json.dumps([str(one), str(two)])}"]):
        code, out, err = run("check", *words)
        assert code == 0, err
        assert out.startswith("2 documents read, 0 errors")
    assert run("check", f"data_path={one}")[0] == 0
    code, _, err = run("check", f"data_path={two},{one}")
    assert code == 3
    assert f"for the file '{one}' type the list as" in err


@pytest.mark.parametrize("label_field", ["autor", "author,dat", "date"])
def test_check_fails_for_what_is_fatal(tmp_path: Path, run: Run, label_field: str) -> None:
    path = write(tmp_path / "a.jsonl", document("a", author=[(0, 9)], date=[]))
    code, out, _ = run("check", path, f"label_field={label_field}")
    assert "not ready" in out
    assert code == 3


def test_check_lists_every_error_with_its_line_and_reads_on(tmp_path: Path, run: Run) -> None:
    past_end, half = document(author=[(0, 999)]), '{"symbols": "x"'
    path = write(tmp_path / "a.jsonl", document(), past_end, document("e", "x" * 60), half, document("f", "y" * 60))
    code, out, _ = run("check", path)
    assert code == 3
    assert "a.jsonl, line 2" in out
    assert "'author', entity 0" in out
    assert "a.jsonl, line 4" in out
    assert out.startswith("3 documents read, 2 errors, 0 repairs, 0 issues\n")


def test_check_sums_up_first_then_shows_five_places_of_each_kind(
    tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    cut = [document(f"cut{i}", f"{TEXT[:-4]}{1000 + i}", author=[(1, 9)]) for i in range(7)]
    beyond = [document(f"b{i}", author=[(0, 100 + i)]) for i in range(7)]
    path = write(tmp_path / "a.jsonl", *cut, *beyond, "{", document(date=[(0, 5)], pages=[(0, 99)]))
    code, out, _ = run("check", path, "label_field=author,date")
    summary, *parts = out.split("\n\n")
    assert (code, summary.splitlines()[0]) == (3, "8 documents read, 8 errors, 1 repair, 15 issues")
    assert summary.splitlines()[1] == "not ready: mend what is fatal first"
    twins = parts.pop()
    assert twins.startswith("7 × documents whose text is nearly that of another")
    assert [part.splitlines()[0].split(" ", 2)[0] for part in parts] == ["8", "1", "8", "7"]
    assert parts[0].count("ends past the text") == 5
    assert parts[0].count("is not JSON") == 1
    assert parts[2].count("\n") == 6
    assert out.count("… and more") == 4
    assert "--all shows every place" in caplog.text
    caplog.clear()
    _, everything, _ = run("check", path, "label_field=author,date", "--all")
    assert everything.count("ends past the text") == everything.count(" in 'Solon , G .'") == 7
    assert "… and more" not in everything
    assert caplog.text == ""
    assert len(json.loads(run("check", path, "--json")[1])["errors"]) == 8


def test_check_shows_gold_and_the_unit_that_it_cuts_and_each_place_once(tmp_path: Path, run: Run) -> None:
    path = write(tmp_path / "a.jsonl", document("cut", author=[(1, 9)]), document("bare", "x" * 60))
    out = run("check", path, "label_field=author", "context_name=pags")[1]
    assert out.count("line 2") == out.count("'bare'") == 1
    out = run("check", path, "label_field=author")[1]
    assert f"  {path}, line 1, document 'cut': author[0] 'olon, G.' in 'Solon , G .'\n" in out


def test_what_is_kept_of_a_corpus_full_of_errors_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    line = json.dumps(document(text="x" * 60, author=[(0, 10**6)])) + " " * 100_000 + "\n"
    path.write_text(line * 200)
    tracemalloc.start()
    try:
        found = data.check(path, "author", keep=3)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    assert (found.error_count, len(found.errors), found.documents) == (200, 3, 0)


def test_check_lists_every_oddity_of_labels_by_kind_and_place(tmp_path: Path, run: Run) -> None:
    odd = document(
        "odd", author=[(0, 9), (0, 9), (1, 5)], both=[(36, 55)], apart=[[(0, 5), (18, 35)]], nothing=[(9, 10)]
    )
    path = write(tmp_path / "a.jsonl", odd, document("bare", "z" * 60))
    code, out, _ = run("check", path, "label_field=author,both,apart,nothing", "--json")
    found = json.loads(out)
    assert code == 0
    counts = {kind: issue["count"] for kind, issue in found["issues"].items()}
    assert counts == {
        "gold_cut_unit": 1,
        "gold_twice": 1,
        "gold_without_units": 1,
        "gold_crosses_contexts": 1,
        "gold_discontinuous": 1,
        "gold_overlaps": 2,
        "layer_missing": 1,
    }
    for issue in found["issues"].values():
        assert all(str(path) in place["document"] and "line" in place["document"] for place in issue["places"])


def test_check_leaves_to_a_scheme_what_it_can_hold(tmp_path: Path, run: Run) -> None:
    path = write(tmp_path / "a.jsonl", document(author=[(0, 9), (0, 5)]))
    _, under_bio, _ = run("check", path, "label_field=author", "--json")
    _, under_span, _ = run("check", path, "label_field=author", "label_scheme=span", "--json")
    assert set(json.loads(under_bio)["issues"]) == {"gold_overlaps"}
    assert json.loads(under_span)["issues"] == {}


def test_check_takes_the_head_that_training_is_to_have(tmp_path: Path, run: Run) -> None:
    path = write(tmp_path / "a.jsonl", document(author=[(0, 9), (0, 5)]))
    found = [run("check", path, "label_field=author", *words, "--json") for words in (["head=span"], ["head=crf"])]
    assert [set(json.loads(out)["issues"]) for _, out, _ in found] == [set(), {"gold_overlaps"}]
    code, _, err = run("check", path, "label_field=author", "head=crf", "head.dropout=0.2", "label_scheme=span")
    assert code == 2
    assert "head=crf learns tags and label_scheme=span makes spans: they do not fit" in err
    err = run("check", path, "head=crf", "head.dropot=0.2")[2]
    assert "head.dropot (command line): 'crf' has no such option" in err
    assert "Did you mean 'head.dropout'" in err


def test_check_names_documents_that_stand_in_two_files(tmp_path: Path, run: Run) -> None:
    train, dev = write(tmp_path / "train.jsonl", document("a")), write(tmp_path / "dev.jsonl", document("b"))
    _, out, _ = run("check", train, dev)
    assert f"{dev}, line 1, document 'b': the same text as {train}, line 1, document 'a'" in out


def test_check_shows_what_reading_let_pass(tmp_path: Path, run: Run) -> None:
    path = write(tmp_path / "a.jsonl", document(pages=[(0, 99)]))
    code, out, _ = run("check", path)
    assert code == 0
    assert "1 × repairs" in out
    assert "pages[0]" in out


def test_check_of_the_hostile_files_never_gives_up(corpora: Path, run: Run) -> None:
    code, out, _ = run("check", corpora / "hostile", "label_field=Disease", "--json")
    found = json.loads(out)
    assert code == 3
    broken = {Path(error["path"]).name for error in found["errors"]}
    cases = json.loads((corpora / "hostile" / "cases.json").read_text(encoding="utf-8"))
    # what only a choice of label field or a strict reading can find is no error of the file
    elsewhere = {"layer_named_O.jsonl", "gzipped.jsonl.gz"}
    errors = {case["file"] for case in cases if case["expect"] == "error"} - elsewhere
    assert errors - broken == set()
    assert {case["file"] for case in cases if case["expect"] == "ok"} & broken == set()


# stats


def test_stats_count_what_is_there(tmp_path: Path, run: Run) -> None:
    path = write(
        tmp_path / "a.jsonl",
        document("a", author=[(0, 9), (0, 5), [(46, 55), (56, 60)]], date=[(11, 15)]),
        document("b", "x" * 60, author=[]),
    )
    _, out, _ = run("stats", path, "label_field=author,date", "--json")
    found = json.loads(out)
    assert (found["documents"], found["units"], found["contexts"]) == (2, 26, 4)
    assert found["units_per_context"]["max"] == 11
    assert found["labels"]["author"]["entities"] == 3
    assert found["labels"]["author"]["overlapping"] == 2
    assert found["labels"]["author"]["units_each"] == {"min": 1, "median": 2, "p95": 3.8, "max": 4, "mean": 2.33}
    assert found["labels"]["date"]["overlapping"] == 0
    assert found["layers"]["author"] == {"entities": 3, "documents": 2}
    _, table, _ = run("stats", path, "label_field=author")
    assert "units       26" in table


def test_stats_count_none_of_a_label_that_is_nowhere_and_say_so(
    tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.jsonl", document("a", author=[(0, 9)], date=[]))
    _, out, _ = run("stats", path, "label_field=author,date,autor", "--json")
    found = json.loads(out)["labels"]
    assert {label: each["entities"] for label, each in found.items()} == {"author": 1, "date": 0, "autor": 0}
    assert "label_field=autor: no document has this layer. Did you mean 'author'?" in caplog.text
    assert "label_field=date" not in caplog.text


def test_stats_of_documents_without_units_still_answers(tmp_path: Path, run: Run) -> None:
    code, out, _ = run("stats", write(tmp_path / "a.jsonl", document()), "entity_name=words", "--json")
    assert code == 0
    assert json.loads(out)["units"] == 0


# split


def many(n: int) -> list[dict[str, Any]]:
    return [document(f"d{i}", f"{TEXT[:-4]}{1000 + i}") for i in range(n)]


def names(path: Path) -> list[str]:
    return [json.loads(line)["metadata"]["doc_id"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_split_deals_every_document_to_one_file_by_the_shares(tmp_path: Path, run: Run) -> None:
    path, out = write(tmp_path / "a.jsonl", *many(20)), tmp_path / "out"
    code, _, _ = run("split", path, f"output_path={out}", "shares=0.7,0.2,0.1")
    parts = [names(out / f"{name}.jsonl") for name in ("train", "dev", "test")]
    assert code == 0
    assert [len(part) for part in parts] == [14, 4, 2]
    assert sorted(name for part in parts for name in part) == sorted(f"d{i}" for i in range(20))


def test_split_is_the_same_for_a_seed_and_another_for_another(tmp_path: Path, run: Run) -> None:
    path = write(tmp_path / "a.jsonl", *many(20))
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("split", path, f"output_path={tmp_path / folder}", f"seed={seed}")
    one, same, other = (names(tmp_path / folder / "train.jsonl") for folder in "abc")
    assert one == same != other


def test_split_keeps_documents_of_one_text_together(tmp_path: Path, run: Run) -> None:
    path = write(tmp_path / "a.jsonl", *many(6), *many(6))
    run("split", path, f"output_path={tmp_path / 'out'}", "shares=0.5,0.5", "names=a,b")
    assert set(names(tmp_path / "out" / "a.jsonl")).isdisjoint(names(tmp_path / "out" / "b.jsonl"))


def test_split_never_leaves_a_file_empty(tmp_path: Path, run: Run) -> None:
    path = write(tmp_path / "a.jsonl", *many(3))
    run("split", path, f"output_path={tmp_path / 'out'}", "shares=0.98,0.01,0.01")
    assert [len(names(tmp_path / "out" / f"{name}.jsonl")) for name in ("train", "dev", "test")] == [1, 1, 1]


@pytest.mark.parametrize(
    "command",
    [["stats"], ["convert", "output_path=b.csv"], ["sample", "output_path=b"], ["view", "output_path=b.html"], ["view"],
     ["split", "output_path=b"]],
)  # fmt: skip
def test_where_all_documents_are_skipped_there_is_no_result(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(Path("a.jsonl"), "{broken", "[]")
    name, *words = command
    code, out, err = run(name, path, *words, "on_error=skip")
    assert (code, out) == (3, "")
    assert "none of the documents can be used (2 errors)" in err or name in ("split", "view")
    assert [each.name for each in tmp_path.iterdir()] == ["a.jsonl"]


def test_split_replaces_no_file_unasked_and_writes_none_when_it_fails(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "dev.jsonl").write_text("mine")
    code, _, err = run("split", write(tmp_path / "a.jsonl", *many(9)), f"output_path={out}")
    assert code == 3
    assert "overwrite=true" in err
    code, _, err = run("split", write(tmp_path / "b.jsonl", *many(9), "{"), f"output_path={out}", "overwrite=true")
    assert code == 3
    assert "b.jsonl, line 10" in err
    assert [path.name for path in out.iterdir()] == ["dev.jsonl"]
    assert (out / "dev.jsonl").read_text() == "mine"


def test_split_leaves_nothing_on_a_full_disk(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.jsonl", *many(9))

    def full(*arguments: object) -> int:
        if len(seen) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        seen.append(arguments)
        return write_before(*arguments)

    seen: list[object] = []
    write_before = whole._NamedFile.write
    monkeypatch.setattr(whole._NamedFile, "write", full)
    code, _, err = run("split", path, f"output_path={tmp_path / 'new' / 'out'}")
    assert code == 1
    assert "No space left on device" in err
    assert list(tmp_path.iterdir()) == [Path(path)]


@pytest.mark.parametrize(("shares", "same"), [("8,1,1", "0.8,0.1,0.1"), ("70,30", "0.7,0.3"), ("1,1", "0.5,0.5")])
def test_shares_may_be_in_proportion(tmp_path: Path, run: Run, shares: str, same: str) -> None:
    path = write(tmp_path / "a.jsonl", *many(20))
    for folder, given in (("a", shares), ("b", same)):
        assert run("split", path, f"output_path={tmp_path / folder}", f"shares={given}")[0] == 0
    assert names(tmp_path / "a" / "train.jsonl") == names(tmp_path / "b" / "train.jsonl")
    assert names(tmp_path / "a" / "dev.jsonl") == names(tmp_path / "b" / "dev.jsonl")


def test_split_never_writes_over_what_it_reads(tmp_path: Path, run: Run) -> None:
    path = write(tmp_path / "train.jsonl", *many(9))
    before = path.read_bytes()
    code, _, err = run("split", path, f"output_path={tmp_path}", "overwrite=true")
    assert (code, path.read_bytes()) == (2, before)
    assert "inputs" in err


@pytest.mark.parametrize(
    "command", [["stats"], ["split", "output_path=out"], ["convert", "output_path=b.jsonl"], ["view"]]
)
def test_documents_that_cannot_be_used_are_skipped_if_told_so(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(Path("a.jsonl"), "{broken", *many(9), document(author=[(0, 999)]))
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    name, *words = command
    code, _, err = run(name, path, "b.parquet", *words)
    assert (code, "a.jsonl, line 1: is not JSON" in err) == (3, True)
    assert err.count("; on_error=skip leaves it out\n") == 1
    assert run(name, path, "b.parquet", *words, "on_error=skip")[0] == 0
    skipped = 1 if name == "view" else 3
    assert f"skipped {counted(skipped, 'documents or files')}:\n  a.jsonl, line 1: is not JSON" in caplog.text
    assert ("b.parquet: cannot be read as Parquet" in caplog.text) == (name != "view")


def test_the_functions_are_there_in_python(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *many(9), document(author=[(0, 9)]))
    assert str(data.check(str(path), "author,date")).startswith("10 documents read, 0 errors")
    assert data.stats([path], ["author"]).labels["author"].entities == 1
    assert sum(data.split(path, tmp_path / "out", shares=[1, 1]).values()) == 10
    assert data.view(path, 9) == "[author Solon, G.] (1999). Intergenerational mobility.\nHeidegger 1927"
    assert data.convert(path, tmp_path / "b.jsonl.gz").documents == 10
    assert [d.id for d in data.read_documents(tmp_path / "b.jsonl.gz")] == [d.id for d in data.read_documents(path)]
    assert set(data.__all__) <= set(dir(data))


@pytest.mark.parametrize("options", ["shares=0.5,0.6", "shares=1,0", "names=a,a,b", "shares=0.5,0.5 names=a"])
def test_split_refuses_shares_and_names_that_do_not_fit(tmp_path: Path, run: Run, options: str) -> None:
    path = write(tmp_path / "a.jsonl", *many(3))
    code, _, err = run("split", path, f"output_path={tmp_path / 'out'}", *options.split())
    assert code == 2
    assert "expected" in err


# convert


def test_convert_writes_documents_as_they_were(tmp_path: Path, run: Run) -> None:
    given = document(author=[(0, 9)]) | {"unknown": {"kept": [1]}}
    path = write(tmp_path / "a.jsonl", given)
    code, _, _ = run("convert", path, f"output_path={tmp_path / 'b.jsonl.gz'}")
    written = gzip.decompress((tmp_path / "b.jsonl.gz").read_bytes())
    assert code == 0
    assert Document.from_bytes(written).to_json() == Document.from_json(given).to_json()
    assert json.loads(written)["unknown"] == {"kept": [1]}


def test_convert_that_meets_a_broken_line_leaves_the_old_file(tmp_path: Path, run: Run) -> None:
    target = tmp_path / "b.jsonl"
    target.write_text("old")
    code, _, err = run(
        "convert", write(tmp_path / "a.jsonl", document(), "{"), f"output_path={target}", "overwrite=true"
    )
    assert code == 3
    assert "line 2" in err
    assert target.read_text() == "old"


def test_convert_puts_what_is_corrected_in_the_place_of_what_it_was(
    tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    old, corrected, other = (
        Document.from_text(text, layers=layers)
        for text, layers in (
            ("TP53 and ATM", {"Gene": [(0, 4)]}),
            ("TP53 and ATM", {"Gene": [(0, 4), (9, 12)]}),
            ("BRCA1", {"Gene": []}),
        )
    )
    train, mend = tmp_path / "train.jsonl", tmp_path / "mend.jsonl"
    write_documents([old, other], train)
    write_documents([corrected], mend)
    code, *_ = run("convert", mend, train, f"output_path={tmp_path / 'better.jsonl'}", "unique=true")
    assert code == 0
    assert "1 document has the text of an earlier one: left out" in caplog.text
    found = list(data.read_documents(tmp_path / "better.jsonl"))
    assert [(each.symbols, len(each.get_layer("Gene"))) for each in found] == [("TP53 and ATM", 2), ("BRCA1", 0)]


def test_convert_replaces_nothing_unasked_and_never_its_input(tmp_path: Path, run: Run) -> None:
    given, target = write(tmp_path / "a.jsonl", document()), tmp_path / "b.jsonl"
    target.write_text("old")
    code, _, err = run("convert", given, f"output_path={target}")
    assert (code, target.read_text()) == (3, "old")
    assert "overwrite=true" in err
    before = given.read_bytes()
    for other in (given, given.parent):
        code, _, err = run("convert", other, f"output_path={given}", "overwrite=true")
        assert (code, given.read_bytes()) == (2, before)
        assert "inputs" in err
    assert run("convert", given, f"output_path={target}", "overwrite=true")[0] == 0
    assert target.read_bytes().count(b"\n") == 1


def test_convert_takes_a_last_path_that_is_new_as_the_output(tmp_path: Path, run: Run) -> None:
    path, target = write(tmp_path / "a.jsonl", document()), tmp_path / "b.jsonl"
    assert run("convert", path, target)[:2] == (0, f"{target}: 1 document\n")
    code, _, err = run("convert", path, target)
    assert code == 2
    assert f"to write over {target}, which is there already, type output_path={target}" in err
    assert run("convert", f"data_path={path}", tmp_path / "c.jsonl", "reader.lenient=no")[0] == 0
    assert run("convert", path)[0] == 2


def test_convert_writes_parquet_and_reads_it_again(tmp_path: Path, run: Run) -> None:
    pytest.importorskip("pyarrow")
    given = write(tmp_path / "a.jsonl", *many(3))
    assert run("convert", given, tmp_path / "b.parquet")[0] == 0
    assert run("convert", tmp_path / "b.parquet", tmp_path / "c.jsonl")[0] == 0
    assert names(tmp_path / "c.jsonl") == names(given)
    code, _, err = run(
        "convert", write(given, document(), "{"), f"output_path={tmp_path / 'b.parquet'}", "overwrite=yes"
    )
    assert (code, "line 2" in err) == (3, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "b.parquet", "c.jsonl"]
    assert len(json.loads(run("stats", tmp_path / "b.parquet", "--json")[1])) > 1


PLUGIN = """
import attrs
from papermage_core.plugin import DocumentReaderConfig, DocumentWriterConfig, hookimpl, option
papermage_names = {"document_writer": ["lines", "folder"], "document_reader": ["read_only"]}
class Lines:
    def __init__(self, end): self.end = end
    def write(self, documents, target):
        lost = 0
        for document in documents:
            target.write((document.symbols + self.end).encode())
            lost += len(document.get_layer("tokens"))
        return {"tokens": lost, "nothing": 0}
class Folder:
    def write(self, documents, target):
        import no_such_module
@attrs.frozen(kw_only=True)
class LinesConfig(DocumentWriterConfig):
    suffixes = (".lines",)
    end: str = option(";", help="after each text")
    def build(self): return Lines(self.end)
@attrs.frozen(kw_only=True)
class FolderConfig(DocumentWriterConfig):
    suffixes = (".folder",)
    target = "folder"
    requirement = "acme[folder]"
    def build(self): return Folder()
@attrs.frozen(kw_only=True)
class ReadOnlyConfig(DocumentReaderConfig):
    suffixes = (".seen",)
    def build(self): ...
@hookimpl
def papermage_document_writer(name): return LinesConfig if name == "lines" else FolderConfig
@hookimpl
def papermage_document_reader(): return ReadOnlyConfig
"""


@pytest.mark.parametrize(
    ("target", "code", "message"),
    [
        ("b.lines", 0, "b.lines: 2 documents; the format cannot hold 26 tokens"),
        ("b.folder", 4, "writing it needs no_such_module; type: pip install 'acme[folder]'"),
        ("b.seen", 2, "no writer is known for files that end in .seen; reader=read_only only reads them"),
        ("b.docx", 2, "folder or lines (.lines, .folder), "),
        ("b.docx", 2, "no writer is known for files that end in .docx; known: "),
        ("b.parquet.gz", 2, "no writer is known for files that end in .parquet.gz"),
    ],
)
def test_convert_writes_what_the_writer_of_the_ending_writes(
    tmp_path: Path, run: Run, target: str, code: int, message: str
) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN)
    given = write(tmp_path / "a.jsonl", *many(2))
    found, out, err = run("convert", given, tmp_path / target, f"plugins_path={plugin}")
    assert found == code
    assert message in out + err
    assert (tmp_path / target).exists() == (code == 0)
    assert len(list(tmp_path.iterdir())) == 2 + (code == 0)


def test_a_last_path_that_is_a_dash_is_standard_output(tmp_path: Path, run: Run) -> None:
    given = write(tmp_path / "a.jsonl", *many(2))
    code, out, err = run("convert", given, "-")
    assert (code, err) == (0, "")
    assert run("convert", given, "output_path=-")[1] == out
    assert out.count("\n") == 2
    assert run("convert", given, "-", "writer=brat")[0] == 2  # a folder


def test_convert_takes_a_writer_by_name_and_its_options(tmp_path: Path, run: Run) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN)
    given, target = write(tmp_path / "a.jsonl", document(text="x" * 60)), tmp_path / "b.jsonl.gz"
    words = ["writer=lines", "writer.end=.", f"plugins_path={plugin}"]
    assert run("convert", given, f"output_path={target}", *words)[0] == 0
    assert gzip.decompress(target.read_bytes()).decode() == "x" * 60 + "."
    code, _, err = run("convert", given, f"output_path={tmp_path / 'b.gz'}", "writer=parquet")
    assert code == 2
    assert "writer=parquet writes nothing compressed" in err
    code, _, err = run("convert", given, "output_path=-", *words, "writer.ende=x")
    assert code == 2
    assert "writer.end" in err


# view


def test_view_marks_entities_in_brackets_nested_ones_inside(tmp_path: Path, run: Run) -> None:
    path = write(tmp_path / "a.jsonl", document(author=[(0, 9)], surname=[(0, 5)], date=[(11, 15), (56, 60)]))
    _, out, _ = run("view", path)
    assert out == "[author [surname Solon], G.] ([date 1999]). Intergenerational mobility.\nHeidegger [date 1927]\n"


def test_view_shows_one_context(tmp_path: Path, run: Run) -> None:
    path = write(tmp_path / "a.jsonl", document(date=[(11, 15), (56, 60)], both=[(36, 55)]))
    assert run("view", path, "context=1", "label_field=date,both")[1] == "[both Heidegger] [date 1927]\n"
    code, _, err = run("view", path, "context=2")
    assert code == 3
    assert "there is no context 2" in err


def test_view_finds_a_document_by_number_or_id(tmp_path: Path, run: Run) -> None:
    path = write(tmp_path / "a.jsonl", document("a"), document("b", "x" * 60))
    assert run("view", path, "document=b")[1] == run("view", path, "document=1")[1] == "x" * 60 + "\n"
    assert "among 2" in run("view", path, "document=7")[2]


def test_view_in_colour_has_a_legend_and_is_plain_without_its_codes(tmp_path: Path, run: Run) -> None:
    path = write(tmp_path / "a.jsonl", document(author=[(0, 9)], across=[(36, 55)]))
    _, out, _ = run("view", path, "colour=always")
    assert out.count("\x1b[42;30m") == 2
    text, _, legend = out.partition("\n\n")
    for code in ("\x1b[42;30m", "\x1b[43;30m", "\x1b[0m"):
        text, legend = text.replace(code, ""), legend.replace(code, "")
    assert text == TEXT
    assert legend == "author  across\n"


def test_view_takes_time_as_there_are_entities(tmp_path: Path) -> None:
    """Not as their square: eight thousand took a minute when each was looked at wherever another began or ended."""
    count = 40_000
    path = tmp_path / "a.jsonl"
    spans = [[5 * place, 5 * place + 4] for place in range(count)]
    labelled = {"symbols": "word " * count, "metadata": {}, "relations": {}}
    path.write_text(json.dumps(labelled | {"entities": {"x": [{"spans": [span]} for span in spans]}}))
    began = time.process_time()
    assert data.view(path) == "[x word] " * count
    assert data.view(path, colour=True).count("word") == count
    assert time.process_time() - began < 60


def test_view_never_lets_a_document_speak_to_the_terminal(tmp_path: Path, run: Run) -> None:
    hostile = "\x1b[2J\u202e" + "x" * 58
    _, out, _ = run("view", write(tmp_path / "a.jsonl", document(text=hostile)))
    assert out.startswith("\\x1b[2J\\u202ex")


def test_view_shows_the_label_that_entities_have_else_the_name_of_their_layer(tmp_path: Path, run: Run) -> None:
    found = document(date=[(11, 15)])
    found["entities"]["predictions"] = [{"spans": [[0, 5]], "metadata": {"label": "surname", "kind": "other"}}]
    path = write(tmp_path / "a.jsonl", found)
    assert run("view", path)[1].startswith("[surname Solon], G. ([date 1999])")
    assert run("view", path, "label_attribute=kind")[1].startswith("[other Solon], G. ([date 1999])")
    assert run("view", path, "compare=predictions")[1].startswith("[predictions:surname Solon], G. ([date 1999])")


def test_view_writes_a_page_of_one_document_or_of_all(tmp_path: Path, run: Run) -> None:
    path = write(tmp_path / "a.jsonl", document("one", author=[(0, 9)]), document("two", author=[(0, 9)]))
    page = tmp_path / "view.html"
    assert run("view", path, f"output_path={page}")[:2] == (0, f"{page}: 2 documents\n")
    assert run("view", path, f"output_path={page}")[0] == 3
    told = run("view", path, f"output_path={page}", "document=two", "label_field=author", "overwrite=true")
    assert told[:2] == (0, f"{page}: 1 document\n")
    assert run("view", path, "output_path=-", "document=two", "label_field=author")[1].endswith("</html>\n")
    assert '"id":"two"' in page.read_text(encoding="utf-8")
    assert '"id":"one"' not in page.read_text(encoding="utf-8")
    code, _, err = run("view", path, f"output_path={page}", "label_field=autor", "overwrite=true")
    assert (code, "'author'" in err) == (3, True)
    assert run("view", path, f"output_path={page}", "context=1", "overwrite=true")[0] == 2
    assert run("view", path, f"output_path={path}", "overwrite=true")[0] == 2


# wrong usage


def test_words_may_stand_on_both_sides_of_a_flag(tmp_path: Path, run: Run) -> None:
    path = write(tmp_path / "a.jsonl", document(author=[(0, 9)]))
    _, out, _ = run("stats", "label_field=author", "--json", path, "entity_name=tokens")
    assert list(json.loads(out)["labels"]) == ["author"]
    with pytest.raises(SystemExit) as left:
        run("stats", "--json", path, "--jsn", "x")
    assert left.value.code == 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["check", "nowhere.jsonl"], 3, "no such file or folder"),
        (["check"], 2, "data_path is missing"),
        (["stats", "a.jsonl", "entty_name=tokens"], 2, "entity_name"),
        (["check", "a.jsonl", "reader=jsonk"], 4, "jsonl"),
        (["view", "a.jsonl", "label_field=authr"], 3, "authr"),
    ],
)
def test_wrong_words_end_in_a_message_and_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run, words: list[str], code: int, message: str
) -> None:
    write(tmp_path / "a.jsonl", document())
    monkeypatch.chdir(tmp_path)
    found, _, err = run(*words)
    assert found == code
    assert message in err


def test_the_cache_is_listed_and_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path))
    entry = tmp_path / "examples" / "key"
    entry.mkdir(parents=True)
    (entry / "facts.json").write_text(json.dumps({"made_of": ["a.jsonl"]}))
    (entry / "records-0.bin").write_bytes(b"x" * 2**20)
    assert main(["cache", "list", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["kind"], listed["folder"], listed["made_of"]) == ("examples", str(entry), ["a.jsonl"])
    assert main(["cache", "list"]) == 0
    first, total = capsys.readouterr().out.splitlines()
    assert first.split()[:3] == ["examples", "1.0", "MiB"]
    assert total == f"1.0 MiB in {tmp_path}"
    assert main(["cache", "clear", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["freed"] == listed["size"]
    assert not entry.exists()
    with pytest.raises(SystemExit, match="2"):
        main(["cache", "burn"])


# processors


def test_labels_in_plain_text_are_looked_at_through_processors(tmp_path: Path, run: Run) -> None:
    text = "Solon saw it. So did she."
    path = tmp_path / "a.jsonl"
    path.write_bytes(Document.from_text(text, "d", {"author": [(0, 3), (21, 24)]}).to_bytes())
    code, out, _ = run("check", path, "label_field=author")
    assert code == 3
    assert "processors=tokens makes it" in out
    chain = ["processors=tokens,sentences", "context_name=sentences"]
    code, out, _ = run("check", path, "label_field=author", *chain)
    assert (code, out.splitlines()[0]) == (0, "1 document read, 0 errors, 0 repairs, 1 issue")
    assert "'Sol' in 'Solon'" in out
    _, out, _ = run("stats", path, "label_field=author", *chain, "--json")
    assert [json.loads(out)[key] for key in ("units", "contexts")] == [8, 2]
    assert run("view", path, *chain, "context=1")[1] == "So did [author she].\n"
    assert run("check", path, "processors=tokenz")[0] == 4


def test_standard_input_without_a_reader_says_how_it_was_read(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io
    import sys

    for given, words in ((b"Some text.", ["reader=text"]), (b'{"symbols": 1}', [])):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        code, out, _ = run("check", "-", *words)
        assert (code == 0) == bool(words)
        assert ("read as jsonl, unless reader=NAME says otherwise" in out) != bool(words)


def test_what_a_newcomer_mistypes_is_told_apart(tmp_path: Path, run: Run) -> None:
    folder, empty = tmp_path / "folder", tmp_path / "empty.json"
    (folder / "inner").mkdir(parents=True)
    write(folder / "inner" / "a.jsonl", document())
    empty.write_bytes(b"")
    assert f"type {folder / '**'} to read what is in the folders below" in run("check", folder)[2]
    assert run("stats", folder / "**", "--json")[0] == 0
    code, out, _ = run("check", empty)
    assert (code, out.splitlines()[-1].endswith("empty.json: this file is empty")) == (3, True)
    assert "unknown option. Did you mean 'output_path'?" in run("convert", folder, "output=b")[2]
    write(tmp_path / "a.jsonl", document(author=[(0, 9)]))
    out = run("check", tmp_path / "a.jsonl", "label_field=author,authors")[1]
    assert "no layer 'authors'. Did you mean 'author'?" in out


def test_audit_takes_the_defaults_of_the_machine(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.jsonl", document(author=[(0, 9)]))
    monkeypatch.setenv("PAPERMAGE_BATCH_SIZE", "many")
    code, _, err = run("audit", f"data_path={path}", "label_field=author")
    assert (code, "PAPERMAGE_BATCH_SIZE" in err) == (2, True)


@pytest.mark.parametrize("target", ["-", "b.conll"])
def test_convert_says_once_what_the_format_cannot_hold(
    tmp_path: Path, run: Run, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.jsonl", document(author=[(0, 9)], person=[(0, 5)]))
    output = target if target == "-" else tmp_path / target
    code, out, err = run("convert", path, f"output_path={output}", "writer=conll", "writer.layers=author,person")
    assert code == 0
    said = {"printed": (out + err).count("the format cannot hold"), "logged": caplog.text.count("the format cannot")}
    assert said == {"printed": int(target != "-"), "logged": int(target == "-")}


def test_merge_names_a_pattern_that_matches_no_part(tmp_path: Path, run: Run) -> None:
    (tmp_path / "a.csv.errors.jsonl").touch()
    code, _, err = run("merge", tmp_path / "a*", "output_path=all.csv")
    assert code == 3
    assert f"{tmp_path / 'a*'}: no part matches this pattern" in err


@pytest.mark.parametrize("option", ["writer.layers=Diseas", "records=sentences(Diseas)"])
def test_convert_tells_what_is_to_be_written_and_no_document_has(
    tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture, option: str
) -> None:
    documents = []
    for symbols in ("Gout is rare.", "So is flu."):
        document = Document(symbols)
        document.annotate_layer("sentences", [Entity(spans=[Span(0, len(symbols))])])
        documents.append(document)
    disease = Entity(spans=[Span(6, 9)], metadata=Metadata(label="Disease"))
    documents[1].annotate_layer("Disease", [disease])
    write_documents(documents, tmp_path / "a.jsonl")
    given = ["convert", f"data_path={tmp_path / 'a.jsonl'}", f"output_path={tmp_path / 'a.csv'}", "overwrite=true"]
    assert run(*given, option)[0] == 0
    assert "nothing can be written of 'Diseas': no document has a layer or label of this name." in caplog.text
    assert "Did you mean 'Disease'? Layers and labels there: sentences, Disease" in caplog.text
    caplog.clear()
    assert run(*given, option.replace("Diseas", "Disease"))[0] == 0
    assert "nothing can be written" not in caplog.text, "one document has it"
    if option.startswith("writer"):  # samples are written as they are
        assert run("sample", *given[1:], option)[0] == 0
        assert "a.csv: nothing can be written of 'Diseas': no document has" in caplog.text


def test_what_is_not_read_of_a_folder_is_said_by_every_command_that_reads_it(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "corpus"
    (folder / "below").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "below/c.txt", "notes.docx"):
        (folder / name).write_text(f"text of {name}", encoding="utf-8")
    told = [
        f"{folder}: a file is not read, which no reader knows: notes.docx",
        f"{folder}: folders below, such as {folder / 'below'}, are not read; data_path={folder / '**'} reads them",
    ]
    commands = (
        ["stats", folder],
        ["convert", folder, tmp_path / "all.jsonl"],
        ["split", folder, f"output_path={tmp_path / 'split'}", "shares=1,1", "names=a,b"],
        ["sample", folder, f"output_path={tmp_path / 'some.jsonl'}", "n=1"],
    )
    for words in commands:
        caplog.clear()
        assert run(*words)[0] == 0
        assert [line for line in caplog.messages if "not read" in line] == told, words
    caplog.clear()
    run("convert", folder / "*.txt", tmp_path / "more.jsonl")
    assert not caplog.messages
