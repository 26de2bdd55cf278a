"""Asking a run to stop."""

from __future__ import annotations

import attrs

__all__ = ["Stopping"]


@attrs.define(eq=False)
class Stopping:
    """Whether a run, or several one after the other, is asked to stop, and whether it is where it can save first."""

    why: str | None = None
    is_fitting: bool = False
    is_done: bool = False
    """Whether all is in its place, so that nothing is left to stop."""

    def ask(self, why: str) -> bool:
        """Have the run save and stop after its step; return False where it is at none, and so has nothing to save.

        One that is done ends as it would have.
        """
        self.why = why
        return self.is_fitting or self.is_done
