"""amqtt's packaged plugins in the running broker: BROKER_CONFIG decides who connects and what each may use."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import jwt
import mqtt_bytes as mqtt
import paho.mqtt.client as paho
import pytest
from amqtt.contexts import Action
from amqtt.contrib.auth_db.managers import TopicManager, UserManager
from amqtt.contrib.cert import (
    generate_device_csr,
    generate_root_creds,
    generate_server_csr,
    sign_csr,
    write_key_and_crt,
)
from paho.mqtt.enums import CallbackAPIVersion
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from raw import ClosedError, RawClient
from stored_messages import stored_payloads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from broker_process import BrokerProcess

SECRET = "a secret of at least 32 characters, as HS256 wants"
BAD_CREDENTIALS = {3: 4, 4: 4, 5: 0x86}
NOT_AUTHORIZED = {3: 5, 4: 5, 5: 0x87}
REFUSED_FILTER = {3: 2, 4: 0x80, 5: 0x80}  # MQTT 3.1 §3.8 has no refusal


def connected(process: BrokerProcess, version: int = 5, username: str | None = None, **arguments: Any) -> RawClient:
    client = RawClient(process.host, process.port, version)
    arguments.setdefault("client_id", f"client-{username}")
    assert client.connect(username=username, **arguments).code == 0
    return client


def connack(process: BrokerProcess, version: int = 5, **arguments: Any) -> int:
    with RawClient(process.host, process.port, version) as client:
        return client.connect(f"client-{version}", **arguments).code


# --- password file and access control list


@pytest.fixture
def with_lists(start_with_plugins: Callable[..., BrokerProcess], tmp_path: Path) -> BrokerProcess:
    hasher = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
    (tmp_path / "passwords.txt").write_text(
        "".join(f"{name}:{hasher.hash(f'{name}-secret')}\n" for name in ("alice", "bob"))
    )
    return start_with_plugins(
        f"""
        plugins:
          amqtt.plugins.authentication.FileAuthPlugin: {{password_file: {tmp_path}/passwords.txt}}
          amqtt.plugins.topic_checking.TopicAccessControlListPlugin:
            publish_acl: {{alice: ["up/#", "end"], bob: ["#"]}}
            subscribe_acl: {{alice: ["down/+", "end"], bob: ["#"]}}
            receive_acl: {{alice: ["down/1", "end"], bob: ["#"]}}
        """,
        MQTT_USERNAME="everybody",
        MQTT_PASSWORD="everybodys-secret",
    )


def alice(process: BrokerProcess, version: int = 5, **arguments: Any) -> RawClient:
    return connected(process, version, "alice", password="alice-secret", **arguments)


def bob(process: BrokerProcess, version: int = 5) -> RawClient:
    return connected(process, version, "bob", password="bob-secret")


def test_plugins_alone_say_who_connects(with_lists: BrokerProcess, version: int) -> None:
    assert connack(with_lists, version, username="alice", password="alice-secret") == 0
    assert connack(with_lists, version, username="alice", password="wrong") == BAD_CREDENTIALS[version]
    assert connack(with_lists, version, username="everybody", password="everybodys-secret") == BAD_CREDENTIALS[version]
    assert connack(with_lists, version) == NOT_AUTHORIZED[version]


def test_a_password_that_is_no_text_is_refused(with_lists: BrokerProcess) -> None:
    with RawClient(with_lists.host, with_lists.port, 4) as client:
        whole = mqtt.connect(4, "client", username="alice", password="xx")
        client.send(whole.replace(b"\x00\x02xx", b"\x00\x02\xff\xfe"))
        assert mqtt.read_connack(4, client.receive()).code == BAD_CREDENTIALS[4]


def test_a_will_has_to_be_allowed(with_lists: BrokerProcess, version: int) -> None:
    for topic, code in (("up/gone", 0), ("down/gone", NOT_AUTHORIZED[version])):
        will = mqtt.Will(topic, b"gone")
        assert connack(with_lists, version, username="alice", password="alice-secret", will=will) == code


@pytest.mark.parametrize("qos", [1, 2])
def test_mqtt5_is_told_that_a_publish_is_refused(with_lists: BrokerProcess, qos: int) -> None:
    """PUBACK and PUBREC carry 0x87 (MQTT 5.0 §3.4.2.1, §3.5.2.1), and the connection goes on."""
    with alice(with_lists) as client:
        assert client.publish("up/1", b"yes", qos=qos) < 0x80
        assert client.publish("down/1", b"no", qos=qos) == 0x87
        assert client.publish("up/2", b"yes too", qos=qos) < 0x80
    assert stored_payloads(with_lists.store_url) == [b"yes", b"yes too"]


@pytest.mark.parametrize("version", [3, 4], ids=["3.1", "3.1.1"])
def test_before_mqtt5_a_refused_publish_closes(with_lists: BrokerProcess, version: int) -> None:
    """[v3.1.1 MQTT-3.3.5-2]: an acknowledgement would say that it is stored."""
    with alice(with_lists, version) as client:
        client.publish("up/1", b"yes", qos=1)
        with pytest.raises(ClosedError):
            client.publish("down/1", b"no", qos=1)
    assert stored_payloads(with_lists.store_url) == [b"yes"]


def test_a_refused_publish_of_qos_0_is_dropped(with_lists: BrokerProcess, version: int) -> None:
    with alice(with_lists, version) as client:
        client.publish("down/1", b"no")
        client.publish("up/1", b"yes", qos=1)
    assert stored_payloads(with_lists.store_url) == [b"yes"]


def test_each_topic_filter_is_judged(with_lists: BrokerProcess, version: int) -> None:
    refused = REFUSED_FILTER[version]
    with alice(with_lists, version) as client:
        assert client.subscribe(("down/1", 1), ("up/1", 2), ("down/+", 0), ("down/#", 2)) == (1, refused, 0, refused)


def test_a_subscriber_receives_only_what_it_may(with_lists: BrokerProcess, version: int) -> None:
    publisher = bob(with_lists)
    publisher.publish("down/2", b"kept, not for alice", qos=1, retain=True)
    publisher.publish("down/1", b"kept", qos=1, retain=True)
    with alice(with_lists, version) as client:
        client.subscribe(("down/+", 2), ("end", 2))
        for qos in (0, 1, 2):
            for topic in ("down/1", "down/2"):
                publisher.publish(topic, b"%d" % qos, qos=qos)
        publisher.publish("end", qos=2)
        received = client.receive_up_to("end")
    assert [each.topic for each in received] == ["down/1"] * 4
    assert [each.payload for each in received if each.retain] == [b"kept"]
    assert [each.payload for each in received if not each.retain] == [b"0", b"1", b"2"]
    publisher.close()


def test_a_session_that_waited_receives_only_what_it_may(with_lists: BrokerProcess) -> None:
    lasting: dict[str, Any] = {"clean": False, "props": [(mqtt.SESSION_EXPIRY_INTERVAL, 300)]}
    with alice(with_lists, **lasting) as client:
        client.subscribe(("down/+", 2), ("end", 2))
        client.disconnect()
    with bob(with_lists) as publisher:
        for number in range(20):
            publisher.publish(f"down/{number % 3}", b"%d" % number, qos=1 + number % 2)
        publisher.publish("end", qos=1)
    with alice(with_lists, **lasting) as client:
        received = client.receive_up_to("end")
        assert [each.payload for each in received] == [b"%d" % number for number in range(20) if number % 3 == 1]
        client.disconnect()
    with alice(with_lists, **lasting) as client, bob(with_lists) as publisher:  # what was refused is gone
        publisher.publish("end", qos=1)
        assert client.receive_up_to("end") == []


def test_anonymous(start_with_plugins: Callable[..., BrokerProcess], version: int) -> None:
    process = start_with_plugins(
        """
        plugins:
          amqtt.plugins.authentication.AnonymousAuthPlugin: {allow_anonymous: true}
          amqtt.plugins.topic_checking.TopicTabooPlugin:
        """
    )
    with connected(process, version) as client:
        assert client.subscribe("a", "top-secret") == (2, REFUSED_FILTER[version])
        client.publish("a", b"1", qos=1)
        assert client.receive_publish().payload == b"1"


# --- those that ask somebody


class AuthorityHandler(BaseHTTPRequestHandler):
    """alice's password is «secret», and her topics begin with alice/."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_allowed = asked["password"] == "secret" if self.path == "/user" else asked["topic"].startswith("alice/")
        payload = json.dumps({"ok": is_allowed}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        """Keep standard error for failures."""


@pytest.fixture
def authority() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), AuthorityHandler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def assert_alice_may(process: BrokerProcess, password: str, publish: str, subscribe: str) -> None:
    """Assert that alice may do these two things and nothing else."""
    assert connack(process, username="alice", password="wrong") == 0x86
    with connected(process, username="alice", password=password) as client:
        assert client.publish(publish, qos=1) < 0x80
        assert client.publish(f"not/{publish}", qos=1) == 0x87
        assert client.subscribe(subscribe, f"not/{subscribe}") == (2, 0x80)


def test_http(start_with_plugins: Callable[..., BrokerProcess], authority: int) -> None:
    server = f"host: 127.0.0.1, port: {authority}, request_method: post"
    process = start_with_plugins(
        f"""
        plugins:
          amqtt.contrib.http.UserAuthHttpPlugin: {{{server}}}
          amqtt.contrib.http.TopicAuthHttpPlugin: {{{server}}}
        """
    )
    assert_alice_may(process, "secret", "alice/1", "alice/+")
    assert process.terminate() == 0
    assert "Unclosed" not in process.log


def test_http_without_a_server_refuses(start_with_plugins: Callable[..., BrokerProcess]) -> None:
    process = start_with_plugins("plugins: {amqtt.contrib.http.UserAuthHttpPlugin: {host: 127.0.0.1, port: 1}}")
    assert connack(process, username="alice", password="secret") == 0x86


def test_jwt(start_with_plugins: Callable[..., BrokerProcess]) -> None:
    process = start_with_plugins(
        f"""
        plugins:
          amqtt.contrib.jwt.UserAuthJwtPlugin: {{secret_key: "{SECRET}", user_claim: user}}
          amqtt.contrib.jwt.TopicAuthJwtPlugin:
            {{secret_key: "{SECRET}", publish_claim: pub, subscribe_claim: sub_to, receive_claim: rec}}
        """
    )
    token = jwt.encode({"user": "alice", "pub": ["up/+"], "sub_to": ["down/+"], "rec": ["#"]}, SECRET)
    assert_alice_may(process, token, "up/1", "down/1")


async def test_database(start_with_plugins: Callable[..., BrokerProcess], tmp_path: Path) -> None:
    connection = f"sqlite+aiosqlite:///{tmp_path / 'users.db'}"
    process = start_with_plugins(
        f"""
        plugins:
          amqtt.contrib.auth_db.plugin.UserAuthDBPlugin: {{connection: "{connection}", sync_schema: true}}
          amqtt.contrib.auth_db.plugin.TopicAuthDBPlugin: {{connection: "{connection}", sync_schema: true}}
        """,
        PLUGIN_TIMEOUT_S="30",
    )
    async with UserManager(connection) as users, TopicManager(connection) as topics:
        await users.create_user_auth("alice", "secret")
        await topics.create_topic_auth("alice")
        await topics.add_allowed_topic("alice", "up/+", Action.PUBLISH)
        await topics.add_allowed_topic("alice", "down/+", Action.SUBSCRIBE)
    assert_alice_may(process, "secret", "up/1", "down/1")


# --- certificate


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    ca_key, ca = generate_root_creds("DE", "", "Berlin", "test", "ca")
    server_key, server_csr = generate_server_csr("DE", "test", "localhost")
    device_key, device_csr = generate_device_csr(
        "DE", "test", "device-1", "spiffe://example.test/device/device-1", "device-1.local"
    )
    write_key_and_crt(ca_key, ca, "ca", tmp_path)
    write_key_and_crt(server_key, sign_csr(server_csr, ca_key, ca), "server", tmp_path)
    write_key_and_crt(device_key, sign_csr(device_csr, ca_key, ca), "device", tmp_path)
    return tmp_path


def is_let_in(process: BrokerProcess, folder: Path, client_id: str, transport: Any, *, has_certificate: bool) -> bool:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id, transport=transport)
    own = {"certfile": str(folder / "device.crt"), "keyfile": str(folder / "device.key")} if has_certificate else {}
    client.tls_set(str(folder / "ca.crt"), **own)
    answers: list[bool] = []

    def on_connect(*arguments: Any) -> None:
        answers.append(not arguments[3].is_failure)
        client.disconnect()

    client.on_connect = on_connect
    client.connect("localhost", process.port)
    while not answers:
        assert client.loop(10) == 0
    client.loop(1)
    return answers[0]


@pytest.mark.parametrize("transport", ["tcp", "websockets"])
def test_certificate(start_with_plugins: Callable[..., BrokerProcess], certificates: Path, transport: str) -> None:
    process = start_with_plugins(
        "plugins: {amqtt.contrib.cert.UserAuthCertPlugin: {uri_domain: example.test}}",
        TLS_CERT=str(certificates / "server.crt"),
        TLS_KEY=str(certificates / "server.key"),
        TLS_CLIENT_CA=str(certificates / "ca.crt"),
        TLS_CLIENT_CERT="optional",
    )
    assert is_let_in(process, certificates, "device-1", transport, has_certificate=True)
    assert not is_let_in(process, certificates, "device-2", transport, has_certificate=True)
    assert not is_let_in(process, certificates, "device-1", transport, has_certificate=False)
    assert connack(process, username="device-1") == 0x86


# --- mistakes


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        (None, ["No such file"]),
        ("plugins: [", ["is not YAML"]),
        ("auth: {allow-anonymous: true}", ["old style"]),
        ("plugins: {no.such.Plugin: }\nlistener: {}", ["'listener' is not a key"]),
        ("plugins: {no.such.Plugin: , amqtt.plugins.authentication.FileAuthPlugin: {pasword_file: x}}",
         ["no.such.Plugin:", "FileAuthPlugin:"]),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_used_stops_the_start(
    new_broker: Callable[..., BrokerProcess], tmp_path: Path, yaml: str | None, said: list[str]
) -> None:
    path = tmp_path / "broker.yaml"
    if yaml is not None:
        path.write_text(yaml)
    process = new_broker(REDIS_URL="redis://127.0.0.1:1/0", BROKER_CONFIG=str(path))
    process.launch()
    assert process.wait() == 2
    lines = [line for line in process.log.splitlines() if " ERROR " in line]
    assert [each for each, line in zip(said, lines, strict=True) if each not in line] == []
    assert "Traceback" not in process.log
