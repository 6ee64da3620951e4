"""The jobs: everything, or only publishing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

NIGHTLY = "nightly"
PUBLISH = "publish_ready_periods"


def nightly_job() -> UnresolvedAssetJobDefinition:
    """Pull, normalise, allocate, show and publish a billing period."""
    return dg.define_asset_job(
        NIGHTLY,
        selection=dg.AssetSelection.all(),
        description="Pull every source and rebuild what changed of a billing period, then publish it.",
    )


def publish_job() -> UnresolvedAssetJobDefinition:
    """Only publish: marks the period of a failed run as stale and lets the others move on."""
    return dg.define_asset_job(
        PUBLISH,
        selection=dg.AssetSelection.assets("publish"),
        description="Publish every billing period that is ready; mark the others stale.",
    )
