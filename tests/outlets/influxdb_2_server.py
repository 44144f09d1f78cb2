"""A small HTTP server that takes writes as InfluxDB 2.x documents them, and refuses every other request.

There is no InfluxDB 2.x to be had where these tests run, hence this one place without a real server. It checks the
request line, the token, the compression and each line's form, and answers with the status codes and bodies of the
documentation (InfluxDB OSS 2.7, `POST /api/v2/write`). What lines mean is tested against a real 1.x: the two have one
line protocol.
"""

from __future__ import annotations

import gzip
import json
import re
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from email.message import Message

    from tests.net.certificates import Certificate

ORG, BUCKET, TOKEN = "my org", "fleet/autogen", "t0k3n-_=="  # percent-encoded in a URL
NAME = r"(?:\\[,= ]|[^\\,= \n])+"
VALUE = r'(?:"(?:\\.|[^"\\])*"|true|false|-?[0-9.]+(?:e[+-][0-9]+)?)'
LINE = re.compile(rf"[\w.-]+(?:,{NAME}={NAME})* ({NAME}={VALUE}(?:,{NAME}={VALUE})*) (\d{{19}})\n", re.DOTALL)


Reply = tuple[int, str, dict[str, str]]
"""Status, body and headers."""


class InfluxDB2Server(ThreadingHTTPServer):
    """Listens on 127.0.0.1:`port` while it is entered.

    `lines`: those taken. `replies`: what the next requests get instead of what they should. `requests`: how many came.
    """

    daemon_threads = True

    def __init__(self, certificate: Certificate | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.certificate, certificate.key)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self.server_address[1]
        self.lines: list[str] = []
        self.replies: list[Reply] = []
        self.requests = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that gives up a handshake: that is what a test wants."""

    def reply(self, target: str, headers: Message, body: bytes) -> Reply:
        """Return what InfluxDB 2.x answers, after it has taken what there is to take."""
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        if headers["Authorization"] != f"Token {TOKEN}":
            return error(401, "unauthorized", "unauthorized access")
        if path != "/api/v2/write" or query.keys() != {"org", "bucket", "precision"} or query["precision"] != ["ns"]:
            return error(404, "not found", "path not found")
        for kind, name in (("org", ORG), ("bucket", BUCKET)):
            if query[kind] != [name]:
                return error(404, "not found", f'{kind} "{query[kind][0]}" not found')
        text = (gzip.decompress(body) if headers["Content-Encoding"] == "gzip" else body).decode()
        return self._take(text)

    def _take(self, text: str) -> Reply:
        lines = [found[0] for found in LINE.finditer(text)]
        if "".join(lines) != text:
            return error(400, "invalid", "unable to parse some line")  # nothing of the request is written then
        if not lines:
            return error(400, "invalid", "writing requires points")
        self.lines += lines
        return 204, "", {}


class Handler(BaseHTTPRequestHandler):
    """One connection, kept open between requests."""

    protocol_version = "HTTP/1.1"
    server: InfluxDB2Server

    def do_POST(self) -> None:
        self.server.requests += 1
        body = self.rfile.read(int(self.headers["Content-Length"]))
        replies = self.server.replies
        status, text, headers = replies.pop(0) if replies else self.server.reply(self.path, self.headers, body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def error(status: int, code: str, message: str, **headers: str) -> Reply:
    """Return a refusal in its documented form."""
    return status, json.dumps({"code": code, "message": message}), {"Content-Type": "application/json", **headers}
