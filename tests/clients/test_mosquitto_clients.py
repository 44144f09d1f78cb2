"""mosquitto_pub, mosquitto_sub and mosquitto_rr, as people use them in scripts."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from foreign_client import PASSWORD, USERNAME
from foreign_clients import Kind

from tests.broker.broker_process import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from foreign_client import ForeignClient

    from tests.broker.broker_process import BrokerProcess
    from tests.net.certificates import Authority

DEADLINE_S = 15
PAHO = Kind("paho", 5)
VERSIONS = {3: "mqttv31", 4: "mqttv311", 5: "mqttv5"}
in_every_version = pytest.mark.parametrize("version", VERSIONS, ids=["3.1", "3.1.1", "5"])


class Tools:
    """Runs the tools against one broker."""

    def __init__(self, broker: BrokerProcess, version: int, name: Callable[[], str]) -> None:
        self._where = ["-h", broker.host, "-p", str(broker.port), "-V", VERSIONS[version]]
        self._name = name
        self._started: list[subprocess.Popen[str]] = []

    def command(self, tool: str, *arguments: str) -> list[str]:
        client_id = [] if "-i" in arguments else ["-i", self._name()]
        return [f"mosquitto_{tool}", *self._where, *client_id, *arguments]

    def run(self, tool: str, *arguments: str, text: str = "") -> str:
        """Run a tool to its end, which has to be a good one, and return what it prints."""
        command = self.command(tool, *arguments)
        return subprocess.run(
            command, input=text, text=True, stdout=subprocess.PIPE, check=True, timeout=DEADLINE_S
        ).stdout

    def subscribe(self, *arguments: str) -> subprocess.Popen[str]:
        """Start mosquitto_sub and return when it is subscribed: it has printed the message kept for it, its first."""
        self.run("pub", "-t", arguments[arguments.index("-t") + 1], "-r", "-q", "1", "-m", "kept")
        command = self.command("sub", *arguments, "-F", "%p", "-W", str(DEADLINE_S))
        started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._started.append(started)
        assert started.stdout is not None
        assert started.stdout.readline() == "kept\n"
        return started

    def close(self) -> None:
        for each in self._started:
            with each:
                each.kill()


@pytest.fixture
def tools(broker: BrokerProcess, name: Callable[[], str], version: int) -> Iterator[Tools]:
    made = Tools(broker, version, name)
    yield made
    made.close()


@pytest.fixture
def version() -> int:
    """MQTT 5, unless the test asks for every version."""
    return 5


def rest_of(subscriber: subprocess.Popen[str]) -> str:
    """Return what a subscriber still prints; its exit has to be a good one, and -W sees to it that there is one."""
    assert subscriber.stdout is not None
    output = subscriber.stdout.read()
    assert subscriber.wait(DEADLINE_S) == 0
    return output


@in_every_version
@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_lines_arrive_in_order(tools: Tools, name: Callable[[], str], qos: str) -> None:
    topic = name()
    subscriber = tools.subscribe("-t", topic, "-q", qos, "-C", "4")
    tools.run("pub", "-t", topic, "-q", qos, "-l", text="one\ntwo\nthree\n")
    assert rest_of(subscriber) == "one\ntwo\nthree\n"


@in_every_version
def test_a_persistent_session_keeps_messages(tools: Tools, name: Callable[[], str]) -> None:
    topic, lasting = name(), ["-i", name(), "-c", "-q", "1"]
    tools.run("sub", "-t", topic, *lasting, "-E")  # subscribe and leave
    tools.run("pub", "-t", topic, "-q", "1", "-l", text="a\nb\n")
    assert tools.run("sub", "-t", topic, *lasting, "-C", "2") == "a\nb\n"


@in_every_version
def test_a_will_comes_when_the_tool_is_killed(tools: Tools, name: Callable[[], str]) -> None:
    topic, will_topic = name(), name()
    watcher = tools.subscribe("-t", will_topic, "-C", "2")
    dying = tools.subscribe("-t", topic, "--will-topic", will_topic, "--will-payload", "gone", "--will-qos", "1")
    dying.kill()
    assert rest_of(watcher) == "gone\n"


@in_every_version
def test_a_file_and_nothing_are_payloads(tools: Tools, name: Callable[[], str], tmp_path: Path) -> None:
    topic, file = name(), tmp_path / "payload"
    file.write_text("x" * 200_000)
    subscriber = tools.subscribe("-t", topic, "-C", "3", "-q", "2")
    tools.run("pub", "-t", topic, "-q", "2", "-f", str(file))
    tools.run("pub", "-t", topic, "-q", "2", "-n")
    assert rest_of(subscriber) == "x" * 200_000 + "\n\n"


@in_every_version
def test_retained_messages_are_found_and_removed(
    tools: Tools, name: Callable[[], str], connected: Callable[..., ForeignClient]
) -> None:
    topic = name()
    for each in "ab":
        tools.run("pub", "-t", f"{topic}/{each}", "-r", "-q", "1", "-m", each)
    found = tools.run("sub", "-t", f"{topic}/#", "-v", "--retained-only", "-C", "2")
    assert sorted(found.splitlines()) == [f"{topic}/a a", f"{topic}/b b"]
    watcher = connected(PAHO)

    def is_removed() -> bool:
        watcher.subscribe(f"{topic}/#", 1)
        watcher.publish(f"{topic}/end", b"end", 1)
        return not {b"a", b"b"} & set(watcher.payloads_until(b"end"))

    with subprocess.Popen(tools.command("sub", "-t", f"{topic}/#", "--remove-retained", "--quiet")) as removing:
        eventually(is_removed, "what was retained is removed")
        removing.terminate()


@in_every_version
def test_credentials_open_the_door(tools: Tools, name: Callable[[], str]) -> None:
    tools.run("pub", "-t", name(), "-m", "x", "-u", USERNAME, "-P", PASSWORD)
    command = tools.command("pub", "-t", name(), "-m", "x", "-u", USERNAME, "-P", "wrong")
    refused = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert refused.returncode != 0
    assert "not authori" in refused.stderr.lower() or "bad user name" in refused.stderr.lower()


def test_tls_with_a_trusted_authority(tools: Tools, name: Callable[[], str], authority: Authority) -> None:
    trusting = ["--cafile", str(authority.own.certificate)]
    topic = name()
    tools.run("pub", *trusting, "-t", topic, "-r", "-q", "1", "-m", "secret")
    assert tools.run("sub", *trusting, "-t", topic, "-C", "1") == "secret\n"


def test_a_request_gets_its_answer(
    tools: Tools, name: Callable[[], str], connected: Callable[..., ForeignClient]
) -> None:
    requests, answering = name(), connected(PAHO)
    answering.subscribe(requests, 1)
    command = tools.command("rr", "-t", requests, "-e", name(), "-q", "1", "-m", "time?", "-W", str(DEADLINE_S))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asking:
        request = answering.next()
        response_topic = request.properties.pop("response_topic")
        answering.publish(response_topic, b"noon", 1, **request.properties)  # with its correlation data
        assert rest_of(asking) == "noon\n"


def test_properties_are_shown(tools: Tools, name: Callable[[], str]) -> None:
    topic = name()
    identified = ["-D", "subscribe", "subscription-identifier", "7"]
    properties = ["content-type text/plain", "response-topic here", "correlation-data 42", "payload-format-indicator 1"]
    properties += ["user-property unit °C", "message-expiry-interval 600"]
    sent = [word for each in properties for word in ("-D", "publish", *each.split(" "))]
    tools.run("pub", "-t", topic, "-r", "-q", "1", "-m", "21", *sent)
    shown = tools.run("sub", "-t", topic, "-q", "1", "-C", "1", *identified, "-F", "%p %C %R %D %F %P %S %r")
    assert shown == "21 text/plain here 42 1 unit:°C 7 1\n"


def test_a_session_expires_as_asked(tools: Tools, name: Callable[[], str]) -> None:
    topic, lasting = name(), ["-i", name(), "-c", "-q", "1", "-x", "600"]
    tools.run("sub", "-t", topic, *lasting, "-E")
    tools.run("sub", "-t", topic, "-i", lasting[1], "-x", "0", "-q", "1", "-E")  # clean start, no expiry: it is gone
    tools.run("pub", "-t", topic, "-q", "1", "-m", "lost")
    tools.run("pub", "-t", topic, "-q", "1", "-r", "-m", "retained")
    assert tools.run("sub", "-t", topic, *lasting, "-C", "1") == "retained\n"
