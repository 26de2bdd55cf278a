"""How often something is done, as a person writes it."""

from __future__ import annotations

from typing import Any

import pytest

from papermage_core.config import EntityClassificationTrainConfig, load_config
from papermage_core.config.every import Every
from papermage_core.errors import ConfigError


@pytest.mark.parametrize(
    ("written", "steps", "seconds"),
    [
        *[("200", 200, 0), (7, 7, 0), ("10m", 0, 600), ("90s", 0, 90), ("1h", 0, 3600), ("1.5 H", 0, 5400)],
        *[("1234567s", 0, 1234567), ("90.1234567s", 0, 90.1234567), (".00001s", 0, 0.00001), (".5m", 0, 30)],
    ],
)
def test_steps_and_times_are_read_and_written_back(written: Any, steps: int, seconds: float) -> None:
    every = Every.read(written)
    assert (every.steps, every.seconds) == (steps, seconds)
    assert Every.read(every.plain()) == every


@pytest.mark.parametrize("written", ["0", "-1", "m", "10 minutes", "1d", "0m", "nan", "1e3s", True, 1.5])
def test_what_is_no_number_of_steps_and_no_time_is_refused(written: Any) -> None:
    with pytest.raises(ConfigError, match=r"checkpoint_every.*a time such as 90s, 10m, 1h or 'none'"):
        EntityClassificationTrainConfig(data_path="a", label_field="b", checkpoint_every=written)


@pytest.mark.parametrize("written", ["200", "10m", "none"])
def test_a_config_file_keeps_it(written: str, tmp_path: Any) -> None:
    config = load_config([], ["data_path=a", "label_field=b", f"checkpoint_every={written}"])
    (tmp_path / "c.yaml").write_text(config.to_yaml())
    assert load_config([tmp_path / "c.yaml"]).checkpoint_every == config.checkpoint_every
    assert config.run_name() == load_config([], ["data_path=a", "label_field=b"]).run_name()
