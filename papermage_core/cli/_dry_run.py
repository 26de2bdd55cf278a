"""What is looked at beside the config before a run: in a dry run all that it would refuse before it reads data."""

from __future__ import annotations

from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.config.lightning import told_here
from papermage_core.config.paths import check_services
from papermage_core.data import first_documents

__all__ = ["check_not_empty", "check_run"]


def check_run(config: EntityClassificationTrainConfig) -> None:
    """Raise DataError for documents that are not there, ConfigError for all else that a run would refuse.

    Lightning is imported only where it alone can tell.
    """
    config.check_paths()
    check_services(config.values())
    if config.mode == "train" and not all(map(told_here, config.lightning)):
        from papermage_core.training.lightning import check_trainer

        check_trainer(config)


def check_not_empty(config: EntityClassificationTrainConfig) -> None:
    """Raise DataError for folders and files without documents, before torch is imported.

    Where Lightning alone can tell whether the config is in order, it comes first.
    """
    if config.mode == "train" and all(map(told_here, config.lightning)):
        paths = (*config.data_path, *config.val_data_path, *config.test_data_path)
        first_documents.check_not_empty(paths, config.components().reader)
