"""Brokers with their doors set up differently, and the certificates for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from certificates import Authority, Certificate

from local.valkey import EmbeddedValkey
from tests.broker.broker_process import BrokerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that brokers and good clients have their certificates from."""
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="session")
def server_certificate(authority: Authority) -> Certificate:
    return authority.sign("server")


@pytest.fixture(scope="session")
def client_certificate(authority: Authority) -> Certificate:
    return authority.sign("client")


@pytest.fixture(scope="session")
def foreign_certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A client's certificate from an authority that the brokers do not know."""
    return Authority(tmp_path_factory.mktemp("foreign"), "foreign-authority").sign("foreign")


@pytest.fixture(scope="session")
def tls_settings(authority: Authority, server_certificate: Certificate) -> dict[str, str]:
    """TLS with files, and client certificates that may be shown."""
    return {
        "TLS_CERT": str(server_certificate.certificate),
        "TLS_KEY": str(server_certificate.key),
        "TLS_CLIENT_CA": str(authority.own.certificate),
        "TLS_CLIENT_CERT": "optional",
    }


@pytest.fixture(scope="session")
def net_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """The store that the brokers of these tests share: none of them depends on what it holds."""
    server = EmbeddedValkey(tmp_path_factory.mktemp("store"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def doors(
    net_store: EmbeddedValkey, tls_settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrokerProcess]:
    """A broker with every door open; all tests share it."""
    settings = {"REDIS_URL": net_store.url, "ALLOW_ANONYMOUS": "true", **tls_settings}
    process = BrokerProcess(settings, tmp_path_factory.mktemp("doors") / "broker.log")
    process.start()
    yield process
    process.stop()


@pytest.fixture
def start(
    net_store: EmbeddedValkey, tls_settings: dict[str, str], tmp_path: Path
) -> Iterator[Callable[..., BrokerProcess]]:
    """Start a broker of this test's own, every door open; settings are given by name."""
    started: list[BrokerProcess] = []

    def start(**settings: str) -> BrokerProcess:
        common = {"REDIS_URL": net_store.url, "ALLOW_ANONYMOUS": "true", **tls_settings}
        started.append(BrokerProcess({**common, **settings}, tmp_path / f"broker-{len(started)}.log"))
        started[-1].start()
        return started[-1]

    yield start
    for process in started:
        process.stop()
