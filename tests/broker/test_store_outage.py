"""The store stops answering, dies, or answers to nobody: nothing is acknowledged past it, and service comes back."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import mqtt_bytes as mqtt
import pytest
from broker_process import eventually
from cutting_proxy import CuttingProxy
from raw import RawClient
from stored_messages import stored_payloads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broker_process import BrokerProcess

    from local.valkey import EmbeddedValkey

OUTAGE_S = 3.0


@pytest.fixture
def proxy(store: EmbeddedValkey) -> Iterator[CuttingProxy]:
    cutting = CuttingProxy(store.url.removeprefix("unix://"))
    yield cutting
    cutting.close()


def _burst(first: int, count: int) -> bytes:
    return b"".join(
        mqtt.publish(4, "devices/1/t", b"%d" % each, qos=1, packet_id=each) for each in range(first, first + count)
    )


def _pubacks(publisher: RawClient, count: int) -> list[int]:
    return [mqtt.read_acknowledgement(4, publisher.receive(mqtt.PUBACK, deadline_s=30)).packet_id for _ in range(count)]


@pytest.mark.parametrize("kind", ["paused", "killed"])
def test_an_outage_of_the_store_is_waited_for(
    start_broker: Callable[..., BrokerProcess], store: EmbeddedValkey, kind: str
) -> None:
    """Promises 1, 2 and 10: no PUBACK while it is away, all of them once it is back, nothing lost.

    Killed, a store loses what it has not written yet: docs/limits.md.
    """
    process = start_broker(ACK_AFTER="disk" if kind == "killed" else "memory")
    stop, go_on = (store.pause, store.resume) if kind == "paused" else (store.kill, store.start)
    with RawClient(process.host, process.port, 4) as publisher:
        publisher.connect("through-the-outage")
        publisher.send(_burst(1, 100))
        assert _pubacks(publisher, 100) == list(range(1, 101))
        stop()
        publisher.send(_burst(101, 200))
        publisher.expect_nothing(OUTAGE_S)
        go_on()
        assert _pubacks(publisher, 200) == list(range(101, 301))
        assert publisher.publish("devices/1/t", b"after", qos=1) == 0
    assert set(stored_payloads(store.url)) == {b"%d" % each for each in range(1, 301)} | {b"after"}
    assert "Traceback" not in process.log


def test_an_outage_under_load_loses_nothing(start_broker: Callable[..., BrokerProcess], store: EmbeddedValkey) -> None:
    """Killed in the middle of commits, three times; whatever was acknowledged at any time is there."""
    process = start_broker(ACK_AFTER="disk")
    sent = acknowledged = 0
    with RawClient(process.host, process.port, 4) as publisher:
        publisher.connect("load")
        for _ in range(3):
            publisher.send(_burst(sent + 1, 500))
            sent += 500
            acknowledged += len(_pubacks(publisher, 50))
            store.kill()
            publisher.send(_burst(sent + 1, 100))
            sent += 100
            store.start()
            acknowledged += len(_pubacks(publisher, sent - acknowledged))
    assert acknowledged == sent
    stored = stored_payloads(store.url)
    assert set(stored) == {b"%d" % each for each in range(1, sent + 1)}
    first_seen = list(dict.fromkeys(stored))
    assert first_seen == sorted(first_seen, key=int)  # promise 7: the order survives the retries


def test_messages_beyond_the_backlog_are_not_read(
    start_broker: Callable[..., BrokerProcess], store: EmbeddedValkey
) -> None:
    """Promise 4: while the store is away the broker holds BACKLOG_BYTES and then lets TCP push back."""
    process = start_broker(BACKLOG_BYTES="65536")
    with RawClient(process.host, process.port, 4) as publisher:
        publisher.connect("flood")
        store.pause()
        publisher.set_send_timeout(2)
        flood = b"".join(
            mqtt.publish(4, "devices/1/t", b"x" * 10_000, qos=1, packet_id=each) for each in range(1, 5_000)
        )
        with pytest.raises(TimeoutError):  # sockets' buffers fill, then nobody reads
            publisher.send(flood)
        store.resume()
        assert _pubacks(publisher, 20) == list(range(1, 21))


def test_new_connections_are_not_read_beyond_the_backlog(
    start_broker: Callable[..., BrokerProcess], store: EmbeddedValkey
) -> None:
    """Nor are those who come while nothing is read."""
    process = start_broker(BACKLOG_BYTES="65536")
    descriptors = Path(f"/proc/{process.pid}/fd")
    with contextlib.ExitStack() as opened:
        publisher = opened.enter_context(RawClient(process.host, process.port, 4))
        publisher.connect("flood")
        store.pause()
        publisher.send(
            b"".join(mqtt.publish(4, "devices/1/t", b"x" * 10_000, qos=1, packet_id=each) for each in range(1, 20))
        )
        publisher.send(mqtt.PING)
        publisher.expect_nothing(1)  # beyond the backlog
        newcomers = []
        for _ in range(3):  # the first is settled when the last is accepted
            before = len(list(descriptors.iterdir()))
            newcomers.append(opened.enter_context(RawClient(process.host, process.port, 4)))
            eventually(lambda before=before: len(list(descriptors.iterdir())) > before, "accepted")  # type: ignore[misc]
        newcomers[0].send(mqtt.connect(4, "newcomer"))
        newcomers[0].expect_nothing(1)
        store.resume()
        newcomers[0].receive(mqtt.CONNACK)
        assert _pubacks(publisher, 19) == list(range(1, 20))


def test_the_broker_says_so_and_waits_where_the_store_is_not_there_at_the_start(
    new_broker: Callable[..., BrokerProcess], store: EmbeddedValkey
) -> None:
    url = store.url
    store.kill()
    process = new_broker(REDIS_URL=url, ALLOW_ANONYMOUS="true")
    process.launch()
    eventually(lambda: "store" in process.log.lower() or "redis" in process.log.lower(), "a line about the store")
    assert "Traceback" not in process.log
    store.start()
    process.await_listening()
    with RawClient(process.host, process.port, 4) as publisher:
        publisher.connect("patient")
        publisher.publish("devices/1/t", b"x", qos=1)
    assert stored_payloads(url) == [b"x"]


@pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])
@pytest.mark.parametrize("qos", [1, 2])
def test_a_commit_whose_outcome_is_unknown_is_stored_once(
    start_broker: Callable[..., BrokerProcess], store: EmbeddedValkey, proxy: CuttingProxy, version: int, qos: int
) -> None:
    """The answer to a commit is cut off after the store has carried it out: the retry has to find that out."""
    process = start_broker(REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0")
    expected = []
    with RawClient(process.host, process.port, version) as publisher:
        publisher.connect("unknown-outcome")
        for number in range(5):
            payload = b"payload-%d-to-cut" % number
            proxy.cut_answer_to(payload)
            assert publisher.publish("devices/1/t", payload, qos=qos) < 0x80
            publisher.publish("devices/1/t", b"between", qos=qos)
            expected += [payload, b"between"]
    assert proxy.cuts == 5
    assert stored_payloads(store.url) == expected


def test_a_subscriber_is_given_a_retried_qos_2_message_once(
    start_broker: Callable[..., BrokerProcess], proxy: CuttingProxy
) -> None:
    process = start_broker(REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0")
    with RawClient(process.host, process.port, 5) as subscriber, RawClient(process.host, process.port, 5) as publisher:
        subscriber.connect("s")
        subscriber.subscribe("t", "marker")
        publisher.connect("p")
        proxy.cut_answer_to(b"exactly-once")
        publisher.publish("t", b"exactly-once", qos=2)
        publisher.publish("marker", qos=2)
        assert [each.payload for each in subscriber.receive_up_to("marker")] == [b"exactly-once"]
    assert proxy.cuts == 1
