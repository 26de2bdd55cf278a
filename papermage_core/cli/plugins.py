"""``papermage-plugins``: list, describe, check and generate plugins."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from papermage_core.cli._shell import add_common_flags, check_flags, command_parser, parse_words, run, say
from papermage_core.cli._train_help import as_typed
from papermage_core.errors import ConfigError, PluginError, counted
from papermage_core.plugin.kinds import BY_WORD, KINDS, kind_called

if TYPE_CHECKING:
    from papermage_core.plugin.component import ComponentInfo
    from papermage_core.plugin.manager import Plugins

__all__ = ["main"]

_log = logging.getLogger(__name__)

_PROG = "papermage-plugins"
_FORMAT = {"document_reader", "document_writer"}
"""Kinds of which a format has one component each, of one name."""
_EXAMPLES = """\
examples:
  papermage-plugins list
  papermage-plugins info head=crf
  papermage-plugins new acme --kind head
  papermage-plugins new acme --kind scheme --kind head
  papermage-plugins check crf head.dropout=0.2
  papermage-plugins check acme --skip "padding changes no loss=the loss counts padding on purpose"
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 1 for a failed check, 2 for wrong usage, 4 for a broken plugin."""
    arguments = parse_words(_parser(), argv, "options")
    return run(lambda: _body(arguments), debug=arguments.debug, quiet=arguments.quiet, prog=_PROG)


def _body(arguments: argparse.Namespace) -> int | None:
    check_flags(arguments, getattr(arguments, "options", ()))
    code: int | None = arguments.body(arguments)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(_PROG, "List, describe, check and generate plugins.", epilog=_EXAMPLES)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    listing = _command(commands, "list", _list, "list the components that are installed")
    listing.add_argument("--check", action="store_true", help="import each one, to see which are broken")

    info = _command(commands, "info", _info, "describe a component: its options, its place, what it fits")
    _add_name(info)

    new = _command(commands, "new", _new, "generate a distribution with a component that works")
    new.add_argument("name", help="the name of the component")
    new.add_argument(
        "--kind",
        type=_kind_word,
        choices=list(BY_WORD),
        action="append",
        required=True,
        help="what it is; several: one of each kind",
    )
    new.add_argument(
        "--into", type=Path, default=Path(), metavar="FOLDER", help="where its folder goes (default: here)"
    )

    check = _command(commands, "check", _check, "run the conformance suite of a component")
    _add_name(check)
    check.add_argument(
        "--sample", type=Path, action="append", default=[], metavar="FILE", help="a file for a reader to read"
    )
    check.add_argument(
        "--skip",
        action="append",
        default=[],
        metavar="CHECK=REASON",
        help="a check to leave out, by its name, and why",
    )
    check.add_argument("--seed", type=int, metavar="N", help="draw other random examples, those of this seed")
    check.add_argument("options", nargs="*", metavar="KEY=VALUE", help="options to check it with, as for training")
    return parser


def _command(commands: Any, name: str, body: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_common_flags(parser, again=True)
    if name != "new":
        parser.add_argument(
            "--plugins-path",
            type=Path,
            action="append",
            default=[],
            metavar="FILE",
            help="a plugin file to look at too",
        )
    parser.set_defaults(body=body)
    return parser


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of the component, or distribution:name; head=NAME for that of a head")
    parser.add_argument(
        "--kind", type=_kind_word, choices=list(BY_WORD), help="what it is, where the name alone does not say"
    )


def _kind_word(text: str) -> str:
    """Return the one word of a kind that is called as ``list`` shows it, or as in a config."""
    kind = kind_called(text)
    return text if kind is None else kind.word


def _list(arguments: argparse.Namespace) -> int:
    from papermage_core.plugin.discovery import unknown_groups
    from papermage_core.plugin.distributions import malformed_entry_points
    from papermage_core.plugin.listing import table

    plugins = _plugins(arguments)
    components = plugins.components()
    if arguments.check:
        components = [plugins.checked(component) for component in components]
    if arguments.json:
        say(json.dumps([_as_json(component) for component in components], indent=2, ensure_ascii=False))
    else:
        say(table(components))
    for sentence in [*malformed_entry_points(), *unknown_groups()]:
        _log.warning("%s", sentence)
    return PluginError.exit_code if any(c.status == "broken" for c in components) and arguments.check else 0


def _as_json(component: ComponentInfo) -> dict[str, str]:
    return {
        "kind": component.kind,
        "name": component.name,
        "distribution": component.distribution,
        "version": component.version,
        "origin": component.origin,
        "value": component.value,
        "status": component.status,
        "error": component.error,
    }


def _info(arguments: argparse.Namespace) -> None:
    from papermage_core.plugin.listing import describe, description

    plugins = _plugins(arguments)
    found = [description(plugins, component) for component in _named(plugins, arguments)]
    if arguments.json:
        say(json.dumps(found, indent=2, ensure_ascii=False, default=str))
    else:
        say("\n\n".join(map(describe, found)))


def _new(arguments: argparse.Namespace) -> None:
    from papermage_core.plugin.template import generate

    folder = generate(arguments.name, [BY_WORD[word].name for word in arguments.kind], arguments.into)
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    if arguments.json:
        say(json.dumps({"folder": str(folder), "files": files}, indent=2))
    else:
        say("\n".join([f"{folder}:", *(f"  {file}" for file in files), f"Next: cd {folder} && tox"]))


def _check(arguments: argparse.Namespace) -> int:
    arguments.plugins_path = [path.absolute() for path in arguments.plugins_path]  # processes elsewhere read them, too
    plugins = _plugins(arguments)
    reports = [_report(plugins, component, arguments) for component in _one(_named(plugins, arguments))]
    if arguments.json:
        say(json.dumps(reports[0] if len(reports) == 1 else reports, indent=2, ensure_ascii=False))
    return 0 if all(report["passed"] for report in reports) else 1


def _report(plugins: Plugins, component: ComponentInfo, arguments: argparse.Namespace) -> dict[str, Any]:
    suite = _suite(plugins, component, arguments)
    varied = _varied(suite, component, arguments)
    results = _run(suite, component, arguments)
    failed = [result for result in results if not result.passed]
    skipped = [result for result in results if result.skipped]
    if not arguments.json:
        for result in failed:
            say(f"\n{result.name}:\n  {result.error}")
        left_out = f", {len(skipped)} skipped" if skipped else ""
        held = len(results) - len(failed) - len(skipped)
        say(f"\n{component}: {held} of {counted(len(results) - len(skipped), 'checks')} passed{left_out}")
        say(_how(varied))
    checks = [_result_as_json(result) for result in results]
    return {**_as_json(component), "passed": not failed, "checks": checks, **varied}


def _varied(suite: type[Any], component: ComponentInfo, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options that a suite checks with, those that it varies, and the seed of what it draws."""
    from papermage_core.config.structure import unstructure
    from papermage_core.testing.strategies import varied_options

    prefix, checked = KINDS[component.kind].prefix(component.name), suite()
    found: dict[str, Any] = {"options": [], "varied": [], "seed": arguments.seed}
    if hasattr(checked, "configs"):  # an extension without options has none
        with contextlib.suppress(Exception):  # the checks say what is wrong with it
            values = [unstructure(config) for config in checked.configs()]
            found["options"] = [{f"{prefix}{key}": value for key, value in of_one.items()} for of_one in values]
            varied = varied_options(checked.found_class(), checked.options[0])
            found["varied"] = [f"{prefix}{option.name}" for option in varied]
    return found


def _how(varied: Mapping[str, Any]) -> str:
    shown = (", ".join(f"{key}={as_typed(value)}" for key, value in of_one.items()) for of_one in varied["options"])
    lines = [f"checked with {each}" for each in shown if each]
    if varied["varied"]:
        lines.append(f"varied at random where configs are written and read: {', '.join(varied['varied'])}")
    seed = (
        "the same in every run; --seed N draws others" if varied["seed"] is None else f"those of seed {varied['seed']}"
    )
    return "\n".join([*lines, f"random examples: {seed}"])


def _run(suite: type[Any], component: ComponentInfo, arguments: argparse.Namespace) -> list[Any]:
    """Return the results, each shown as it comes; on a terminal, a line says which check runs at the moment."""
    from papermage_core.testing.runner import checks_of, run_suite

    names, results = checks_of(suite), []
    progress = sys.stderr if not arguments.quiet and sys.stderr is not None and sys.stderr.isatty() else None
    for number, name in enumerate(names, 1):
        if progress is not None:
            print(f"\r\033[K{number}/{len(names)} {name}", end="", file=progress, flush=True)
        (result,) = run_suite(suite, only=name)
        if progress is not None:
            print("\r\033[K", end="", file=progress, flush=True)
        results.append(result)
        if not arguments.json:
            say(_shown(result))
        elif number % 10 == 0 or number == len(names):
            _log.info("%s: %d of %d checks done", component.name, number, len(names))
    return results


def _shown(result: Any) -> str:
    word = "skip  " if result.skipped else "ok    " if result.passed else "FAILED"
    took = f" ({result.seconds:.1f} s)" if result.seconds >= 1 else ""
    return f"{word} {result.name}{took}" + (f": {result.skipped}" if result.skipped else "")


def _suite(plugins: Plugins, component: ComponentInfo, arguments: argparse.Namespace) -> type[Any]:
    if arguments.sample and component.kind not in _FORMAT:
        raise ConfigError(f"--sample is for document readers, and {component.name!r} is none")
    try:
        from papermage_core.testing.checks import chosen_seed
        from papermage_core.testing.runner import suite_for
    except ModuleNotFoundError as exc:
        if exc.name != "hypothesis":
            raise
        raise PluginError("papermage-plugins check needs hypothesis; type: pip install hypothesis") from exc
    chosen_seed.set(arguments.seed)
    options = _options(component, arguments.options)
    _check_required(plugins, component, options)
    contents = {path.name: path.read_bytes() for path in arguments.sample}
    return suite_for(component.kind, component.qualified, [options], plugins, contents, _skipped(arguments.skip))


def _skipped(given: Sequence[str]) -> dict[str, str]:
    """Return check → reason."""
    skipped = {}
    for item in given:
        check, equals, reason = item.partition("=")
        if not equals or not reason.strip():
            raise ConfigError(f'--skip {item!r}: expected the name of a check and a reason, --skip "CHECK=REASON"')
        skipped[check.strip()] = reason.strip()
    return skipped


def _check_required(plugins: Plugins, component: ComponentInfo, options: dict[str, Any]) -> None:
    from papermage_core.plugin.options import describe_options

    described = describe_options(plugins.config_class(component.kind, component.qualified))
    missing = [option for option in described if option.required and option.name.partition(".")[0] not in options]
    if missing:
        prefix = KINDS[component.kind].prefix(component.name)
        wanted = " ".join(f"{prefix}{option.name}=..." for option in missing)
        raise ConfigError(f"{component.name!r} cannot be checked without options that it requires; add {wanted}")


def _result_as_json(result: Any) -> dict[str, Any]:
    return {"name": result.name, "passed": result.passed, "error": result.error, "skipped": result.skipped}


def _options(component: ComponentInfo, overrides: Sequence[str]) -> dict[str, Any]:
    from papermage_core.config.given import from_overrides
    from papermage_core.config.structure import nest

    prefix = KINDS[component.kind].prefix(component.name)
    given = {item.key: item.value for item in from_overrides(overrides)}
    kinds = _FORMAT if component.kind in _FORMAT else {component.kind}
    known = tuple(KINDS[kind].prefix(component.name) for kind in kinds)
    strange = [
        f"{key}: expected an option of the component, {prefix}NAME" for key in given if not key.startswith(known)
    ]
    if strange:
        raise ConfigError(*strange)
    own = {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}
    return nest(own, named=True)


def _plugins(arguments: argparse.Namespace) -> Plugins:
    from papermage_core.plugin.manager import Plugins

    return Plugins(arguments.plugins_path)


def _named(plugins: Plugins, arguments: argparse.Namespace) -> list[ComponentInfo]:
    """Return the components of a name: one of each kind that has it, of the kind given if one is."""
    only, name = _kind_and_name(arguments)
    found, errors = [], []
    for kind in [only] if only else KINDS:
        try:
            found.append(plugins.find(kind, name))
        except PluginError as exc:
            if plugins.named(kind, name) or only:
                errors.append(exc)
    if errors:
        raise errors[0]
    if not found:
        raise plugins.unknown(name)
    return found


def _kind_and_name(arguments: argparse.Namespace) -> tuple[str | None, str]:
    """Return what ``head=crf``, or ``crf`` and ``--kind head``, say."""
    given = BY_WORD[arguments.kind] if arguments.kind else None
    word, _, name = arguments.name.partition("=")
    typed = kind_called(word) if name else None
    if typed is None:
        return given.name if given else None, arguments.name
    if given not in (None, typed):
        raise ConfigError(f"{arguments.name} and --kind {arguments.kind} contradict each other: give one of them")
    return typed.name, name


def _one(found: list[ComponentInfo]) -> list[ComponentInfo]:
    """Return the one component found, or the reader and the writer of one format."""
    if len(found) > 1 and {component.kind for component in found} != _FORMAT:
        choices = " or ".join(f"{KINDS[component.kind].key}={component.name}" for component in found)
        raise PluginError(f"{found[0].name!r} is the name of several components; type {choices}")
    return found


if __name__ == "__main__":
    raise SystemExit(main())
