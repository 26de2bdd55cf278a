"""Learning from text alone: words are hidden where they stand, and what they are is predicted from what is around."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from papermage_compact.words import GROUPS
from papermage_core.errors import ConfigError

if TYPE_CHECKING:
    from papermage_compact.encoder import CompactEncoder
    from papermage_compact.plugin import CompactConfig

__all__ = ["Cloze", "load_pretrained"]

_JSON, _WEIGHTS = "pretrained.json", "pretrained.safetensors"
_HIDDEN = 0.15  # share of the units whose words are hidden
_TARGETS = (("word", 0), ("word", 1), ("prefix", 3), ("suffix", 2), ("shape", 0))
"""Group of a word's features, and which of them is predicted; two hashes of a word tell apart what one does not."""
_SHAPED_BY = ("width", "depth", "rows", "phrases")
"""Options that the weights are of a shape, or of a meaning, for."""
_MIX = "words.mix.weight"


class Cloze(nn.Module):
    """Predicts hidden words (Taylor, 1953; Devlin et al., 2019) by rows of the encoder's own hashed tables.

    There is no vocabulary: classes are the rows that a word's identity, its first four and last three characters, and
    its shape are hashed to. The loss is the sum of their cross entropies, the mean over hidden units. Beside the word,
    the unit does not see where else in its window it stands.
    """

    def __init__(self, encoder: CompactEncoder, config: CompactConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self._config = config
        width = encoder.output_size
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, width)
        self.keys = nn.ModuleList(nn.Linear(width, self._table(i).shape[1]) for i in range(len(_TARGETS)))
        self.biases = nn.ParameterList(torch.zeros(self._rows(i)) for i in range(len(_TARGETS)))

    def _table(self, number: int) -> torch.Tensor:
        """Return the part of a table that the feature's own rows are. Shape (rows, size)."""
        group, place = _TARGETS[number]
        weight = self.encoder.words.tables[group].weight
        assert isinstance(weight, torch.Tensor)
        rows = len(weight) // GROUPS[group]
        return weight[place * rows : (place + 1) * rows]

    def _rows(self, number: int) -> int:
        return len(self._table(number))

    def loss(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the loss of a batch; what is hidden is drawn from torch's generator."""
        types, same, counts = features["type"], features["same"], features["same_count"]
        hidden = torch.rand(len(types), device=types.device) < _HIDDEN
        hidden[torch.randint(len(types), (1,), device=types.device)] = True  # never none
        same = torch.where(hidden, len(counts) + torch.arange(len(types), device=types.device), same)
        counts = torch.bincount(same, minlength=len(counts) + len(types))
        seen = {**features, "hidden": hidden, "same": same, "same_count": counts}
        x = F.gelu(self.mix(self.norm(self.encoder.read(seen)[hidden])))
        total = x.new_zeros(())
        for number, (group, place) in enumerate(_TARGETS):
            rows = features[group][types[hidden], place] - place * self._rows(number)
            scores = self.keys[number](x) @ self._table(number).T + self.biases[number]
            total = total + F.cross_entropy(scores, rows)
        return total

    def save_pretrained(self, folder: Path) -> None:
        """Write what ``encoder.pretrained`` takes."""
        made = {name: getattr(self._config, name) for name in _SHAPED_BY}
        if self.encoder.given_vectors is not None:
            made["vectors"] = self.encoder.given_vectors.digest
        (folder / _JSON).write_text(json.dumps({"format": 1, "encoder": "compact", **made}, indent=2), "utf-8")
        weights = {name: value.detach().cpu().contiguous() for name, value in self.encoder.state_dict().items()}
        save_file(weights, folder / _WEIGHTS)


def load_pretrained(encoder: CompactEncoder, folder: Path, config: CompactConfig) -> None:
    """Give an encoder the weights that `Cloze.save_pretrained` wrote; parts that were not trained there stay new.

    So do the weights of word vectors that are given here and were not there.

    Raises ConfigError for a folder that holds none, for options of another shape, and for other word vectors.
    """
    inner = folder / "pretrained"
    folder = inner if (inner / _JSON).is_file() else folder
    if not (folder / _JSON).is_file():
        what = f"it has no {_JSON}" if folder.is_dir() else "it is no folder" if folder.exists() else "it is not there"
        raise ConfigError(f"encoder.pretrained={folder}: {what}; expected the folder that papermage-pretrain made")
    try:
        made: dict[str, Any] = json.loads((folder / _JSON).read_text("utf-8"))
        weights = load_file(folder / _WEIGHTS)
        wrong = [name for name in _SHAPED_BY if made[name] != getattr(config, name)]
        read_with = made.get("vectors")
    except Exception as error:
        cause = " ".join(str(error).split())[:300] or type(error).__name__
        raise ConfigError(f"encoder.pretrained: {folder} cannot be read: {cause}") from error
    if wrong:
        listed = ", ".join(f"encoder.{name}={made[name]} (here {getattr(config, name)})" for name in wrong)
        raise ConfigError(f"encoder.pretrained={folder}: was made with {listed}; expected the same options")
    given = encoder.given_vectors
    if read_with is not None and (given is None or given.digest != read_with):
        raise ConfigError(
            f"encoder.pretrained={folder}: was made with word vectors, and here are "
            f"{'none' if given is None else 'others'}; expected the same encoder.vectors, "
            "encoder.vectors_size and encoder.vectors_rows"
        )
    own = encoder.state_dict()
    known = {name: value for name, value in weights.items() if name in own}
    if _MIX in known and given is not None and read_with is None:
        known[_MIX] = _widened(known[_MIX], own[_MIX], given.size)
    strange = [name for name, value in known.items() if own[name].shape != value.shape]
    if strange or not known:
        such = [
            f": {name} has the shape {tuple(known[name].shape)}, here {tuple(own[name].shape)}" for name in strange[:1]
        ]
        raise ConfigError(
            f"encoder.pretrained={folder}: its weights do not fit this version of the encoder{''.join(such)}"
        )
    if bad := next((name for name, value in known.items() if not bool(value.isfinite().all())), None):
        raise ConfigError(f"encoder.pretrained={folder}: weights are no numbers, such as {bad}; pretrain it anew")
    encoder.load_state_dict(known, strict=False)


def _widened(weight: torch.Tensor, new: torch.Tensor, size: int) -> torch.Tensor:
    """Return the weight (width, D) with the last ``size`` columns of ``new`` (width, D + size), if these it lacks.

    A word's given vector is the last of what is mixed, so that weights from before it was given stay in place.
    """
    lacks = weight.ndim == 2 and weight.shape[1] + size == new.shape[1]
    return torch.cat([weight, new[:, -size:]], 1) if lacks else weight
