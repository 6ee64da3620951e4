"""What each cost centre is charged."""

from __future__ import annotations

import dagster as dg

from pipelines.config import Settings
from pipelines.orchestration.model_assets import model_assets


def chargeback_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """``chargeback/monthly``."""
    return model_assets(settings, "chargeback")
