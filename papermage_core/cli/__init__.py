"""The commands: one small file each; what is heavy is imported inside."""

import sys as _sys


def _told(kind: type[BaseException], *more: object) -> None:
    """Tell of an interrupt in a line."""
    if issubclass(kind, KeyboardInterrupt):
        print(f"{_PROG}: interrupted", file=_sys.stderr)
    else:
        _sys.__excepthook__(kind, *more)  # type: ignore[arg-type]


_PROG = _sys.argv[0].replace("\\", "/").rpartition("/")[2] if getattr(_sys, "argv", None) else ""
if _PROG.startswith("papermage") and _sys.excepthook is _sys.__excepthook__:
    _sys.excepthook = _told  # modules are imported before a command can catch it
