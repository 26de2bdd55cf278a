"""A model as an ONNX graph: windows in, what the heads decode out; and the model that runs such a graph."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor, nn

from papermage_core.errors import CheckpointError, ConfigError
from papermage_core.model.entity_model import EntityModel
from papermage_core.plugin.blame import calling, component_of
from papermage_core.plugin.spec import Context, ContextEncoder, ContextNeeds, ModelHead

__all__ = ["ONNX_PRECISIONS", "OnnxModel", "Output", "check_runtime", "halves", "make_graphs", "onnx_model"]

ONNX_PRECISIONS = ("fp32", "int8")

REQUIREMENT = "pip install 'papermage_core[onnx]'"
_OPSET = 18
_MOST_BYTES = 2_000_000_000
"""What protobuf holds in one file."""
_CLOSE = 1e-3
"""Largest difference between the graph and the model, as a share of the largest value."""


@attrs.frozen
class Output:
    """An output of a graph: what a head takes of each unit. Shape (windows, units of the longest, width)."""

    name: str
    width: int


def halves(heads: Sequence[ModelHead]) -> tuple[list[nn.Module | None], list[ModelHead]]:
    """Return what of each head goes in the graph, None for none, and the heads that take what comes out of it."""
    scorers: list[nn.Module | None] = []
    rest: list[ModelHead] = []
    for head in heads:
        with calling(head, "split"):
            scorer, own = head.split() if hasattr(head, "split") else (None, head)
        scorers.append(scorer)
        rest.append(own)
    return scorers, rest


class _Graph(nn.Module):
    """Tensors of a run of windows → what each head takes."""

    def __init__(self, encoder: nn.Module, scorers: Sequence[nn.Module | None]) -> None:
        super().__init__()
        self.encoder = encoder
        self.scorers = nn.ModuleList(nn.Identity() if scorer is None else scorer for scorer in scorers)

    def forward(self, features: dict[str, Tensor]) -> list[Tensor]:
        vectors = self.encoder(features)
        return [scorer(vectors) for scorer in self.scorers]


def exportable(encoder: ContextEncoder) -> nn.Module:
    """Return the module of an encoder that is exported. Raises ConfigError where there is none."""
    with calling(encoder, "exportable"):
        found: Any = encoder.exportable() if hasattr(encoder, "exportable") else encoder
    return found.eval()  # type: ignore[no-any-return]


def _inputs(module: nn.Module, features: dict[str, Tensor]) -> dict[str, Tensor]:
    own: Any = getattr(module, "inputs", None)
    return features if own is None else dict(own(features))


def onnx_model(model: EntityModel, needs: ContextNeeds, precisions: Sequence[str]) -> OnnxModel:
    """Return a model that computes the same by ONNX Runtime. Raises what `make_graphs` raises."""
    graphs, outputs = make_graphs(model, needs, precisions)
    _, heads = halves(list(model.heads))  # type: ignore[arg-type]
    return OnnxModel(model.encoder, heads, model.labels, model.head_labels, graphs, outputs)


def make_graphs(
    model: EntityModel, needs: ContextNeeds, precisions: Sequence[str]
) -> tuple[dict[str, bytes], list[Output]]:
    """Return the encoder and the emissions of a model as an ONNX file for each precision, and the outputs of each.

    ``model`` must compute in fp32. Raises ConfigError for what cannot be exported, where what was exported computes
    something else, and where a library is missing.
    """
    for precision in precisions:
        if precision not in ONNX_PRECISIONS:
            raise ConfigError(f"precision={precision}: ONNX Runtime computes in {' or '.join(ONNX_PRECISIONS)} here")
    graphs = {}
    with tempfile.TemporaryDirectory() as name:
        path, small = Path(name) / "model.onnx", Path(name) / "model.int8.onnx"
        outputs = _write_graph(model, path, needs)
        for precision in precisions:
            if precision == "int8":
                _quantize(path, small, outputs)
            graphs[precision] = (small if precision == "int8" else path).read_bytes()
    return graphs, outputs


def _write_graph(model: EntityModel, path: Path, needs: ContextNeeds) -> list[Output]:
    """Write the encoder and the emissions of a model to an ONNX file; return the outputs.

    All sizes are free. Raises ConfigError where the model cannot be exported, and where what was exported computes
    something else.
    """
    if not hasattr(torch.export.Dim, "AUTO"):
        raise ConfigError(f"papermage-export needs torch 2.6 or later, and this is {torch.__version__}")
    _require("onnx", "onnxscript", "onnxruntime")
    model.eval()
    scorers, _ = halves(list(model.heads))  # type: ignore[arg-type]
    encoder = exportable(model.encoder)
    graph = _Graph(encoder, copy.deepcopy(scorers)).eval().float()
    name = component_of(model.encoder) or type(model.encoder).__name__
    size = sum(value.numel() * value.element_size() for value in graph.state_dict().values())
    if size > _MOST_BYTES:
        raise ConfigError(f"the {name} has weights of {size / 1e9:.1f} GB, and an ONNX file holds 2 GB at most")
    tensors = _inputs(encoder, _features(model.encoder, _made_up_contexts(needs, labels=model.labels))[0])
    names = [f"emissions_{i}" if scorer is not None else f"vectors_{i}" for i, scorer in enumerate(scorers)]
    names = [each.removesuffix("_0") if len(names) == 1 else each for each in names]
    shapes = {key: dict.fromkeys(range(value.ndim), torch.export.Dim.AUTO) for key, value in tensors.items()}
    with torch.no_grad(), _quiet():
        widths = [int(found.shape[-1]) for found in graph(tensors)]
        try:
            program = torch.onnx.export(
                graph,
                kwargs={"features": tensors},
                input_names=list(tensors),
                output_names=names,
                dynamic_shapes={"features": shapes},
                opset_version=_OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
            assert program is not None
            program.save(str(path), external_data=False)
        except Exception as error:
            cause = error.__cause__ or error
            if isinstance(cause, OSError):  # a full disk is no fault of the encoder
                raise cause from None
            reason = next(iter(str(cause).strip().splitlines()), type(error).__name__)
            raise ConfigError(f"the {name} cannot be exported to ONNX: {reason[:300]}") from error
    outputs = [Output(each, width) for each, width in zip(names, widths, strict=True)]
    _check_graph(model, path, outputs, needs)
    return outputs


def _check_graph(model: EntityModel, path: Path, outputs: Sequence[Output], needs: ContextNeeds) -> None:
    """Raise ConfigError unless a graph gives what a model does, for windows of other numbers and sizes too."""
    scorers, _ = halves(list(model.heads))  # type: ignore[arg-type]
    encoder, session = exportable(model.encoder), _session(path)
    name = component_of(model.encoder) or type(model.encoder).__name__
    for units in ((6, 2, 4), (1,), (3, 3, 3, 3, 17)):
        features, lengths = _features(model.encoder, _made_up_contexts(needs, units, model.labels))
        with torch.inference_mode():
            vectors = model.encoder(features).float()
            wanted = [vectors if scorer is None else scorer(vectors) for scorer in scorers]
        try:
            found = _run(session, _inputs(encoder, features), outputs)
        except Exception as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ConfigError(f"the {name} cannot be exported: for windows of other sizes, {reason[:300]}") from error
        real = np.arange(max(lengths)) < np.array(lengths)[:, None]
        for values, own in zip(wanted, found, strict=True):
            expected = values.numpy()
            if expected.shape != own.shape:
                raise ConfigError(
                    f"the {name} cannot be exported: for windows of other sizes the graph gives {own.shape} where the "
                    f"model gives {expected.shape}"
                )
            difference = np.abs(expected - own)[real].max()
            if not difference <= _CLOSE * max(1.0, np.abs(expected[real]).max()):
                raise ConfigError(
                    f"the {name} cannot be exported: for windows of other sizes the graph differs from the model by "
                    f"{difference:.3g}"
                )


def _quantize(path: Path, target: Path, outputs: Sequence[Output]) -> None:
    """Write a graph with weights of int8, each output channel with a scale of its own; inputs are scaled as they come.

    Products of the heads stay in float32. Weights have seven bits, so that no processor's instructions saturate: the
    results are the same with and without VNNI.
    """
    _require("onnx", "onnxruntime")
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    loaded = onnx.load(str(path))
    graph = loaded.graph
    weights = {each.name for each in graph.initializer}
    # ONNX Runtime 1.23 transposes weights, and then finds the shapes that are noted here to be others
    shapes = [each for each in graph.value_info if each.name not in weights]
    del graph.value_info[:]
    graph.value_info.extend(shapes)
    emissions = [each.name for each in outputs if each.name.startswith("emissions")]
    with _quiet():
        quantize_dynamic(
            loaded,
            str(target),
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_exclude=_last_products(graph, emissions),
        )


def _last_products(graph: Any, names: Sequence[str]) -> list[str]:
    """Return the names of the last products before outputs."""
    makers = {output: node for node in graph.node for output in node.output}
    found, waiting = [], list(names)
    while waiting:
        node = makers.get(waiting.pop())
        if node is None:
            continue
        if node.op_type in ("MatMul", "Gemm"):
            found.append(node.name)
        else:
            waiting += node.input
    return found


class OnnxModel(EntityModel):
    """An `EntityModel` whose graph ONNX Runtime runs, on the CPU; heads decode what comes out of it.

    Windows and batches are the encoder's, whose weights are dropped. ``graphs`` has one for each precision, the first
    of which is run.
    """

    def __init__(
        self,
        encoder: ContextEncoder,
        heads: Sequence[ModelHead],
        labels: tuple[str, ...],
        head_labels: Sequence[frozenset[str] | None],
        graphs: Mapping[str, bytes],
        outputs: Sequence[Output],
    ) -> None:
        nn.Module.__init__(self)
        self.undecided = False
        self.labels = labels
        self.head_labels = list(head_labels)
        module: Any = exportable(encoder)
        self._inputs_of = getattr(module, "inputs", None)
        encoder.to("meta")  # type: ignore[attr-defined]
        self._encoder = (encoder,)  # in a tuple: its weights are none of this model's
        self.heads = nn.ModuleList(heads)  # type: ignore[arg-type]
        self._graphs, self._outputs = dict(graphs), tuple(outputs)
        self._opened: dict[str, tuple[int, Any]] = {}
        self._precision = next(iter(graphs))
        _ = self._session

    @property
    def encoder(self) -> ContextEncoder:  # type: ignore[override]
        """What makes windows and batches."""
        return self._encoder[0]

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    @property
    def precisions(self) -> tuple[str, ...]:
        """What `compute_in` takes."""
        return tuple(self._graphs)

    def compute_in(self, precision: str) -> None:
        """Run the graph of this precision. Raises ConfigError where there is none, CheckpointError if damaged."""
        if precision not in self._graphs:
            raise ConfigError(f"precision={precision}: it was exported to ONNX in {' and '.join(self._graphs)}")
        self._precision = precision
        _ = self._session

    @property
    def _session(self) -> Any:
        """The session of the precision and this process: its threads do not outlive a fork."""
        process, session = self._opened.get(self._precision, (0, None))
        if process != os.getpid():
            session = self._open()
            self._opened[self._precision] = os.getpid(), session
        return session

    def _open(self) -> Any:
        """Return a new session. Raises CheckpointError for a graph that gives something else than heads take."""
        what = f"the ONNX graph of precision={self._precision}"
        try:
            session = _session(self._graphs[self._precision])
        except ConfigError:
            raise
        except Exception as error:  # of ONNX Runtime, which has classes of its own
            reason = " ".join(str(error).split())
            raise CheckpointError(f"{what} cannot be read: {reason[:300]}. Copy the whole checkpoint again") from error
        given = {each.name: each.shape[-1] for each in session.get_outputs() if each.shape}
        expected = {each.name: each.width for each in self._outputs}
        if given != expected:
            raise CheckpointError(
                f"{what} is of another model: its outputs are {given}, expected {expected}. Copy the whole "
                "checkpoint again"
            )
        return session

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process opens the graph from."""
        return {**self.__dict__, "_opened": {}}

    def _encoded(self, run: dict[str, Tensor]) -> Tensor:
        """Return what all heads take of each unit. Shape (windows, units of the longest, sum of the widths)."""
        tensors = run if self._inputs_of is None else dict(self._inputs_of(run))
        if lacking := [each.name for each in self._session.get_inputs() if each.name not in tensors]:
            raise CheckpointError(
                f"the ONNX graph of precision={self._precision} is of another model: it takes {', '.join(lacking)}, "
                "which the encoder does not give. Copy the whole checkpoint again"
            )
        found = _run(self._session, tensors, self._outputs)
        return torch.from_numpy(found[0] if len(found) == 1 else np.concatenate(found, 2))

    @property
    def _width(self) -> int:
        return sum(each.width for each in self._outputs)

    def taken(self, vectors: Tensor, number: int) -> Tensor:
        """Return what a head takes of what ``forward`` gave."""
        first = sum(each.width for each in self._outputs[:number])
        return vectors[..., first : first + self._outputs[number].width]


def check_runtime() -> None:
    """Raise ConfigError where ONNX Runtime is not installed."""
    _require("onnxruntime")


def _session(graph: Path | bytes) -> Any:
    """Return a session that runs a graph, with as many threads as torch has."""
    check_runtime()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others want the processor between runs
    content = graph if isinstance(graph, bytes) else graph.read_bytes()  # of bytes: no other file is read
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _run(session: Any, tensors: Mapping[str, Tensor], outputs: Sequence[Output]) -> list[np.ndarray[Any, Any]]:
    given = {each.name: tensors[each.name].numpy() for each in session.get_inputs()}
    found: list[np.ndarray[Any, Any]] = session.run([each.name for each in outputs], given)
    return found


def _features(encoder: ContextEncoder, contexts: Sequence[Context]) -> tuple[dict[str, Tensor], list[int]]:
    """Return the batch of all windows of some contexts, and how many units each window has."""
    with calling(encoder, "windows"):
        windows = [window for found in encoder.windows(contexts, stride=0) for window in found]
    with calling(encoder, "collate"):
        return encoder.collate(windows), [window.stop - window.start for window in windows]


def _made_up_contexts(
    needs: ContextNeeds, units: Sequence[int] = (5, 3, 7), labels: tuple[str, ...] = ()
) -> list[Context]:
    """Return contexts of these numbers of units, with the boxes and groups that are needed, the same in every call."""
    random = np.random.default_rng(7)
    parts = ["car", "di", "o", "gen", "ic", "Pro", "tein", "-", "12", "(", "é"]
    contexts = []
    for n in units:
        corners = np.sort(random.random((n, 2, 2)), axis=1).reshape(n, 4).astype(np.float32)
        contexts.append(
            Context(
                words=["".join(random.choice(parts, random.integers(1, 5))) for _ in range(n)],
                space_before=random.random(n) < 0.8,
                boxes=corners if needs.boxes else None,
                pages=np.zeros(n, np.int32) if needs.boxes else None,
                labels=labels,
                groups={name: np.cumsum(random.random(n) < 0.3).astype(np.int32) for name in needs.groups},
            )
        )
    return contexts


def _require(*modules: str) -> None:
    for module in modules:
        try:
            __import__(module)
        except ImportError as error:
            raise ConfigError(f"this needs {module}: {REQUIREMENT}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep exporters from telling what they do."""
    libraries = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx", "torch.export", "root")]
    levels = [library.level for library in libraries]
    for library in libraries:
        library.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for library, level in zip(libraries, levels, strict=True):
            library.setLevel(level)
