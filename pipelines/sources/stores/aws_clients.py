"""Clients of AWS's services, made quickly and one at a time.

A session of botocore is for one thread and keeps the credentials that it found, so that each client has a session of its own:
a process that runs for weeks sees credentials that were renewed. What takes the time, reading the services' descriptions, is
the same for all and done once for each process.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import Any

from botocore.config import Config
from botocore.loaders import Loader
from botocore.session import Session

_ONE_AT_A_TIME = Lock()


def aws_client(
    service: str,
    *,
    endpoint_url: str | None = None,
    region: Callable[[str | None], str],
    config: Callable[[Session], Config],
) -> Any:
    """A client, which may be used by several threads; credentials by botocore's default chain.

    ``region`` is given the region that the environment or the profile names, ``config`` the session.
    """
    # Of all of botocore only clients are for several threads.
    with _ONE_AT_A_TIME:
        session = Session()
        session.register_component("data_loader", _descriptions())
        return session.create_client(
            service,
            endpoint_url=endpoint_url,
            region_name=region(session.get_config_variable("region")),
            config=config(session),
        )


@cache
def _descriptions() -> Loader:
    loader: Loader = Session().get_component("data_loader")
    return loader
