"""The event stream under gunicorn: resuming, filtering, its heartbeat, its cap, and a prompt end."""

from __future__ import annotations

import http.client
import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from dashboard_process import BASIC, DEADLINE_S, await_true, served
from fleet_seed import message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleet_seed import Seed

    from local.valkey import EmbeddedValkey


class EventReader:
    """Reads the events of one open stream."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response

    def body(self) -> Any:
        return json.loads(self._response.read())

    def event(self, name: str) -> dict[str, str]:
        """Return the next event of this name. Raises EOFError at the end of the stream."""
        found: dict[str, str] = {}
        while line := self._response.readline():
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field:
                found[field] = value
            elif found.get("event") == name:
                return found
            else:
                found = {}
        raise EOFError

    def numbers(self, count: int) -> list[int]:
        return [json.loads(self.event("message")["data"])["payload"]["json"]["n"] for _ in range(count)]


@contextmanager
def stream(address: str, path: str = "", last_event_id: str = "") -> Iterator[EventReader]:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=DEADLINE_S)
    headers = {**BASIC, **({"Last-Event-ID": last_event_id} if last_event_id else {})}
    connection.request("GET", f"/api/v1/live{path}", headers=headers)
    try:
        yield EventReader(connection.getresponse())
    finally:
        connection.close()


def numbered(number: int, device: str = "a") -> Any:
    return message(f"devices/{device}/t", {"n": number})


def test_messages_arrive_as_events_with_the_stores_own_ids(address: str, seed: Seed):
    with stream(address) as events:
        assert events.headers["Content-Type"].startswith("text/event-stream")
        (message_id,) = seed.commit([numbered(1)])
        event = events.event("message")
        assert event["id"] == str(message_id)
        found = json.loads(event["data"])
        assert (found["device"], found["topic"], found["payload"]["json"]) == ("a", "devices/a/t", {"n": 1})


def test_stream_continues_after_last_event_id(address: str, seed: Seed):
    ids = seed.commit([numbered(number) for number in range(5)])
    with stream(address, last_event_id=str(ids[1])) as events:
        assert events.numbers(3) == [2, 3, 4]
        seed.commit([numbered(5)])
        assert events.numbers(1) == [5]
    with stream(address, f"?after={ids[3]}") as events:
        assert events.numbers(2) == [4, 5]


def test_stream_is_filtered_by_device_and_topic(address: str, seed: Seed):
    with stream(address, "?device=b") as one, stream(address, "?topic=devices/%2B/t") as all_of_them:
        seed.commit([numbered(1, "a"), numbered(2, "b"), message("devices/b/x", {"n": 3})])
        assert one.numbers(2) == [2, 3]
        assert all_of_them.numbers(2) == [1, 2]


def test_heartbeat_carries_a_position_to_resume_from(address: str, seed: Seed):
    with stream(address, "?device=nobody") as events:
        (message_id,) = seed.commit([numbered(1)])
        await_true(lambda: events.event("position")["id"] == str(message_id), "the position passes what is not wanted")


def test_what_comes_too_fast_is_counted(address: str, seed: Seed):
    with stream(address) as events:
        seed.commit([numbered(number) for number in range(500)])
        assert events.numbers(10) == list(range(10))
        assert json.loads(events.event("skipped")["data"])["skipped"] >= 300


def test_streams_beyond_the_cap_are_refused_and_pages_still_answer(redis_url: str):
    with served(redis_url, "quick_heartbeat:app", LIVE_STREAMS="2") as (address, _process):
        with stream(address) as one, stream(address) as two, stream(address) as three:
            assert (one.status, two.status, three.status) == (200, 200, 503)
            assert three.headers["Retry-After"]
            assert three.body()["error"]["code"] == "too_many_streams"
            with stream(address, "/recent") as recent:
                assert recent.status == 200
        await_true(lambda: _status(address) == 200, "a stream that was left gives its place free")


def _status(address: str) -> int:
    with stream(address) as events:
        return events.status


def test_stream_says_when_the_store_is_away_and_goes_on_after(address: str, seed: Seed, valkey_server: EmbeddedValkey):
    with stream(address) as events:
        seed.commit([numbered(1)])
        assert events.numbers(1) == [1]
        valkey_server.kill()
        try:
            assert json.loads(events.event("store")["data"]) == {"reachable": False}
        finally:
            valkey_server.start()
        assert json.loads(events.event("store")["data"]) == {"reachable": True}
        seed.commit([numbered(2)])
        assert events.numbers(1) == [2]


def test_streams_end_promptly_on_sigterm(redis_url: str):
    with served(redis_url) as (address, process), stream(address) as events:
        began_s = time.monotonic()
        process.terminate()
        with pytest.raises(EOFError):
            events.event("never")
        assert process.wait(DEADLINE_S) == 0
        assert time.monotonic() - began_s < 9  # gunicorn ends them by force after 10 s
