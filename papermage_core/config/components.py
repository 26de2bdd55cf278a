"""The components that a config names, structured and checked against each other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import attrs

from papermage_core.config.extensions import ExtensionChoice
from papermage_core.config.merge import MODEL
from papermage_core.config.monitor import is_figure
from papermage_core.config.processors import ProcessorChoice
from papermage_core.config.readers import ReaderChoice
from papermage_core.config.scheme import check_scheme, try_scheme
from papermage_core.config.structure import nest, structure, unstructure
from papermage_core.errors import ConfigError, PluginError
from papermage_core.plugin.blame import built, calling
from papermage_core.plugin.kinds import IN_CONFIG
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.options import describe_options
from papermage_core.plugin.spec import (
    ContextEncoderConfig,
    ContextNeeds,
    LabelSchemeConfig,
    MetricConfig,
    ModelHeadConfig,
    OptimizerConfig,
)

__all__ = ["ComponentConfigs", "build_components", "check_fit", "needs_of"]


@attrs.frozen(kw_only=True, slots=False)
class ComponentConfigs:
    """The configs of the components of a run."""

    encoder: ContextEncoderConfig
    scheme: LabelSchemeConfig
    head: ModelHeadConfig
    reader: ReaderChoice
    processors: ProcessorChoice = attrs.field(factory=ProcessorChoice)
    extensions: ExtensionChoice = attrs.field(factory=ExtensionChoice)
    optimizer: OptimizerConfig
    metric: MetricConfig | None = None
    """What ``monitor`` names, if it is a component."""
    provenance: Mapping[str, Mapping[str, str]]
    """Kind of component → its name, distribution, version and value, as the checkpoint records them."""

    @cached_property
    def needs(self) -> ContextNeeds:
        """What encoder and head want to see of documents."""
        return needs_of(self.encoder, self.head)

    def by_key(self) -> dict[str, Any]:
        """Return the configs of the components named under the keys of the config: ``encoder``, ``label_scheme``, …"""
        named = {
            "encoder": self.encoder,
            "label_scheme": self.scheme,
            "head": self.head,
            "optimizer": self.optimizer,
        }
        return named if self.reader.named is None else {**named, "reader": self.reader.named}


def needs_of(encoder: ContextEncoderConfig, *heads: ModelHeadConfig) -> ContextNeeds:
    """Return what an encoder and heads want to see of documents. Raises PluginError for what is no such thing."""
    found = ContextNeeds()
    configs: list[ContextEncoderConfig | ModelHeadConfig] = [encoder, *heads]
    for config in configs:
        with calling(config, "needs"):
            needs: Any = config.needs
            if not isinstance(needs, ContextNeeds):
                raise TypeError(f"expected ContextNeeds, got {needs!r:.100}")
            found = found | needs
    return found


def build_components(
    names: Mapping[str, str | None],
    options: Mapping[str, Any],
    *,
    plugins: Plugins,
    labels: Sequence[str],
    sources: Mapping[str, str],
    processors: Sequence[str] = (),
    extensions: Sequence[str] = (),
    monitor: str = "f1",
    stride: int | None = None,
) -> ComponentConfigs:
    """Return the components for ``names`` (by key) and dotted ``options``.

    Raises PluginError for components that cannot be loaded, ConfigError for wrong options and pairs: all of either at
    once, before any data is read. ``stride`` is the one that was given, if one was.
    """
    named = {key: name for key, name in names.items() if name is not None}
    chain = ProcessorChoice(
        names=tuple(processors), options=_own("processors", options), plugins_path=plugins.paths, sources=sources
    )
    hooked = ExtensionChoice(
        names=tuple(extensions), options=_own("extensions", options), plugins_path=plugins.paths, sources=sources
    )
    classes = _all(
        {key: _loader(plugins, IN_CONFIG[key].name, name) for key, name in named.items()}
        | {"processors": lambda: _check_names(chain), "extensions": lambda: _check_names(hooked)},
        PluginError,
    )
    found = _all(
        {key: _structurer(classes[key], key, named[key], options, sources) for key in named}
        | {"processors": lambda: chain.configs, "extensions": lambda: hooked.configs},
        ConfigError,
    )
    if stride is not None:
        with calling(found["encoder"], "check"):
            found["encoder"].check(stride=stride)
    check_fit(found["head"], found["label_scheme"], named, plugins)
    _check_labels(found["label_scheme"], named, labels)
    return ComponentConfigs(
        encoder=found["encoder"],
        scheme=found["label_scheme"],
        head=found["head"],
        reader=ReaderChoice(
            name=named.get("reader"),
            options=unstructure(found["reader"]) if "reader" in found else _own("reader", options),
            plugins_path=plugins.paths,
            sources=sources,
        ),
        processors=chain,
        extensions=hooked,
        optimizer=found["optimizer"],
        metric=_metric(monitor, options, plugins, sources),
        provenance={IN_CONFIG[key].name: plugins.provenance(IN_CONFIG[key].name, name) for key, name in named.items()},
    )


def _metric(
    monitor: str, options: Mapping[str, Any], plugins: Plugins, sources: Mapping[str, str]
) -> MetricConfig | None:
    """Return the config of the metric that ``monitor`` names; None for one of the figures that are always there."""
    own = _own("monitor", options)
    if is_figure(monitor):
        if own:
            raise ConfigError(
                *(f"monitor.{key} ({sources[f'monitor.{key}']}): monitor={monitor} has no options" for key in own)
            )
        return None
    config_class = plugins.config_class("metric", monitor)
    found: MetricConfig = structure(config_class, nest(own, named=True), key="monitor", name=monitor, sources=sources)
    return found


def _loader(plugins: Plugins, kind: str, name: str) -> Callable[[], Any]:
    return lambda: plugins.config_class(kind, name)


def _structurer(
    cls: type[Any], key: str, name: str, options: Mapping[str, Any], sources: Mapping[str, str]
) -> Callable[[], Any]:
    if sources.get(f"{key}.{MODEL}") == MODEL and MODEL not in {option.name for option in describe_options(cls)}:
        return _refuser_of_model(name, options[f"{key}.{MODEL}"], sources)
    return lambda: structure(cls, nest(_own(key, options), named=True), key=key, name=name, sources=sources)


def _own(key: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {dotted[len(key) + 1 :]: value for dotted, value in options.items() if dotted.startswith(f"{key}.")}


def _refuser_of_model(name: str, model: object, sources: Mapping[str, str]) -> Callable[[], Any]:
    def refuse() -> Any:
        raise ConfigError(
            f"{MODEL}={model} ({sources[MODEL]}) names a pretrained model, and encoder={name} ({sources['encoder']}) "
            f"takes none: type encoder=hf, or leave out {MODEL}"
        )

    return refuse


def _check_names(choice: ProcessorChoice | ExtensionChoice) -> None:
    """Raise PluginError for those that cannot be loaded; wrong options are told later, with those of others."""
    with contextlib.suppress(ConfigError):
        _ = choice.configs


def _all(makers: Mapping[str, Callable[[], Any]], error: type[PluginError] | type[ConfigError]) -> dict[str, Any]:
    """Return what the makers make. Raises the one error, or all of them as one."""
    made: dict[str, Any] = {}
    caught: list[Any] = []
    for key, make in makers.items():
        try:
            made[key] = make()
        except error as exc:
            caught.append(exc)
    if len(caught) == 1:
        raise caught[0]
    if caught and error is ConfigError:
        raise ConfigError(*(message for exc in caught for message in exc.errors))
    if caught:
        raise PluginError("\n".join(dict.fromkeys(str(exc) for exc in caught))) from caught[0]
    return made


def check_fit(head: ModelHeadConfig, scheme: LabelSchemeConfig, names: Mapping[str, str], plugins: Plugins) -> None:
    """Raise ConfigError, with the pairs that fit, unless the head learns what the scheme makes."""
    if head.targets == scheme.targets:
        return
    schemes = _fitting(plugins, "label_scheme", head.targets)
    heads = _fitting(plugins, "model_head", scheme.targets)
    raise ConfigError(
        f"head={names['head']} learns {head.targets} and label_scheme={names['label_scheme']} makes {scheme.targets}: "
        f"they do not fit; {_choices('head', names['head'], 'label_scheme', schemes)}; "
        f"{_choices('label_scheme', names['label_scheme'], 'head', heads)}"
    )


def _choices(key: str, name: str, other: str, found: Sequence[str]) -> str:
    listed = " or ".join(f"{other}={choice}" for choice in found) or f"no {other} that is installed"
    return f"with {key}={name}, {listed} fits"


def _fitting(plugins: Plugins, kind: str, targets: str) -> list[str]:
    return list(dict.fromkeys(_fitting_names(plugins, kind, targets)))


def _fitting_names(plugins: Plugins, kind: str, targets: str) -> Iterator[str]:
    for component in plugins.components(kind):
        try:
            if plugins.config_class(kind, component.name).targets == targets:
                yield component.name
        except PluginError:
            continue  # a plugin that cannot be used fits nothing


def _check_labels(config: LabelSchemeConfig, names: Mapping[str, str], labels: Sequence[str]) -> None:
    scheme = built(config, labels)
    check_scheme(scheme, config)
    with calling(scheme, "has_legal_sequences"):
        fine = scheme.targets == "spans" or scheme.has_legal_sequences()
    if not fine:
        raise ConfigError(
            f"label_scheme={names['label_scheme']} has no legal sequence of tags for the labels "
            f"{', '.join(labels)}: nothing could be predicted under it."
        )
    try_scheme(scheme)
