"""Models on the Hugging Face hub → folders on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from importlib.util import find_spec
from pathlib import Path

from papermage_core.errors import ConfigError, PluginError

__all__ = ["HUB", "download", "is_offline", "is_on_hub"]

HUB = "hf:"
"""What the name of a checkpoint on the hub begins with: no slip in a path asks the network."""

_PATIENCE = 10.0  # seconds to wait for the hub's first answer


def is_offline() -> bool:
    """Whether the environment forbids the network: now, not only when huggingface_hub was imported."""
    from huggingface_hub import constants

    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    said = any(os.environ.get(name, "").strip().upper() in {"1", "ON", "YES", "TRUE"} for name in names)
    return said or constants.HF_HUB_OFFLINE


def is_on_hub(path: str | Path) -> bool:
    """Whether a path is the name of a checkpoint on the hub, which no folder goes before."""
    return str(path).startswith(HUB)


def download(
    key: str,
    name: str,
    revision: str | None,
    choose: Callable[[Collection[str]], Collection[str]],
    *,
    offline: bool = False,
) -> Path:
    """Return the folder of the hub model ``name`` in the local cache, with the files that ``choose`` picks of its own.

    Without network, or ``offline``, the folder is what an earlier download left. The hub is asked once: an unreachable
    one fails at once. The first file that is picked stands at the top. Raises ConfigError, named by the option ``key``,
    that says what to do, and PluginError where the hub's client is not installed.
    """
    if find_spec("huggingface_hub") is None:
        what = f"{key}={name}, no folder here but a name on the Hugging Face hub, needs huggingface_hub"
        raise PluginError(f"{what}; type: pip install 'papermage_core[hf]'")
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    if offline or is_offline():
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
    _note(places[0].parent, revision or "main", found.sha)
    return places[0].parent


def _note(snapshot: Path, revision: str, sha: str | None) -> None:
    """Say in the client's cache which commit a branch or tag is: it does not where it was asked for the commit."""
    if sha is not None and revision != sha and snapshot.parent.name == "snapshots":
        place = snapshot.parent.parent / "refs" / revision
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(sha, encoding="utf-8")


def _cached(key: str, name: str, revision: str | None, why: str, cause: Exception | None = None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{key}: there is no folder {name!r}, {why}, and the local cache lacks the model. Fetch it once where "
            f"there is a network (`hf download {name}`), or give the path of a model folder"
        ) from cause or error
