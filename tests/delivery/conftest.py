"""One broker and three, on a store that can be frozen, and behind a proxy that can hold what the first one asks it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import mqtt_bytes as mqtt
import pytest
from raw import RawClient

from local.valkey import EmbeddedValkey
from tests.broker.broker_process import BrokerProcess
from tests.delivery.holding_proxy import HoldingProxy
from tests.delivery.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NODE_TIMEOUT_S = 2


class Nodes:
    """Brokers on one store; the first one, and those that are started later, reach it through `proxy`."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self.store = EmbeddedValkey(folder / "store")
        self.store.start()
        self.proxy = HoldingProxy(self.store.url.removeprefix("unix://"))
        self.all: list[BrokerProcess] = []
        for number in range(count):
            self.make(is_direct=number > 0).launch()
        for node in self.all:
            node.await_listening()

    def __getitem__(self, place: int) -> BrokerProcess:
        return self.all[place]

    def make(self, *, is_direct: bool = False) -> BrokerProcess:
        """Make one more, which is not started."""
        url = self.store.url if is_direct else f"redis://127.0.0.1:{self.proxy.port}/0"
        settings = {"REDIS_URL": url, "ALLOW_ANONYMOUS": "true", "NODE_TIMEOUT_S": f"{NODE_TIMEOUT_S}"}
        self.all.append(BrokerProcess(settings, self._folder / f"node-{len(self.all)}.log"))
        return self.all[-1]

    def close(self) -> None:
        """End everything, whatever state it is in."""
        with contextlib.suppress(RuntimeError):
            self.store.resume()
        self.proxy.close()
        for node in self.all:
            node.kill()
        self.store.stop()


@pytest.fixture
def new_nodes(tmp_path: Path) -> Iterator[Callable[[int], Nodes]]:
    """Start so many brokers for this test alone."""
    started: list[Nodes] = []

    def start(count: int) -> Nodes:
        started.append(Nodes(tmp_path, count))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture(scope="module")
def _three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    nodes = Nodes(tmp_path_factory.mktemp("three"), 3)
    yield nodes
    nodes.close()


@pytest.fixture
def three(_three: Nodes) -> Iterator[Nodes]:
    """Three brokers that live as long as the tests of a file; use names of your own."""
    yield _three
    _three.store.resume()
    _three.proxy.release()


@pytest.fixture
def opened() -> Iterator[Callable[[BrokerProcess], RawClient]]:
    """Open a network connection to a node, for MQTT 5, without CONNECT."""
    clients: list[RawClient] = []

    def open_to(node: BrokerProcess) -> RawClient:
        clients.append(RawClient(node.host, node.port, 5))
        return clients[-1]

    yield open_to
    for client in clients:
        client.close()


@pytest.fixture
def at(opened: Callable[[BrokerProcess], RawClient]) -> Callable[..., RawClient]:
    """Connect a client of MQTT 5 to a node; arguments are those of `RawClient.connect`."""

    def connected(node: BrokerProcess, client_id: str, **arguments: Any) -> RawClient:
        client = opened(node)
        assert client.connect(client_id, **arguments).code == 0
        return client

    return connected


@pytest.fixture(scope="session")
def model_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The Unix socket of a Valkey for the model, which empties it for each run."""
    server = EmbeddedValkey(tmp_path_factory.mktemp("model"), options=("--appendonly", "no"))
    server.start()
    yield server.url.removeprefix("unix://")
    server.stop()


@pytest.fixture
def new_model(model_store: str) -> type[Model]:
    """The state machine, ready to be made."""
    Model.store_path = model_store
    return Model


@pytest.fixture
def has_read(opened: Callable[[BrokerProcess], RawClient]) -> Callable[[BrokerProcess], None]:
    """Return once a node has read what it was sent before, whatever its store does."""

    def wait(node: BrokerProcess) -> None:
        client = opened(node)
        client.send(mqtt.connect(5, "nobody", level=9))  # refused without the store
        client.receive_until_closed()

    return wait
