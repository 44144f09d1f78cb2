"""The outlet's requests to InfluxDB 2.x, and what it makes of the answers (influxdb_2_server.py: why no real one)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from influxdb_2_server import BUCKET, ORG, TOKEN, InfluxDB2Server, error

import broker.outlets.influxdb as influxdb_outlet
from broker.outlets.influxdb import InfluxOutlet, NotWritten
from settings import Settings
from store.model import Message, MessageId
from tests.net.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

RECEIVED_MS = 1_769_860_800_000
PARTIAL = "failure writing points to database: partial write: field type conflict: input field ... dropped=2"


@pytest.fixture
def server() -> Iterator[InfluxDB2Server]:
    with InfluxDB2Server() as server:
        yield server


@contextlib.asynccontextmanager
async def outlet_for(
    server: InfluxDB2Server, *, scheme: str = "http", bucket: str = BUCKET, token: str = TOKEN
) -> AsyncIterator[InfluxOutlet]:
    url = f"{scheme}://127.0.0.1:{server.port}?org={quote(ORG)}&bucket={quote(bucket, safe='')}"
    outlet = InfluxOutlet(Settings({"influx_url": url, "influx_token": token, "influx_measurement": "m"}))
    yield outlet
    await outlet.close()


def logged(*payloads: bytes) -> list[tuple[MessageId, str, Message]]:
    return [
        (MessageId(RECEIVED_MS, index), "d 1", Message("a=b", "c", RECEIVED_MS, 0, payload))
        for index, payload in enumerate(payloads)
    ]


def line(payload: str, index: int) -> str:
    return rf"m,device=d\ 1,topic=a\=b value={payload} {RECEIVED_MS * 1_000_000 + index}" + "\n"


async def test_points_are_written_as_documented(server: InfluxDB2Server):
    async with outlet_for(server) as outlet:
        await outlet.open()
        await outlet.write(logged(b"1", b"no JSON", b'"a \\"b\\", c"'))
        await outlet.write(logged(b"no JSON"))
    assert server.lines == [line("1.0", 0), line(r'"a \"b\", c"', 2)]
    assert server.requests == 2  # nothing to write is not sent


async def test_a_wrong_token_is_said_and_not_shown(server: InfluxDB2Server):
    async with outlet_for(server, token="hidden") as outlet:
        with pytest.raises(NotWritten, match=r"answers 401: .*INFLUX_TOKEN is not a token of the server") as raised:
            await outlet.open()
    assert "hidden" not in str(raised.value)


async def test_an_unknown_bucket_is_said(server: InfluxDB2Server):
    async with outlet_for(server, bucket="other") as outlet:
        with pytest.raises(NotWritten, match=r'answers 404: .*bucket \\"other\\" not found.*create it, or correct'):
            await outlet.open()


async def test_points_refused_among_others_are_counted(server: InfluxDB2Server):
    async with outlet_for(server) as outlet:
        server.replies = [error(422, "unprocessable entity", PARTIAL)]
        await outlet.write(logged(b"1", b"2", b"3"))
    assert outlet.left_out == 2


@pytest.mark.parametrize("reason", ["unable to parse 'm,device=...': bad", "field type conflict"])
async def test_a_request_refused_for_one_point_is_written_without_it(server: InfluxDB2Server, reason: str):
    """InfluxDB writes nothing of a request with such a line. None of ours is one, so the server is told to say so."""
    refusal = error(400, "invalid", reason)
    async with outlet_for(server) as outlet:
        server.replies = [refusal, refusal, refusal]  # all four points, the first two, the first
        await outlet.write(logged(b"0", b"1", b"2", b"3"))
    assert server.lines == [line(f"{n}.0", n) for n in (1, 2, 3)]
    assert outlet.left_out == 1


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_an_overloaded_server_gets_the_points_again_after_the_pause_it_asks_for(
    server: InfluxDB2Server, status: int
):
    async with outlet_for(server) as outlet:
        server.replies = [error(status, "unavailable", "later", **{"Retry-After": "1"})]
        with pytest.raises(NotWritten, match=f"answers {status}"):
            await outlet.write(logged(b"1"))
        assert server.lines == []
        before_s = asyncio.get_running_loop().time()
        await outlet.open()
        assert asyncio.get_running_loop().time() - before_s >= 0.9
        await outlet.write(logged(b"1"))
    assert server.lines == [line("1.0", 0)]
    assert outlet.left_out == 0


async def test_an_endless_pause_is_not_kept(server: InfluxDB2Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(influxdb_outlet, "LONGEST_PAUSE_S", 0.1)
    async with outlet_for(server) as outlet:
        server.replies = [error(503, "unavailable", "later", **{"Retry-After": "86400"})]
        with pytest.raises(NotWritten):
            await outlet.write(logged(b"1"))
        await asyncio.wait_for(outlet.open(), 30)


@pytest.mark.parametrize("status", [301, 400, 405])
async def test_an_answer_that_nobody_expects_loses_nothing(server: InfluxDB2Server, status: int):
    async with outlet_for(server) as outlet:
        server.replies = [(status, "<html>" + "x" * 100_000, {})]
        with pytest.raises(NotWritten, match=f"answers {status}: <html>x+$") as raised:
            await outlet.write(logged(b"1"))
        assert len(str(raised.value)) < 300
        await outlet.write(logged(b"1"))
    assert server.lines == [line("1.0", 0)]
    assert outlet.left_out == 0


async def test_tls_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    authority = Authority(tmp_path, "authority")
    with InfluxDB2Server(authority.sign("influxdb")) as server:
        async with outlet_for(server, scheme="https") as outlet:
            with pytest.raises(NotWritten, match="CERTIFICATE_VERIFY_FAILED"):
                await outlet.open()
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.own.certificate))
        async with outlet_for(server, scheme="https") as outlet:
            await outlet.open()
            await outlet.write(logged(b"1"))
        assert server.lines == [line("1.0", 0)]
