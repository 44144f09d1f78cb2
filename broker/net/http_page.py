"""Answers to plain HTTP on the broker's port: TCP_URL gets pasted into browsers, and silence helps nobody."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

TLS_ONLY = "This port speaks TLS only: use https://, wss:// or mqtts://.\n"
ONLY_GET = "This is an MQTT broker. It answers GET only; the API is at the dashboard's address.\n"
HEAD_TOO_LARGE = "The request's head is too large.\n"
NO_UPGRADE = "This is no request that a WebSocket can be opened with.\n"

PAGE = """\
This is an MQTT broker, and it works. A browser cannot talk to it this way.

Devices connect with MQTT 3.1, 3.1.1 or 5.0, for example:

  mosquitto_pub -h {host} -p {port}{tls} -u device -P PASSWORD -q 1 \\
    -t devices/my-device/telemetry -m '{{"temperature": 21.5}}'

Web pages connect over WebSocket, with the subprotocol "mqtt":

  {scheme}://{host}:{port}/

The dashboard is elsewhere: at the web address of this application.
"""


def page(tcp_url: str, port: int, *, has_tls: bool) -> str:
    """Return the text a browser is shown; `tcp_url` is the broker's public address, empty where none is known."""
    public_host, public_port = _address(tcp_url)
    return PAGE.format(
        host=public_host or "HOST",
        port=public_port or port,
        tls=" --tls-use-os-certs" if has_tls else "",
        scheme="wss" if has_tls else "ws",
    )


def _address(url: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # somebody set TCP_URL to something else; it is only shown
        return None, None
    return host, port


def response(status: HTTPStatus, text: str, *, has_body: bool = True) -> bytes:
    """Return a whole HTTP/1.1 response, after which the connection closes; `has_body` is false in answer to HEAD."""
    body = text.encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET")  # RFC 9110 §15.5.6
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body if has_body else b"")
