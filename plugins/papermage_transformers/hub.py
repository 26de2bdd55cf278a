"""Models on the Hugging Face hub → folders on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path

from papermage_core.errors import ConfigError
from papermage_transformers.extra import require

__all__ = ["download", "is_offline"]

_PATIENCE = 10.0  # seconds to wait for the hub's first answer


def is_offline() -> bool:
    """Whether the environment forbids the network: now, not only when huggingface_hub was imported."""
    from huggingface_hub import constants

    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    said = any(os.environ.get(name, "").strip().upper() in {"1", "ON", "YES", "TRUE"} for name in names)
    return said or constants.HF_HUB_OFFLINE


def download(key: str, name: str, revision: str | None, choose: Callable[[Collection[str]], Collection[str]]) -> Path:
    """Return the folder of the hub model ``name`` in the local cache, with the files that ``choose`` picks of its own.

    Without network the folder is what an earlier download left. The hub is asked once: an unreachable one fails at
    once. Raises ConfigError, named by the option ``key``, that says what to do.
    """
    require("huggingface_hub", f"{key}={name}, no folder here but a name on the Hugging Face hub,")
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    if is_offline():
        return _cached(key, name, revision, "offline mode is on")
    try:
        found = HfApi().model_info(name, revision=revision, timeout=_PATIENCE)
        files = choose([file.rfilename for file in found.siblings or ()])
        places = [Path(hf_hub_download(name, file, revision=found.sha)) for file in files]
    except HFValidationError as error:
        raise ConfigError(f"{key}: {name!r} is neither a folder nor a name on the Hugging Face hub") from error
    except GatedRepoError as error:
        raise ConfigError(
            f"{key}: the Hugging Face hub gives {name!r} only to users that its owners admit: ask on its page, then "
            "log in with `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise ConfigError(f"{key}: {name!r} on the Hugging Face hub has no revision {revision!r}") from error
    except RepositoryNotFoundError as error:
        raise ConfigError(
            f"{key}: there is no folder {name!r}, and the Hugging Face hub has no such model, or not for you: check "
            "the name, or log in with `hf auth login`"
        ) from error
    except Exception as error:  # the hub client and its transports have errors without a common base
        cause = str(error).strip().splitlines() or [type(error).__name__]
        return _cached(key, name, revision, f"the Hugging Face hub cannot be reached ({cause[0].rstrip('.')})", error)
    if not places:
        raise ConfigError(f"{key}: {name!r} on the Hugging Face hub has no file that is of use here")
    return places[0].parent


def _cached(key: str, name: str, revision: str | None, why: str, cause: Exception | None = None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{key}: there is no folder {name!r}, {why}, and the local cache lacks the model. Fetch it once where "
            f"there is a network (`hf download {name}`), or give the path of a model folder"
        ) from cause or error
