"""Whatever stands still, the broker stops well inside the 30 s of the platform, and a worker inside the 20 s of its parent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest
from broker_process import eventually
from raw import RawClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_process import BrokerProcess

    from local.valkey import EmbeddedValkey

BLOCKS = """
    import time
    from amqtt.plugins.base import BasePlugin

    class Blocks(BasePlugin):
        async def on_broker_pre_shutdown(self):
            time.sleep(60)

        async def on_broker_post_shutdown(self):
            time.sleep(60)

        async def close(self):
            time.sleep(60)
"""
SLOW = BLOCKS.replace("import time", "import asyncio").replace("time.sleep(60)", "await asyncio.sleep(60)")


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("source", [BLOCKS, SLOW], ids=["blocks", "never returns"])
def test_plugins_and_a_store_that_stand_still_share_one_deadline(
    start_with_plugins: Callable[..., BrokerProcess], store: EmbeddedValkey, source: str, workers: str
) -> None:
    process = start_with_plugins(
        "plugins: {users_plugins.Blocks: {}}",
        source,
        ALLOW_ANONYMOUS="true",
        BROKER_WORKERS=workers,
        PLUGIN_TIMEOUT_S="60",
    )
    eventually(lambda: process.log.count("Listening on") == int(workers), "all listen", 20)
    clients = [RawClient(process.host, process.port, receive_buffer_bytes=4096) for _ in range(8)]
    for number, client in enumerate(clients):
        client.connect(f"c{number}", clean=False, props=[(mqtt.SESSION_EXPIRY_INTERVAL, 300)])
        client.subscribe(("t", 1))
        for each in range(40):
            clients[0].send(mqtt.publish(5, "t", bytes(20_000), packet_id=each + 1, qos=1))  # nobody reads them
    store.pause()
    try:
        for client in clients:
            client.send(mqtt.publish(5, "t", b"x", qos=1, packet_id=100))
        began = time.monotonic()
        process.signal_stop()
        assert process.wait(40) == 0
        assert time.monotonic() - began < 15.5
    finally:
        store.resume()
        for client in clients:
            client.close()
    assert "is killed" not in process.log
