"""``papermage-data audit``: gold that may be wrong, ranked."""

from __future__ import annotations

import argparse
from pathlib import Path

import attrs

from papermage_core.cli._environment import machine_defaults
from papermage_core.cli._options import read_options
from papermage_core.cli._shell import say
from papermage_core.errors import ConfigError, counted
from papermage_core.plugin.spec import option

__all__ = ["AuditOptions", "run"]


@attrs.frozen(kw_only=True)
class AuditOptions:
    """Options of ``audit`` beside those of training."""

    output_path: Path | None = option(
        None, help="folder for audit.jsonl and audit.html; none: audit in that of the run"
    )
    documents_path: Path | None = option(
        None, help="file or folder for an annotation tool: documents with a layer audit"
    )
    writer: str | None = option(None, help="document writer of documents_path; its options as writer.key=value")
    share: float = option(0.05, help="how many suspects go there and are counted, as a share of the gold", gt=0, le=1)


def run(arguments: argparse.Namespace) -> None:
    """Train the folds, and write what their models doubt."""
    from papermage_core.cli._dry_run import check_not_empty
    from papermage_core.config import load_config
    from papermage_core.config.train import lightning_parameters, own_options
    from papermage_core.config.writers import writer_for
    from papermage_core.files import check_output
    from papermage_core.plugin.manager import Plugins

    own = {field.name for field in attrs.fields(AuditOptions)}
    mine = [word for word in arguments.words if word.partition("=")[0].partition(".")[0] in own]
    given = [word for word in arguments.words if word not in mine]
    options, options_of = read_options(AuditOptions, mine)
    of_machine = machine_defaults([*own_options(), *lightning_parameters()])
    keys = {*(word.partition("=")[0] for word in given), *(item.key for item in of_machine)}
    defaults = [word for word in ("folds=5", "head=crf") if not arguments.config and word.partition("=")[0] not in keys]
    config = load_config(arguments.config, [*given, *defaults], of_machine)
    components = config.components()
    config.check_paths()
    if options.output_path is not None and options.output_path.suffix in (".jsonl", ".json", ".html"):
        raise ConfigError(
            f"output_path={options.output_path}: expected a folder, which gets audit.jsonl and audit.html"
        )
    folder = options.output_path or config.run_folder().expanduser() / "audit"
    for name in ("audit.jsonl", "audit.html"):
        files = [path for path in config.data_path if path.is_file()]
        check_output(folder / name, option="output_path", inputs=files, overwrite=config.overwrite)
    writer = None
    if options.documents_path is not None:
        plugins = Plugins(config.plugins_path)
        writer = writer_for(options.documents_path, options.writer, options_of("writer"), plugins)
        check_output(
            options.documents_path,
            option="documents_path",
            inputs=list(map(str, config.data_path)),
            overwrite=config.overwrite,
            folder=writer.target == "folder",
        )
    check_not_empty(config)
    from papermage_core.training.audit import audit

    components.encoder.tune_process()
    found = audit(config, components)
    found.write(folder, f"Audit of {', '.join(config.label_field)}")
    most = max(1, round(options.share * found.gold))
    told = [found.summary(most), f"all      {folder / 'audit.jsonl'}", f"browser  {folder / 'audit.html'}"]
    if options.documents_path is not None:
        written = found.write_documents(
            str(options.documents_path), most, writer=writer, overwrite=config.overwrite, inputs=list(config.data_path)
        )
        told.append(f"to mend  {options.documents_path}: {counted(written.documents, 'documents')}")
    say("\n".join(told))
