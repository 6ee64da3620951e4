"""Cost exports as Azure delivers them: runs below a folder, each with its manifest, last."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.normalise.azure_bills import Line, write_export

SCOPE = "/providers/Microsoft.Billing/billingAccounts/8611537"
TYPES = {"actual": "ActualCost", "amortised": "AmortizedCost", "focus": "FocusCost"}


def deliver(
    root: Path,
    report: str,
    files: Mapping[str, Sequence[Line]],
    *,
    period: str = "2026-09",
    submitted: str = "2026-09-04T02:00:00.000Z",
    run_id: str = "run-1",
    folder: str | None = None,
    scope: str = SCOPE,
    older_shape: bool = False,
    **manifest: Any,
) -> Path:
    """One run of an export: ``files`` by blob name, then the manifest. Returns the run's folder.

    The export is called after the report; ``manifest`` changes what its manifest says. ``older_shape``: without
    ``exportConfig``, ``deliveryConfig`` and ``runInfo``.
    """
    year, month = period.split("-")
    dates = f"{year}{month}01-{year}{month}30"
    moment = submitted[:16].replace("-", "").replace("T", "").replace(":", "")
    below = folder if folder is not None else f"acme-{report}/{dates}/{moment}/{run_id}"
    blobs = []
    for name, lines in files.items():
        file = write_export(root / below / name, lines)
        blobs.append(
            {
                "blobName": f"{below}/{name}",
                "byteCount": len(gzip.decompress(file.read_bytes())) if name.endswith(".gz") else file.stat().st_size,
                "dataRowCount": len(lines),
            }
        )
    content: dict[str, Any] = {
        "manifestVersion": "2024-04-01",
        "byteCount": sum(int(str(blob["byteCount"])) for blob in blobs),
        "blobCount": len(blobs),
        "dataRowCount": sum(map(len, files.values())),
        "exportConfig": {
            "exportName": f"acme-{report}",
            "resourceId": f"{scope}/providers/Microsoft.CostManagement/exports/acme-{report}",
            "type": TYPES[report],
            "timeFrame": "MonthToDate",
            "granularity": "Daily",
        },
        "deliveryConfig": {"partitionData": True, "dataOverwriteBehavior": "CreateNewReport", "fileFormat": "Csv"},
        "runInfo": {
            "executionType": "Scheduled",
            "submittedTime": submitted,
            "runId": run_id,
            "startDate": f"{period}-01T00:00:00",
            "endDate": f"{period}-30T00:00:00",
        },
        "blobs": blobs,
        **manifest,
    }
    if older_shape:
        content = {
            key: value for key, value in content.items() if key not in ("exportConfig", "deliveryConfig", "runInfo")
        }
    (root / below / "manifest.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    return root / below
