"""Documents on one page of HTML: their text and their pages, with entities marked."""

from papermage_core.evaluation.view.notebook import Shown, show
from papermage_core.evaluation.view.options import ViewOptions
from papermage_core.evaluation.view.page import write_view

__all__ = ["Shown", "ViewOptions", "show", "write_view"]
