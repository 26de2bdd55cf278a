"""A library changes nothing of the process that it is called in; a command may."""

from __future__ import annotations

import json

import pytest

from papermage_compact.plugin import CompactConfig
from papermage_core.testing import make_documents, write_jsonl
from tests.warm import run_warm

PROGRAM = """
import faulthandler, gc, json, locale, logging, os, random, signal, socket, sys, threading, warnings
import numpy as np, torch, transformers, transformers.modeling_utils
from huggingface_hub.utils import are_progress_bars_disabled
from transformers.utils import logging as transformers_logging
from papermage_core.plugin import Context
from papermage_compact.plugin import CompactConfig
from papermage_transformers.plugin import TransformerEncoderConfig
import papermage_compact.encoder, papermage_transformers.build

logging.getLogger("transformers").setLevel(int(sys.argv[3]))  # whatever the caller has chosen

def flat(module):
    return {name: str(getattr(module, name, None)) for name in ("fp32_precision", "allow_tf32", "enabled", "benchmark")}

def state():
    backends = torch.backends
    umask = os.umask(0)
    os.umask(umask)
    names = [name for name in logging.root.manager.loggerDict if name in KNOWN]
    return {
        "matmul": torch.get_float32_matmul_precision(),
        "backends": [flat(m) for m in (backends, backends.mkldnn, getattr(backends.mkldnn, "matmul", None),
                                       backends.cuda.matmul, backends.cudnn)],
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "modes": [str(torch.get_default_dtype()), str(torch.get_default_device()), torch.is_grad_enabled(),
                  torch.is_autocast_enabled("cpu"), torch.are_deterministic_algorithms_enabled(),
                  torch.is_inference_mode_enabled()],
        "environment": dict(os.environ),
        "warnings": [str(f) for f in warnings.filters],
        "signals": [str(signal.getsignal(s)) for s in signal.valid_signals()],
        "loggers": {name: [logging.getLogger(name).level, logging.getLogger(name).disabled,
                           logging.getLogger(name).propagate, len(logging.getLogger(name).handlers)] for name in names},
        "root": [logging.root.level, len(logging.root.handlers), logging.raiseExceptions],
        "bars": [transformers_logging.is_progress_bar_enabled(), are_progress_bars_disabled()],
        "streams": [id(sys.stdin), id(sys.stdout), id(sys.stderr), str(sys.excepthook), str(threading.excepthook)],
        "python": [gc.isenabled(), gc.get_threshold(), sys.getrecursionlimit(), sys.path, os.getcwd(), umask,
                   socket.getdefaulttimeout(), faulthandler.is_enabled(), locale.setlocale(locale.LC_ALL)],
        "random": [str(random.getstate()), str(np.random.get_state())],
        "children": [thread.name for thread in threading.enumerate()],
    }

KNOWN = set(logging.root.manager.loggerDict)
import ctypes
from papermage_transformers import cpu
cpu.ctypes = None  # mallopt cannot be asked what it is set to: it must not be reached
config = {"hf": TransformerEncoderConfig, "compact": CompactConfig}[sys.argv[1]](**json.loads(sys.argv[2]))
context = Context(words=["Germline", "mutations", "in", "BRCA1"], space_before=np.ones(4, bool))
before = state()

def same(what):
    after = state()
    for name, value in before.items():
        assert value == after[name], f"{what} changed {name}: {value} -> {after[name]}"

settled = config.settle(iter([context]))
settled.needs
encoder = settled.build()
same("build")
batch = encoder.collate([w for ws in encoder.windows([context] * 3, stride=8) for w in ws])
optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-4)
for _ in range(2):
    encoder.train()(batch).sum().backward()
    same("a training step")
    optimizer.step()
with torch.inference_mode():
    encoder.eval()(batch)
same("prediction")
folder = sys.argv[4]
encoder.save(__import__("pathlib").Path(folder))
settled.build(__import__("pathlib").Path(folder)).load_state_dict(encoder.state_dict())
same("loading")
try:
    CONFIG = TransformerEncoderConfig(model_name_or_path=folder, boxes=False).build()  # no weights there
except ValueError:
    pass
same("a model that cannot be loaded")
"""


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("hf", {"cpu_precision": "bfloat16"}),
        ("hf", {"cpu_precision": "medium"}),
        ("hf", {"cpu_precision": "float32", "gradient_checkpointing": True}),
        ("compact", {"layout": "on"}),
    ],
)
@pytest.mark.parametrize("level", ["10", "0"])
def test_the_process_is_as_it_was(name, options, level, model_folder, tmp_path):
    if name == "hf":
        options = options | {"model_name_or_path": str(model_folder("bert"))}
    arguments = [name, json.dumps(options), level, str(tmp_path)]
    done = run_warm(PROGRAM, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == ""


def test_commands_tune_the_process_and_python_does_not(tmp_path, monkeypatch, capsys):
    from papermage_core.cli import evaluate, predict, train
    from papermage_core.prediction import EntityClassificationPredictor
    from papermage_core.training import EntityClassificationTrainConfig, EntityClassificationTrainer

    tuned = []
    monkeypatch.setattr(CompactConfig, "tune_process", lambda self: tuned.append(self.width))
    data = str(write_jsonl(make_documents(6), tmp_path / "data.jsonl"))
    options = {"data_path": data, "label_field": "Disease", "max_epochs": 1, "val_split": 0, "encoder.width": 8}
    options["default_root_dir"] = str(tmp_path / "run")

    EntityClassificationTrainer(EntityClassificationTrainConfig(**options)).train()
    model = f"model_name_or_path={tmp_path / 'run' / 'checkpoints'}"
    EntityClassificationPredictor.from_pretrained(tmp_path / "run" / "checkpoints")
    assert tuned == []

    options["default_root_dir"] = str(tmp_path / "again")
    assert train.main(["-q", *(f"{key}={value}" for key, value in options.items())]) == 0
    assert tuned == [8]
    assert evaluate.main(["-q", model, f"data_path={data}"]) == 0
    assert predict.main(["-q", model, f"data_path={data}", f"output_path={tmp_path / 'out.jsonl'}"]) == 0
    scored = ["-q", "mode=eval", model, f"data_path={data}", "label_field=Disease"]
    assert train.main([*scored, f"default_root_dir={tmp_path / 'scored'}"]) == 0
    assert tuned == [8] * 4
