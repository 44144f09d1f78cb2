"""The client against a server that breaks off where it hurts: QoS 2 has to stay exactly once."""

from __future__ import annotations

import asyncio

from emulator.fleet.client import Endpoint, LoopClient

CONNECT, PUBLISH, PUBREL, DISCONNECT = 0x10, 0x30, 0x60, 0xE0
CONNACK_NEW, CONNACK_PRESENT = bytes([0x20, 2, 0, 0]), bytes([0x20, 2, 1, 0])


async def read_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one control packet of less than 128 bytes: its type and what follows the fixed header."""
    first, length = await reader.readexactly(2)
    return first & 0xF0, await reader.readexactly(length)


async def test_a_publish_that_was_received_is_released_after_any_number_of_attempts_and_not_sent_again():
    arrived: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    server = await asyncio.start_server(lambda *streams: arrived.put_nowait(streams), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    endpoint = Endpoint("127.0.0.1", port, "", "", "3.1.1", 60, 5)
    client = LoopClient("c", endpoint, is_persistent=True)
    closed, answers = asyncio.Event(), asyncio.Queue[int]()
    client.on_disconnect = lambda *_: closed.set()
    client.on_publish = lambda _client, _userdata, mid, *_: answers.put_nowait(mid)

    await client.dial()
    reader, writer = await arrived.get()
    assert (await read_packet(reader))[0] == CONNECT
    writer.write(CONNACK_NEW)
    client.publish("t", b"once", qos=2)
    kind, body = await read_packet(reader)
    packet_id = body[3:5]
    assert kind == PUBLISH
    writer.write(bytes([0x50, 2]) + packet_id)  # PUBREC
    assert await read_packet(reader) == (PUBREL, packet_id)
    writer.close()
    await closed.wait()

    for _ in range(2):
        closed.clear()
        await client.dial()
        reader, writer = await arrived.get()
        assert (await read_packet(reader))[0] == CONNECT
        writer.close()
        await closed.wait()

    await client.dial()
    reader, writer = await arrived.get()
    assert (await read_packet(reader))[0] == CONNECT
    writer.write(CONNACK_PRESENT)
    assert await read_packet(reader) == (PUBREL, packet_id)
    writer.write(bytes([0x70, 2]) + packet_id)  # PUBCOMP
    assert await answers.get() == int.from_bytes(packet_id, "big")
    client.disconnect()
    assert (await read_packet(reader))[0] == DISCONNECT
    writer.close()
    server.close()
