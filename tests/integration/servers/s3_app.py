"""moto's S3 on a free port of loopback: `python -m tests.integration.servers.s3_app`. Every request is a line of its output."""

from __future__ import annotations

from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


class PlainLog(WSGIRequestHandler):
    """Says what was asked without a date or colours, before the answer leaves."""

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """One line: ``request METHOD PATH STATUS``."""
        print("request", self.command, self.path, int(code), flush=True)


if __name__ == "__main__":
    server = make_server(
        "127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True, request_handler=PlainLog
    )
    print(f"listening on http://127.0.0.1:{server.port}", flush=True)
    server.serve_forever()
