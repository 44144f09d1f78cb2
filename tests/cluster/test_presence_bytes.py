"""Names of devices that clients speak for are charged, given back, and what cannot be remembered breaks nothing."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest
import redis.asyncio

from broker.accounts import Account
from broker.cluster.presence import NodePresence
from store import schema
from store.model import DeviceNaming

if TYPE_CHECKING:
    from local.valkey import EmbeddedValkey

MIB = 1024 * 1024


def presence_of(names: Account) -> NodePresence:
    return NodePresence("node", DeviceNaming(("devices/{device}/#",)), lambda: 5, names)


def speak(presence: NodePresence, client_id: str, devices: int, name: str = "x") -> None:
    presence.connected(client_id)
    for number in range(devices):
        presence.published(client_id, f"devices/{number}-{name}/t")


@pytest.mark.parametrize(("clients", "devices"), [(4000, 1), (20, 300)], ids=["devices", "gateways"])
def test_what_devices_take_is_charged_and_given_back(clients: int, devices: int) -> None:
    names = Account("names", 64 * MIB)
    presence = presence_of(names)
    presence._naming.CACHE_SIZE = 0  # type: ignore[misc]
    client_ids = [f"client-{number}" for number in range(clients)]
    for client_id in client_ids:
        presence.connected(client_id)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for client_id in client_ids:
            for number in range(devices):
                presence.published(client_id, f"devices/{client_id}-{number}-é/t")
        took = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert took < names.used_bytes < 4 * took
    for client_id in client_ids:
        presence.disconnected(client_id)
    presence._forget_changes()
    assert names.used_bytes == 0
    kept = (presence._since, presence._other_speakers, presence._spoken_for, presence._held_bytes)
    assert not any(kept)


def test_a_device_is_connected_while_somebody_speaks_for_it() -> None:
    names = Account("names", MIB)
    presence = presence_of(names)
    for client_id in ("one", "two", "three"):
        speak(presence, client_id, 2)
    for client_id in ("two", "one"):
        presence.disconnected(client_id)
        assert set(presence._since) == {"0-x", "1-x"}
    presence.disconnected("three")
    assert not presence._since
    assert not presence._other_speakers
    presence._forget_changes()
    assert names.used_bytes == 0


def test_one_client_gets_a_share_and_others_are_shown() -> None:
    names = Account("names", MIB)
    presence = presence_of(names)
    speak(presence, "gateway", 10_000, "x" * 200)
    assert names.refused > 0
    assert names.used_bytes <= MIB // 3
    speak(presence, "device", 1)
    assert "0-x" in presence._since
    presence.disconnected("gateway")
    presence.disconnected("device")
    assert not presence._since


async def test_changes_that_do_not_fit_are_written_anew(cluster_store: EmbeddedValkey) -> None:
    names = Account("names", 256 * 1024)
    presence = presence_of(names)
    async with redis.asyncio.Redis.from_url(cluster_store.url) as client:
        speak(presence, "stays", 10)
        speak(presence, "goes", 3, "goes")
        await presence.write(client)
        presence.disconnected("goes")
        for number in range(2000):  # nobody writes meanwhile: the store is away
            speak(presence, f"visitor-{number}", 1, f"visitor-{number}-" + "x" * 100)
            presence.disconnected(f"visitor-{number}")
        assert names.used_bytes < 256 * 1024
        assert presence._is_unknown
        await presence.write(client)
        found = {each.decode() for each in await client.zrange(schema.presence("node"), 0, -1)}
    assert found == {f"{number}-x" for number in range(10)}


async def test_a_write_that_fails_is_done_again(cluster_store: EmbeddedValkey) -> None:
    presence = presence_of(Account("names", MIB))
    speak(presence, "one", 3)
    presence._unproven.clear()
    nobody = redis.asyncio.Redis.from_url("redis://127.0.0.1:1")
    with pytest.raises(redis.ConnectionError):
        await presence.write(nobody)
    await nobody.aclose()
    async with redis.asyncio.Redis.from_url(cluster_store.url) as client:
        await presence.write(client)
        assert await client.zcard(schema.presence("node")) == 3
