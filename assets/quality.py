"""The proof: delivery, charges and allocation side by side, and the bridge from the invoice to what is charged."""

from __future__ import annotations

import dagster as dg

from pipelines.config import Settings
from pipelines.orchestration.model_assets import model_assets


def quality_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """``quality/reconciliation`` and ``quality/billed_to_effective``; the other tables are records, no assets."""
    return model_assets(settings, "quality")
