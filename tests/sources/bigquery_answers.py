"""A server on loopback that answers BigQuery's REST interface as a test says: estimates, refusals, a table that grows."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_SCHEMA = [
    {"name": "billing_account_id", "type": "STRING"},
    {"name": "invoice", "type": "RECORD", "fields": [{"name": "month", "type": "STRING"}]},
    {"name": "cost_type", "type": "STRING"},
    {"name": "service", "type": "RECORD", "fields": [{"name": "description", "type": "STRING"}]},
    {"name": "sku", "type": "RECORD", "fields": [{"name": "description", "type": "STRING"}]},
    {"name": "usage_start_time", "type": "TIMESTAMP"},
    {"name": "usage_end_time", "type": "TIMESTAMP"},
    {"name": "cost", "type": "BIGNUMERIC"},
    {"name": "currency", "type": "STRING"},
    {
        "name": "credits",
        "type": "RECORD",
        "mode": "REPEATED",
        "fields": [{"name": "amount", "type": "BIGNUMERIC"}, {"name": "type", "type": "STRING"}],
    },
    {"name": "export_time", "type": "TIMESTAMP"},
    {"name": "a_field_of_next_year", "type": "STRING"},
]
_LOOK = [{"name": name, "type": "STRING"} for name in ("day", "month", "marker")] + [
    {"name": "row_count", "type": "INTEGER"}
]


@dataclass
class BigQueryAnswers:
    """What the server answers, and what it was asked. ``days``: day, month, marker and row count, as the look returns them.

    ``rows``: the costs of the rows that a day's query returns. ``refusals``: the last part of a request's path to an HTTP
    status, a reason and a message.
    """

    days: list[tuple[str, str, str, int]] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    estimate: int = 1000
    refusals: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    queries: list[dict[str, Any]] = field(default_factory=list)
    endpoint_url: str = ""

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and content of an answer."""
        last = path.split("?")[0].split("/")[-1]
        if last in self.refusals:
            status, reason, message = self.refusals[last]
            return status, {
                "error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
            }
        if "/tables/" in path:
            return 200, {
                "tableReference": {"projectId": "acme", "datasetId": "billing", "tableId": "export"},
                "schema": {"fields": _SCHEMA},
                "timePartitioning": {"type": "DAY"},
                "type": "TABLE",
            }
        if last == "jobs":
            return 200, self._job(body["configuration"])
        return 200, self._results(int(last.split("-")[-1]))

    def _job(self, configuration: dict[str, Any]) -> dict[str, Any]:
        self.queries.append(configuration)
        return {
            "jobReference": {"projectId": "acme", "jobId": f"job-{len(self.queries) - 1}", "location": "US"},
            "configuration": configuration,
            "status": {"state": "DONE"},
            "statistics": {
                "totalBytesProcessed": str(self.estimate),
                "query": {"totalBytesProcessed": str(self.estimate), "statementType": "SELECT"},
            },
        }

    def _results(self, number: int) -> dict[str, Any]:
        is_look = "GROUP BY" in self.queries[number]["query"]["query"]
        found = [[*day] for day in self.days] if is_look else [self._row(cost) for cost in self.rows]
        return {
            "jobReference": {"projectId": "acme", "jobId": f"job-{number}", "location": "US"},
            "jobComplete": True,
            "schema": {
                "fields": _LOOK
                if is_look
                else [column for column in _SCHEMA if column["name"] != "a_field_of_next_year"]
            },
            "totalRows": str(len(found)),
            "rows": [
                {"f": [{"v": value if not isinstance(value, int) else str(value)} for value in row]} for row in found
            ],
        }

    def _row(self, cost: str) -> list[Any]:
        moment = "1788436800000000"
        record = {"f": [{"v": "x"}]}
        credit = {"v": {"f": [{"v": "-" + cost}, {"v": "DISCOUNT"}]}}
        month = {"f": [{"v": "202609"}]}
        return ["0123", month, "regular", record, record, moment, moment, cost, "USD", [credit], moment]


@contextmanager
def served(answers: BigQueryAnswers) -> Iterator[BigQueryAnswers]:
    """The answers behind an address of their own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: dict[str, Any]) -> None:
            status, content = answers.answer(self.path, body)
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the test asks what it wants to know."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    answers.endpoint_url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield answers
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
