"""``papermage-data cache``: the documents and examples that runs keep for the next."""

from __future__ import annotations

import argparse
import json

from papermage_core.cli._data.shared import as_json
from papermage_core.cli._shell import say

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> None:
    """List or clear the cache."""
    from papermage_core.config.naming import cache_folder
    from papermage_core.data.cache import cache_clear, cache_list

    folder = cache_folder()
    if arguments.what == "clear":
        freed = cache_clear(folder)
        say(
            json.dumps({"folder": str(folder), "freed": freed})
            if arguments.json
            else f"{_size(freed)} freed in {folder}"
        )
        return
    entries = cache_list(folder)
    if arguments.json:
        say(as_json([entry.to_json() for entry in entries]))
        return
    lines = [
        f"{entry.kind:9} {_size(entry.size):>9}  {entry.used:%Y-%m-%d %H:%M}  {', '.join(entry.made_of)}"
        for entry in entries
    ]
    say("\n".join([*lines, f"{_size(sum(entry.size for entry in entries))} in {folder}"]))


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
