"""Documents and examples are the same in memory, on disk, from the cache, and from several processes."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papermage_core.data import cache
from papermage_core.data import corpus as corpus_module
from papermage_core.data import examples as examples_module
from papermage_core.data.cache import cache_clear, cache_list, key_of
from papermage_core.data.corpus import Corpus, read_corpus
from papermage_core.data.examples import Examples, build_examples
from papermage_core.data.issues import Issues
from papermage_core.data.labelling import Labelling, Task
from papermage_core.data.packing import pack_document, unpack_document
from papermage_core.data.source import DocumentSource
from papermage_core.data.spans import SpanTable
from papermage_core.data.store import DiskRecords
from papermage_core.data.units import ParsedDocument, Parser
from papermage_core.document import Document
from papermage_core.errors import DataError, PapermageError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import ContextNeeds, UnitSpan
from papermage_core.testing.encoder import TinyEncoderConfig

LABELLING = Labelling(label_field=("names", "amounts"))
NEEDS = ContextNeeds(boxes=True, groups=("rows",), metadata=("font", "size", "odd"))


def source(*paths: Path) -> DocumentSource:
    return DocumentSource(paths)


def task(scheme: str = "bio") -> Task:
    built = Plugins().config_class("label_scheme", scheme)().build(("names", "amounts"))
    return Task(("names", "amounts"), built)


def same(one: Any, other: Any) -> bool:
    """Compare by content, whatever holds it."""
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True)
    if attrs.has(type(one)) and not isinstance(one, UnitSpan):
        return type(one) is type(other) and all(
            same(getattr(one, f.name), getattr(other, f.name)) for f in attrs.fields(type(one))
        )
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other and type(one) is type(other)


@pytest.fixture
def made(write_corpus: Callable[..., Path], tmp_path: Path) -> Path:
    """A corpus with boxes, rows and fonts, some of it odd."""
    path = write_corpus(tmp_path / "made.jsonl", n=23, seed=5)
    documents = [json.loads(line) for line in path.read_text().splitlines()]
    for number, document in enumerate(documents):
        for i, token in enumerate(document["entities"]["tokens"]):
            token["metadata"] = {"font": ["a", "é", None][i % 3], "size": i / 7, "odd": [i, "x", None][i % 3]}
            if i % 5:
                token["boxes"] = [[i % 10 / 10, 0.1, 0.05, 0.02, i % 2 if number != 4 else 0]]
        document["entities"]["rows"] = document["entities"]["pages"]
        if number == 3:
            document["entities"]["tokens"].reverse()
        if number == 4:
            document["entities"]["pages"] = document["entities"]["pages"][:1]
        if number == 5:
            del document["entities"]["names"], document["entities"]["amounts"]
        if number == 6:
            document["entities"]["names"][0]["spans"].append(document["entities"]["names"][2]["spans"][0])
    documents[7]["metadata"] = {}
    path.write_text("".join(json.dumps(document) + "\n" for document in documents), encoding="utf-8")
    return path


def read(path: Path, tmp_path: Path, **more: Any) -> Corpus:
    return read_corpus(source(path), LABELLING, NEEDS, spool=tmp_path / "spool", **more)


def assert_same_corpus(one: Corpus, other: Corpus) -> None:
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert same_parsed(a, b)
    for name in ("number", "digest", "fingerprint", "n_units", "n_contexts", "file", "weight"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()
    assert [one.gold_of(i) for i in range(len(one))] == [other.gold_of(i) for i in range(len(one))]
    assert (one.counts(), one.entities, one.unreachable) == (other.counts(), other.entities, other.unreachable)
    assert one.issues.counts == other.issues.counts
    assert one.content() == other.content()


def same_parsed(one: ParsedDocument, other: ParsedDocument) -> bool:
    names = [field.name for field in attrs.fields(ParsedDocument) if field.name not in ("contexts", "units")]
    return (
        all(same(getattr(one, name), getattr(other, name)) for name in names)
        and same(list(one.units), list(other.units))
        and all(
            same(list(a.words), list(b.words))
            and same({k: list(v) for k, v in a.metadata.items()}, {k: list(v) for k, v in b.metadata.items()})
            and same([a.space_before, a.boxes, a.pages, a.groups], [b.space_before, b.boxes, b.pages, b.groups])
            for a, b in zip(one.contexts, other.contexts, strict=True)
        )
    )


def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "_IN_MEMORY", 100)
    monkeypatch.setattr(examples_module, "_IN_MEMORY", 100)


def test_a_corpus_on_disk_is_the_one_in_memory(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory = read(made, tmp_path)
    on_disk(monkeypatch)
    stored = read(made, tmp_path)
    assert isinstance(in_memory.records, list)
    assert isinstance(stored.records, DiskRecords)
    assert_same_corpus(in_memory, stored)


def test_the_stream_shows_the_gold_of_each_context(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory = read(made, tmp_path)
    on_disk(monkeypatch)
    for corpus in (in_memory, read(made, tmp_path)):
        plain, shown = list(corpus.contexts()), list(corpus.contexts(gold=True))
        assert [list(each.words) for each in shown] == [list(each.words) for each in plain]
        assert all(each.gold is None and each.document == -1 for each in plain)
        found: list[set[tuple[str, int]]] = [set() for _ in corpus]
        at = iter(shown)
        for number, parsed in enumerate(corpus):
            for units, context in zip(parsed.units, at, strict=False):
                assert context.document == number
                assert context.gold is not None
                found[number] |= {(span.label, int(units[unit])) for span in context.gold for unit in span.units}
        gold = [{(s.label, unit) for s in corpus.gold_of(i) for unit in s.units} for i in range(len(corpus))]
        assert found == gold
        assert sum(map(len, gold)) > 100


def test_a_document_that_was_not_labelled_for_each_task_shows_no_gold(made: Path, tmp_path: Path) -> None:
    two = Labelling(label_field=("names", "amounts", "nobody"), overlap_policy="separate")
    corpus = read_corpus(source(made), two, NEEDS, spool=tmp_path / "spool")
    assert {each.gold is None for each in corpus.contexts(gold=True)} == {True}


@pytest.mark.parametrize("processes", [2, 3, 40])
def test_several_processes_read_the_same_corpus(made: Path, tmp_path: Path, processes: int) -> None:
    assert_same_corpus(read(made, tmp_path), read(made, tmp_path, num_workers=processes))


def test_what_a_process_finds_wrong_is_raised_with_its_place(made: Path, tmp_path: Path) -> None:
    lines = made.read_text().splitlines()
    lines[9] = lines[9][:50]
    made.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"made\.jsonl, line 10"):
        read(made, tmp_path, num_workers=2)


def test_a_process_that_is_killed_is_told(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: Any) -> Any:
        os.kill(os.getpid(), 9)

    monkeypatch.setattr(corpus_module, "parse_located", die)
    with pytest.raises(PapermageError, match="ended with code -9"):
        read(made, tmp_path, num_workers=2)


@pytest.mark.parametrize("scheme", ["bio", "span"])
def test_examples_are_the_same_wherever_they_are(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    encoder = TinyEncoderConfig(window=20).build()

    def build(corpus: Corpus, **more: Any) -> tuple[Examples, Issues]:
        given = {"stride": 4, "spool": tmp_path / "spool", "max_cost": 30} | more
        return build_examples(corpus, encoder, [task(scheme)], **given)

    corpus = read(made, tmp_path)
    one, issues = build(corpus)
    target = tmp_path / "cache" / "key"
    assert len(one) > len(corpus) * 2, "long contexts are cut"
    on_disk(monkeypatch)
    for other, found in (
        build(corpus),
        build(corpus, num_workers=3),
        build(corpus, target=target),
        build(corpus, target=target),
    ):
        assert isinstance(other.records, DiskRecords)
        assert found.counts == issues.counts
        for name in ("document", "context", "first", "units", "windows", "cost"):
            assert getattr(one, name).tolist() == getattr(other, name).tolist()
        for i in range(len(one)):
            assert same(one[i], other[i])
        assert not other[0].windows[0].features["rows"].flags.writeable
    assert target.is_dir()


def test_a_chosen_part_of_a_corpus_counts_itself_only(made: Path, tmp_path: Path) -> None:
    corpus = read(made, tmp_path)
    chosen = corpus.choose(np.array([2, 5, 11]))
    assert [parsed.name for parsed in chosen] == [corpus[i].name for i in (2, 5, 11)]
    spans = [span for i in range(3) for span in chosen.gold_of(i)]
    assert chosen.entities.total() == len(spans) + chosen.unreachable.total()
    assert chosen.counts()["units"] == sum(parsed.n_units for parsed in chosen)
    assert len(chosen.contexts()) == len(list(chosen.contexts())) == len(list(chosen.contexts()))
    assert chosen.content() != corpus.content()


def test_documents_are_read_again_where_they_are_wanted(made: Path, tmp_path: Path) -> None:
    corpus = read(made, tmp_path)
    chosen = corpus.choose(np.array([4, 9]))
    found = list(chosen.parsed(keep=True))
    assert [parsed.name for parsed in found] == [parsed.name for parsed in chosen]
    assert all(parsed.document is not None and parsed.document.symbols == parsed.symbols for parsed in found)


# The cache -----------------------------------------------------------------------------------------------------------


def test_a_second_run_reads_no_document(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "_WORTH_KEEPING", -1)
    target = tmp_path / "documents" / "key"
    first = read(made, tmp_path, target=target)

    def fail(*_: Any, **__: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(corpus_module, "parse_located", fail)
    assert_same_corpus(first, read(made, tmp_path, target=target))
    (entry,) = cache_list(tmp_path)
    assert (entry.kind, entry.folder, entry.made_of) == ("documents", target, (str(made),))
    assert entry.size == sum(file.stat().st_size for file in target.iterdir())
    assert cache_clear(tmp_path) == entry.size
    assert cache_list(tmp_path) == []


def test_what_is_cleared_can_still_be_read_by_who_had_it(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_module, "_WORTH_KEEPING", -1)
    corpus = read(made, tmp_path, target=tmp_path / "documents" / "key")
    cache_clear(tmp_path)
    assert_same_corpus(read(made, tmp_path), corpus)


@pytest.mark.parametrize("name", ["index.npy", "facts.json", "records-0.bin", "gold_start.npy"])
@pytest.mark.parametrize("damage", ["cut", "gone", "zip", "deep"])
def test_a_damaged_entry_is_made_again(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, damage: str
) -> None:
    monkeypatch.setattr(corpus_module, "_WORTH_KEEPING", -1)
    target = tmp_path / "documents" / "key"
    first = read(made, tmp_path, target=target)
    file = target / name
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-5])
    elif damage == "gone":
        file.unlink()
    else:
        file.write_bytes(b"PK\3\4" * 9 if damage == "zip" else b"[" * 100_000)
    assert_same_corpus(read(made, tmp_path), read(made, tmp_path, target=target))
    del first


def test_a_folder_that_cannot_be_written_is_no_reason_to_stop(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk(monkeypatch)
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert_same_corpus(read(made, tmp_path), read(made, tmp_path, target=blocked / "key"))


def test_what_is_not_kept_leaves_nothing(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_disk(monkeypatch)
    corpus = read(made, tmp_path)
    assert list((tmp_path / "spool").iterdir())
    del corpus
    assert not list((tmp_path / "spool").iterdir())


def test_left_overs_of_dead_processes_are_removed(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_disk(monkeypatch)
    dead = tmp_path / "spool" / f".new-{2**22 - 3}-x"
    alive = tmp_path / "spool" / f".new-{os.getpid()}-x"
    dead.mkdir(parents=True)
    alive.mkdir()
    read(made, tmp_path)
    assert not dead.exists()
    assert alive.exists()


def test_what_another_machine_makes_is_left_alone_for_a_week(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines and containers that share a cache know nothing of each other's processes."""
    on_disk(monkeypatch)
    other = tmp_path / "spool" / f".new-{2**22 - 3}-00000000-x"
    other.mkdir(parents=True)
    (other / "records-0.bin").write_bytes(b"")
    a_week_ago = time.time() - 7 * 24 * 3600 - 1
    os.utime(other, (a_week_ago, a_week_ago))
    read(made, tmp_path)
    assert other.exists()
    assert cache_clear(tmp_path) == 0
    assert other.exists()
    os.utime(other / "records-0.bin", (a_week_ago, a_week_ago))
    read(made, tmp_path)
    assert not other.exists()


def test_a_cache_that_is_deleted_meanwhile_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / "documents" / name).mkdir(parents=True)
        (tmp_path / "documents" / name / "facts.json").write_text("{}")

    def facts(path: Path) -> dict[str, Any]:
        if path.parent.name == "a":
            shutil.rmtree(path.parent)
        return {}

    monkeypatch.setattr(cache, "_facts", facts)
    assert [entry.folder.name for entry in cache_list(tmp_path)] == ["b"]


def test_anything_that_shapes_documents_changes_the_key(made: Path, tmp_path: Path) -> None:
    def key(**made_by: Any) -> str | None:
        return key_of(source(made), **made_by)

    before = key(needs=1)
    assert before == key(needs=1)
    assert before != key(needs=2)
    content = made.read_bytes()
    stat = made.stat()
    made.write_bytes(content.replace(b"Arvo", b"Arvp", 1))
    os.utime(made, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert before != key(needs=1), "the content counts, not the date"
    made.write_bytes(content)
    assert before == key(needs=1)


# Bytes ---------------------------------------------------------------------------------------------------------------

words = st.text(st.characters(codec=None, exclude_characters="\n"), max_size=4)
values = st.one_of(
    st.none(), st.text(st.characters(codec=None), max_size=3), st.floats(allow_nan=False), st.integers(), st.booleans()
)


@given(st.lists(st.tuples(words, values), min_size=1, max_size=12), st.integers(0, 3))
def test_any_document_is_packed_and_unpacked(units: list[tuple[str, Any]], cut: int) -> None:
    symbols, tokens = "", []
    for word, value in units:
        tokens.append({"spans": [[len(symbols), len(symbols) + len(word)]], "metadata": {"odd": value, "size": 1.5}})
        symbols += word + " "
    document = Document(symbols)
    from papermage_core.document import Entity, Metadata, Span

    document.annotate_layer(
        "tokens", [Entity(spans=[Span(*t["spans"][0])], metadata=Metadata(**t["metadata"])) for t in tokens]
    )
    document.annotate_layer("names", [Entity(spans=[Span(0, max(1, len(symbols) - cut))])])
    parser = Parser(Labelling(label_field=("names",)), NEEDS, Issues())
    parsed = parser.parse(document, "näme \ud800")
    assert same_parsed(parsed, unpack_document(pack_document(parsed)))


spans = st.builds(
    UnitSpan.joining,
    st.sampled_from(["a", "b", "é"]),
    st.lists(st.integers(0, 30).map(lambda i: (i, i + 2)), min_size=1, max_size=3),
    st.one_of(st.none(), st.floats(0, 1)),
)


@given(st.lists(st.lists(spans, max_size=4), max_size=6))
def test_a_table_of_spans_is_the_list_of_lists(rows: list[list[UnitSpan]]) -> None:
    table = SpanTable()
    for row in rows:
        table.append(row)
    again = SpanTable.from_arrays(table.names, table.to_arrays())
    for found in (table, again, SpanTable.joined([again], np.arange(len(rows)))):
        assert [found[i] for i in range(len(rows))] == rows
        assert [[s.score for s in found[i]] for i in range(len(rows))] == [[s.score for s in row] for row in rows]
    order = np.arange(len(rows))[::-1]
    assert [SpanTable.joined([table], order)[i] for i in range(len(rows))] == rows[::-1]
