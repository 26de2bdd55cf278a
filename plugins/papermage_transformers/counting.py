"""How many windows contexts give, from the files of a model's tokenizer: no torch, no weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from papermage_core.plugin import Context
from papermage_transformers.folder import CONFIG, TOKENIZER, TOKENIZER_CONFIG
from papermage_transformers.source import tokenizer_files
from papermage_transformers.tokenizer import FastTokenizer
from papermage_transformers.windows import WindowMaker
from papermage_transformers.wordpieces import WordpieceTable

__all__ = ["window_counter"]

_USUAL_LENGTH = 512
_FROM_PADDING = ("roberta", "xlm-roberta", "camembert", "longformer", "layoutlmv3")
"""Models that number positions from behind that of padding: so many fewer are left."""


@lru_cache(maxsize=4)
def window_counter(
    name: str, revision: str | None, max_length: int | None, indicator: str | None
) -> Callable[[Sequence[Context], int], list[int]] | None:
    """Return what counts the windows of contexts for a stride; None where the model has no fast tokenizer in a file.

    Raises ConfigError for a model that is not there.
    """
    folder = tokenizer_files(name, revision)
    if not (folder.path / TOKENIZER).is_file() or not (folder.path / TOKENIZER_CONFIG).is_file():
        return None
    tokenizer, config = FastTokenizer.read(folder), folder.read_object(CONFIG)
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and config.get("model_type") in _FROM_PADDING:
        positions -= 1 + int(config.get("pad_token_id") or 0)
    limits = [each for each in (positions, tokenizer.max_length) if isinstance(each, int) and each > 0]
    specials = tokenizer.backend.num_special_tokens_to_add(is_pair=False)
    length = max_length or min([*limits, _USUAL_LENGTH])
    maker = WindowMaker(
        table=WordpieceTable(tokenizer.backend, tokenizer.id("unk", "mask", "sep") or 0),
        capacity=max(1, length - specials),
        specials=specials,
        indicator_layer=indicator,
    )
    return lambda contexts, stride: [len(windows) for windows in maker.windows(contexts, stride)]
