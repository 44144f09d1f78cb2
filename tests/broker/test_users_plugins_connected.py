"""A user's own plugins in the running broker: what they hear, what they may do, and what one that misbehaves can harm."""

from __future__ import annotations

import contextlib
import json
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import mqtt_bytes as mqtt
import pytest
from broker_process import ROOT, eventually
from raw import RawClient
from stored_messages import await_stored, stored_payloads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from broker_process import BrokerProcess

ANONYMOUS = "amqtt.plugins.authentication.AnonymousAuthPlugin: {allow_anonymous: true}"


def connected(process: BrokerProcess, client_id: str, version: int = 5, **arguments: Any) -> RawClient:
    client = RawClient(process.host, process.port, version)
    assert client.connect(client_id, **arguments).code == 0
    return client


# --- events and the broker's context

REPORTER = """
    import json
    from amqtt.plugins.base import BasePlugin

    class Reporter(BasePlugin):
        async def tell(self, *said):
            await self.context.broadcast_message("heard", json.dumps(said).encode(), 1)

        async def on_broker_post_start(self):
            await self.context.retain_message("started", b"yes", 1)

        async def on_broker_client_connected(self, *, client_id, client_session):
            if client_id == "device":
                is_known = self.context.get_session(client_id) is client_session
                everybody = sorted(session.client_id for session in self.context.sessions)
                await self.tell("connected", client_id, client_session.username, is_known, everybody)

        async def on_broker_client_disconnected(self, *, client_id, client_session):
            await self.tell("disconnected", client_id)

        async def on_broker_client_subscribed(self, *, client_id, topic, qos):
            if client_id == "device":
                subscribers = [(session.client_id, qos) for session, qos in self.context.subscriptions[topic]]
                await self.tell("subscribed", client_id, topic, qos, subscribers)

        async def on_broker_client_unsubscribed(self, *, client_id, topic):
            await self.tell("unsubscribed", client_id, topic)

        async def on_broker_message_received(self, *, client_id, message):
            await self.tell("received", client_id, message.topic, message.data.decode(), message.qos)

        async def on_broker_message_broadcast(self, *, client_id, message):
            await self.tell("broadcast", client_id, message.topic)

        async def on_broker_retained_message(self, *, client_id, retained_message):
            await self.tell("retained", retained_message.topic)

        async def on_broker_pre_shutdown(self):
            await self.tell("pre_shutdown")
"""


def test_a_plugin_hears_what_happens_and_publishes(start_with_plugins: Callable[..., BrokerProcess]) -> None:
    process = start_with_plugins(f"plugins: {{{ANONYMOUS}, users_plugins.Reporter: }}", REPORTER)
    await_stored(process.store_url, [b"yes"])
    observer = connected(process, "observer")
    observer.subscribe(("heard", 1), ("started", 1))
    started = observer.receive_publish()
    assert (started.topic, started.retain) == ("started", True)

    def heard(count: int) -> list[list[Any]]:
        return [json.loads(observer.receive_publish().payload) for _ in range(count)]

    with connected(process, "device", username="alice") as device:
        assert heard(1) == [["connected", "device", "alice", True, ["device", "observer"]]]
        device.subscribe(("a/#", 1), ("/" * 300, 1))
        assert heard(1) == [["subscribed", "device", "a/#", 1, [["device", 1]]]]
        device.publish("up", b"1", qos=2)
        device.publish("kept", b"2", retain=True)
        device.unsubscribe("a/#", "never/subscribed")
        device.disconnect()
    assert sorted(heard(7)) == [  # and nothing of what the plugin has published itself
        ["broadcast", "device", "kept"],
        ["broadcast", "device", "up"],
        ["disconnected", "device"],
        ["received", "device", "kept", "2", 0],
        ["received", "device", "up", "1", 2],
        ["retained", "kept"],
        ["unsubscribed", "device", "a/#"],
    ]
    observer.close()
    await_stored(process.store_url, [b'["disconnected", "observer"]'])
    assert process.terminate() == 0
    assert stored_payloads(process.store_url)[-1] == b'["pre_shutdown"]'


def test_a_client_that_is_taken_over_disconnects_before_it_connects(
    start_with_plugins: Callable[..., BrokerProcess],
) -> None:
    process = start_with_plugins(f"plugins: {{{ANONYMOUS}, users_plugins.Reporter: }}", REPORTER)
    with connected(process, "device"), connected(process, "device"):
        eventually(lambda: len(stored_payloads(process.store_url)) == 4, "connected, disconnected, connected")
        kinds = [json.loads(each)[0] for each in stored_payloads(process.store_url)[1:]]
    assert kinds == ["connected", "disconnected", "connected"]


def test_without_plugins_nothing_of_amqtt_is_loaded() -> None:
    loaded = "import sys, broker.application; print([name for name in sys.modules if name.startswith('amqtt')])"
    assert subprocess.check_output([sys.executable, "-c", loaded], cwd=ROOT, text=True, timeout=60) == "[]\n"


def test_the_suites_configuration_refuses_one_subscription(
    start_broker: Callable[..., BrokerProcess], version: int
) -> None:
    config = ROOT / "tests" / "interoperability" / "broker.yaml"
    process = start_broker(BROKER_CONFIG=str(config), ALLOW_ANONYMOUS="false")
    with connected(process, "client", version) as client:
        assert client.subscribe("test/nosubscribe", "test/#") == (2 if version == 3 else 0x80, 2)
        assert client.publish("test/nosubscribe", b"1", qos=1) in (0, 0x10)
        assert client.receive_publish().payload == b"1"


# --- plugins that fail

BAD = """
    import asyncio, time
    from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin

    class Raises(BaseAuthPlugin, BaseTopicPlugin):
        async def authenticate(self, *, session):
            if session.username == "bad":
                raise ValueError("no database")
            return True

        async def topic_filtering(self, *, session=None, topic=None, action=None):
            if topic.startswith("bad"):
                raise ValueError("no database")
            return True

    class Hangs(BaseAuthPlugin, BaseTopicPlugin):
        async def authenticate(self, *, session):
            if session.username == "bad":
                await asyncio.sleep(3600)
            return True

        async def topic_filtering(self, *, session=None, topic=None, action=None):
            if topic.startswith("bad"):
                await asyncio.sleep(3600)
            return True
"""


@pytest.mark.parametrize(
    ("plugin", "said"), [("Raises", "no database"), ("Hangs", "did not finish topic_filtering within 1 s")]
)
def test_a_plugin_without_an_answer_refuses_and_harms_nobody_else(
    start_with_plugins: Callable[..., BrokerProcess], plugin: str, said: str
) -> None:
    process = start_with_plugins(f"plugins: [users_plugins.{plugin}]", BAD, PLUGIN_TIMEOUT_S="1")
    good, bad, refused = connected(process, "good"), connected(process, "bad"), RawClient(process.host, process.port)
    refused.send(mqtt.connect(5, "refused", username="bad"))
    bad.send(mqtt.publish(5, "bad/1", b"no", qos=1, packet_id=1))
    for number in range(20):
        assert good.publish(f"good/{number}", b"yes", qos=1) < 0x80
    assert mqtt.read_acknowledgement(5, bad.receive(mqtt.PUBACK)).codes == (0x87,)
    assert mqtt.read_connack(5, refused.receive()).code == 0x86
    assert bad.subscribe("bad/2", "good/2") == (0x80, 2)
    assert stored_payloads(process.store_url) == [b"yes"] * 20
    assert f"Plugin {plugin} " in process.log
    assert said in process.log
    assert process.terminate() == 0
    for client in (good, bad, refused):
        client.close()


# --- plugins that are slow

SLOW = """
    import asyncio
    from pathlib import Path
    from amqtt.plugins.base import BaseTopicPlugin

    class Slow(BaseTopicPlugin):
        \"\"\"Has no answer for topics that begin with slow, to publish or receive, before a file is there.\"\"\"
        async def topic_filtering(self, *, session=None, topic=None, action=None):
            awaited = Path(__file__).with_name(str(action.value))
            while topic.startswith("slow") and action != "subscribe" and not awaited.exists():
                await asyncio.sleep(0.01)
            return True
"""


@pytest.fixture
def slow(start_with_plugins: Callable[..., BrokerProcess], certificate: tuple[Path, Path]) -> BrokerProcess:
    tls = {"TLS_CERT": str(certificate[0]), "TLS_KEY": str(certificate[1])}
    yaml = f"plugins: {{{ANONYMOUS}, users_plugins.Slow: }}"
    return start_with_plugins(yaml, SLOW, PLUGIN_TIMEOUT_S="60", **tls)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "server.pem", tmp_path / "server.key"
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=127.0.0.1"]
    command = ["openssl", "req", "-x509", *new, "-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run(command, check=True, capture_output=True, timeout=20)
    return paths


@pytest.fixture
def answer(tmp_path: Path) -> Callable[[str], None]:
    """Let the slow plugin answer."""
    return lambda action: (tmp_path / action).touch()


def test_nothing_overtakes_a_publish_that_waits(
    slow: BrokerProcess, answer: Callable[[str], None], version: int
) -> None:
    """[v5 MQTT-4.6.0-6], [v3.1.1 MQTT-4.6.0-6]"""
    answer("receive")
    subscriber, publisher, other = (connected(slow, each, version) for each in ("subscriber", "publisher", "other"))
    subscriber.subscribe(("+/+", 2), ("end", 1))
    topics = ["slow/1", "fast/1", "slow/2", "fast/2", "fast/1", "slow/1"]
    packets = [
        mqtt.publish(version, topic, b"%d" % number, qos=number % 3, packet_id=number + 1 if number % 3 else 0)
        for number, topic in enumerate(topics)
    ]
    publisher.send(b"".join(packets) + mqtt.PING)
    other.publish("other/1", b"overtakes", qos=1)
    assert subscriber.receive_publish().payload == b"overtakes"
    assert b"0" not in stored_payloads(slow.store_url)
    answer("publish")
    for _ in range(2):
        publisher.receive(mqtt.PUBREC)
    other.publish("end", qos=1)
    assert [each.payload for each in subscriber.receive_up_to("end")] == [b"%d" % number for number in range(6)]
    for client in (subscriber, publisher, other):
        client.close()


def test_what_waits_is_bounded_and_arrives(slow: BrokerProcess, answer: Callable[[str], None]) -> None:
    """Nothing more is read: a client cannot send without end while its first message waits."""
    publisher = connected(slow, "publisher")
    publisher.set_send_timeout(1.0)
    publisher.send(mqtt.publish(5, "slow/1", b"first"))
    with pytest.raises(TimeoutError):
        publisher.send(mqtt.publish(5, "fast/1", bytes(100_000)) * 500)
    answer("publish")
    eventually(lambda: len(stored_payloads(slow.store_url)) > 2, "what was sent is stored", 30)
    assert [len(each) for each in stored_payloads(slow.store_url)[:3]] == [len("first"), 100_000, 100_000]
    publisher.close()


@pytest.mark.parametrize("is_tls", [False, True], ids=["tcp", "tls"])
def test_a_client_that_has_left_is_still_judged(
    slow: BrokerProcess, answer: Callable[[str], None], is_tls: bool
) -> None:
    """One that publishes, disconnects and closes at once: its message is stored, and its will is not published."""
    publisher = RawClient(slow.host, slow.port)
    if is_tls:
        context = ssl._create_unverified_context()
        publisher._socket = context.wrap_socket(publisher._socket)
    assert publisher.connect("publisher", will=mqtt.Will("fast/will", b"will")).code == 0
    publisher.send(mqtt.publish(5, "slow/1", b"last words") + mqtt.disconnect(5))
    if is_tls:
        publisher._socket.settimeout(0.1)
        with contextlib.suppress(TimeoutError):  # says close_notify; the answer comes when the broker reads again
            publisher._socket.unwrap().close()
    publisher.close()
    with connected(slow, "other") as other:
        other.publish("fast/1", b"other", qos=1)
        answer("publish")
        await_stored(slow.store_url, [b"last words"])
        other.publish("fast/1", b"end", qos=1)
    assert stored_payloads(slow.store_url) == [b"other", b"last words", b"end"]


@pytest.mark.parametrize("is_lasting", [False, True], ids=["clean", "lasting"])
def test_nothing_overtakes_a_delivery_that_waits(
    slow: BrokerProcess, answer: Callable[[str], None], is_lasting: bool
) -> None:
    answer("publish")
    props = [(mqtt.SESSION_EXPIRY_INTERVAL, 300)] if is_lasting else []
    waiting, quick = connected(slow, "waiting", props=props), connected(slow, "quick")
    waiting.subscribe(("+/+", 1), ("end", 1))
    quick.subscribe(("fast/+", 1))
    with connected(slow, "publisher") as publisher:
        for number, topic in enumerate(["slow/1", "fast/1", "slow/2", "fast/1"]):
            publisher.publish(topic, b"%d" % number, qos=1)
        publisher.publish("end", qos=1)
    assert [quick.receive_publish().payload for _ in range(2)] == [b"1", b"3"]
    waiting.expect_nothing(0.2)
    answer("receive")
    assert [each.payload for each in waiting.receive_up_to("end")] == [b"0", b"1", b"2", b"3"]
    for client in (waiting, quick):
        client.close()


def test_silence_while_a_plugin_is_asked_is_no_time_out(slow: BrokerProcess, answer: Callable[[str], None]) -> None:
    idle, publisher = connected(slow, "idle", keep_alive_s=1), connected(slow, "publisher", keep_alive_s=1)
    publisher.send(mqtt.publish(5, "slow/1", b"1", qos=1, packet_id=1))
    assert mqtt.read_disconnect(idle.receive(mqtt.DISCONNECT)) == 0x8D  # the keep-alive has passed for both
    answer("publish")
    assert mqtt.read_acknowledgement(5, publisher.receive(mqtt.PUBACK)).codes in ((), (0,), (0x10,))
    for client in (idle, publisher):
        client.close()
