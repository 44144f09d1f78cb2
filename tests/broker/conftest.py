"""The broker judged from outside: a child process, a real Valkey, real sockets, and clients that others wrote.

`--against=HOST:PORT` (with this folder named on the command line) runs the protocol's tests against a broker that is
already there, any broker; tests that need our own process, its settings or its store are left out then.
"""

from __future__ import annotations

import secrets
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pytest
from broker_process import BrokerProcess
from raw import RawClient

from local.valkey import EmbeddedValkey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import mqtt_bytes as mqtt

VERSIONS = {3: "3.1", 4: "3.1.1", 5: "5"}
OWN_PROCESS_FIXTURES = {"start_broker", "new_broker", "own_broker", "store"}


class Address(Protocol):
    """Where a broker listens, and what it has logged."""

    host: str
    port: int

    @property
    def log(self) -> str: ...


@dataclass
class Outside:
    """A broker that somebody else runs; its log cannot be seen."""

    host: str
    port: int
    log: str = ""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--against", metavar="HOST:PORT", help="judge the broker that listens there instead of ours")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--against", None):
        return
    left_out = [item for item in items if OWN_PROCESS_FIXTURES & set(getattr(item, "fixturenames", ()))]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(params=VERSIONS, ids=list(VERSIONS.values()))
def version(request: pytest.FixtureRequest) -> int:
    """Every protocol level: 3 (MQTT 3.1), 4 (3.1.1) and 5."""
    level: int = request.param
    return level


@pytest.fixture(scope="session")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """Our broker with its defaults, anonymous clients allowed, and a store that nobody else uses; one for all tests."""
    folder = tmp_path_factory.mktemp("broker")
    server = EmbeddedValkey(folder / "store")
    server.start()
    process = BrokerProcess({"REDIS_URL": server.url, "ALLOW_ANONYMOUS": "true"}, folder / "broker.log")
    process.start()
    yield process
    process.kill()
    server.stop()


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Address:
    """The broker under test: ours, or the one that --against names. Tests share it: use names of your own."""
    against: str | None = request.config.getoption("--against", None)
    if against:
        host, _, port = against.rpartition(":")
        return Outside(host, int(port))
    process: BrokerProcess = request.getfixturevalue("own_broker")
    return process


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A Valkey for this test alone: it may be paused and killed."""
    server = EmbeddedValkey(tmp_path / "store")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def new_broker(tmp_path: Path) -> Iterator[Callable[..., BrokerProcess]]:
    """Make a broker process that is not started, its settings given by name; nothing is set that is not given."""
    made: list[BrokerProcess] = []

    def make(**settings: str) -> BrokerProcess:
        made.append(BrokerProcess(settings, tmp_path / f"broker-{len(made)}.log"))
        return made[-1]

    yield make
    for process in made:
        process.kill()


@pytest.fixture
def start_broker(store: EmbeddedValkey, new_broker: Callable[..., BrokerProcess]) -> Callable[..., BrokerProcess]:
    """Start a broker of this test's own on `store`, anonymous clients allowed; settings are given by name."""

    def start(**settings: str) -> BrokerProcess:
        process = new_broker(**{"REDIS_URL": store.url, "ALLOW_ANONYMOUS": "true", **settings})
        process.start()
        return process

    return start


@pytest.fixture
def open_client(broker: Address, version: int) -> Iterator[Callable[..., RawClient]]:
    """Open a network connection to the broker under test, in the test's protocol version, without CONNECT."""
    clients: list[RawClient] = []

    def opened(at: Address | None = None, *, receive_buffer_bytes: int = 0) -> RawClient:
        at = at or broker
        clients.append(RawClient(at.host, at.port, version, receive_buffer_bytes=receive_buffer_bytes))
        return clients[-1]

    yield opened
    for client in clients:
        client.close()


@pytest.fixture
def client(open_client: Callable[..., RawClient]) -> Callable[..., RawClient]:
    """Open a connection and have its CONNECT accepted; arguments are those of `RawClient.connect`."""

    def connected(
        client_id: str = "",
        *,
        at: Address | None = None,
        clean: bool = True,
        keep_alive_s: int = 60,
        will: mqtt.Will | None = None,
        props: mqtt.Properties | None = None,
    ) -> RawClient:
        opened = open_client(at)
        if not client_id and opened.version == 3:
            client_id = f"any-{secrets.token_hex(6)}"  # MQTT 3.1 knows no empty client id
        answer = opened.connect(client_id, clean=clean, keep_alive_s=keep_alive_s, will=will, props=props or [])
        assert answer.code == 0
        return opened

    return connected


@pytest.fixture
def start_with_plugins(start_broker: Callable[..., BrokerProcess], tmp_path: Path) -> Callable[..., BrokerProcess]:
    """Start a broker with the plugins that YAML text names; `source` is the module `users_plugins`, written by a user."""

    def start(yaml: str, source: str = "", **settings: str) -> BrokerProcess:
        (tmp_path / "broker.yaml").write_text(textwrap.dedent(yaml))
        (tmp_path / "users_plugins.py").write_text(textwrap.dedent(source))
        config = {"BROKER_CONFIG": str(tmp_path / "broker.yaml"), "PYTHONPATH": str(tmp_path)}
        return start_broker(**{**config, "ALLOW_ANONYMOUS": "false", **settings})

    return start
