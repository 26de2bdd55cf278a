"""Options of ``head=example-plugin``, and the hook. Imported when a config names it: torch stays behind `build`."""

from __future__ import annotations

import attrs
from papermage_core.plugin import LabelScheme, ModelHead, ModelHeadConfig, hookimpl, option

papermage_api_version = 2


@attrs.frozen(kw_only=True)
class ExamplePluginHeadConfig(ModelHeadConfig):
    """Scores each tag with two layers."""

    hidden: int = option(64, help="size of the hidden layer", ge=1)
    dropout: float = option(0.1, help="share of the hidden layer set to zero in training", ge=0, lt=1)

    def build(self, input_size: int, scheme: LabelScheme) -> ModelHead:
        """Return a new head."""
        from papermage_example_plugin.head.head import ExamplePluginHead

        return ExamplePluginHead(input_size, scheme, hidden=self.hidden, dropout=self.dropout)


@hookimpl
def papermage_model_head() -> type[ExamplePluginHeadConfig]:
    """Serve ``example-plugin``."""
    return ExamplePluginHeadConfig
