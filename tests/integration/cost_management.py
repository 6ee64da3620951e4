"""Azure Cost Management on loopback: cost details reports as a long-running operation, their blobs, exports of a scope."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

SCOPE = "/subscriptions/00000000-0000-0000-0000-000000000042"


@dataclass
class Answer:
    """An answer that stands before the proper one: a status with headers, or a connection that is cut.

    ``cut``: nothing is sent ("before"), or half of the body is ("half").
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: str = ""
    body: Any = None


class CostManagementServer:
    """Makes reports of ``reports`` ((metric, month) to the contents of its blobs) and keeps what it was asked.

    ``before``: answers that stand before the proper ones, by the kind of request (create, poll, blob, exports), each used once.
    """

    def __init__(self) -> None:
        self.reports: dict[tuple[str, str], Sequence[bytes]] = {}
        self.exports: Sequence[str] = ()
        self.polls = 1
        self.before: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, str]] = []
        self.definitions: list[Mapping[str, Any]] = []
        self._operations: dict[str, tuple[str, str]] = {}
        self._polled: dict[str, int] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server._answer(self)

            def do_POST(self) -> None:
                server._answer(self)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.endpoint_url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """End it."""
        self._http.shutdown()
        self._http.server_close()

    def count(self, kind: str) -> int:
        """How often a kind of request was made."""
        return sum(asked == kind for asked, _ in self.asked)

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        path = urlsplit(request.path).path
        kind = self._kind(path)
        self.asked.append((kind, request.headers.get("Authorization") or ""))
        if self.before.get(kind):
            answer = self.before[kind].pop(0)
            if answer.cut:
                self._cut(request, path if answer.cut == "half" else None)
            else:
                self._send(request, answer.status, json.dumps(answer.body or {}).encode(), answer.headers)
            return
        if kind == "create":
            self._create(request, json.loads(body))
        elif kind == "poll":
            self._poll(request, path.rsplit("/", 1)[1])
        elif kind == "blob":
            self._send(request, 200, self._blob(path), {"Content-Type": "text/csv"})
        else:
            listed = [{"name": name, "properties": {}} for name in self.exports]
            self._send(request, 200, json.dumps({"value": listed}).encode())

    def _kind(self, path: str) -> str:
        words = {"generateCostDetailsReport": "create", "costDetailsOperationResults": "poll", "blobs": "blob"}
        return next((kind for word, kind in words.items() if f"/{word}" in path), "exports")

    def _create(self, request: BaseHTTPRequestHandler, definition: Mapping[str, Any]) -> None:
        self.definitions.append(definition)
        operation = f"op-{len(self._operations)}"
        self._operations[operation] = (definition["metric"], definition["timePeriod"]["start"][:7])
        where = f"{self.endpoint_url}{SCOPE}/providers/Microsoft.CostManagement/costDetailsOperationResults/{operation}"
        self._send(request, 202, b"", {"Location": where, "Retry-After": "0"})

    def _poll(self, request: BaseHTTPRequestHandler, operation: str) -> None:
        self._polled[operation] = self._polled.get(operation, 0) + 1
        if self._polled[operation] <= self.polls:
            where = f"{self.endpoint_url}{urlsplit(request.path).path}"
            self._send(request, 202, b"", {"Location": where, "Retry-After": "0"})
            return
        blobs = self.reports.get(self._operations[operation])
        if blobs is None:
            self._send(request, 200, json.dumps({"name": operation, "status": "NoDataFound"}).encode())
            return
        manifest = {
            "manifestVersion": "2022-05-01",
            "dataFormat": "Csv",
            "blobCount": len(blobs),
            "byteCount": sum(map(len, blobs)),
            "compressData": False,
            "blobs": [
                {"blobLink": f"{self.endpoint_url}/blobs/{operation}/{number}?sig=secret", "byteCount": len(blob)}
                for number, blob in enumerate(blobs)
            ],
        }
        content = {"name": operation, "status": "Completed", "manifest": manifest, "validTill": "2026-10-17T00:00:00Z"}
        self._send(request, 200, json.dumps(content).encode())

    def _blob(self, path: str) -> bytes:
        _, _, operation, number = path.split("/")
        return self.reports[self._operations[operation]][int(number)]

    def _send(
        self, request: BaseHTTPRequestHandler, status: int, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        request.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def _cut(self, request: BaseHTTPRequestHandler, blob: str | None) -> None:
        if blob is not None:
            content = self._blob(blob)
            request.send_response(200)
            request.send_header("Content-Length", str(len(content)))
            request.end_headers()
            request.wfile.write(content[: len(content) // 2])
            request.wfile.flush()
        # Reset, not closed in order: as a dropped connection is.
        request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.close_connection = True
        request.connection.close()
