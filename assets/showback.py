"""What teams, products and models used and what a unit of it costs."""

from __future__ import annotations

import dagster as dg

from pipelines.config import Settings
from pipelines.orchestration.model_assets import model_assets


def showback_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """``showback/<table>`` for each stored table of the schema."""
    return model_assets(settings, "showback")
