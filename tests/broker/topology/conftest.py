"""The broker over each topology of the store that is more than one server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis_servers import Cluster, Sentinels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broker_process import BrokerProcess
    from redis_servers import Servers


@pytest.fixture(params=[Cluster, Sentinels], ids=["cluster", "sentinels"])
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A running cluster, or servers with Sentinels, of this test's own."""
    made: Servers = request.param(tmp_path_factory.mktemp("servers"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def topology_broker(servers: Servers, new_broker: Callable[..., BrokerProcess]) -> Iterator[BrokerProcess]:
    """A broker whose store is `servers`; whatever happened, it lost no part and sent no command to the wrong server."""
    process = new_broker(REDIS_URL=servers.url, ALLOW_ANONYMOUS="true", RECEIVE_MAXIMUM="1000")
    process.start()
    yield process
    assert "Traceback" not in process.log
    assert "CROSSSLOT" not in process.log
