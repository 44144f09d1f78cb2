"""Slow clients without credentials, 300 at once beside 64 event streams: pages still answer, in bounded memory."""

from __future__ import annotations

import contextlib
import re
import socket
import time
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
import pytest
from dashboard_process import BASIC, DEADLINE_S, await_true, served
from fleet_seed import fleet, message
from slow_clients import HALF_CHUNK, HALF_HEAD, KINDS, REQUEST, slow_clients

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleet_seed import Seed

    from local.valkey import EmbeddedValkey

MIB = 1024 * 1024
SLOW_CLIENTS, STREAMS = 300, 64
WATCHED_S = 3.0
LONGEST_S = 1.0  # the platform's own checks give up after seconds; an answer takes some ms by itself
PATHS = ("/healthz", "/login", "/api/v1/fleet")


@pytest.fixture(scope="module")
def dashboard(valkey_server: EmbeddedValkey) -> Iterator[tuple[str, psutil.Process]]:
    """The dashboard with its default settings, as deployed."""
    with served(valkey_server.url, "quick_heartbeat:app", WEB_THREADS="96", LIVE_STREAMS=str(STREAMS)) as (
        address,
        process,
    ):
        yield address, psutil.Process(process.pid)


@contextlib.contextmanager
def open_streams(address: str) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as streams:
        # Those of the test before are given free when a heartbeat finds that nobody reads them.
        yield [await_true(lambda: _stream(address, streams), "a stream is to spare") for _ in range(STREAMS)]


def _stream(address: str, streams: contextlib.ExitStack) -> socket.socket | None:
    stream = _connect(address)
    stream.sendall(f"GET /api/v1/live HTTP/1.1\r\nHost: a\r\nAuthorization: {BASIC['Authorization']}\r\n\r\n".encode())
    if stream.recv(4096).startswith(b"HTTP/1.1 200 OK"):
        return streams.enter_context(stream)
    stream.close()
    return None


def _connect(address: str) -> socket.socket:
    where = urlsplit(address)
    return socket.create_connection((where.hostname or "", where.port or 0), timeout=DEADLINE_S)


def answer_s(address: str, path: str) -> float:
    """Return how long an answer takes. Raises OSError: none."""
    began_s = time.monotonic()
    request = urllib.request.Request(address + path, headers=BASIC)
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as response:
        response.read()
    return time.monotonic() - began_s


def memory_bytes(process: psutil.Process) -> int:
    return sum(each.memory_full_info().pss for each in (process, *process.children(recursive=True)))


def static_prefix(address: str) -> str:
    with urllib.request.urlopen(f"{address}/login", timeout=DEADLINE_S) as response:
        found = re.search(r'"(/static/[0-9a-f]+)/dashboard.css"', response.read().decode())
    assert found
    return found[1]


@pytest.mark.parametrize("kind", KINDS)
def test_slow_clients_do_not_hinder_others(
    dashboard: tuple[str, psutil.Process], redis_url: str, seed: Seed, kind: str
):
    address, process = dashboard
    seed.publish(*fleet(devices=4, hours=0.1))
    with open_streams(address) as streams, slow_clients(address, kind, SLOW_CLIENTS, static_prefix(address)) as opened:
        longest_s, most_bytes, ends_s = 0.0, 0, time.monotonic() + WATCHED_S
        while time.monotonic() < ends_s:
            longest_s = max(longest_s, *(answer_s(address, path) for path in PATHS))
            most_bytes = max(most_bytes, memory_bytes(process))
        print(f"{kind}: longest {longest_s:.3f} s, most {most_bytes / MIB:.0f} MiB, {opened()} connections")
        assert opened() >= SLOW_CLIENTS
        assert all(stream.fileno() >= 0 for stream in streams)
    assert longest_s < LONGEST_S
    assert most_bytes < 256 * MIB
    await_true(lambda: answer_s(address, "/healthz") < LONGEST_S, "the worker recovers")


def test_more_clients_than_connections_take_the_places_of_one_another(dashboard: tuple[str, psutil.Process]):
    address, _process = dashboard
    with slow_clients(address, "half a head", 600, static_prefix(address)) as opened:
        assert opened() >= 600
        assert max(answer_s(address, "/healthz") for _ in range(50)) < LONGEST_S


def test_requests_that_arrive_in_pieces_or_together_are_answered(address: str):
    with _connect(address) as client:
        for byte in REQUEST % b"/healthz":
            client.sendall(bytes([byte]))
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
        client.sendall((REQUEST % b"/healthz") * 3 + HALF_HEAD)
        answers = b""
        while answers.count(b'"ok"') < 3:
            answers += client.recv(65536)
        client.sendall(b"whole\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (HALF_CHUNK, b"411"),
        (b"POST /login HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\nCookie: " + b"a" * 20_000, b"431"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
)
def test_requests_that_are_not_served_are_answered_and_ended(address: str, sent: bytes, status: bytes):
    with _connect(address) as client:
        client.sendall(sent)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 " + status)


def test_clients_that_wait_or_do_not_read_are_ended_without_a_traceback(
    redis_url: str, seed: Seed, capsys: pytest.CaptureFixture[str]
):
    seed.publish(*(message("devices/a/t", b"x" * 100_000) for _ in range(40)))
    with served(redis_url, "impatient:app", WEB_THREADS="4", LIVE_STREAMS="1") as (address, _process):
        authorization = b"Authorization: " + BASIC["Authorization"].encode()
        large = REQUEST.replace(b"Host: dashboard", authorization) % b"/api/v1/devices/a/messages"
        with contextlib.ExitStack() as clients:
            for _ in range(4):  # all threads write an answer that nobody reads
                clients.enter_context(_connect(address)).sendall(large)
            await_true(lambda: answer_s(address, "/healthz") < LONGEST_S, "the threads are free again")
            silent = clients.enter_context(_connect(address))
            silent.sendall(HALF_HEAD)
            assert silent.recv(1) == b""
        with _connect(address) as stream:
            stream.sendall(REQUEST.replace(b"Host: dashboard", authorization) % b"/api/v1/live")
            await_true(
                lambda: seed.commit([message("devices/a/t", b"x" * 2000)] * 50) and _is_stream_free(address),
                "it is given up",
            )
    assert "Traceback" not in capsys.readouterr().out


def _is_stream_free(address: str) -> bool:
    with contextlib.ExitStack() as streams:
        return _stream(address, streams) is not None


def test_half_sent_requests_do_not_delay_the_end(redis_url: str):
    with served(redis_url) as (address, process), _connect(address) as half, _connect(address) as idle:
        half.sendall(HALF_HEAD)
        idle.sendall(REQUEST % b"/healthz")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200 OK")
        began_s = time.monotonic()
        process.terminate()
        assert process.wait(DEADLINE_S) == 0
        assert time.monotonic() - began_s < 9  # gunicorn ends them by force after 10 s
