"""The outlet against a real InfluxDB 1.x: what it finds there, refusals, outages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from broker_process import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from influxdb_server import ADMIN, PASSWORD, USER, InfluxDBServer

import broker.outlets.influxdb as influxdb_outlet
from broker.outlets.influxdb import InfluxOutlet, NotWritten
from settings import Settings
from store.model import Message, MessageId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


DATABASE = "fleet"
RECEIVED_MS = 1_769_860_800_000
LoggedMessage = tuple[MessageId, str, Message]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDBServer]:
    server = InfluxDBServer(tmp_path_factory.mktemp("influxdb"), max_body_bytes=200_000)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def influxdb(server: InfluxDBServer) -> InfluxDBServer:
    server.create(DATABASE)
    return server


@contextlib.asynccontextmanager
async def outlet_for(url: str, measurement: str = "messages") -> AsyncIterator[InfluxOutlet]:
    outlet = InfluxOutlet(Settings({"influx_url": url, "influx_token": "", "influx_measurement": measurement}))
    yield outlet
    await outlet.close()


def url_of(server: InfluxDBServer, database: str = DATABASE, user: str = USER, password: str = PASSWORD) -> str:
    return f"http://{quote(user)}:{quote(password, safe='')}@127.0.0.1:{server.port}/{database}"


def logged(
    *payloads: Any, device_id: str = "d1", topic_name: str = "devices/d1/t", first: int = 0
) -> list[LoggedMessage]:
    """Return messages of one millisecond, in the log one behind the other."""
    return [
        (
            MessageId(RECEIVED_MS, index),
            device_id,
            Message(
                topic_name,
                "client",
                RECEIVED_MS,
                1,
                payload if type(payload) is bytes else json.dumps(payload).encode(),
            ),
        )
        for index, payload in enumerate(payloads, first)
    ]


async def test_each_message_is_a_point_and_one_that_comes_again_is_the_same(influxdb: InfluxDBServer):
    messages = logged(
        {"temperature": 21, "on": True, "mode": "eco"}, b"no JSON", {"temperature": 21.5, "battery": {"level": 80}}
    )
    expected = [
        {
            "time": RECEIVED_MS * 1_000_000,
            "device": "d1",
            "topic": "devices/d1/t",
            "temperature": 21,
            "on": True,
            "mode": "eco",
        },
        {
            "time": RECEIVED_MS * 1_000_000 + 2,
            "device": "d1",
            "topic": "devices/d1/t",
            "temperature": 21.5,
            "battery.level": 80,
        },
    ]
    async with outlet_for(url_of(influxdb)) as outlet:
        await outlet.open()
        await outlet.write(messages)
        assert influxdb.rows(DATABASE) == expected
        await outlet.write(messages)
        await outlet.write(messages[1:])
    assert influxdb.rows(DATABASE) == expected
    assert outlet.left_out == 0


async def test_the_query_of_the_documentation_can_be_pasted(influxdb: InfluxDBServer):
    (query,) = re.findall("^SELECT .*$", (ROOT / "docs" / "influxdb.md").read_text(), re.MULTILINE)
    now_ms = time.time_ns() // 1_000_000
    message = Message("devices/d1/t", "client", now_ms, 1, b'{"temperature": 21}')
    async with outlet_for(url_of(influxdb)) as outlet:
        await outlet.write([(MessageId(now_ms, 0), "d1", message)])
    (row,) = influxdb.rows(DATABASE, query)
    assert row["mean"] == 21


async def test_more_than_one_request_holds_arrives_whole(influxdb: InfluxDBServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(influxdb_outlet, "BODY_BYTES", 10_000)
    async with outlet_for(url_of(influxdb)) as outlet:
        await outlet.open()
        await outlet.write(logged(*range(4096)))
    (row,) = influxdb.rows(DATABASE, 'SELECT COUNT("value"), SUM("value") FROM "messages"')
    assert (row["count"], row["sum"]) == (4096, sum(range(4096)))


async def test_a_server_that_takes_less_at_once_gets_less_at_once(influxdb: InfluxDBServer):
    async with outlet_for(url_of(influxdb)) as outlet:  # it takes 200 kB
        await outlet.open()
        await outlet.write(logged(*({"text": f"{number:0256}"} for number in range(2000))))
    (row,) = influxdb.rows(DATABASE, 'SELECT COUNT("text") FROM "messages"')
    assert row["count"] == 2000
    assert outlet.left_out == 0


async def test_a_field_of_another_type_is_counted_and_holds_up_nothing(
    influxdb: InfluxDBServer, caplog: pytest.LogCaptureFixture
):
    async with outlet_for(url_of(influxdb)) as outlet:
        await outlet.open()
        await outlet.write(logged({"state": 1}))
        with caplog.at_level(logging.WARNING):
            await outlet.write(
                logged({"state": 2}, {"state": "on"}, {"other": 3}, {"state": "off"}, {"state": 4}, first=1)
            )
            await outlet.write(logged({"state": "on"}, first=6))
    assert [row.get("state", row.get("other")) for row in influxdb.rows(DATABASE)] == [1, 2, 3, 4]
    assert outlet.left_out == 3
    (record,) = caplog.records
    assert "field type conflict" in record.message


async def test_a_wrong_password_is_said_and_not_shown(influxdb: InfluxDBServer):
    async with outlet_for(url_of(influxdb, password="wrong-one")) as outlet:
        with pytest.raises(NotWritten, match=r"answers 401: .*user or password of INFLUX_URL are not") as raised:
            await outlet.open()
        with pytest.raises(NotWritten, match="401"):
            await outlet.write(logged(1))
    assert "wrong-one" not in str(raised.value)


async def test_a_missing_database_is_created_where_that_is_permitted(influxdb: InfluxDBServer):
    name = 'its "own" name'
    influxdb.query('DROP DATABASE "its \\"own\\" name"')
    async with outlet_for(url_of(influxdb, quote(name), *ADMIN)) as outlet:
        await outlet.open()
        await outlet.write(logged(1))
    assert [row["value"] for row in influxdb.rows(name)] == [1]


async def test_a_missing_database_is_said_where_it_may_not_be_created(influxdb: InfluxDBServer):
    async with outlet_for(url_of(influxdb, "missing")) as outlet:
        with pytest.raises(NotWritten, match=r"answers 404: .*missing.*its user may not create it"):
            await outlet.open()


async def test_a_user_without_the_right_to_write_is_said(influxdb: InfluxDBServer):
    influxdb.query(f'REVOKE ALL ON "{DATABASE}" FROM {USER}')
    async with outlet_for(url_of(influxdb)) as outlet:
        with pytest.raises(NotWritten, match=r"answers 403: .*has to GRANT WRITE on it"):
            await outlet.open()


async def test_a_killed_server_that_returns_is_written_to_again(influxdb: InfluxDBServer):
    async with outlet_for(url_of(influxdb)) as outlet:
        await outlet.open()
        await outlet.write(logged(1))
        influxdb.kill()
        with pytest.raises(NotWritten, match="gives no answer"):
            await outlet.write(logged(1, 2))
        with pytest.raises(NotWritten, match=rf"InfluxDB at 127.0.0.1:{influxdb.port} gives no answer: .*refused"):
            await outlet.open()
        influxdb.start()
        await outlet.write(logged(1, 2))  # also without `open`: the connection is another one
        assert [row["value"] for row in influxdb.rows(DATABASE)] == [1, 2]


async def test_a_connection_that_broke_while_it_was_idle_is_no_failure(influxdb: InfluxDBServer):
    async with outlet_for(url_of(influxdb)) as outlet:
        await outlet.open()
        influxdb.kill()
        influxdb.start()
        await outlet.write(logged(1))
    assert [row["value"] for row in influxdb.rows(DATABASE)] == [1]


async def test_a_server_that_does_not_answer_is_given_up(influxdb: InfluxDBServer, monkeypatch: pytest.MonkeyPatch):
    async with outlet_for(url_of(influxdb)) as outlet:
        await outlet.open()
        monkeypatch.setattr(influxdb_outlet, "REQUEST_TIMEOUT_S", 0.3)
        influxdb.pause()
        try:
            with pytest.raises(NotWritten, match=r"gives no answer: not within 0\.3 s"):
                await outlet.write(logged(1))
        finally:
            influxdb.resume()
        monkeypatch.undo()
        await outlet.write(logged(1))
    assert [row["value"] for row in influxdb.rows(DATABASE)] == [1]


async def test_a_write_that_is_cancelled_ends_at_once(influxdb: InfluxDBServer):
    async with outlet_for(url_of(influxdb)) as outlet:
        await outlet.open()
        influxdb.pause()
        try:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(outlet.write(logged(1)), 0.2)
            await asyncio.wait_for(outlet.close(), 5)  # far less than the network's time-out
        finally:
            influxdb.resume()


async def test_something_else_at_the_port_is_no_answer():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/db"

        async def answer() -> None:
            connection, _ = await asyncio.to_thread(listener.accept)
            with connection:
                connection.sendall(b"+PONG\r\n")

        async with outlet_for(url) as outlet:
            answering = asyncio.create_task(answer())
            with pytest.raises(NotWritten, match="gives no answer"):
                await outlet.open()
            await answering


def stored_tag(text: str) -> str:
    """Return a tag, or a field's name, as docs/influxdb.md promises it."""
    return "".join(" " if ord(each) < 32 or ord(each) == 127 else each for each in text.replace("\\", "/"))


def stored_name(name: str) -> str:
    stored = stored_tag(name)
    return f"field_{stored.lstrip('_')}" if name in {"time", "device", "topic"} or name.startswith("_") else stored


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
awkward = st.text(alphabet=" ,=\"\\\n\r\t#'a_", min_size=1, max_size=6)
values = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(), st.booleans(), names, awkward)
objects = st.dictionaries(names | awkward, values, min_size=1, max_size=4)  # every field of one has another name
objects = objects.filter(lambda each: len({stored_name(name) for name in each}) == len(each))


def as_read(value: Any) -> Any:
    """Return a value as it comes back: numbers are floats, and written in full where they are whole."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=objects, device_id=names | awkward, topic_name=names | awkward)
async def test_what_is_written_can_be_read_back(
    influxdb: InfluxDBServer, document: dict[str, Any], device_id: str, topic_name: str
):
    measurement = uuid4().hex  # where no field has a type yet
    fields = {stored_name(name): as_read(value) for name, value in document.items()}
    async with outlet_for(url_of(influxdb), measurement) as outlet:
        await outlet.write(logged(document, device_id=device_id, topic_name=topic_name))
    assert outlet.left_out == 0
    rows = influxdb.rows(DATABASE, f'SELECT * FROM "{measurement}"')
    tags = {"time": RECEIVED_MS * 1e6, "device": stored_tag(device_id), "topic": stored_tag(topic_name)}
    assert [{name: as_read(value) for name, value in row.items()} for row in rows] == [tags | fields]
