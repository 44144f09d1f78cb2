"""Real clients against a real broker of ours with every door open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cuttable_network import CuttableNetwork
from foreign_client import PASSWORD, USERNAME, Connect
from foreign_clients import KINDS, KINDS_OF_5, Kind, Runtimes

from local.valkey import EmbeddedValkey
from tests.broker.broker_process import BrokerProcess
from tests.net.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from foreign_client import ForeignClient


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs the broker's certificate; clients trust it."""
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[BrokerProcess]:
    """The broker of all tests: clients may be anonymous, but a user name that is given has to be the right one."""
    folder = tmp_path_factory.mktemp("broker")
    server = EmbeddedValkey(folder / "store")
    server.start()
    certificate = authority.sign("server")
    settings = {
        "REDIS_URL": server.url,
        "ALLOW_ANONYMOUS": "true",
        "MQTT_USERNAME": USERNAME,
        "MQTT_PASSWORD": PASSWORD,
    }
    settings |= {"TLS_CERT": str(certificate.certificate), "TLS_KEY": str(certificate.key)}
    process = BrokerProcess(settings, folder / "broker.log")
    process.start()
    yield process
    process.kill()
    server.stop()


@pytest.fixture
def network(broker: BrokerProcess) -> Iterator[CuttableNetwork]:
    """A network to the broker that the test can cut."""
    between = CuttableNetwork(broker.port)
    yield between
    between.close()


@pytest.fixture
def mortal_broker(redis_url: str, tmp_path: Path) -> Iterator[BrokerProcess]:
    """A broker of the test's own that may be killed; its store lives on."""
    process = BrokerProcess({"REDIS_URL": redis_url, "ALLOW_ANONYMOUS": "true"}, tmp_path / "broker.log")
    process.start()
    yield process
    process.kill()


@pytest.fixture(scope="session")
def runtimes() -> Iterator[Runtimes]:
    made = Runtimes()
    yield made
    made.close()


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Every library in every version of MQTT that it speaks."""
    found: Kind = request.param
    return found


@pytest.fixture(params=KINDS_OF_5, ids=str)
def kind_of_5(request: pytest.FixtureRequest) -> Kind:
    """Every library that speaks MQTT 5."""
    found: Kind = request.param
    return found


@pytest.fixture
def make_client(
    broker: BrokerProcess, name: Callable[[], str], runtimes: Runtimes
) -> Iterator[Callable[..., ForeignClient]]:
    """Make a client of a kind that is not connected; options are those of `Connect`."""
    made: list[ForeignClient] = []

    def make(kind: Kind, **options: Any) -> ForeignClient:
        at = options.pop("at", broker)
        given = {"client_id": name(), **options}
        made.append(kind.make(Connect(at.host, at.port, kind.version, **given), runtimes))
        return made[-1]

    yield make
    for each in made:
        each.disconnect()


@pytest.fixture
def connected(make_client: Callable[..., ForeignClient]) -> Callable[..., ForeignClient]:
    """Make a client of a kind and connect it."""

    def connect(kind: Kind, **options: Any) -> ForeignClient:
        client = make_client(kind, **options)
        client.connect()
        return client

    return connect
