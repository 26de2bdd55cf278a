"""Readers, writers, processors and extensions with one fault each: each is caught, with a word on what to do."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from papermage_core.plugin.manager import Plugins
from papermage_core.testing import run_suite, suite_for

LINES = "".join(f"line {number} of naïve text\n" for number in range(6)).encode()
READER = '''
from pathlib import Path
import attrs, json
from papermage_core import Document, Entity, Metadata, Span
from papermage_core.errors import DataError
from papermage_core.plugin import DocumentReaderConfig, hookimpl

def made(line, metadata=None):
    document = Document(line, metadata=metadata if metadata is not None else Metadata())
    ends = [i for i, c in enumerate(line + " ") if c == " "]
    starts = [0, *(end + 1 for end in ends[:-1])]
    document.annotate_layer("tokens", [Entity(spans=[Span(a, b)]) for a, b in zip(starts, ends) if a < b])
    return document

def opened(path, encoding="utf-8"):
    try:
        return open(path, encoding=encoding)
    except OSError as exc:
        raise DataError(str(exc), path=path) from exc
{top}
class Reader:
    def __init__(self): {init}
    def read(self, path):
{read}

@attrs.frozen(kw_only=True)
class Config(DocumentReaderConfig):
    """Lines."""
    suffixes = (".lines",)
    def build(self):
        return Reader()

@hookimpl
def papermage_document_reader():
    return Config
'''
SOUND = """
        with opened(path) as file:
            for line in file:
                yield made(line.strip())
"""
READERS: dict[str, tuple[dict[str, str], str, str]] = {
    "one_object": (
        {
            "read": SOUND.replace(
                "yield made(line.strip())", "self.one = getattr(self, 'one', None) or made(line); yield self.one"
            )
        },
        "documents are read one by one",
        "make a new one each time",
    ),
    "shared_metadata": (
        {"top": "SHARED = Metadata(source=1)", "read": SOUND.replace("line.strip()", "line.strip(), SHARED")},
        "documents share nothing",
        "make everything anew for each document",
    ),
    "all_at_once": (
        {
            "read": SOUND.replace("for line in file", "for document in [made(line.strip()) for line in file]")
            .replace("made(line.strip())\n", "document\n", 1)
            .replace("yield made(line.strip())", "yield document")
        },
        "documents are read one by one",
        "make a document when it is its turn",
    ),
    "all_lines": (
        {"read": SOUND.replace("for line in file", "for line in file.readlines()")},
        "a large file is not held in memory",
        "read line by line, or in blocks",
    ),
    "all_text": (
        {"read": SOUND.replace("for line in file", "for line in file.read().splitlines()")},
        "a large file is not held in memory",
        "no read(), readlines()",
    ),
    "left_open": (
        {"read": "        for line in opened(path):\n            yield made(line.strip())\n"},
        "files are closed",
        "open files in a with block",
    ),
    "kept_open": (
        {"read": "        self.file = opened(path)\n        for line in self.file:\n            yield made(line)\n"},
        "files are closed",
        "open files in a with block",
    ),
    "one_file_at_a_time": (
        {
            "read": "        self.path = path\n"
            + SOUND.replace(
                "yield made(line.strip())", "yield made(line.strip() + self.path.suffix * (self.path != path))"
            )
        },
        "files can be read side by side",
        "keep what is read at the moment in the generator's own variables",
    ),
    "locale": (
        {"read": SOUND.replace("opened(path)", "Path(path).open()")},
        "text is opened in an encoding that is named",
        'say encoding="utf-8"',
    ),
    "salted": (
        {"read": SOUND.replace("line.strip()", "line.strip(), Metadata(key=hash(line))")},
        "another process makes the same of the same",
        "use no hash() of strings",
    ),
    "prints": ({"read": "        print('reading', path)\n" + SOUND}, "nothing is printed", "log with logging"),
    "prints_at_exit": (
        {"top": "import atexit", "init": "atexit.register(lambda: print('read it all'))", "read": SOUND},
        "nothing is printed",
        "'read it all' was printed",
    ),
    "warns_of_every_line": (
        {
            "top": "import logging, warnings",
            "read": SOUND.replace("for line in file:", "for line in file:\n                logging.warning('odd')"),
        },
        "warnings are few",
        "warn once a file",
    ),
    "warns_of_every_line_by_its_text": (
        {
            "top": "import warnings",
            "read": SOUND.replace("for line in file:", "for line in file:\n                warnings.warn(line)"),
        },
        "warnings are few",
        "warn once a file",
    ),
    "leaves_a_temporary_folder": (
        {"top": "import tempfile", "read": "        tempfile.mkdtemp()\n" + SOUND},
        "the process is left as it was",
        "remove temporary files and folders",
    ),
    "leaves_a_temporary_file": (
        {
            "top": "import tempfile",
            "read": "        with tempfile.NamedTemporaryFile(delete=False) as copy: copy.write(b'x')\n" + SOUND,
        },
        "the process is left as it was",
        "remove temporary files and folders",
    ),
    "prints_at_import": ({"top": "print('hello')", "read": SOUND}, "nothing is printed", "'hello' was printed"),
    "environment": (
        {"top": "import os; os.environ['LINES_OF_MINE'] = '1'", "read": SOUND},
        "the process is left as it was",
        "environment variables (LINES_OF_MINE)",
    ),
    "patches": (
        {"top": "import numpy; numpy.asarray = lambda *a, **k: numpy.array(*a, **k)", "read": SOUND},
        "the process is left as it was",
        "attributes of numpy (asarray)",
    ),
    "warnings_off": (
        {"top": "import warnings; warnings.simplefilter('ignore')", "read": SOUND},
        "the process is left as it was",
        "filters of warnings",
    ),
    "root_logger": (
        {"top": "import logging; logging.basicConfig(level=10, force=True)", "read": SOUND},
        "the process is left as it was",
        "the root logger",
    ),
    "sidecar": (
        {"read": "        mine = Path.home() / '.lines-of-mine'\n        mine.read_bytes()\n" + SOUND},
        "a moved checkpoint is all that is read",
        ".lines-of-mine was read",
    ),
}
WRITER = '''
import attrs, json
from papermage_core.plugin import DocumentWriterConfig, hookimpl
{top}
class Writer:
    n = 0
    def write(self, documents, target):
        for document in documents:
            {each}
            target.write(line.encode())
        return {{}}

@attrs.frozen(kw_only=True)
class Config(DocumentWriterConfig):
    """Lines."""
    suffixes = (".lines",)
    def build(self):
        return Writer()

@hookimpl
def papermage_document_writer():
    return Config
'''
WRITERS = {
    "numbers": (
        "",
        "self.n += 1; line = f'{self.n} {document.symbols!r}\\n'",
        "writing keeps no state",
        "in variables of write()",
    ),
    "set_order": (
        "",
        "line = json.dumps(list({*document.layers, *'abcdefgh'})) + '\\n'",
        "another process makes the same of the same",
        "no order of a set",
    ),
    "prints": ("", "print(document.id); line = 'x'", "nothing is printed", "log with logging.getLogger"),
    "log_file": (
        "",
        "open('written.log', 'a', encoding='utf-8').close(); line = 'x'",
        "the process is left as it was",
        "written.log was left",
    ),
    "template": (
        "",
        "from pathlib import Path; p = Path.home() / '.template-of-mine'; line = str(p.read_bytes())",
        "a moved checkpoint is all that is read",
        ".template-of-mine was read",
    ),
    "score_hash": (
        "",
        "line = str([hash(e.text) for e in document.get_layer('Disease')] if document.has_layer('Disease') else 0)",
        "a trained model is the same in another process",
        "use no hash() of strings",
    ),
}
PROCESSOR = '''
import attrs
from pathlib import Path
from papermage_core import Document, Entity, Span
from papermage_core.plugin import DocumentProcessorConfig, hookimpl, option
{top}
class Processor:
    def __init__(self, config):
        self.config, self.seen = config, {{}}
    def process(self, documents):
        for document in documents:
            if not document.has_layer("first"):
                {each}
                document.annotate_layer("first", [Entity(spans=[Span(0, stop)])])
            yield document

@attrs.frozen(kw_only=True)
class Config(DocumentProcessorConfig):
    """The beginning."""
    terms: str = option("", help="a file of terms")
    @property
    def makes(self):
        return ("first",)
    def build(self):
        {build}
        return Processor(self)

@hookimpl
def papermage_document_processor():
    return Config
'''
PROCESSORS = {
    "salted": (
        "stop = 1 + (hash(document.symbols) % len(document.symbols))",
        "pass",
        "another process makes the same of the same",
        "use no hash()",
    ),
    "outside": (
        "stop = 1",
        "Path(self.terms).read_bytes()",
        "a moved checkpoint is all that is read",
        "terms.txt was read, which is not in it",
    ),
    "prints": ("print('x'); stop = 1", "pass", "nothing is printed", "log with logging.getLogger"),
    "short": (
        "assert len(document.symbols) < 5000; stop = 1",
        "pass",
        "long documents are processed",
        "hold no size in the code",
    ),
}
EXTENSION = """
import attrs, numpy as np
from papermage_core.plugin import hookimpl
@hookimpl
def papermage_{hook}:
    {body}
"""
ADJUST = "adjust_predictions(document, context, output)"
EXTENSIONS = {
    "renames": (
        ADJUST,
        "return attrs.evolve(output, spans=[attrs.evolve(s, label='Bar') for s in output.spans])",
        "adjusted predictions are whole",
        "return labels that the model was trained for",
    ),
    "twice": (
        ADJUST,
        "return attrs.evolve(output, spans=sorted([*output.spans, *output.spans]))",
        "adjusted predictions are whole",
        "give every entity once",
    ),
    "outside": (
        ADJUST,
        "return attrs.evolve(output, spans=[s.shifted(3) for s in output.spans])",
        "adjusted predictions are whole",
        "return entities inside the context",
    ),
    "odd_tags": (
        ADJUST,
        "return attrs.evolve(output, tags=output.tags + 9)",
        "adjusted predictions are whole",
        "make tags indices into tag_names",
    ),
    "annotates": (
        ADJUST,
        "document.metadata['seen'] = True",
        "documents and contexts are left as they are",
        "leave the document and its metadata as they are",
    ),
    "adds_a_layer": (
        ADJUST,
        "document.has_layer('seen') or document.annotate_layer('seen', [])",
        "documents and contexts are left as they are",
        "was changed",
    ),
    "edits_the_context": (
        ADJUST,
        "context.words and context.words.append('x')",
        "documents and contexts are left as they are",
        "the context was changed",
    ),
    "needs_boxes": (
        ADJUST,
        "document.get_layer('tokens')[0].boxes[0] if len(context) else None",
        "documents of all kinds pass",
        "do without what a document may lack",
    ),
    "needs_an_id": (ADJUST, "document.metadata['doc_id'].lower()", "documents of all kinds pass", "metadata.get(...)"),
    "needs_spans": (ADJUST, "output.spans[0]", "documents of all kinds pass", "do without"),
    "counts": (
        ADJUST,
        "C.append(1); return attrs.evolve(output, spans=output.spans[len(C) % 2:])\nC = []",
        "adjusting keeps no state",
        "keep no state between calls",
    ),
    "keeps": (
        ADJUST,
        "K.append((document, output))\nK = []",
        "nothing is kept of what was predicted",
        "keep numbers, not documents",
    ),
    "prints": (ADJUST, "print('adjusting')", "nothing is printed", "log with logging.getLogger"),
    "prints_results": (
        "evaluated(split, results)",
        "print(results['micro'])",
        "nothing is printed",
        "log with logging.getLogger",
    ),
    "salted": (
        ADJUST,
        "return attrs.evolve(output, scores=np.full(len(context), (hash('x') % 1_000_003) / 1_000_003, np.float32))",
        "another process makes the same of the same",
        "use no hash() of strings",
    ),
    "exits": (
        "callbacks(config)",
        "from pytorch_lightning import Callback\n    class C(Callback):\n"
        "        def on_train_end(self, trainer, module):\n            raise SystemExit(3)\n    return [C()]",
        "a trained model is the same in another process",
        "a run with it failed with",
    ),
    "needs_a_key": (
        "evaluated(split, results)",
        "results['gold']",
        "results are seen and left as they are",
        "read what the hook's page lists",
    ),
}


def result_of(kind: str, name: str, source: str, check: str, folder: Path, **more: Any) -> Any:
    file = folder / f"{name}.py"
    file.write_text(source, encoding="utf-8")
    suite = suite_for(kind, f"{file}:{name}", plugins=Plugins([file]), **more)
    if not check:
        return [result for result in run_suite(suite) if not result.passed]
    (found,) = run_suite(suite, only=check)
    return found


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    for name in (".lines-of-mine", ".template-of-mine"):
        (tmp_path / "home" / name).write_text("x", encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)  # some of them leave a file where they run


@pytest.fixture(autouse=True)
def _root_logger():
    """The root logger after a test is as it was: one of the faulty readers sets it up."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.mark.parametrize("name", READERS)
def test_a_faulty_reader_is_caught(name, tmp_path):
    parts, check, message = READERS[name]
    source = READER.format(**{"top": "", "init": "pass", **parts})
    found = result_of(
        "document_reader", name, source, check, tmp_path, samples={"a.lines": LINES, "b.lines": LINES[:60]}
    )
    assert not found.passed
    assert message in found.error


def test_the_sound_reader_passes(tmp_path):
    source = READER.format(top="", init="pass", read=SOUND)
    assert result_of("document_reader", "sound", source, "", tmp_path, samples={"a.lines": LINES}) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a folder that is kept to the end
def test_a_reader_that_clears_up_behind_itself_passes(tmp_path):
    """At once, when the reader goes, or when the process ends; and says what is odd once a file."""
    top = """
import atexit, logging, shutil, tempfile, warnings
KEPT = []
"""
    init = "KEPT[:] = tempfile.TemporaryDirectory(), tempfile.mkdtemp(); atexit.register(shutil.rmtree, KEPT[1], True)"
    read = """
        logging.getLogger(__name__).warning("odd")
        with tempfile.TemporaryDirectory(), tempfile.NamedTemporaryFile(), opened(path) as file:
            for line in file:
                warnings.warn("as odd as the one before")
                yield made(line.strip())
"""
    source = READER.format(top=top, init=init, read=read)
    samples = {"a.lines": LINES}
    for check in ("the process is left as it was", "warnings are few", "nothing is printed"):
        assert result_of("document_reader", "tidy", source, check, tmp_path, samples=samples).passed


@pytest.mark.parametrize("name", WRITERS)
def test_a_faulty_writer_is_caught(name, tmp_path):
    top, each, check, message = WRITERS[name]
    found = result_of("document_writer", name, WRITER.format(top=top, each=each), check, tmp_path)
    assert not found.passed
    assert message in found.error


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_faulty_processor_is_caught(name, tmp_path):
    each, build, check, message = PROCESSORS[name]
    (tmp_path / "terms.txt").write_text("x", encoding="utf-8")
    source = PROCESSOR.format(top="", each=each, build=build)
    options = [{"terms": str(tmp_path / "terms.txt")}]
    found = result_of("document_processor", name, source, check, tmp_path, options=options)
    assert not found.passed
    assert message in found.error


@pytest.mark.parametrize("name", EXTENSIONS)
def test_a_faulty_extension_is_caught(name, tmp_path):
    hook, body, check, message = EXTENSIONS[name]
    found = result_of("extension", name, EXTENSION.format(hook=hook, body=body), check, tmp_path)
    assert not found.passed
    assert message in found.error


def test_an_extension_that_reads_what_its_page_promises_passes(tmp_path):
    body = "results['macro']['f1'], results['per_label'], results['lenient']['overlap']['f1'], results['documents']"
    source = EXTENSION.format(hook="evaluated(split, results)", body=body)
    assert result_of("extension", "macro", source, "", tmp_path) == []


SHARED = [
    ("e01_hash", "another process makes the same of the same", "use no hash() of strings"),
    ("e03_float64", "vectors have the dtype of the weights", "what numpy counts in float64 float32"),
    ("e05_outside_file", "a moved checkpoint is all that is read", "have save(folder) write a copy"),
    ("e09_leak", "nothing is kept of what was encoded", "keep no window, tensor or loss"),
    ("e13_prints", "nothing is printed", "leave out print()"),
    ("h01_detaches_encoder", "gradients reach the vectors", "no detach()"),
    ("h03_prob_space_crf", "long contexts have a finite loss", "compute with logarithms"),
    ("h05_one_label", "one label and a dozen are taken", "keep every axis: no squeeze()"),
    ("h07_keeps_graph", "nothing is kept of a batch", "keep no tensor or loss on the head"),
    ("h09_prints", "nothing is printed", "leave out print()"),
    ("h11_threshold_by_batch", "decoding keeps no state", "no threshold"),
    ("r01_same_object", "documents are read one by one", "make a new one each time"),
    ("r03_locale_encoding", "text is opened in an encoding that is named", 'say encoding="utf-8"'),
    ("r05_all_at_once", "documents are read one by one", "make a document when it is its turn"),
    ("s01_cuts_at_6", "long entities at every place come back", "entities of any length and place"),
    ("s03_fourth_label", "one label and a dozen are kept apart", "of which there may be any number"),
    ("x01_unknown_label", "adjusted predictions are whole", "return labels that the model was trained for"),
    ("x03_needs_metadata", "documents of all kinds pass", "metadata.get(...)"),
    ("x07_callback_stops", "a trained model is the same in another process", "SystemExit"),
]
KINDS = {"e": "context_encoder", "h": "model_head", "r": "document_reader", "s": "label_scheme", "x": "extension"}


@pytest.mark.filterwarnings("ignore:Decoded is now HeadOutput:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:papermage_adjust_predictions. name 'decoded' now 'output':DeprecationWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # files that they leave open
@pytest.mark.parametrize(("name", "check", "message"), SHARED, ids=[row[0] for row in SHARED])
def test_the_faulty_plugins_beside_the_corpora_are_caught(name, check, message, corpora, tmp_path, monkeypatch):
    file = corpora.parent / "faulty_plugins" / f"{name}.py"
    if not file.exists():
        pytest.skip("there are no faulty plugins beside the corpora")
    (tmp_path / "gazetteer.txt").write_text("ataxia heart", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    found = result_of(
        KINDS[name[0]], name, file.read_text(encoding="utf-8"), check, tmp_path, samples={"a.lines": LINES}
    )
    assert not found.passed
    assert message in found.error
