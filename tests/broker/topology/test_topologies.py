"""Redis Cluster and Sentinels do what one server does: messages, sessions, retained messages, the dashboard."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
import redis
from broker_process import eventually
from raw import RawClient
from stored_messages import views

import settings
from store.connection import connect
from web.app import create_app

if TYPE_CHECKING:
    import mqtt_bytes as mqtt
    from broker_process import BrokerProcess
    from flask.testing import FlaskClient
    from redis_servers import Servers
    from werkzeug.test import TestResponse

DEVICES = 20  # their keys lie in about as many slots
LASTING: mqtt.Properties = [(0x11, 3600)]


def _dashboard(url: str) -> FlaskClient:
    words = {
        "DASHBOARD_USERNAME": "admin",
        "DASHBOARD_PASSWORD": "right-password",
        "SECRET_KEY": "a key for tests only",
    }
    return create_app(settings.load({"REDIS_URL": url, **words}, "web")).test_client()


def _get(dashboard: FlaskClient, path: str, password: str = "right-password") -> TestResponse:
    login = base64.b64encode(f"admin:{password}".encode()).decode()
    return dashboard.get(path, headers={"Authorization": f"Basic {login}"})


def test_messages_reach_subscribers_and_sessions_and_the_dashboard(
    servers: Servers, topology_broker: BrokerProcess
) -> None:
    at = (topology_broker.host, topology_broker.port)
    with RawClient(*at) as sleeper:
        sleeper.connect("sleeper", clean=False, props=LASTING)
        sleeper.subscribe("devices/+/telemetry")
    with RawClient(*at) as publisher:
        publisher.connect("publisher")
        for each in range(DEVICES):
            payload = json.dumps({"temperature": each}).encode()
            publisher.publish(f"devices/d{each}/telemetry", payload, qos=1 + each % 2)
            publisher.publish(f"devices/d{each}/status", b'{"online": true}', qos=1, retain=True)
        with RawClient(*at) as late:
            late.connect("late")
            late.subscribe("devices/#")
            retained = {late.receive_publish().topic for _ in range(DEVICES)}
        assert retained == {f"devices/d{each}/status" for each in range(DEVICES)}
        with RawClient(*at) as sleeper:
            assert sleeper.connect("sleeper", clean=False, props=LASTING).is_session_present
            got = [sleeper.receive_publish() for _ in range(DEVICES)]
        assert [each.topic for each in got] == [f"devices/d{each}/telemetry" for each in range(DEVICES)]
        _expect_views(servers.url)
        _expect_pages(_dashboard(servers.url))


def _expect_views(url: str) -> None:
    with views(url) as query:
        eventually(lambda: query.fleet().messages == 2 * DEVICES, "every message in the totals", 20)
        assert query.fleet().total == DEVICES
        eventually(lambda: query.fleet().online == DEVICES, "every device is online: its publisher is", 20)
        assert {each.id for each in query.devices().rows} == {f"d{each}" for each in range(DEVICES)}
        for each in range(DEVICES):
            device = query.device(f"d{each}")
            assert device is not None
            assert device.values["temperature"].value == each
            assert len(query.messages(f"d{each}").rows) == 2
        eventually(lambda: len(query.nodes()) == 1, "the node is listed")
        assert len(query.live("0-0", count=100).rows) == 2 * DEVICES
        assert query.store_status().version.startswith("7.")
        assert query.ping()


def _expect_pages(dashboard: FlaskClient) -> None:
    for path in ("/readyz", "/api/v1/devices", "/api/v1/devices/d1", "/api/v1/devices/d1/series?field=temperature"):
        assert _get(dashboard, path).status_code == 200, path


def test_failed_log_ins_are_counted_in_the_store(servers: Servers) -> None:
    first, second = _dashboard(servers.url), _dashboard(servers.url)
    codes = [_get(each, "/api/v1/devices", "wrong").status_code for each in (first, second) * 6]
    assert codes == [401] * 10 + [429] * 2


def test_a_store_that_is_away_is_an_error_like_any_other(servers: Servers) -> None:
    dashboard = _dashboard(servers.url)
    servers.stop()
    assert _get(dashboard, "/api/v1/devices").status_code == 503
    assert _get(dashboard, "/readyz").status_code == 503
    client: Any
    with connect(settings.load({"REDIS_URL": servers.url, "ALLOW_ANONYMOUS": "true"}, "tcp"), retries=0) as client:
        with pytest.raises(redis.RedisError):
            client.get("x")
        with pytest.raises(redis.RedisError):
            client.pipeline(transaction=False).get("x").execute()
