"""The config of a training run."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from papermage_core.config.aliases import with_known_words
from papermage_core.config.components import ComponentConfigs, build_components
from papermage_core.config.dump import to_yaml
from papermage_core.config.errors import of_processors, read_given, unknown
from papermage_core.config.every import Every
from papermage_core.config.extensions import ExtensionChoice
from papermage_core.config.given import Given, from_mapping
from papermage_core.config.labelling import Labelling
from papermage_core.config.lightning import trainer_parameters
from papermage_core.config.merge import DERIVED, merge, name_encoder, name_scheme
from papermage_core.config.naming import as_texts, cache_folder, folder_name
from papermage_core.config.paths import check_paths
from papermage_core.config.processors import ProcessorChoice
from papermage_core.config.rules import rule_errors
from papermage_core.config.sources import Source
from papermage_core.config.start import started
from papermage_core.config.structure import unstructure
from papermage_core.errors import ConfigError
from papermage_core.files.hub import is_on_hub
from papermage_core.plugin.kinds import IN_CONFIG, OPTIONED
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.options import OptionDescription, describe_options
from papermage_core.plugin.spec import ComponentConfig, option

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from papermage_core.config.arguments import TrainArguments

__all__ = ["EntityClassificationTrainConfig", "lightning_parameters", "own_options"]

_WHERE = ("default_root_dir", "resume", "overwrite", "num_workers", "num_threads", "cache", "checkpoint_every")
"""Options that say where a run is and how it gets there, not what it is."""
_CARRIED = ("lightning", "options", "sources")


@attrs.frozen(kw_only=True, init=False)
class EntityClassificationTrainConfig:
    """All that decides a run. Checks everything it can without reading data, and reports every error at once.

    Takes its own options, every parameter of Lightning's ``Trainer``, and options of the components, as a mapping or
    dotted (``**{"head.dropout": 0.2}``, which type checkers do not follow):

        EntityClassificationTrainConfig(
            data_path="train.jsonl", label_field="Disease", head={"name": "crf", "dropout": 0.2}, gradient_clip_val=1.0
        )

    Strings are read by the declared type; ``data_path`` and other lists may be written ``"a,b"``. To change a config
    use `replace`, not `attrs.evolve`.
    """

    data_sources: tuple[Source, ...] = attrs.field(
        alias="data_path",
        metadata={"help": "labelled documents to train on (with mode=eval: to score on); a.jsonl*2 for a weight of 2"},
    )
    label_field: tuple[str, ...] = option(help="layers that hold the gold entities")
    val_data_path: tuple[Path, ...] = option((), help="labelled documents to validate on")
    test_data_path: tuple[Path, ...] = option((), help="labelled documents to score the finished model on")
    entity_name: str = option("tokens", help="layer of the units that get a label")
    context_name: str = option("pages", help="layer of what the encoder looks at together")
    mode: Literal["train", "eval"] = option("train", help="train, or evaluate the checkpoint model_name_or_path")
    model_name_or_path: str | None = option(
        None, help="pretrained model: means encoder=hf encoder.model_name_or_path=...; with mode=eval: the checkpoint"
    )
    start_from: Path | None = option(
        None,
        help="checkpoint, run, or hf:owner/name on the hub, to go on from with other documents: its components, labels "
        "and weights",
    )
    encoder: str = option("compact", help="context encoder")
    label_scheme: str = option("bio", help="label scheme")
    head: str = option("linear", help="model head")
    reader: str | None = option(None, help="document reader; none: by the ending of each file")
    processors: tuple[str, ...] = option(
        (), help="processors that add layers to documents, in order; their options as processors.NAME.key=value"
    )
    learning_rate: float | None = option(None, help="peak learning rate; none: the encoder's own", gt=0)
    head_learning_rate: float | None = option(
        None, help="learning rate of the head; none: learning_rate if given, else 0.001 or more", gt=0
    )
    find_learning_rate: bool = option(
        False, help="try 100 steps first to find the learning rate, and say what was found"
    )
    optimizer: str = option("adamw", help="optimizer and its schedule")
    weight_decay: float = option(0.01, help="weight decay of matrices", ge=0, search=(1e-3, 0.3, "log"))
    warmup_steps: float = option(
        0.05, help="share of the steps that warm up; above 1: their number", ge=0, search=(0.0, 0.3)
    )
    max_epochs: int = option(5, help="most passes over the training data; -1: no limit", ge=-1)
    batch_size: int | None = option(None, help="windows in a batch; none: the encoder's own", ge=1)
    batch_tokens: int | None = option(None, help="most units in a batch, padding counted; none: no such limit", ge=1)
    stride: int = option(32, help="units by which the windows of a long context overlap", ge=0)
    val_split: float = option(
        0.1, help="share of the training documents set aside to validate on without val_data_path", ge=0, lt=1
    )
    monitor: str = option("f1", help="best model by: f1, f1_macro, loss, LABEL.f1 or a metric, of the validation data")
    patience: int | None = option(
        None, help="validations without a better value of monitor after which training stops", ge=1
    )
    overlap_policy: Literal["longest", "first", "separate"] = option(
        "longest", help="gold entities that overlap: keep the longest, the first, or train each label field apart"
    )
    label_attribute: str | None = option(None, help="take labels from this key of the entities' metadata")
    folds: int | str | None = option(
        None, help="folds to cross-validate in, or metadata:KEY, the key of documents' metadata that names their fold"
    )
    fold: str | None = option(None, help="train this one of the folds only; none: all, one after the other")
    learning_curve: bool = option(False, help="train on 25, 50, 75 and 100 % of the documents, and forecast")
    train_share: float = option(1.0, help="share of the training documents to train on", gt=0, le=1)
    given_seed: int | tuple[int, ...] = attrs.field(
        default=470,
        alias="seed",
        metadata={
            "help": "random seed; with several, 1,2,3, a run for each",
            "ge": 0,
            "le": 2**32 - 1,
        },
    )
    resume: bool | Literal["auto"] | Path = option(
        False, help="go on with the run in default_root_dir, or with this last.ckpt; auto: where there is one"
    )
    checkpoint_every: Every | None = option(
        Every(seconds=300.0),
        help="steps (200) or time (10m) after which last.ckpt is saved inside an epoch too; none: after epochs only",
    )
    overwrite: bool = option(False, help="replace the run that is in default_root_dir already")
    default_root_dir: Path | None = option(None, help="folder of the run; none: one below the cache folder")
    cache: bool = option(True, help="keep features on disk between runs")
    num_workers: int | None = option(
        None, help="processes that prepare documents; none: as many as cores where the data are large", ge=0, le=1024
    )
    num_threads: int | None = option(None, help="threads of torch; none: as torch decides", ge=1, le=4096)
    offline: bool = option(False, help="use no network")
    wandb: bool = option(False, help="log to Weights & Biases")
    tensorboard: bool = option(False, help="log to TensorBoard, in the folder tensorboard of the run")
    mlflow: bool = option(False, help="log to MLflow: to $MLFLOW_TRACKING_URI, else to the folder mlruns of the run")
    notes: str = option("", help="notes on the run, part of its folder's name")
    data_notes: str = option("", help="notes on the data, part of the folder's name")
    extensions: tuple[str, ...] = option((), help="extensions to call, in order")
    plugins_path: tuple[Path, ...] = option((), help="plugin files to use without installing them")

    lightning: Mapping[str, Any] = attrs.field()
    """The parameters of Lightning's ``Trainer`` that were given, by name."""
    options: Mapping[str, Any] = attrs.field(eq=as_texts)
    """Dotted options of the components, as they were given (``0.1`` and ``"0.1"`` are one); `components` reads them."""
    sources: Mapping[str, str] = attrs.field(eq=False, repr=False)
    """Key → where its value was given: ``config.yaml:3``, ``command line``, ``Python``. Others are defaults."""

    def __init__(self, **values: Unpack[TrainArguments]) -> None:
        self._settle([from_mapping(values)])

    @classmethod
    def from_layers(
        cls, layers: Iterable[Sequence[Given]], others: Iterable[str] = ()
    ) -> EntityClassificationTrainConfig:
        """Return the config of what was given, later layers winning over earlier ones. Raises ConfigError.

        ``others`` are options that are read elsewhere, and may be meant by an unknown one.
        """
        config = cls.__new__(cls)
        config._settle(layers, others)
        return config

    def _settle(self, layers: Iterable[Sequence[Given]], others: Iterable[str] = ()) -> None:
        known = [*own_options(), *lightning_parameters()]
        given, errors = name_encoder(merge(started(with_known_words(layer, known) for layer in layers)))
        given = name_scheme(given)
        own, own_errors = read_given(own_options(), given)
        named = {name: parameter for name, parameter in lightning_parameters().items() if name in given}
        lightning, lightning_errors = read_given(named, given)
        options = {key: item.value for key, item in given.items() if _component_of(key)}
        errors += [*own_errors, *lightning_errors, *_unknown(given, others), *rule_errors(own, lightning, given)]
        if errors:
            raise ConfigError(*errors)
        sources = {key: item.source for key, item in given.items()}
        self.__attrs_init__(**own, lightning=lightning, options=options, sources=sources)

    def replace(self, **changes: Any) -> EntityClassificationTrainConfig:
        """Return the config with other values. Naming another component drops the options of the former one.

        Of several (processors, extensions), those that are named still keep theirs.
        """
        return self.from_layers([self.given(), from_mapping(changes)])

    def anchored(self) -> EntityClassificationTrainConfig:
        """Return the config with its paths made absolute: what a file needs that may be used in another folder."""
        return self.replace(**{name: _anchored(value) for name, value in self.values().items()})

    def given(self) -> list[Given]:
        """Return the values that are not defaults, each with its source."""
        values = {**self.values(), **self.lightning, **self.options}
        return [Given(key, values[key], source) for key, source in self.sources.items() if source not in DERIVED]

    def components(self, plugins: Plugins | None = None) -> ComponentConfigs:
        """Return the components, structured and checked against each other.

        Raises PluginError for one that cannot be loaded, ConfigError for wrong options and pairs that do not fit.
        """
        plugins = plugins or Plugins(self.plugins_path)
        return build_components(
            {key: getattr(self, key) for key in IN_CONFIG},
            self.options,
            plugins=plugins,
            labels=self.label_field,
            sources=self.sources,
            processors=self.processors,
            extensions=self.extensions,
            monitor=self.monitor,
            stride=self.stride if "stride" in self.sources else None,
        )

    def values(self) -> dict[str, Any]:
        """Return the values of `own_options`."""
        fields = attrs.fields(type(self))
        return {field.alias: getattr(self, field.name) for field in fields if field.name not in _CARRIED}

    @property
    def data_path(self) -> tuple[Path, ...]:
        """The paths of `data_sources`."""
        return tuple(source.path for source in self.data_sources)

    @property
    def weights(self) -> tuple[float, ...]:
        """How often the documents of each path of ``data_path`` are trained on in an epoch."""
        return tuple(source.weight for source in self.data_sources)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The random seeds that were given."""
        return self.given_seed if isinstance(self.given_seed, tuple) else (self.given_seed,)

    @property
    def seed(self) -> int:
        """The random seed, the first of several."""
        return self.seeds[0]

    @property
    def several(self) -> Literal["learning_curve", "seeds", "folds"] | None:
        """What makes several runs of this config, the outermost; None for one run."""
        if self.learning_curve:
            return "learning_curve"
        if len(self.seeds) > 1:
            return "seeds"
        return "folds" if self.folds is not None and self.fold is None else None

    @property
    def labelling(self) -> Labelling:
        """Which layers are gold, and what of documents is read."""
        return Labelling(
            label_field=self.label_field,
            entity_name=self.entity_name,
            context_name=self.context_name,
            label_attribute=self.label_attribute,
            overlap_policy=self.overlap_policy,
        )

    def check_paths(self) -> None:
        """Raise DataError for documents that are not there, ConfigError for a model or a run; nothing is read."""
        check_paths({**self.values(), **self.options}, self.sources)

    def source(self, key: str) -> str:
        """Return where the value of a key, dotted or not, was given; ``"default"`` where it was not."""
        return self.sources.get(key, "default")

    def to_yaml(self, components: ComponentConfigs | None = None, *, annotated: bool = False) -> str:
        """Return the whole config, the components' options included, as a file for ``papermage-train -c``.

        ``components`` are its own, where they are at hand. ``annotated`` adds to each line where its value was given.
        What only Python can make (callbacks) is named in a comment.
        """
        values = self.values()
        components = components or self.components()
        if components.reader.named is None and components.reader.options:
            values["reader"] = {"name": None, **components.reader.options}
        if self.processors:
            values["processors"] = {"name": self.processors, **_by_name(components.processors)}
        if self.extensions:
            values["extensions"] = {"name": self.extensions, **_by_name(components.extensions)}
        if components.metric is not None and (own := unstructure(components.metric)):
            values["monitor"] = {"name": self.monitor, **own}
        for key, component in components.by_key().items():
            values[key] = {"name": values[key], **unstructure(component)}
        return to_yaml({**values, **self.lightning}, self.source if annotated else None)

    def run_name(self) -> str:
        """Return a name for the run's folder, made of its main arguments and a hash of all."""
        model = Path(self.model_name_or_path or self.encoder)
        words = [
            model.parent.name if model.name == "checkpoints" else model.name,
            *(["eval"] if self.mode == "eval" else [self.head, self.label_scheme]),
            "+".join(self.label_field),
            self.data_path[0].stem,
            self.data_notes,
            self.notes,
        ]
        values = {name: value for name, value in self.values().items() if name not in _WHERE}
        own = {name: repr(value) for name, value in values.items() if value != own_options()[name].default}
        return folder_name(words, {**own, **self.lightning, **self.options})

    def run_folder(self) -> Path:
        """Return ``default_root_dir``, or the folder below ``$PAPERMAGE_CACHE_DIR`` that the run is named for."""
        if self.default_root_dir is not None:
            return self.default_root_dir
        return cache_folder() / self.run_name()


if TYPE_CHECKING:

    class PlacedTrainConfig(EntityClassificationTrainConfig):
        """A config whose run has a folder."""

        default_root_dir: Path


@functools.cache
def own_options() -> Mapping[str, OptionDescription]:
    """Return name → description of the options that are not Lightning's or a component's."""
    described = describe_options(EntityClassificationTrainConfig)
    return {option.name: option for option in described if option.name not in _CARRIED}


@functools.cache
def lightning_parameters() -> Mapping[str, OptionDescription]:
    """Return name → description of the parameters of Lightning's ``Trainer`` that are no options of our own."""
    return {name: parameter for name, parameter in trainer_parameters().items() if name not in own_options()}


def _anchored(value: Any) -> Any:
    """Return a value with its paths made absolute; ``-``, the standard input, is no path, nor is a name on the hub."""
    if isinstance(value, Path):
        return value if str(value) == "-" or is_on_hub(value) else value.absolute()
    if isinstance(value, Source):
        return attrs.evolve(value, path=_anchored(value.path))
    return tuple(map(_anchored, value)) if isinstance(value, tuple) else value


def _component_of(key: str) -> str | None:
    first, dot, rest = key.partition(".")
    return first if dot and rest and first in OPTIONED else None


def _by_name(chosen: ProcessorChoice | ExtensionChoice) -> dict[str, Any]:
    """Return name → options of the components that have any, with paths that hold in another folder, too."""
    named = zip(chosen.names, chosen.configs, strict=True)
    return {name: unstructure(_with_absolute_paths(config)) for name, config in named if unstructure(config)}


def _with_absolute_paths(config: ComponentConfig) -> ComponentConfig:
    values = attrs.asdict(config, recurse=False)
    paths = {name: _anchored(value) for name, value in values.items() if isinstance(value, Path)}
    return attrs.evolve(config, **paths)


def _unknown(given: Mapping[str, Given], others: Iterable[str]) -> list[str]:
    known = [*own_options(), *lightning_parameters(), *others]
    errors = []
    for key, item in given.items():
        if key in known or _component_of(key):
            continue
        first, dot, rest = key.partition(".")
        if dot and first in known and first not in OPTIONED:
            errors.append(
                f"{key} ({item.source}): {first!r} has no options of its own; only {', '.join(sorted(OPTIONED))} have"
            )
        elif dot:
            dotted = [f"{kind}.{rest}" for kind in difflib.get_close_matches(first, sorted(OPTIONED), n=1)]
            others = [*known, *dotted, *of_processors(key)]
            errors.append(unknown(key, item.source, "unknown option", others, OPTIONED))
        else:
            errors.append(unknown(key, item.source, "unknown option", known, OPTIONED))
    return errors


def _signature() -> inspect.Signature:
    """Return the signature that ``help()`` and editors show."""
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if option.required else option.default,
            annotation=option.type,
        )
        for name, option in own_options().items()
    ]
    return inspect.Signature([*parameters, inspect.Parameter("more", inspect.Parameter.VAR_KEYWORD, annotation=Any)])


EntityClassificationTrainConfig.__signature__ = _signature()  # type: ignore[attr-defined]
