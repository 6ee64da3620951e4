"""A server on loopback that answers as AWS would: what moto has no words for."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What the server sends: ``body`` is cut off after ``sent`` bytes where that is given, and the connection with it."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None


@dataclass(frozen=True)
class Question:
    """What it was asked."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        """The operation of a service that speaks JSON."""
        return self.headers.get("X-Amz-Target", "").rpartition(".")[2]

    @property
    def parameters(self) -> dict[str, Any]:
        """Its parameters."""
        parameters: dict[str, Any] = json.loads(self.body or b"{}")
        return parameters


@contextmanager
def answering(answer: Callable[[Question], Answer]) -> Iterator[str]:
    """A server that answers by this function; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            given = answer(Question(self.command, self.path, dict(self.headers), self.rfile.read(length)))
            self.send_response(given.status)
            for name, value in {"Content-Length": str(len(given.body)), **given.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(given.body[: given.sent])
            self.close_connection = given.sent is not None

        do_GET = do_POST = do_HEAD = _reply  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def as_json(content: Mapping[str, Any], status: int = 200) -> Answer:
    """An answer of a service that speaks JSON 1.1."""
    return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/x-amz-json-1.1"})


def s3_error(status: int, code: str, message: str = "no", *, region: str | None = None) -> Answer:
    """An error as S3 sends it."""
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    headers = {"Content-Type": "application/xml", **({"x-amz-bucket-region": region} if region else {})}
    return Answer(status, body.encode(), headers)
