"""Reading and checking a config imports neither torch nor Lightning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_checking_a_config_imports_nothing_heavy(mine: Path) -> None:
    script = f"""
import sys
from papermage_core.config import EntityClassificationTrainConfig
from papermage_core.config.schema import json_schema
from papermage_core.plugin.manager import Plugins
config = EntityClassificationTrainConfig(
    data_path="a", label_field="b", head="crf", reader="mine", plugins_path={str(mine)!r}, gradient_clip_val="1.0"
)
config.components()
config.to_yaml()
json_schema(Plugins([{str(mine)!r}]))
heavy = {{"torch", "pytorch_lightning", "lightning_fabric", "transformers"}} & set(sys.modules)
sys.exit(f"imported: {{heavy}}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
