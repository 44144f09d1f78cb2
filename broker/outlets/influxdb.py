"""The outlet to InfluxDB 1.x and 2.x: messages as points, over HTTP (docs/influxdb.md).

What InfluxDB refuses for good (a field of another type, a time that its retention does not keep) is counted and left
out: one bad point never stops the rest. Everything else is an exception: the runner calls again.
"""

from __future__ import annotations

import asyncio
import http.client
import logging
from typing import TYPE_CHECKING

from broker.outlets.influx_answers import ADVICE_1, ADVICE_2
from broker.outlets.influx_connection import InfluxConnection
from broker.outlets.line_protocol import points
from store.influx_address import parse_influx_url
from store.outlet_state import INFLUXDB, OutletSize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.outlets.influx_answers import Answer
    from broker.outlets.outlet import LoggedMessage
    from settings import Settings

REQUEST_TIMEOUT_S = 30.0
BODY_BYTES = 1024 * 1024  # of one request before compression, and a point: far below what InfluxDB takes
BODY_POINTS = 5000  # what its documentation advises
LONGEST_PAUSE_S = 30.0  # whatever the server asks for

log = logging.getLogger(__name__)


class NotWritten(Exception):  # noqa: N818  it says what happened
    """InfluxDB did not take points, and may take them later. The text says why, and what to do about it."""


class InfluxOutlet:
    """`left_out` counts points that InfluxDB refuses for good; `size` stays unknown."""

    name = INFLUXDB

    def __init__(self, settings: Settings) -> None:
        self.size = OutletSize()
        self.left_out = 0
        self._address = parse_influx_url(settings.influx_url)
        self._measurement = settings.influx_measurement
        self._connection = InfluxConnection(self._address, settings.influx_token)
        self._not_before_s = 0.0

    async def open(self) -> None:
        """Write nothing, which shows whether points would be taken; create the database of 1.x where it is missing.

        Waits first, for as long as the server asked for. Raises NotWritten.
        """
        await asyncio.sleep(self._not_before_s - asyncio.get_running_loop().time())
        answer = await self._post(self._address.write_target)
        if answer.status == 404 and self._address.database:
            created = await self._post(self._address.create_target)
            answer = created if created.is_good else answer
        wants_points = answer.status == 400 and not self._address.database  # 2.x does, when all else is right
        if not (answer.is_good or wants_points):
            raise self._failure(answer)

    async def write(self, messages: list[LoggedMessage]) -> None:
        """Write a point for each message that has fields. Writing it again changes nothing. Raises NotWritten."""
        for lines in _bodies(points(self._measurement, messages)):
            await self._write(lines)

    async def close(self) -> None:
        """Close the connection."""
        self._connection.abort()
        await asyncio.to_thread(self._connection.close)

    async def _write(self, lines: list[bytes]) -> None:
        answer = await self._post(self._address.write_target, b"".join(lines))
        if answer.dropped:
            self._leave_out(answer.dropped, answer)
        elif answer.is_about_points and len(lines) == 1:
            self._leave_out(1, answer)
        elif answer.is_about_points:
            await self._write(lines[: len(lines) // 2])
            await self._write(lines[len(lines) // 2 :])
        elif not answer.is_good:
            raise self._failure(answer)

    async def _post(self, target: str, body: bytes = b"") -> Answer:
        loop = asyncio.get_running_loop()
        deadline = loop.call_later(REQUEST_TIMEOUT_S, self._connection.abort)
        try:
            return await asyncio.to_thread(self._connection.post, target, body)
        except asyncio.CancelledError:
            self._connection.abort()
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            is_late = loop.time() >= deadline.when()
            reason = f"not within {REQUEST_TIMEOUT_S:g} s" if is_late else str(error) or type(error).__name__
            raise NotWritten(f"InfluxDB at {self._address.server} gives no answer: {reason}") from error
        finally:
            deadline.cancel()

    def _leave_out(self, refused: int, answer: Answer) -> None:
        if not self.left_out:
            log.warning(
                "InfluxDB refuses points; they are left out and counted (others are not logged): %s", answer.shown
            )
        self.left_out += refused

    def _failure(self, answer: Answer) -> NotWritten:
        self._not_before_s = asyncio.get_running_loop().time() + min(answer.pause_s, LONGEST_PAUSE_S)
        advice = (ADVICE_1 if self._address.database else ADVICE_2).get(answer.status)
        said = f"InfluxDB at {self._address.server} answers {answer.shown}"
        return NotWritten(f"{said}: {advice}" if advice else said)


def _bodies(lines: list[bytes]) -> Iterator[list[bytes]]:
    """Cut points, in order, into requests."""
    body: list[bytes] = []
    size = 0
    for line in lines:
        if size >= BODY_BYTES or len(body) == BODY_POINTS:
            yield body
            body, size = [], 0
        body.append(line)
        size += len(line)
    if body:
        yield body
