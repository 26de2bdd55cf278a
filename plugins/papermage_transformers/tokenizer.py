"""What is needed of a Hugging Face tokenizer, in two files that hold it whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from tokenizers import Tokenizer

from papermage_transformers.folder import CONFIG, TOKENIZER, TOKENIZER_CONFIG, ModelFolder

__all__ = ["FastTokenizer"]

_KINDS = ("cls", "eos", "mask", "pad", "sep", "unk")
_LONGEST_PIECE = 1_000
_UNLIMITED = 1_000_000_000  # transformers writes 1e30 where it knows no limit


@attrs.frozen(eq=False)
class FastTokenizer:
    """A tokenizer, its special tokens by what they are for, and the most wordpieces that its model takes."""

    backend: Tokenizer
    special: Mapping[str, str]
    """``"sep"`` → ``"[SEP]"``, for each kind that there is."""
    max_length: int | None

    @classmethod
    def of(cls, tokenizer: Any) -> FastTokenizer:
        """Return what is needed of a fast tokenizer of transformers."""
        special = {kind: getattr(tokenizer, f"{kind}_token") for kind in _KINDS}
        limit = tokenizer.model_max_length
        return cls(
            tokenizer.backend_tokenizer,
            {kind: str(token) for kind, token in special.items() if token is not None},
            limit if limit and limit < _UNLIMITED else None,
        )

    @classmethod
    def read(cls, folder: ModelFolder) -> FastTokenizer:
        """Return the tokenizer that `save`, or transformers, wrote. Reads two files of the folder and nothing else."""
        settings = folder.read_object(TOKENIZER_CONFIG)
        folder.refuse_code(TOKENIZER_CONFIG, settings)
        text = folder.read(TOKENIZER)
        with folder.using(TOKENIZER):
            if longest := _longest_piece(json.loads(text)):
                raise ValueError(f"it has a wordpiece of {longest:,} characters: expected {_LONGEST_PIECE:,} at most")
            backend = Tokenizer.from_str(text)
        special = {kind: _text_of(settings.get(f"{kind}_token")) for kind in _KINDS}
        limit = settings.get("model_max_length")
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, (int, float)) or limit < 1):
            raise folder.damaged(TOKENIZER_CONFIG, f"has model_max_length={limit!r}: expected a number of wordpieces")
        return cls(
            backend,
            {kind: token for kind, token in special.items() if token is not None},
            int(limit) if limit is not None and limit < _UNLIMITED else None,
        )

    def id(self, *kinds: str) -> int | None:
        """Return the id of the first of these kinds of special token that there is."""
        ids = (self.backend.token_to_id(self.special[kind]) for kind in kinds if kind in self.special)
        return next((i for i in ids if i is not None), None)

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json`` and ``tokenizer_config.json``, which transformers reads too."""
        settings: dict[str, Any] = {f"{kind}_token": token for kind, token in self.special.items()}
        settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": self.max_length or int(1e30)}
        (folder / TOKENIZER).write_text(self.backend.to_str(), encoding="utf-8")
        (folder / TOKENIZER_CONFIG).write_text(json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")

    def check(self, folder: ModelFolder, rows: int) -> None:
        """Raise where a wordpiece has no row in a model's table of ``rows`` embeddings."""
        largest = max(self.backend.get_vocab(with_added_tokens=False).values(), default=-1)
        if largest >= rows:
            raise folder.error(
                TOKENIZER, f"has wordpieces up to {largest:,}, and {CONFIG} a table of {rows:,}: they are of two models"
            )


def _longest_piece(settings: Any) -> int:
    """Return the length of the longest wordpiece if it is beyond any, else 0: tokenizers crashes on such a one.

    Its tries are freed by recursion, a level a character.
    """
    model = settings.get("model") if isinstance(settings, dict) else None
    vocab = model.get("vocab") if isinstance(model, dict) else None
    pieces = [entry[0] if isinstance(entry, list) and entry else entry for entry in vocab or ()]
    added = settings.get("added_tokens") if isinstance(settings, dict) else None
    pieces += [token.get("content") for token in added or () if isinstance(token, dict)]
    longest = max((len(piece) for piece in pieces if isinstance(piece, str)), default=0)
    return longest if longest > _LONGEST_PIECE else 0


def _text_of(token: Any) -> str | None:
    """Return the text of a special token as a config file has it: a string, or an object with its ``content``."""
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) else None
