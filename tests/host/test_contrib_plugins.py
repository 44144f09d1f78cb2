"""The plugins in amqtt.contrib, which need packages of their own: HTTP, JWT, database, certificate; with real servers."""

from __future__ import annotations

import dataclasses
import json
import ssl
import textwrap
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import jwt
import pytest
import yaml
from amqtt.contexts import Action as AmqttAction
from amqtt.contrib.auth_db.managers import TopicManager, UserManager
from amqtt.contrib.cert import (
    generate_device_csr,
    generate_root_creds,
    generate_server_csr,
    sign_csr,
    write_key_and_crt,
)
from amqtt.utils import import_string
from plugin_port import facts

from broker.host.corrections import correct_packaged_plugins
from broker.host.interface import Action, PluginConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
SECRET = "a secret of at least 32 characters, as HS256 wants"

# --- documentation


def documented() -> Iterator[tuple[str, dict[str, Any]]]:
    for block in PAGE.read_text().split("```yaml\n")[1:]:
        content = yaml.safe_load(textwrap.dedent(block.split("```")[0]))
        yield from content.get("plugins", content).items()


def test_the_documentation_names_options_that_exist():
    correct_packaged_plugins()
    checked = {name for name, _ in documented() if not name.startswith(("amqtt.contrib.ldap.", "fleet_plugin."))}
    assert len(checked) == 9
    for name, options in documented():
        if name in checked:
            assert set(options) <= {field.name for field in dataclasses.fields(import_string(name).Config)}, name


# --- HTTP


class Authority(ThreadingHTTPServer):
    """Answers amqtt's HTTP plugins: alice's password is «secret», and her topics begin with alice/."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), AuthorityHandler)
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.gate = threading.Event()
        self.gate.set()


class AuthorityHandler(BaseHTTPRequestHandler):
    server: Authority

    def answer(self) -> None:
        self.server.gate.wait()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        is_json = self.headers["Content-Type"] == "application/json"
        asked = json.loads(body) if is_json else {key: values[0] for key, values in parse_qs(body).items()}
        self.server.asked.append((self.command, self.path, asked))
        is_allowed = (
            (asked["username"], asked["password"]) == ("alice", "secret")
            if self.path == "/user"
            else asked["topic"].startswith("alice/")
        )
        payload = json.dumps({"ok": is_allowed}).encode()
        self.send_response(200 if is_json or is_allowed else 403)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = answer  # noqa: N815  names that http.server looks for

    def log_message(self, *_: object) -> None:
        """Keep standard error for failures."""


@pytest.fixture
def authority() -> Iterator[Authority]:
    server = Authority()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.gate.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("options", "method"),
    [("", "GET"), (", request_method: post, params_mode: form, response_mode: status", "POST")],
)
async def test_http(load: Callable[..., Any], authority: Authority, options: str, method: str):
    server = f"host: 127.0.0.1, port: {authority.server_port}{options}"
    host = await load(
        f"""
        plugins:
          amqtt.contrib.http.UserAuthHttpPlugin: {{{server}}}
          amqtt.contrib.http.TopicAuthHttpPlugin: {{{server}}}
        """,
        5.0,
    )
    alice = host.client(facts("alice", b"secret"))
    assert await alice.authenticate()
    assert not await host.client(facts("alice", b"wrong")).authenticate()
    assert await alice.is_allowed("alice/1", Action.PUBLISH)
    assert not await alice.is_allowed("bob/1", Action.SUBSCRIBE)
    assert {asked[0] for asked in authority.asked} == {method}
    assert authority.asked[0][2] == {"username": "alice", "password": "secret", "client_id": "client-1"}
    await host.draining()  # the plugins close their connections now
    assert not await alice.is_allowed("alice/2", Action.PUBLISH)


async def test_http_without_an_answer(load: Callable[..., Any], authority: Authority):
    authority.gate.clear()
    host = await load(
        f"plugins: {{amqtt.contrib.http.UserAuthHttpPlugin: {{host: 127.0.0.1, port: {authority.server_port}}}}}",
        0.3,
    )
    assert not await host.client(facts("alice", b"secret")).authenticate()
    await host.draining()


async def test_http_with_a_word_it_does_not_know(load: Callable[..., Any]):
    with pytest.raises(PluginConfigurationError, match="'delete' is none of get, post, put"):
        await load(
            "plugins: {amqtt.contrib.http.UserAuthHttpPlugin: {host: 127.0.0.1, port: 1, request_method: delete}}"
        )


# --- JWT


def token(**claims: Any) -> bytes:
    return jwt.encode({"exp": datetime.now(UTC) + timedelta(minutes=5), **claims}, SECRET).encode()


async def test_jwt(load: Callable[..., Any]):
    host = await load(
        f"""
        plugins:
          amqtt.contrib.jwt.UserAuthJwtPlugin: {{secret_key: "{SECRET}", user_claim: user}}
          amqtt.contrib.jwt.TopicAuthJwtPlugin:
            {{secret_key: "{SECRET}", publish_claim: pub, subscribe_claim: sub_to, receive_claim: rec}}
        """,
        5.0,
    )
    password = token(user="alice", pub=["up/+"], sub_to=["down/+", "all/#"], rec=["#"])
    alice = host.client(facts("alice", password))
    assert host.has_receive_plugins
    assert await alice.authenticate()
    assert not await host.client(facts("bob", password)).authenticate()
    assert not await host.client(facts("alice", b"no token")).authenticate()
    expired = token(user="alice", exp=datetime.now(UTC) - timedelta(minutes=5))
    assert not await host.client(facts("alice", expired)).authenticate()
    for topic, action, is_allowed in [
        ("up/1", Action.PUBLISH, True),
        ("down/1", Action.PUBLISH, False),
        ("down/+", Action.SUBSCRIBE, True),
        ("down/#", Action.SUBSCRIBE, False),  # amqtt allows it
        ("all/1/#", Action.SUBSCRIBE, True),
        ("any/thing", Action.RECEIVE, True),
    ]:
        assert await alice.is_allowed(topic, action) is is_allowed, (topic, action)


# --- database


async def test_database(load: Callable[..., Any], tmp_path: Path):
    connection = f"sqlite+aiosqlite:///{tmp_path / 'users.db'}"
    host = await load(
        f"""
        plugins:
          amqtt.contrib.auth_db.plugin.UserAuthDBPlugin: {{connection: "{connection}", sync_schema: true}}
          amqtt.contrib.auth_db.plugin.TopicAuthDBPlugin: {{connection: "{connection}", sync_schema: true}}
        """,
        10.0,
    )
    async with UserManager(connection) as users, TopicManager(connection) as topics:
        await users.create_user_auth("alice", "secret")
        await topics.create_topic_auth("alice")
        await topics.add_allowed_topic("alice", "up/+", AmqttAction.PUBLISH)
        await topics.add_allowed_topic("alice", "down/+", AmqttAction.SUBSCRIBE)
    alice = host.client(facts("alice", b"secret"))
    assert await alice.authenticate()
    assert not await host.client(facts("alice", b"wrong")).authenticate()
    assert not await host.client(facts("bob", b"secret")).authenticate()
    assert await alice.is_allowed("up/1", Action.PUBLISH)
    assert not await alice.is_allowed("down/1", Action.PUBLISH)
    assert await alice.is_allowed("down/1", Action.SUBSCRIBE)
    assert not await alice.is_allowed("down/#", Action.SUBSCRIBE)  # amqtt allows it
    assert not await host.client(facts("bob")).is_allowed("up/1", Action.PUBLISH)  # the plugin raises: it has no row


# --- certificate


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    ca_key, ca = generate_root_creds("DE", "", "Berlin", "test", "ca")
    server_key, server_csr = generate_server_csr("DE", "test", "localhost")
    device_key, device_csr = generate_device_csr(
        "DE", "test", "device-1", "spiffe://example.test/device/device-1", "device-1.local"
    )
    write_key_and_crt(ca_key, ca, "ca", folder)
    write_key_and_crt(server_key, sign_csr(server_csr, ca_key, ca), "server", folder)
    write_key_and_crt(device_key, sign_csr(device_csr, ca_key, ca), "device", folder)
    return folder


def handshake(folder: Path, *, has_client_certificate: bool) -> ssl.SSLObject:
    """Return the server's side of a TLS connection, made in memory."""
    at_server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / "ca.crt")
    at_server.load_cert_chain(folder / "server.crt", folder / "server.key")
    at_server.verify_mode = ssl.CERT_OPTIONAL
    at_client = ssl.create_default_context(cafile=folder / "ca.crt")
    if has_client_certificate:
        at_client.load_cert_chain(folder / "device.crt", folder / "device.key")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = at_server.wrap_bio(to_server, to_client, server_side=True)
    client = at_client.wrap_bio(to_client, to_server, server_hostname="localhost")
    pending = [client, server]
    while pending:
        for side in list(pending):
            try:
                side.do_handshake()
                pending.remove(side)
            except ssl.SSLWantReadError:
                continue
    return server


async def test_certificate(load: Callable[..., Any], certificates: Path):
    host = await load("plugins: {amqtt.contrib.cert.UserAuthCertPlugin: {uri_domain: example.test}}", 5.0)
    with_certificate = handshake(certificates, has_client_certificate=True)
    without = handshake(certificates, has_client_certificate=False)
    assert await host.client(facts(client_id="device-1", ssl_object=with_certificate)).authenticate()
    assert not await host.client(facts(client_id="device-2", ssl_object=with_certificate)).authenticate()
    assert not await host.client(facts(client_id="device-1", ssl_object=without)).authenticate()
    assert not await host.client(facts(client_id="device-1")).authenticate()
