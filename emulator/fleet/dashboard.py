"""The dashboard's JSON API, as far as the fleet asks it: a device's stored messages, page by page (docs: /api)."""

from __future__ import annotations

import base64
import http.client
import json
import threading
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

Position = tuple[int, int]
"""A message id `MS-SEQ` as numbers: ids grow in the order of the store."""

TIMEOUT_S = 15.0
PAGE = 1000
NOT_FOUND, OK = 404, 200


class DashboardError(Exception):
    """The API did not answer as it should; the message says what it did, for people."""


@dataclass(frozen=True)
class Dashboard:
    """Where the API is, and who asks."""

    host: str
    port: int
    username: str
    password: str
    is_tls: bool


class Row(NamedTuple):
    """A stored message."""

    position: Position
    topic_name: str
    payload: bytes


class Api:
    """Asks one question at a time, over one connection that is opened again when it was lost. Blocks: use a thread."""

    def __init__(self, dashboard: Dashboard) -> None:
        connect = http.client.HTTPSConnection if dashboard.is_tls else http.client.HTTPConnection
        self._in_use = threading.Lock()  # a reading that was given up may still be under way in its thread
        self._connection = connect(dashboard.host, dashboard.port, timeout=TIMEOUT_S)
        login = base64.b64encode(f"{dashboard.username}:{dashboard.password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {login}", "Accept": "application/json"}
        self._name = f"the API at {dashboard.host}:{dashboard.port}"

    def newest(self, device_id: str) -> Position:
        """Return where a device's history stands; (0, 0) for a device that has sent nothing. Raises DashboardError."""
        rows, _ = self._page(device_id, {"limit": "1"})
        return rows[0].position if rows else (0, 0)

    def messages(self, device_id: str, after: Position) -> tuple[list[Row], bool]:
        """Return a device's messages after a position, oldest first, and whether the one there is still kept.

        Raises DashboardError.
        """
        found: list[Row] = []
        query = {"limit": str(PAGE)}
        while True:
            rows, following = self._page(device_id, query)
            found += [row for row in rows if row.position > after]
            has_reached = any(row.position <= after for row in rows)
            if has_reached or following is None:
                return found[::-1], any(row.position == after for row in rows)
            query["before"] = following

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _page(self, device_id: str, query: dict[str, str]) -> tuple[list[Row], str | None]:
        status, body = self._get(f"/api/v1/devices/{quote(device_id, safe='')}/messages?{urlencode(query)}")
        if status == NOT_FOUND:
            return [], None
        if status != OK:
            raise DashboardError(f"{self._name} answered {status}: {_reason(body)}")
        try:
            answer = json.loads(body)
            return [_row(each) for each in answer["messages"]], answer["next"]
        except (ValueError, KeyError, TypeError):
            raise DashboardError(f"{self._name} did not answer as this application's does") from None

    def _get(self, path: str) -> tuple[int, bytes]:
        with self._in_use:
            return self._try_twice(path)

    def _try_twice(self, path: str) -> tuple[int, bytes]:
        try:
            return self._try(path)
        except (http.client.HTTPException, ConnectionError):
            self._connection.close()  # a connection kept open that the server has closed since
        try:
            return self._try(path)
        except (http.client.HTTPException, OSError) as error:
            self._connection.close()
            raise DashboardError(f"{self._name} does not answer: {error or type(error).__name__}") from None

    def _try(self, path: str) -> tuple[int, bytes]:
        self._connection.request("GET", path, headers=self._headers)
        response = self._connection.getresponse()
        return response.status, response.read()


def _row(message: dict[str, Any]) -> Row:
    ms, _, seq = message["id"].partition("-")
    payload = message["payload"]
    data = payload["text"].encode() if "text" in payload else base64.b64decode(payload["base64"])
    return Row((int(ms), int(seq)), message["topic"], data)


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:100].decode(errors="replace")
