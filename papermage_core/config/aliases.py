"""Other words for one thing: ``device=cuda:1`` for ``accelerator=gpu devices=1,``, ``recall`` for ``min_recall``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from papermage_core.config.given import Given
from papermage_core.config.values import Text
from papermage_core.errors import ConfigError

__all__ = ["with_known_words"]

_ACCELERATORS = {"cuda": "gpu", "none": "auto"}
_DEVICES = {"gpu": "cuda"}


def with_known_words(items: Iterable[Given], options: Collection[str], *, no_device: str = "none") -> list[Given]:
    """Return what was given, under the names that are among a command's ``options``.

    ``no_device`` is what its ``device`` calls the GPU where there is one. Raises ConfigError where both are given, and
    for the number of a device where none can be chosen.
    """
    items = list(items)
    given = {item.key: item for item in items}
    for other, own in (("device", "accelerator"), ("accelerator", "device"), ("recall", "min_recall")):
        if other in given and other not in options and own in options:
            if own in given:
                both = " and ".join(f"{each.key}={each.value} ({each.source})" for each in (given[own], given[other]))
                raise ConfigError(f"{both} are one option: give one of them")
            return [*(item for item in items if item.key != other), *_translated(given[other], options, no_device)]
    return items


def _translated(item: Given, options: Collection[str], no_device: str) -> Iterator[Given]:
    if item.key == "recall":
        yield Given("min_recall", item.value, item.source)
        return
    if item.key == "accelerator":
        name = str(item.value).strip()
        yield Given("device", Text(no_device if name == "auto" else _DEVICES.get(name, name)), item.source)
        return
    name, colon, number = str(item.value).strip().partition(":")
    yield Given("accelerator", Text(_ACCELERATORS.get(name, name)), item.source)
    if not colon:
        return
    if "devices" not in options or not number.isdecimal():
        wanted = "cpu, cuda or cuda:1" if "devices" in options else "cpu or cuda; CUDA_VISIBLE_DEVICES=1 chooses a GPU"
        raise ConfigError(f"device={item.value} ({item.source}): expected {wanted}")
    yield Given("devices", Text(f"{number},"), item.source)
