"""What a server was asked, read from its own log."""

from __future__ import annotations

import json
import re
import urllib.request
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.error import URLError
from urllib.parse import parse_qs, unquote, urlsplit

from tests.integration.servers.processes import ServerProcess


@dataclass(frozen=True)
class Request:
    """A request that a server answered. ``path`` is what was sent, query included."""

    method: str
    path: str
    status: int

    @property
    def names(self) -> list[str]:
        """The parts of the path, without the query."""
        return [unquote(part) for part in urlsplit(self.path).path.split("/") if part]

    @property
    def parameters(self) -> set[str]:
        """The names in the query."""
        return set(parse_qs(urlsplit(self.path).query, keep_blank_values=True))


class RequestLog:
    """The requests that a server prints, one a line."""

    def __init__(self, process: ServerProcess, address: str, parse: Callable[[str], Request | None]) -> None:
        self._process = process
        self._address = address
        self._parse = parse

    def requests(self, since: int = 0) -> list[Request]:
        """Every request that was answered until now, from the ``since``-th on; the marks of this class aren't counted."""
        self._settle()
        found = (self._parse(line) for line in self._process.text().splitlines())
        return [request for request in found if request is not None and "settled-" not in request.path][since:]

    def _settle(self) -> None:
        """Ask for something and wait until the log tells so: all that was answered before it is in the log then."""
        mark = f"settled-{uuid.uuid4().hex}"
        with suppress(URLError):
            urllib.request.urlopen(f"{self._address}/{mark}", timeout=30).close()
        self._process.wait_for(mark)


def from_plain(line: str) -> Request | None:
    """A line of our S3 server."""
    found = re.fullmatch(r"request (\S+) (\S+) (\d+)", line.strip())
    return Request(found[1], found[2], int(found[3])) if found else None


def from_access_log(line: str) -> Request | None:
    """A line of the form that web servers share, as Azurite prints it."""
    found = re.search(r'"([A-Z]+) (\S+) HTTP/[0-9.]+" (\d+)', line)
    return Request(found[1], found[2], int(found[3])) if found else None


def from_json(line: str) -> Request | None:
    """A line of bqemulator."""
    with suppress(ValueError):
        said = json.loads(line)
        if isinstance(said, dict) and said.get("event") == "http.request":
            return Request(said["method"], said["path"], said["status"])
    return None
