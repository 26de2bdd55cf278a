"""Which layer is missing where, before a recipe runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from papermage_core.config.writers import records_config
from papermage_core.data.wanted import Wanted
from papermage_core.errors import DataError, PluginError, counted
from papermage_core.plugin.manager import Plugins
from papermage_core.plugin.spec import LocatedDocument
from papermage_core.prediction.recipe import Recipe

__all__ = ["RecipeFindings", "check_recipe"]


@attrs.define
class RecipeFindings:
    """What stages read and make, and the documents that lack something. Prints the stages, then the places."""

    recipe: Recipe
    keep: int | None = None
    """How many places of each stage are kept; None: all."""
    documents: int = 0
    errors: list[DataError] = attrs.field(factory=list)
    """Each names stage and document; documents that cannot be read, too."""
    counts: Counter[str] = attrs.field(factory=Counter)
    """Stage → documents that it cannot use; ``""``: that cannot be read."""
    kept: Counter[str] = attrs.field(factory=Counter)
    """Predictor → documents that have its layers already, and keep them."""
    wanted: Wanted | None = attrs.field(init=False)
    """What the records of the recipe name; None where it has none, or nothing that writes them is installed."""

    @wanted.default
    def _wanted(self) -> Wanted | None:
        config = self.recipe.config
        if config.records is None:
            return None
        try:
            writer = records_config(config.records, Plugins(config.plugins_path))
        except PluginError:
            return None
        return Wanted(writer, layers=[*self.needs(), *self.recipe.makes], labels=self.recipe.labels)

    @property
    def error_count(self) -> int:
        """How many errors there are."""
        return self.counts.total()

    def add(self, error: DataError) -> None:
        """Count an error, and keep it if not enough of its stage are kept."""
        stage = error.stage or ""
        self.counts[stage] += 1
        if self.keep is None or self.counts[stage] <= self.keep:
            self.errors.append(error)

    def needs(self) -> list[str]:
        """Return the layers that documents must come with."""
        made: set[str] = set()
        needed: dict[str, None] = {}
        for stage in self.recipe.stages:
            needed.update(dict.fromkeys(name for name in stage.reads if name not in made))
            made.update(stage.makes)
        return list(needed)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {
            "stages": [
                {"name": stage.name, "reads": list(stage.reads), "makes": list(stage.makes)}
                for stage in self.recipe.stages
            ],
            "needs": self.needs(),
            "records_without_layer": [] if self.wanted is None else self.wanted.missing,
            "documents": self.documents,
            "counts": {"errors": self.error_count, "kept": dict(self.kept)},
            "errors": [
                {
                    "message": error.message,
                    "stage": error.stage,
                    "path": None if error.path is None else str(error.path),
                    "line": error.line,
                    "document": error.document,
                }
                for error in self.errors
            ],
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        width = max(len(stage.name) for stage in self.recipe.stages)
        for number, stage in enumerate(self.recipe.stages, 1):
            reads = f"reads {', '.join(stage.reads)}; " if stage.reads else ""
            yield f"{number:2} {stage.name:{width}}  {reads}makes {', '.join(stage.makes)}"
        yield f"documents must have: {', '.join(self.needs()) or 'text'}"
        if self.documents or self.error_count:
            yield f"\n{counted(self.documents, 'documents')} read, {counted(self.error_count, 'errors')}"
        others = "no document has one" if self.documents else "no documents were given that may have one"
        why = f"no stage makes a layer or label of this name, and {others}"
        if self.wanted is not None and (line := self.wanted.line(why)):
            yield f"records: {line}"
        for name, count in self.kept.items():
            yield f"{counted(count, 'documents', 'have')} the layers of stage {name!r} already: these stay"
        yield from (f"  {error}" for error in self.errors)
        if self.error_count > len(self.errors):
            yield "  … and more"


def check_recipe(
    recipe: Recipe, documents: Iterable[LocatedDocument], *, findings: RecipeFindings | None = None
) -> RecipeFindings:
    """Return which stages cannot use which documents, as their layers tell; nothing is predicted.

    What a stage lacks since one before it cannot run is not told again. ``findings`` may have the errors of reading.
    """
    found = findings if findings is not None else RecipeFindings(recipe)
    for located in documents:
        found.documents += 1
        if found.wanted is not None:
            found.wanted.look(located.document)
        names = dict.fromkeys(located.document.layer_names)
        lost: set[str] = set()
        for stage in recipe.stages:
            if lost.intersection(stage.reads):
                lost.update(stage.makes)
            elif problem := stage.problem_of(list(names)):
                found.add(located.error(problem.replace(stage=stage.name)))
                lost.update(stage.makes)
            else:
                found.kept[stage.name] += stage.is_predictor and all(name in names for name in stage.makes)
                names.update(dict.fromkeys(stage.makes))
    found.kept = +found.kept
    return found
