"""What a dry run looks at beside the config: all that the run would refuse before it reads data."""

from __future__ import annotations

from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.config.lightning import told_here
from papermage_core.config.paths import check_services

__all__ = ["check_run"]


def check_run(config: EntityClassificationTrainConfig) -> None:
    """Raise DataError for documents that are not there, ConfigError for all else that a run would refuse.

    Lightning is imported only where it alone can tell.
    """
    config.check_paths()
    check_services(config.values())
    if config.mode == "train" and not all(map(told_here, config.lightning)):
        from papermage_core.training.lightning import check_trainer

        check_trainer(config)
