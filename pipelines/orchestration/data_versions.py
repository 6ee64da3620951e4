"""What Dagster keeps beside a materialisation to tell whether what was made from it is stale.

For a partition it compares (dagster 1.13.27, ``CachingStaleStatusResolver``) the version of each input's newest record with
that of the newest record which was there when the partition was made. Both lie in the tags of the records, which Dagster
writes itself for a step's result.
"""

from __future__ import annotations

import dagster as dg
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    DEFAULT_DATA_VERSION,
    NULL_EVENT_POINTER,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)


def version_tags(context: dg.AssetExecutionContext, key: dg.AssetKey, version: str) -> dict[str, str]:
    """The tags of a record that a step writes by itself: its version, and which records of its inputs it was made from."""
    step = context.get_step_execution_context()
    asset = step.job_def.asset_layer.get(key)
    tags = {
        CODE_VERSION_TAG: asset.code_version or context.run.run_id,
        DATA_VERSION_TAG: version,
        DATA_VERSION_IS_USER_PROVIDED_TAG: "true",
    }
    for parent in asset.parent_keys:
        seen = step.maybe_fetch_and_get_input_asset_version_info(parent)
        of_input = seen.data_version if seen else None
        tags[get_input_data_version_tag(parent)] = (of_input or DEFAULT_DATA_VERSION).value
        tags[get_input_event_pointer_tag(parent)] = str(seen.storage_id) if seen else NULL_EVENT_POINTER
    return tags
