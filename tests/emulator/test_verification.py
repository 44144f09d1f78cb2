"""A fleet against the real broker, store and dashboard: it believes what it can see, and sees what is wrong."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import urllib.request
from collections import defaultdict
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests.broker.broker_process import BrokerProcess, eventually
from tests.web.dashboard_process import BASIC, PASSWORD, USERNAME, served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.valkey import EmbeddedValkey

ROOT = Path(__file__).parents[2]
SMALL = "duration_s = 4\n[[devices]]\ncount = 2\nrate = 100\nqos = 2\n"


@pytest.fixture(scope="module")
def dashboard(valkey_server: EmbeddedValkey) -> Iterator[str]:
    with served(valkey_server.url) as (address, _process):
        yield address


class Application:
    """A broker and a dashboard on one empty store, and fleets that are run against them."""

    def __init__(self, redis_url: str, dashboard: str, folder: Path) -> None:
        self.redis_url, self.dashboard, self.folder = redis_url, dashboard, folder
        self.ledger = folder / "ledger.ndjson"
        self.broker: BrokerProcess | None = None
        self._fleets: list[subprocess.Popen[str]] = []

    def start_broker(self, **settings: str) -> BrokerProcess:
        environ = {"REDIS_URL": self.redis_url, "ALLOW_ANONYMOUS": "true", **settings}
        self.broker = BrokerProcess(environ, self.folder / "broker.log")
        self.broker.start()
        return self.broker

    def start_fleet(self, scenario: str, *argv: object, password: str = PASSWORD) -> subprocess.Popen[str]:
        assert self.broker is not None
        path = self.folder / "scenario.toml"
        path.write_text(scenario)
        told = ["--url", f"tcp://127.0.0.1:{self.broker.port}", "--scenario", path, "--ledger", self.ledger]
        told += ["--verify", self.dashboard.replace("//", f"//{USERNAME}@"), "--verify-password-env", "SECRET"]
        command = [sys.executable, "-m", "emulator", "fleet", *map(str, [*told, *argv])]
        environ = {"SECRET": password, "PYTHONDONTWRITEBYTECODE": "1"}
        fleet = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._fleets.append(fleet)
        return fleet

    def stop(self) -> None:
        for fleet in self._fleets:
            fleet.kill()
            fleet.communicate()
        if self.broker is not None:
            self.broker.kill()


@pytest.fixture
def application(redis_url: str, dashboard: str, tmp_path: Path) -> Iterator[Application]:
    application = Application(redis_url, dashboard, tmp_path)
    yield application
    application.stop()


def stored_messages(address: str, device_id: str) -> list[dict[str, Any]]:
    request = urllib.request.Request(f"{address}/api/v1/devices/{device_id}/messages?limit=1000", headers=BASIC)
    with urllib.request.urlopen(request, timeout=5) as response:
        found: list[dict[str, Any]] = json.load(response)["messages"]
        return found[::-1]


def digest(payload: dict[str, Any]) -> str:
    data = payload["text"].encode() if "text" in payload else base64.b64decode(payload["base64"])
    return blake2b(data, digest_size=8).hexdigest()


def count_history(redis_url: str, device_id: str) -> Callable[[], int]:
    store = redis.Redis.from_url(redis_url)
    return lambda: int(store.xlen(f"d:{{{device_id}}}:history"))


def test_a_fleet_keeps_to_what_the_broker_takes_unacknowledged(application: Application):
    """[v5 MQTT-3.3.4-7]: else the broker would disconnect it, again and again."""
    application.start_broker(RECEIVE_MAXIMUM="1")
    gateway = "duration_s = 2\n[[gateways]]\ncount = 1\ndevices = 8\nrate = 400\nqos = 2\n"
    said, errors = application.start_fleet(gateway).communicate(timeout=60)
    assert "reconnects      0" in said, errors
    assert said.splitlines()[-1] == "VERIFIED"


def test_a_fleet_that_has_a_hard_time_is_verified_and_its_ledger_says_the_same(application: Application):
    application.start_broker()
    fleet = application.start_fleet(
        """
        duration_s = 6
        start = 0.5
        [[devices]]
        count = 6
        rate = 30
        qos = 2
        [[gateways]]
        count = 2
        devices = 3
        rate = 30
        [[watchers]]
        count = 1
        [[watchers]]
        qos = 1
        [[watchers]]
        members = 3
        [[watchers]]
        persistent = false
        [commands]
        rate = 5
        qos = 2
        [[phases]]
        kind = "ramp"
        at_s = 0
        for_s = 1
        to = 1
        [[phases]]
        kind = "outage"
        at_s = 1
        for_s = 1.5
        share = 0.5
        [[phases]]
        kind = "outage"
        at_s = 2
        for_s = 2
        share = 0.3
        how = "silent"
        [[phases]]
        kind = "outage"
        at_s = 3
        for_s = 0.5
        among = "watchers"
        [[phases]]
        kind = "storm"
        at_s = 4
        [[phases]]
        kind = "storm"
        at_s = 4.2
        what = "publish"
        [[phases]]
        kind = "malformed"
        at_s = 1
        for_s = 3
        share = 0.2
        [[phases]]
        kind = "clock-skew"
        at_s = 1
        for_s = 3
        skew_s = -3600
        """
    )
    said, errors = fleet.communicate(timeout=60)
    assert fleet.returncode == 0, said + errors
    assert said.splitlines()[-1] == "VERIFIED"
    assert "forwarded" in said
    events = [json.loads(line) for line in application.ledger.read_text().splitlines()]
    made: dict[str, dict[int, str]] = defaultdict(dict)
    for event in events:
        if event["event"] == "publish" and event["device"] == "sensor-0001" and event["kind"] == "telemetry":
            made[event["topic"]][event["seq"]] = event["digest"]
    ((topic, digests),) = made.items()
    acknowledged = {event["seq"] for event in events if event["event"] == "acknowledge" and event["topic"] == topic}
    stored = [digest(each["payload"]) for each in stored_messages(application.dashboard, "sensor-0001")
              if each["topic"] == topic]  # fmt: skip
    assert len(acknowledged) > 20
    assert stored == [digests[number] for number in sorted(acknowledged)]


def test_a_killed_broker_keeps_what_it_acknowledged(application: Application):
    broker = application.start_broker()
    fleet = application.start_fleet(f"{SMALL}[[watchers]]\n[commands]\nrate = 5\nqos = 2\n", "--verify-timeout", 20)
    history = count_history(application.redis_url, "sensor-0001")
    for chunks in (3, 6):
        eventually(lambda: history() > chunks, "some history")  # noqa: B023  called before the next turn
        broker.restart()
    said, errors = fleet.communicate(timeout=60)
    judged = [line.partition(" due: ")[2] for line in said.splitlines() if " wills due: " in line]
    assert len(judged) == 3, said + errors
    for figures in judged:  # wills of a killed broker are a promise of their own
        assert re.sub(r"\d+ wills missing", "", figures) == (
            "0 missing, , 0 altered, or not sent by this fleet, 0 repeated that may not be, 0 out of order"
        ), said
    assert "NOT acknowledged" not in said
    assert "LOST SESSIONS" not in said


def test_a_message_deleted_behind_the_brokers_back_is_noticed(application: Application):
    application.start_broker()
    fleet = application.start_fleet(SMALL, "--verify-timeout", 5)
    history = count_history(application.redis_url, "sensor-0001")
    eventually(lambda: history() > 3, "some history")
    store = redis.Redis.from_url(application.redis_url)
    middle = store.xrange("d:{sensor-0001}:history", count=3)[1][0]
    store.xdel("d:{sensor-0001}:history", middle)
    said, _ = fleet.communicate(timeout=60)
    assert fleet.returncode == 1
    assert "  missing: devices/sensor-0001/telemetry seq " in said
    assert "devices/sensor-0002/" not in said
    assert said.splitlines()[-1] == "NOT AS SENT"


def test_a_message_written_behind_the_brokers_back_is_noticed(application: Application):
    broker = application.start_broker()
    fleet = application.start_fleet(SMALL, "--verify-timeout", 5)
    history = count_history(application.redis_url, "sensor-0001")
    eventually(lambda: history() > 3, "some history")
    topic, payload = "devices/sensor-0001/telemetry", '{"temperature":99,"seq":2}'
    subprocess.run(["mosquitto_pub", "-p", str(broker.port), "-t", topic, "-m", payload, "-q", "1"], check=True)
    said, _ = fleet.communicate(timeout=60)
    assert fleet.returncode == 1
    assert f"  altered, or not sent by this fleet: {topic}: b'{payload}'" in said


def test_what_has_left_the_history_was_read_in_time(application: Application):
    application.start_broker(HISTORY_MESSAGES="1000")
    scenario = "duration_s = 6\n[[devices]]\ncount = 1\nrate = 250\nqos = 2\n"  # makes 1500
    fleet = application.start_fleet(scenario, "--retention", 1000)
    said, errors = fleet.communicate(timeout=60)
    assert fleet.returncode == 0, said + errors
    assert "were stored and have left the history since: beyond its retention" in said


def test_a_fleet_that_was_here_before_does_not_matter(application: Application):
    application.start_broker()
    for _ in range(2):
        fleet = application.start_fleet(f"{SMALL.replace('duration_s = 4', 'duration_s = 0.5')}window = 100\n")
        said, errors = fleet.communicate(timeout=60)
        assert fleet.returncode == 0, said + errors
        assert "the store       54 acknowledged and 0 wills due" in said  # 50 readings, and two online and offline


def test_a_wrong_password_of_the_dashboard_is_one_clear_line(application: Application):
    application.start_broker()
    fleet = application.start_fleet(SMALL, password="wrong")
    said, errors = fleet.communicate(timeout=60)
    assert (fleet.returncode, said) == (1, "")
    assert errors.startswith("--verify: the API at 127.0.0.1:")
    assert " answered 401: " in errors
    assert len(errors.splitlines()) == 1
