"""``papermage-data check``: everything that is wrong or odd in documents, or in the stages of a recipe."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from papermage_core.cli._data.shared import Labelled, as_json, labelling, read
from papermage_core.cli._options import processor_choice, tell_passed_over
from papermage_core.cli._shell import say
from papermage_core.config.given import COMMAND_LINE
from papermage_core.config.readers import ReaderChoice
from papermage_core.errors import ConfigError, DataError
from papermage_core.plugin.spec import option

if TYPE_CHECKING:
    from papermage_core.plugin.manager import Plugins

__all__ = ["PLACES", "Check", "run"]

_log = logging.getLogger(__name__)
PLACES = 5
"""How many places of each kind are shown, unless all are wanted."""


@attrs.frozen(kw_only=True)
class Check(Labelled):
    """Options of ``check``."""

    data_path: tuple[str, ...] = option(
        (), help="documents: files, folders, globs, or - for standard input; may be left out with recipe"
    )
    label_scheme: str | None = option(None, help="label scheme whose limits count; none: span with head=span, else bio")
    head: str | None = option(None, help="model head that is to learn the labels; its options as head.key=value")
    val_data_path: tuple[str, ...] = option((), help="documents to validate on: those like one of training are told")
    test_data_path: tuple[str, ...] = option((), help="documents to test on, likewise")
    encoder: str | None = option(
        None, help="context encoder whose windows are counted; its options as encoder.key=value"
    )
    stride: int = option(32, help="units by which the windows of a long context overlap", ge=0)
    output_path: Path | None = option(None, help="write every place here, a JSON line each, as it is found")
    overwrite: bool = option(False, help="replace this file if it is there already")
    recipe: Path | None = option(None, help="say which layers the stages of a recipe read, make, and do not find")


def run(arguments: argparse.Namespace) -> int:
    """Print what is found; return the exit code, 3 for what is fatal."""
    from papermage_core.config.structure import nest, structure
    from papermage_core.data.checking import check
    from papermage_core.plugin.manager import Plugins

    options, reader, options_of = read(Check, arguments)
    everything = arguments.all or arguments.json
    if options.recipe is not None:
        return _check_recipe(options, options_of, reader, arguments)
    if not options.data_path:
        raise ConfigError(
            "data_path is missing: documents: files, folders, globs, or - for standard input. Type data_path=..."
        )
    plugins = Plugins(options.plugins_path)
    encoder = None
    if options.encoder is not None:
        config_class = plugins.config_class("context_encoder", options.encoder)
        own = nest(options_of("encoder"))
        typed = dict.fromkeys((f"encoder.{key}" for key in options_of("encoder")), COMMAND_LINE)
        encoder = structure(config_class, own, key="encoder", name=options.encoder, sources=typed)
        encoder.check(stride=options.stride)
    tell_passed_over(options.data_path, reader)
    with _places_file(options, reader) as told:
        found = check(
            options.data_path,
            **labelling(options, options_of),
            val_data_path=options.val_data_path,
            test_data_path=options.test_data_path,
            label_scheme=_scheme(options, options_of, plugins),
            encoder=encoder,
            encoder_name=options.encoder or "",
            stride=options.stride,
            reader=reader,
            plugins=plugins,
            keep=None if everything else PLACES,
            told=told,
        )
    say(as_json(found.to_json()) if arguments.json else str(found))
    if found.is_shortened:
        _log.info("--all shows every place")
    if not options.label_field and not found.error_count:
        _log.info("label_field=NAME,NAME looks at labels, too; papermage-data stats lists the layers")
    is_bad = found.fatal() or (arguments.strict and found.costs())
    return DataError.exit_code if is_bad else 0


def _scheme(options: Check, options_of: Callable[[str], dict[str, Any]], plugins: Plugins) -> str:
    """Return the scheme whose limits count, as training would choose it; raises ConfigError for a head that misfits."""
    from papermage_core.config.components import check_fit
    from papermage_core.config.merge import scheme_of_head
    from papermage_core.config.structure import nest, structure

    if options.head is None:
        return options.label_scheme or "bio"
    config_class = plugins.config_class("model_head", options.head)
    own = options_of("head")
    typed = dict.fromkeys((f"head.{key}" for key in own), COMMAND_LINE)
    head = structure(config_class, nest(own), key="head", name=options.head, sources=typed)
    name = options.label_scheme or scheme_of_head(options.head) or "bio"
    scheme = structure(plugins.config_class("label_scheme", name), {}, key="label_scheme", name=name)
    check_fit(head, scheme, {"head": options.head, "label_scheme": name}, plugins)
    return name


@contextlib.contextmanager
def _places_file(options: Check, reader: ReaderChoice) -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """Yield what writes each place to the file of ``output_path``, None without one."""
    if options.output_path is None:
        yield None
        return
    from papermage_core.data.readers import expand_paths
    from papermage_core.files import check_output, whole_file

    given = [*options.data_path, *options.val_data_path, *options.test_data_path]
    inputs: list[str | Path] = [*expand_paths(given, reader=reader), *given]
    check_output(options.output_path, inputs=inputs, endings=(".jsonl",), overwrite=options.overwrite)
    with whole_file(options.output_path) as file:

        def tell(place: dict[str, Any]) -> None:
            file.write(json.dumps(place, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")

        yield tell


def _check_recipe(
    options: Check, options_of: Callable[[str], dict[str, Any]], reader: ReaderChoice, arguments: argparse.Namespace
) -> int:
    from papermage_core.data.processors import processed
    from papermage_core.data.readers import iter_documents
    from papermage_core.prediction.recipe import Recipe
    from papermage_core.prediction.recipe_check import RecipeFindings, check_recipe

    assert options.recipe is not None
    if options.label_field:
        raise ConfigError("label_field: the labels of documents are not looked at with recipe; check them without it")
    recipe = Recipe.from_yaml(options.recipe, plugins_path=options.plugins_path)
    found = RecipeFindings(recipe, None if arguments.all or arguments.json else PLACES)
    if options.data_path:
        reader = reader if options.reader is not None or options_of("reader") else recipe.config.reader
        documents = iter_documents(options.data_path, reader=reader, on_error=found.add)
        check_recipe(recipe, processed(documents, processor_choice(options, options_of)), findings=found)
    say(as_json(found.to_json()) if arguments.json else str(found))
    return DataError.exit_code if found.error_count else 0
