"""Starts Dagster's user interface and daemon over the configuration's own run records (`make dagster`)."""

from __future__ import annotations

import os
import sys

from pipelines.config import configuration_path, load_settings
from pipelines.errors import ApportionError
from pipelines.orchestration.instance import CODE_LOCATION, open_instance


def main() -> None:
    """Become `dagster dev`; arguments are passed on, such as ``--port 3001``."""
    try:
        # Opened once, so that the records exist before Dagster's own processes, or a run beside them, look for them.
        with open_instance(load_settings(configuration_path())):
            pass
    except ApportionError as error:
        sys.exit(str(error))
    # By module, because `dagster job backfill` knows the code location by that name and no other.
    os.execv(sys.executable, [sys.executable, "-m", "dagster", "dev", "-m", CODE_LOCATION, *sys.argv[1:]])


if __name__ == "__main__":
    main()
