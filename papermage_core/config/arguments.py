"""What ``EntityClassificationTrainConfig(...)`` takes, for editors and type checkers; nothing here runs.

Wider than the types of the config's fields: texts are read by the type of the option, as on the command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from typing import TypeAlias

    from pytorch_lightning import Callback
    from pytorch_lightning.accelerators import Accelerator
    from pytorch_lightning.loggers import Logger
    from pytorch_lightning.profilers import Profiler
    from pytorch_lightning.strategies import Strategy
    from typing_extensions import Required

    PathLike: TypeAlias = str | Path
    Paths: TypeAlias = PathLike | Sequence[PathLike]
    Names: TypeAlias = str | Sequence[str]
    Named: TypeAlias = str | Mapping[str, Any]
    """A component's name, or a mapping of ``name`` and its options."""
    Share: TypeAlias = int | float | None

__all__ = ["TrainArguments"]


class TrainArguments(TypedDict, total=False):
    """Keywords of `EntityClassificationTrainConfig`: its own options, then those of Lightning's ``Trainer``."""

    data_path: Required[Paths | Sequence[PathLike | Mapping[str, Any]]]
    label_field: Required[Names]
    val_data_path: Paths
    test_data_path: Paths
    entity_name: str
    context_name: str
    mode: Literal["train", "eval"]
    model_name_or_path: PathLike | None
    start_from: PathLike | None
    encoder: Named
    label_scheme: Named
    head: Named
    reader: Named | None
    processors: Names | Mapping[str, Any]
    learning_rate: float | None
    head_learning_rate: float | None
    find_learning_rate: bool
    optimizer: Named
    weight_decay: float
    warmup_steps: float
    max_epochs: int
    batch_size: int | None
    batch_tokens: int | None
    stride: int
    val_split: float
    monitor: str
    patience: int | None
    overlap_policy: Literal["longest", "first", "separate"]
    label_attribute: str | None
    folds: int | str | None
    fold: str | int | None
    learning_curve: bool
    train_share: float
    seed: int | Sequence[int]
    resume: bool | PathLike
    checkpoint_every: int | str | None
    overwrite: bool
    default_root_dir: PathLike | None
    cache: bool
    num_workers: int | None
    num_threads: int | None
    offline: bool
    wandb: bool
    tensorboard: bool
    mlflow: bool
    notes: str
    data_notes: str
    extensions: Names | Mapping[str, Any]
    plugins_path: Paths

    accelerator: str | Accelerator
    strategy: str | Strategy
    devices: list[int] | str | int
    num_nodes: int
    precision: str | int | None
    logger: Logger | Iterable[Logger] | bool | None
    callbacks: list[Callback] | Callback | None
    fast_dev_run: int | bool
    min_epochs: int | None
    max_steps: int
    min_steps: int | None
    max_time: str | timedelta | dict[str, int] | None
    limit_train_batches: Share
    limit_val_batches: Share
    limit_test_batches: Share
    limit_predict_batches: Share
    overfit_batches: int | float
    val_check_interval: int | float | str | timedelta | dict[str, int] | None
    check_val_every_n_epoch: int | None
    num_sanity_val_steps: int | None
    log_every_n_steps: int | None
    enable_checkpointing: bool | None
    enable_progress_bar: bool | None
    enable_model_summary: bool | None
    accumulate_grad_batches: int
    gradient_clip_val: int | float | None
    gradient_clip_algorithm: str | None
    deterministic: bool | Literal["warn"] | None
    benchmark: bool | None
    inference_mode: bool
    use_distributed_sampler: bool
    profiler: Profiler | str | None
    detect_anomaly: bool
    barebones: bool
    plugins: Any
    sync_batchnorm: bool
    reload_dataloaders_every_n_epochs: int
    enable_autolog_hparams: bool
    model_registry: str | None
