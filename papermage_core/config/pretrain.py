"""What a pretraining is to do: `EncoderPretrainConfig`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs

from papermage_core.config.aliases import with_known_words
from papermage_core.config.errors import missing, read_given, unknown
from papermage_core.config.every import Every
from papermage_core.config.given import Given, from_mapping, read_overrides
from papermage_core.config.naming import cache_folder, folder_name
from papermage_core.config.processors import ProcessorChoice
from papermage_core.config.readers import ReaderChoice
from papermage_core.config.structure import nest, structure
from papermage_core.errors import ConfigError
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.options import describe_options
from papermage_core.plugin.spec import ContextEncoderConfig, OptimizerConfig, option

__all__ = ["EncoderPretrainConfig"]

_COMPONENTS = ("encoder", "optimizer", "reader", "processors")
_CARRIED = ("options", "sources")
_NOT_NAMED_FOR = (
    "sources",
    "default_root_dir",
    "resume",
    "overwrite",
    "num_threads",
    "num_workers",
    "device",
    "checkpoint_every",
)


@attrs.frozen(kw_only=True, init=False)
class EncoderPretrainConfig:
    """The options of ``papermage-pretrain``. Those of components are dotted, ``**{"encoder.width": 64}`` in Python."""

    data_path: tuple[Path, ...] = option(help="documents: files, folders, globs, or - for standard input")
    entity_name: str = option("tokens", help="layer of the units")
    context_name: str = option("pages", help="layer of what the encoder may look at together")
    encoder: str = option("compact", help="context encoder; its options as encoder.key=value")
    optimizer: str = option("adamw", help="optimizer and its schedule; its options as optimizer.key=value")
    reader: str | None = option(None, help="document reader; none: by the ending of each file")
    processors: tuple[str, ...] = option((), help="processors that add layers to documents, in order")
    max_epochs: int = option(5, help="passes over the documents", ge=1)
    learning_rate: float | None = option(None, help="peak learning rate; none: the encoder's own", gt=0)
    weight_decay: float = option(0.01, help="weight decay of matrices", ge=0)
    warmup_steps: float = option(0.05, help="share of the steps that warm up; above 1: their number", ge=0)
    stride: int = option(32, help="units by which the windows of a long context overlap", ge=0)
    batch_tokens: int | None = option(None, help="most units in a batch; none: the encoder's own limit", ge=1)
    seed: int = option(470, help="random seed", ge=0, le=2**32 - 1)
    checkpoint_every: Every | None = option(
        Every(seconds=300.0), help="steps (200) or time (10m) after which the state is saved; none: after epochs only"
    )
    default_root_dir: Path | None = option(None, help="folder of the run; none: one below the cache folder")
    resume: bool | Literal["auto"] = option(False, help="go on with the run in the folder; auto: where there is one")
    overwrite: bool = option(False, help="replace the run that is in the folder already")
    device: str = option("auto", help="cpu, cuda, cuda:1; auto: the GPU where there is one")
    num_workers: int | None = option(
        None, help="processes that prepare documents; none: as many as cores", ge=0, le=1024
    )
    num_threads: int | None = option(None, help="threads of torch; none: as torch decides", ge=1, le=4096)
    offline: bool = option(False, help="use no network")
    plugins_path: tuple[Path, ...] = option((), help="plugin files to use without installing them")
    options: Mapping[str, Any] = attrs.field()
    """Dotted options of the components, as they were given."""
    sources: Mapping[str, str] = attrs.field(eq=False, repr=False)
    """Key → where its value was given."""

    def __init__(self, **values: Any) -> None:
        self._read(from_mapping(values))

    @classmethod
    def of(cls, words: Sequence[str], defaults: Iterable[Given] = ()) -> EncoderPretrainConfig:
        """Return the config of ``key=value`` arguments, over ``defaults``. Raises ConfigError with every error."""
        config = cls.__new__(cls)
        given, bad = read_overrides(words)
        config._read(defaults, given, bad=bad)
        return config

    def _read(self, *layers: Iterable[Given], bad: Sequence[str] = ()) -> None:
        known = {each.name: each for each in describe_options(type(self)) if each.name not in _CARRIED}
        named = (with_known_words(layer, known, no_device="auto") for layer in layers)
        by_key = {item.key: item for layer in named for item in layer}
        dotted = {key: item for key, item in by_key.items() if key.partition(".")[0] in _COMPONENTS and "." in key}
        strange = [
            unknown(key, item.source, "unknown option", known, _COMPONENTS)
            for key, item in by_key.items()
            if key not in known and key not in dotted
        ]
        values, errors = read_given(known, by_key)
        if bad:  # one of these words may be what seems to be missing
            errors = [error for error in errors if error not in map(missing, known.values())]
        if bad or strange or errors:
            raise ConfigError(*bad, *strange, *errors)
        sources = {key: item.source for key, item in by_key.items()}
        self.__attrs_init__(**values, options={key: item.value for key, item in dotted.items()}, sources=sources)

    def encoder_config(self) -> ContextEncoderConfig:
        """Return the encoder's config. Raises PluginError where it cannot be loaded.

        Raises ConfigError for wrong options, and for an encoder that learns nothing from text alone.
        """
        config: ContextEncoderConfig = self._component("context_encoder", "encoder")
        config.check(stride=self.stride)
        if type(config).pretraining is ContextEncoderConfig.pretraining:
            config.pretraining(None)  # raises now what it would raise when the documents were read
        return config

    def optimizer_config(self) -> OptimizerConfig:
        """Return the config of the optimizer. Raises PluginError and ConfigError."""
        config: OptimizerConfig = self._component("optimizer", "optimizer")
        return config

    def _component(self, kind: str, key: str) -> Any:
        name = getattr(self, key)
        config_class = Plugins(self.plugins_path).config_class(kind, name)
        return structure(config_class, nest(self._own(key)), key=key, name=name, sources=self.sources)

    def reader_choice(self) -> ReaderChoice:
        """Return which reader reads which file. Raises PluginError and ConfigError."""
        choice = ReaderChoice(
            name=self.reader, options=self._own("reader"), plugins_path=self.plugins_path, sources=self.sources
        )
        _ = choice.named
        return choice

    def processor_choice(self) -> ProcessorChoice:
        """Return the processors. Raises PluginError and ConfigError."""
        chosen = ProcessorChoice(
            names=self.processors, options=self._own("processors"), plugins_path=self.plugins_path, sources=self.sources
        )
        _ = chosen.configs
        return chosen

    def _own(self, component: str) -> dict[str, Any]:
        dot = f"{component}."
        return {key.removeprefix(dot): value for key, value in self.options.items() if key.startswith(dot)}

    def facts(self) -> dict[str, str]:
        """Return what makes the run what it is, name → text: a run that goes on must have the same."""
        values = attrs.asdict(self, recurse=False, filter=lambda field, _: field.name not in _NOT_NAMED_FOR)
        options = values.pop("options")
        return {key: str(value) for key, value in sorted({**values, **options}.items())}

    def run_folder(self) -> Path:
        """Return ``default_root_dir``, or the folder below ``$PAPERMAGE_CACHE_DIR`` that the run is named for."""
        if self.default_root_dir is not None:
            return self.default_root_dir.expanduser()
        words = ("pretrained", self.encoder, self.data_path[0].stem)
        return cache_folder() / folder_name(words, self.facts())
