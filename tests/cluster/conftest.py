"""Several brokers on one store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from raw import RawClient

from local.valkey import EmbeddedValkey
from tests.broker.broker_process import BrokerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--visits", metavar="N", type=int, default=1200, help="of clients that come and go in test_growth.py"
    )


@pytest.fixture
def cluster_store(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A Valkey of this test's own."""
    server = EmbeddedValkey(tmp_path / "store")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def start_node(cluster_store: EmbeddedValkey, tmp_path: Path) -> Iterator[Callable[..., BrokerProcess]]:
    """Start one more broker on the store; settings by name."""
    nodes: list[BrokerProcess] = []

    def start(**settings: str) -> BrokerProcess:
        common = {"REDIS_URL": cluster_store.url, "ALLOW_ANONYMOUS": "true"}
        nodes.append(BrokerProcess({**common, **settings}, tmp_path / f"node-{len(nodes)}.log"))
        nodes[-1].start()
        return nodes[-1]

    yield start
    for node in nodes:
        node.kill()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BrokerProcess, BrokerProcess]]:
    """Two brokers that live as long as the tests of a file; use names of your own."""
    folder = tmp_path_factory.mktemp("pair")
    server = EmbeddedValkey(folder / "store")
    server.start()
    settings = {"REDIS_URL": server.url, "ALLOW_ANONYMOUS": "true"}
    nodes = [BrokerProcess(settings, folder / f"node-{number}.log") for number in range(2)]
    for node in nodes:
        node.start()
    yield nodes[0], nodes[1]
    for node in nodes:
        node.kill()
    server.stop()


@pytest.fixture
def start_on_pair(pair: tuple[BrokerProcess, BrokerProcess], tmp_path: Path) -> Iterator[Callable[[], BrokerProcess]]:
    """Start a node beside the pair, for one test."""
    nodes: list[BrokerProcess] = []

    def start() -> BrokerProcess:
        nodes.append(BrokerProcess({"REDIS_URL": pair[0].store_url, "ALLOW_ANONYMOUS": "true"}, tmp_path / "node.log"))
        nodes[-1].start()
        return nodes[-1]

    yield start
    for node in nodes:
        node.terminate()


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
