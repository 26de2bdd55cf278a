"""Jobs: the same output to the byte in one go or in many, by one process or several; what is bad is set apart."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from papermage_core import Document, read_documents, write_documents
from papermage_core.cli.data import main as data_main
from papermage_core.cli.predict import main
from papermage_core.data import blocks
from papermage_core.data.cache import cache_clear
from papermage_core.errors import BrokenRunError, ConfigError, DataError, StoppedError
from papermage_core.prediction import (
    Engine,
    EntityClassificationPredictor,
    Layers,
    ModelChoice,
    Predicted,
    journal,
    made,
    predict_files,
    running,
)
from papermage_core.prediction.annotators import ModelAnnotator
from papermage_core.prediction.journal import Journal, open_journal, part_folder
from papermage_core.prediction.work import BlockWorker
from papermage_core.prediction.workers import ForkedWorkers
from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer
from papermage_core.training.stopping import Stopping
from papermage_formats.csv import CsvWriterConfig


@pytest.fixture(scope="module")
def checkpoint(train_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = EntityClassificationTrainConfig(
        data_path=train_file,
        label_field="names,amounts",
        max_steps=6,
        val_split=0,
        learning_rate=3e-2,
        default_root_dir=tmp_path_factory.mktemp("run"),
        enable_progress_bar=False,
        **{"encoder.width": 16, "encoder.rows": 400},
    )
    return EntityClassificationTrainer(config).train().checkpoint


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> EntityClassificationPredictor:
    return EntityClassificationPredictor.from_pretrained(checkpoint)


@pytest.fixture
def source(tmp_path: Path, write_corpus: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Documents, the second and the ninth of which cannot be used, in blocks of about three."""
    monkeypatch.setattr(blocks, "_BYTES", 12_000)
    path = write_corpus(tmp_path / "in" / "new.jsonl", n=16, seed=9) if (tmp_path / "in").mkdir() is None else tmp_path
    lines = path.read_bytes().splitlines(keepends=True)
    lacking = json.loads(lines[8])
    del lacking["entities"]["tokens"]
    lines[1], lines[8] = b"{broken\n", json.dumps(lacking).encode() + b"\n"
    path.write_bytes(b"".join(lines))
    return path


@pytest.fixture
def sound(source: Path) -> Path:
    lines = source.read_bytes().splitlines(keepends=True)
    source.write_bytes(b"".join([lines[0], *lines[2:8], *lines[9:]]))
    return source


def found_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# What comes out ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to_pipe", [False, True])
def test_what_is_to_be_written_and_nothing_makes_is_told_before_the_work(
    checkpoint: Path, sound: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, to_pipe: bool
) -> None:
    out = f"output_path={'-' if to_pipe else tmp_path / 'found.csv'}"
    given = [f"model_name_or_path={checkpoint}", f"data_path={sound}", out]
    assert main([*given, "records=pages(naems,amounts)"]) == 0
    told = [record.message for record in caplog.records]
    first = next(n for n, line in enumerate(told) if "nothing can be written of 'naems': nothing makes" in line)
    assert "Did you mean 'names'? Layers and labels there: predictions, " in told[first]
    done = f"{len(sound.read_bytes().splitlines())} documents in"
    assert first < next(n for n, line in enumerate(told) if line.startswith(done))
    caplog.clear()
    assert main([*given, "records=pages(names,predictions.amounts)", "overwrite=true"]) == 0
    assert "nothing can be written" not in caplog.text, "the model may find these, also where it does not"


@pytest.mark.parametrize("value", ["no", 0, None, "false"])
def test_what_is_neither_true_nor_false_is_refused(
    predictor: EntityClassificationPredictor, sound: Path, tmp_path: Path, value: Any
) -> None:
    (document, *_), said = list(read_documents(sound)), "expected True or False, got "
    with pytest.raises(TypeError, match=f"merge: {said}{value!r}"):
        predictor.predict(document, merge=value)
    with pytest.raises(TypeError, match=f"merge: {said}"):
        predictor.predict(document, value)
    for name in ("mixed", "within"):
        with pytest.raises(TypeError, match=f"{name}: {said}"):
            next(predictor.predict_many([document], **{name: value}))
    for name in ("merge", "per_label", "overwrite"):
        with pytest.raises(TypeError, match=f"{name}: {said}"):
            Layers(**{name: value})
    with pytest.raises(TypeError, match=f"overwrite: {said}"):
        predict_files(predictor, sound, tmp_path / "out.jsonl", overwrite=value)
    with pytest.raises(TypeError, match=f"overwrite: {said}"):
        write_documents([document], tmp_path / "out.jsonl", overwrite=value)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("name", ["found.jsonl", "found.csv", "found.csv.gz", "found.bioc", "found.ann", "found.conll"])
def test_the_output_is_what_the_writer_makes_of_all_documents(
    predictor: EntityClassificationPredictor, sound: Path, tmp_path: Path, name: str
) -> None:
    documents = list(read_documents(sound))
    for document, entities in zip(documents, predictor.predict_many(documents), strict=True):
        document.annotate_layer("predictions", entities)
    out, expected = tmp_path / "out", tmp_path / "expected"
    out.mkdir()
    write_documents(documents, expected / name)
    found = predict_files(predictor, sound, out / name)
    assert (found.documents, found.failed) == (len(documents), 0)
    assert found.units == sum(len(document.tokens) for document in documents)
    told = [dict(each) for each in (found_in(out), found_in(expected))]
    assert told[0].keys() == told[1].keys()
    if not name.endswith(".gz"):
        assert without_scores(told[0]) == without_scores(told[1])


def without_scores(files: dict[str, bytes]) -> list[list[str]]:
    """Return the words of files but for long numbers, which batches round in other ways."""
    return [
        [word for word in content.decode().replace(",", " ").split() if "0." not in word] for content in files.values()
    ]


def test_documents_without_names_are_numbered_in_tables(
    predictor: EntityClassificationPredictor, sound: Path, tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in sound.read_text().splitlines()]
    for line in lines:
        line["metadata"] = {}
    sound.write_text("".join(json.dumps(line) + "\n" for line in lines))
    predict_files(predictor, sound, tmp_path / "found.csv")
    numbers = [int(row.partition(",")[0]) for row in (tmp_path / "found.csv").read_text().splitlines()[1:]]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, len(lines) + 1))


def test_bad_documents_are_set_apart_with_their_place(
    predictor: EntityClassificationPredictor, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "found.jsonl"
    found = predict_files(predictor, source, out, max_errors=2)
    assert (found.documents, found.failed) == (14, 2)
    assert [document.id for document in read_documents(out)] == [
        f"doc-{9000 + n}" for n in range(16) if n not in (1, 8)
    ]
    errors = [json.loads(line) for line in (tmp_path / "found.jsonl.errors.jsonl").read_text().splitlines()]
    assert [(each["file"], each["line"], each["document"], each["number"]) for each in errors] == [
        (str(source), 2, None, 1),
        (str(source), 9, "doc-9008", 8),
    ]
    assert "JSON" in errors[0]["reason"]
    assert "tokens" in errors[1]["reason"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found.jsonl", "found.jsonl.errors.jsonl", "in"]


def test_more_errors_than_allowed_end_the_job_which_can_go_on(
    predictor: EntityClassificationPredictor, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "found.jsonl"
    with pytest.raises(DataError, match=r"2 documents could not be used, and max_errors=1"):
        predict_files(predictor, source, out, max_errors=1)
    assert not out.exists()
    found = predict_files(predictor, source, out, max_errors=2, resume=True)
    assert (found.documents, found.failed) == (14, 2)


def test_more_errors_than_allowed_end_the_job_however_often_it_is_begun_again(
    predictor: EntityClassificationPredictor, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_BYTES", 1 << 30)  # one block, so that nothing is left to do
    out = tmp_path / "found.jsonl"
    for resume, most in ((False, 1), (True, 1), (True, 0)):
        with pytest.raises(DataError, match=rf"2 documents could not be used, and max_errors={most}"):
            predict_files(predictor, source, out, max_errors=most, resume=resume)
    assert not out.exists()
    assert predict_files(predictor, source, out, max_errors=2, resume=True).failed == 2


def test_the_list_of_what_is_skipped_makes_its_folder(
    predictor: EntityClassificationPredictor, source: Path, tmp_path: Path
) -> None:
    listed = tmp_path / "new" / "lists" / "skipped.jsonl"
    predict_files(predictor, source, tmp_path / "found.jsonl", max_errors=None, errors_path=listed)
    assert len(listed.read_text().splitlines()) == 2


@pytest.fixture
def with_blank(sound: Path) -> Path:
    """Documents, the third of which has no word, which tables and XML of texts do not hold."""
    lines = sound.read_bytes().splitlines(keepends=True)
    pages = json.dumps({"symbols": " ", "metadata": {"id": "blank"}, "entities": {"tokens": [], "pages": []}})
    sound.write_bytes(b"".join([*lines[:2], pages.encode() + b"\n", *lines[2:]]))
    return sound


@pytest.mark.parametrize("name", ["found.tei", "found.webanno"])
def test_a_document_that_the_format_cannot_hold_is_skipped_like_others(
    predictor: EntityClassificationPredictor, with_blank: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(DataError, match="which this format needs"):
        predict_files(predictor, with_blank, tmp_path / name)
    found = predict_files(predictor, with_blank, tmp_path / name, max_errors=1, resume=True)
    assert (found.documents, found.failed) == (14, 1)
    (line,) = (tmp_path / f"{name}.errors.jsonl").read_text().splitlines()
    said = json.loads(line)
    assert (said["number"], said["file"], said["document"]) == (2, str(with_blank), "blank")
    assert len(list(read_documents(tmp_path / name))) == 14
    assert not part_folder(tmp_path / name).exists()


def test_a_format_that_can_hold_none_of_the_documents_leaves_no_output(
    predictor: EntityClassificationPredictor, with_blank: Path, tmp_path: Path
) -> None:
    with_blank.write_bytes(with_blank.read_bytes().splitlines(keepends=True)[2])
    with pytest.raises(DataError, match=r"none of the documents can be used \(an error\)"):
        predict_files(predictor, with_blank, tmp_path / "found.tei", max_errors=None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found.tei.errors.jsonl", "in"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux alone")
@pytest.mark.parametrize("name", ["found.csv", "found.jsonl"])
def test_text_that_no_file_can_hold_is_a_fault_of_its_document(
    predictor: EntityClassificationPredictor, sound: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotate = ModelAnnotator.annotate

    def with_surrogate(self: Any, located: Any, on_error: Any) -> Iterator[Document]:
        for number, document in enumerate(annotate(self, located, on_error)):
            if number == 1:
                document.metadata["doc_id"] = "\udcff"
            yield document

    monkeypatch.setattr(ModelAnnotator, "annotate", with_surrogate)
    monkeypatch.setattr(blocks, "_BYTES", 1 << 30)
    found = predict_files(predictor, sound, tmp_path / name, max_errors=None)
    assert (found.documents, found.failed) == (13, 1)
    assert "surrogates not allowed" in (tmp_path / f"{name}.errors.jsonl").read_text()


def test_by_default_the_first_bad_document_ends_the_job(
    predictor: EntityClassificationPredictor, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="line 2"):
        predict_files(predictor, source, tmp_path / "found.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_where_no_document_can_be_used_there_is_no_output(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share of a job is written all the same: there may be others, and all of them are merged."""
    source, out = tmp_path / "bad.jsonl", tmp_path / "found.csv"
    source.write_text("{broken\n[]\n")
    words = [f"model_name_or_path={checkpoint}", f"data_path={source}", "on_error=skip"]
    assert main([*words, f"output_path={out}"]) == 3
    assert "none of the documents can be used (2 errors), so there is no result" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl", "found.csv.errors.jsonl"]
    assert len((tmp_path / "found.csv.errors.jsonl").read_text().splitlines()) == 2
    assert main([*words, f"output_path={out}", "resume=auto"]) == 3
    assert main([*words, "output_path=-"]) == 3
    assert capsys.readouterr().out == ""
    for number in (1, 2):
        assert main([*words, f"output_path={tmp_path}/part-{number}.csv", f"shard={number}/2"]) == 0
    assert data_main(["merge", str(tmp_path / "part-*.csv"), f"output_path={out}", "overwrite=true"]) == 3
    assert "none of the documents can be used (2 errors)" in capsys.readouterr().err
    assert not out.exists()


def test_a_document_over_which_code_fails_is_found_out(
    predictor: EntityClassificationPredictor, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predictor.predict_many

    def fails(docs: Any, *arguments: Any, **more: Any) -> Iterator[Any]:
        def looked(docs: Any = docs) -> Iterator[Document]:
            for document in docs:
                if document.id == "doc-9005":
                    raise IndexError("an odd one")
                yield document

        return whole(looked(), *arguments, **more)

    monkeypatch.setattr(predictor, "predict_many", fails)
    found = predict_files(predictor, sound, tmp_path / "found.jsonl", max_errors=None)
    assert (found.documents, found.failed) == (13, 1)
    (error,) = [json.loads(line) for line in (tmp_path / "found.jsonl.errors.jsonl").read_text().splitlines()]
    assert (error["document"], error["reason"]) == ("doc-9005", "IndexError: an odd one")


# Killed and gone on with ---------------------------------------------------------------------------------------------


def in_a_fork(body: Callable[[], Any]) -> int:
    """Run in a process of its own; return how it ended: minus the signal that killed it, 0 if it was done."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            import torch

            torch.set_num_threads(1)
            body()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("name", ["found.csv", "found.bioc"])
def test_a_job_killed_at_any_call_to_the_system_ends_with_the_same_bytes(
    predictor: EntityClassificationPredictor,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """Killed before each call in turn that makes, moves or removes something, or has it on the disk."""
    monkeypatch.setattr(journal, "_BETWEEN_LINES", 0.0)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    assert in_a_fork(lambda: predict_files(predictor, source, whole / name, max_errors=9)) == 0
    calls = ("fsync", "replace", "rename", "unlink", "rmdir", "truncate", "write")

    def killed_at(count: int) -> None:
        left = count

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **more: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **more)

            return call

        for each in calls:
            setattr(os, each, counted(getattr(os, each)))
            if hasattr(paths := getattr(pathlib, "_NormalAccessor", None), each):  # Python 3.10 has taken them from os
                setattr(paths, each, staticmethod(getattr(os, each)))
        predict_files(predictor, source, broken / name, max_errors=9, resume=True)

    ends = [in_a_fork(lambda: killed_at(2))]
    while ends[-1] == -signal.SIGKILL and len(ends) < 200:
        ends.append(in_a_fork(lambda: killed_at(2 + len(ends) % 7)))  # each time at another call
    assert ends[-1] == 0
    assert len(ends) > 5
    assert found_in(broken) == found_in(whole)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_job_killed_at_random_moments_ends_with_the_same_bytes(
    predictor: EntityClassificationPredictor, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_BETWEEN_LINES", 0.0)
    whole, broken = tmp_path / "whole.csv", tmp_path / "broken.csv"
    assert in_a_fork(lambda: predict_files(predictor, source, whole, max_errors=9)) == 0
    chance = random.Random(5)

    def killed_in(seconds: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        signal.signal(signal.SIGALRM, lambda number, frame: os.kill(os.getpid(), signal.SIGKILL))
        predict_files(predictor, source, broken, max_errors=9, resume=True)

    for _ in range(5):
        in_a_fork(lambda: killed_in(chance.uniform(0.001, 0.05)))
    assert in_a_fork(lambda: predict_files(predictor, source, broken, max_errors=9, resume=True)) == 0
    assert broken.read_bytes() == whole.read_bytes()
    errors = [(tmp_path / f"{each}.csv.errors.jsonl").read_bytes() for each in ("whole", "broken")]
    assert errors[0] == errors[1]


def test_a_slow_disk_takes_little_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, on_disk, calls = 0.0, 0.0, 0

    def fsync(_: int) -> None:
        nonlocal now, on_disk, calls
        now, on_disk, calls = now + 0.1, on_disk + 0.1, calls + 1

    monkeypatch.setattr(journal.os, "fsync", fsync)
    monkeypatch.setattr(journal.time, "monotonic", lambda: now)
    with open_journal(tmp_path / "found.csv", {"fingerprint": {}}, "output.csv", resume=False, overwrite=False) as made:
        calls, on_disk, begin = 0, 0.0, now
        for number in range(20_000):
            now += 0.01
            made.data.write(b"x")
            made.add(1, 1, {}, [b"an error\n"] if number == 19_000 else [], ())
        assert 0 < on_disk < 0.02 * (now - begin)
        made.finish()
    last = json.loads((tmp_path / "found.csv.part" / "journal.jsonl").read_text().splitlines()[-1])
    assert (last["documents"], last["failed"], last["is_done"]) == (20_000, 1, True)
    assert last["sizes"] == {"data": 20_000, "errors": 9, "lengths": 0}


def stopped(predictor: Any, source: Path, out: Path, **more: Any) -> None:
    """Begin a job and have it stop after its first documents."""
    stopping = Stopping()
    ticks = 0
    real = BlockWorker._write

    def write(self: BlockWorker, *arguments: Any) -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 5:
            stopping.ask("SIGTERM")
        real(self, *arguments)

    BlockWorker._write = write  # type: ignore[method-assign]
    try:
        with pytest.raises(StoppedError, match=r"stopped by SIGTERM: \d+ documents are done and kept"):
            predict_files(predictor, source, out, stopping=stopping, **more)
    finally:
        BlockWorker._write = real  # type: ignore[method-assign]


def test_a_job_that_is_stopped_goes_on(predictor: EntityClassificationPredictor, sound: Path, tmp_path: Path) -> None:
    stopped(predictor, sound, tmp_path / "found.csv")
    assert not (tmp_path / "found.csv").exists()
    done = (tmp_path / "found.csv.part" / "output.csv").read_text()
    assert len(done.splitlines()) > 1  # it can be looked at
    with pytest.raises(DataError, match="of a job that was stopped: go on with resume=auto, or begin anew with"):
        predict_files(predictor, sound, tmp_path / "found.csv")
    predict_files(predictor, sound, tmp_path / "found.csv", resume=True)
    predict_files(predictor, sound, tmp_path / "whole.csv")
    assert (tmp_path / "found.csv").read_text() == (tmp_path / "whole.csv").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found.csv", "in", "whole.csv"]


def test_a_job_goes_on_only_as_it_began(
    predictor: EntityClassificationPredictor, checkpoint: Path, sound: Path, tmp_path: Path
) -> None:
    out = tmp_path / "found.csv"
    stopped(ModelChoice(model_name_or_path=checkpoint), sound, out)
    other = ModelChoice(model_name_or_path=checkpoint, layers=Layers(name="others"))
    with pytest.raises(ConfigError, match=r"layer_name is 'others', and was 'predictions'\n.*another one: type what"):
        predict_files(other, sound, out, resume=True)
    same = ModelChoice(model_name_or_path=checkpoint)
    with pytest.raises(ConfigError, match=r"writer is .*safe=False"):
        predict_files(same, sound, out, resume=True, writer=CsvWriterConfig(safe=False))
    sound.write_bytes(sound.read_bytes() + sound.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(ConfigError, match=r"the documents are others \(.*new.jsonl\)"):
        predict_files(same, sound, out, resume=True)
    found = predict_files(same, sound, out, overwrite=True)
    assert found.documents == 15


def test_what_is_done_is_not_done_again(predictor: EntityClassificationPredictor, sound: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.jsonl"
    predict_files(predictor, sound, out)
    before = out.stat().st_mtime_ns
    assert predict_files(predictor, sound, out, resume=True).documents == 0
    assert out.stat().st_mtime_ns == before
    os.utime(sound, ns=(time.time_ns(), time.time_ns()))
    with pytest.raises(DataError, match=r"new\.jsonl is newer"):
        predict_files(predictor, sound, out, resume=True)
    with pytest.raises(DataError, match="already"):
        predict_files(predictor, sound, out)


@pytest.mark.parametrize("name", ["found.csv", "found.ann"])
def test_what_is_done_is_not_taken_for_another_job(
    checkpoint: Path, sound: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path / "cache"))
    same, out = ModelChoice(model_name_or_path=checkpoint), tmp_path / name
    predict_files(same, sound.parent, out)
    assert predict_files(same, sound.parent, out, resume=True, engine=Engine(processes=2)).documents == 0
    other = ModelChoice(model_name_or_path=checkpoint, layers=Layers(min_score=0.9))
    with pytest.raises(ConfigError, match=r"already, of another job: min_score is 0.9, and was None; choose another"):
        predict_files(other, sound.parent, out, resume=True)
    added = sound.with_name("added.jsonl")
    shutil.copy(sound, added)
    os.utime(added, ns=(0, 0))  # a paper that was there before the output, and came into the folder after it
    with pytest.raises(ConfigError, match=r"already, of another job: the documents are others \(.*added\.jsonl\)"):
        predict_files(same, sound.parent, out, resume=True)
    assert cache_clear(tmp_path / "cache") > 0
    assert predict_files(same, sound.parent, out, resume=True).documents == 0  # nothing is known of it any more


def test_the_last_outputs_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(made, "_KEPT", 2)
    outputs = [tmp_path / f"{number}.csv" for number in range(3)]
    for number, out in enumerate(outputs):
        out.write_text("x")
        made.remember(out, {"number": number})
        (place,) = (each for each in (tmp_path / "cache").rglob("*.json") if f'"number": {number}' in each.read_text())
        os.utime(place, ns=(number, number))
    assert [made.made_of(out) for out in outputs] == [None, {"number": 1, "files": []}, {"number": 2, "files": []}]
    outputs[2].write_text("changed")
    assert made.made_of(outputs[2]) is None
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PAPERMAGE_CACHE_DIR", str(tmp_path / "file"))
    made.remember(outputs[0], {})  # where nothing can be kept, nothing is
    assert made.made_of(outputs[0]) is None


def test_two_processes_are_not_at_one_job(
    predictor: EntityClassificationPredictor, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_WAIT", 0.0)
    out = tmp_path / "found.jsonl"
    facts = {"fingerprint": {}, "overwrite": False}
    with journal.open_journal(out, facts, "a", resume=False, overwrite=False):
        for options in ({"overwrite": True}, {}):
            with pytest.raises(DataError, match="another process is at this job"):
                predict_files(predictor, sound, out, **options)


def test_a_job_that_replaces_layers_does_so_to_its_end(checkpoint: Path, sound: Path, tmp_path: Path) -> None:
    choice = ModelChoice(model_name_or_path=checkpoint, layers=Layers(name="names", overwrite=True))
    out = tmp_path / "found.jsonl"
    out.write_text("former")
    stopped(choice, sound, out, overwrite=True)
    assert out.read_text() == "former"  # until the job is done
    typed_again = ModelChoice(model_name_or_path=checkpoint, layers=Layers(name="names"))
    assert predict_files(typed_again, sound, out, resume=True).documents == 14


# Several processes ---------------------------------------------------------------------------------------------------


def alive() -> set[int]:
    """Return the processes that this one has started, those that have ended and are not yet waited for included."""
    return {int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


@pytest.mark.parametrize("name", ["found.csv", "found.bioc"])
def test_several_processes_write_the_same_bytes(
    predictor: EntityClassificationPredictor, source: Path, tmp_path: Path, name: str
) -> None:
    before = alive()
    told: list[Predicted] = []
    for processes in (1, 3):
        out = tmp_path / str(processes)
        out.mkdir()
        told.append(predict_files(predictor, source, out / name, max_errors=None, engine=Engine(processes=processes)))
    assert found_in(tmp_path / "1") == found_in(tmp_path / "3")
    assert [(each.documents, each.failed, each.units) for each in told] == [(14, 2, told[0].units)] * 2
    assert alive() == before


@pytest.mark.parametrize(("last", "waiting"), [(0, 1), (4, 0)])
def test_none_of_the_last_blocks_waits_behind_another(
    predictor: EntityClassificationPredictor,
    sound: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    last: int,
    waiting: int,
) -> None:
    """Else one process would be idle at the end while a block waits for the other."""
    before: list[int] = []
    real = ForkedWorkers.give

    def give(self: ForkedWorkers, block: Any) -> None:
        before.append(min(len(child.blocks) for child in self._children))
        real(self, block)

    monkeypatch.setattr(ForkedWorkers, "give", give)
    monkeypatch.setattr(running, "_LAST", last)
    predict_files(predictor, sound, tmp_path / "found.csv", engine=Engine(processes=2))
    assert len(before) > 2
    assert max(before) == waiting


def test_a_worker_that_dies_is_replaced_and_its_documents_are_done_again(
    predictor: EntityClassificationPredictor, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict_files(predictor, sound, tmp_path / "whole.csv")
    parent, real, marks = os.getpid(), BlockWorker.run, tmp_path / "marks"
    marks.mkdir()

    def run(self: BlockWorker, block: Any, *arguments: Any) -> Any:
        done = real(self, block, *arguments)
        mark = marks / str(block.index)
        if os.getpid() != parent and block.index and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    monkeypatch.setattr(BlockWorker, "run", run)
    before = alive()
    predict_files(predictor, sound, tmp_path / "found.csv", engine=Engine(processes=2))
    assert len(list(marks.iterdir())) > 1
    assert (tmp_path / "found.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert alive() == before


def test_documents_over_which_workers_always_die_are_named(
    predictor: EntityClassificationPredictor, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = BlockWorker.run

    def run(self: BlockWorker, block: Any, *arguments: Any) -> Any:
        if block.index == 2:
            os._exit(9)
        return real(self, block, *arguments)

    monkeypatch.setattr(BlockWorker, "run", run)
    before = alive()
    with pytest.raises(
        BrokenRunError, match=r"6 processes, one after the other, ended with code 9 over documents \d+ to"
    ):
        predict_files(predictor, sound, tmp_path / "found.csv", engine=Engine(processes=2))
    assert alive() == before
    monkeypatch.setattr(BlockWorker, "run", real)
    found = predict_files(predictor, sound, tmp_path / "found.csv", resume=True)
    assert found.documents == 14


def test_the_first_bad_document_is_named_whichever_process_finds_one(
    predictor: EntityClassificationPredictor, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="line 2"):
        predict_files(predictor, source, tmp_path / "found.jsonl", engine=Engine(processes=2))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Ray's own
def test_a_cluster_writes_the_same_bytes_though_a_node_is_lost(
    checkpoint: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    model = ModelChoice(model_name_or_path=checkpoint)
    whole = predict_files(model, source, tmp_path / "whole.csv", max_errors=None)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        node, real, removed = cluster.add_node(num_cpus=1), journal.Journal.add, []

        def add(self: journal.Journal, *arguments: Any) -> None:
            real(self, *arguments)
            if not removed:
                removed.append(cluster.remove_node(node, allow_graceful=False))

        monkeypatch.setattr(journal.Journal, "add", add)
        engine = Engine(name="ray", processes=2, address=cluster.address)
        found = predict_files(model, source, tmp_path / "found.csv", max_errors=None, engine=engine)
    finally:
        cluster.shutdown()
    assert removed
    assert (found.documents, found.failed, found.units) == (whole.documents, whole.failed, whole.units)
    for name in ("csv", "csv.errors.jsonl"):
        assert (tmp_path / f"found.{name}").read_bytes() == (tmp_path / f"whole.{name}").read_bytes()


# The command ---------------------------------------------------------------------------------------------------------


def test_shards_are_merged_to_what_one_process_writes(
    checkpoint: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [f"model_name_or_path={checkpoint}", f"data_path={source}", "on_error=skip", "-q"]
    for name in ("whole.csv", "whole.jsonl"):
        assert main([*common, f"output_path={tmp_path / name}"]) == 0
    for ending in ("csv", "jsonl"):
        parts = str(tmp_path / f"part-*.{ending}")
        for number in (3, 1):
            assert main([*common, f"shard={number}/3", f"output_path={tmp_path}/part-{number}.{ending}"]) == 0
        assert data_main(["merge", parts, f"output_path={tmp_path / f'merged.{ending}'}"]) == 3
        assert "of 3 parts, there are none for shard=2" in capsys.readouterr().err
        assert main([*common, "shard=2/3", f"output_path={tmp_path}/part-1.{ending}"]) != 0
        assert "give each part an output_path of its own, such as part-1.jsonl" in capsys.readouterr().err
        assert main([*common, "shard=2/3", f"output_path={tmp_path}/part-2.{ending}"]) == 0
        assert data_main(["merge", parts, f"output_path={tmp_path / f'merged.{ending}'}"]) == 0
        assert "14 documents" in capsys.readouterr().out
        for name in (f".{ending}", f".{ending}.errors.jsonl"):
            merged, whole = ((tmp_path / f"{each}{name}").read_bytes() for each in ("merged", "whole"))
            assert without_scores({"": merged}) == without_scores({"": whole})
    other = tmp_path / "other.bioc"
    assert data_main(["merge", str(tmp_path / "part-*.jsonl"), f"output_path={other}", "overwrite=true"]) == 0
    assert len(list(read_documents(other))) == 14
    part = tmp_path / "part-1.csv"
    part.write_bytes(part.read_bytes()[:-9])
    assert data_main(["merge", str(tmp_path / "part-*.csv"), f"output_path={tmp_path / 'cut.csv'}"]) == 3
    assert "part-1.csv: this part file is not as long as it was" in capsys.readouterr().err
    assert not list(tmp_path.glob("cut.csv*"))


def test_a_job_asked_to_stop_says_what_to_type(
    checkpoint: Path, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "found file.csv"
    real = BlockWorker.run

    def run(self: BlockWorker, block: Any, *arguments: Any) -> Any:
        if block.index == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, block, *arguments)

    monkeypatch.setattr(BlockWorker, "run", run)
    words = [f"model_name_or_path={checkpoint}", f"data_path={sound}", f"output_path={out}"]
    assert main(words) == 75
    told = capsys.readouterr().err
    assert "stopped by SIGTERM: " in told
    assert f"go on with:  papermage-predict model_name_or_path={checkpoint} " in told
    assert f"'output_path={out}' resume=auto" in told
    monkeypatch.setattr(BlockWorker, "run", real)
    assert main([*words, "resume=auto"]) == 0
    assert main([*words, "resume=auto"]) == 0


@pytest.mark.parametrize("words", [[], ["on_error=skip"], ["max_errors=3"]])
@pytest.mark.parametrize(
    ("place", "part"),
    [
        ("{source}", "this is one of the inputs"),
        ("{source.parent}/other.jsonl", "is one of the inputs"),
        ("{checkpoint}/model.safetensors", "is one of the inputs"),
        ("{checkpoint}/more.jsonl", "is one of the inputs"),
        ("{out}", "output_path names this file, too"),
        ("{out.parent}/../{out.parent.name}/{out.name}", "output_path names this file, too"),
        ("-", "name one"),
        (".", "this is a folder"),
    ],
)
def test_the_list_of_what_is_skipped_takes_the_place_of_nothing_that_is_read_or_made(
    checkpoint: Path,
    sound: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    place: str,
    part: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    before, weights = sound.read_bytes(), (checkpoint / "model.safetensors").read_bytes()
    out = tmp_path / "found.csv"
    given = [f"model_name_or_path={checkpoint}", f"data_path={sound.parent}", f"output_path={out}", "overwrite=true"]
    errors_path = place.format(source=sound, checkpoint=checkpoint, out=out)
    code = main([*given, f"errors_path={errors_path}", *words])
    told = capsys.readouterr().err
    assert code == 2, told
    assert part in told if words else "with on_error=raise nothing is skipped" in told
    with pytest.raises(ConfigError, match=re.escape(part)):
        predict_files(checkpoint, sound.parent, out, errors_path=errors_path, overwrite=True)
    assert sound.read_bytes() == before
    assert (checkpoint / "model.safetensors").read_bytes() == weights
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_more_processes_and_threads_than_a_machine_can_have_are_refused(
    checkpoint: Path, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"model_name_or_path={checkpoint}", f"data_path={sound}", f"output_path={tmp_path / 'found.csv'}"]
    assert main([*words, "processes=100000"]) == 2
    assert "processes=100000: this machine has " in capsys.readouterr().err
    assert main([*words, "num_threads=99999999999"]) == 2
    assert "expected a whole number at least 1 and at most 4096" in capsys.readouterr().err


def test_a_list_of_what_is_skipped_needs_a_job_that_skips(
    checkpoint: Path, sound: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"model_name_or_path={checkpoint}", f"data_path={sound}", "errors_path=listed.jsonl", "on_error=skip"]
    assert main(words) == 2
    assert "errors_path: a list is kept where files go to a file" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["found.csv", "found.csv.gz", "found.bioc"])
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_job_whose_output_is_in_place_is_done_whatever_asks_it_to_stop(
    checkpoint: Path, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, sign: int
) -> None:
    real = Journal.remove

    def remove(self: Journal) -> None:
        assert (tmp_path / name).is_file()
        signal.raise_signal(sign)
        real(self)

    former = signal.signal(signal.SIGINT, signal.default_int_handler), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(Journal, "remove", remove)
    try:
        words = [f"model_name_or_path={checkpoint}", f"data_path={sound}"]
        assert main([*words, f"output_path={tmp_path / name}"]) == 0
        assert signal.getsignal(signal.SIGTERM) == former[1]
    finally:
        signal.signal(signal.SIGINT, former[0])
    assert not part_folder(tmp_path / name).exists()


def test_a_job_whose_disk_is_full_says_where_and_what_to_type(
    checkpoint: Path,
    sound: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "found.csv"
    real = BlockWorker.run

    def run(self: BlockWorker, block: Any, *arguments: Any) -> Any:
        if block.index == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, block, *arguments)

    monkeypatch.setattr(BlockWorker, "run", run)
    words = [f"model_name_or_path={checkpoint}", f"data_path={sound}", f"output_path={out}"]
    assert main(words) == 1
    told = capsys.readouterr().err
    assert f"{out}: No space left on device" in told
    assert "go on with:  papermage-predict " in caplog.text
    assert "on_error" not in caplog.text
    monkeypatch.setattr(BlockWorker, "run", real)
    assert main([*words, "resume=auto"]) == 0


def test_options_that_do_not_go_together_are_refused(
    checkpoint: Path, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [f"model_name_or_path={checkpoint}", f"data_path={sound}"]
    out = f"output_path={tmp_path / 'found.csv'}"
    for words, expected in (
        ([*common, "processes=2"], "several processes go from files to a file"),
        ([*common, "resume=auto", "output_path=-"], "resume=auto: what goes through pipes cannot be gone on with"),
        ([*common, out, "address=auto"], "address=auto: this is for engine=ray"),
        ([*common, out, "processes=2", "device=cuda"], "for GPUs, type engine=ray or shard=i/n"),
        ([*common, out, "engine=dask"], "engine='dask'"),
    ):
        assert main(words) == 2, words
        assert expected in capsys.readouterr().err


@pytest.mark.parametrize("options", [{"resume": True}, {"every": 2}, {"engine": Engine(processes=2)}])
def test_what_each_process_would_choose_anew_is_refused(
    options: dict[str, Any], checkpoint: Path, sound: Path, tmp_path: Path
) -> None:
    choice = ModelChoice(model_name_or_path=checkpoint, options={"precision": "auto"})
    with pytest.raises(ConfigError, match="precision=auto: each process would choose anew"):
        predict_files(choice, sound, tmp_path / "out.jsonl", **options)
    assert not (tmp_path / "out.jsonl.part").exists()
    assert predict_files(choice, sound, tmp_path / "out.jsonl").documents > 0
