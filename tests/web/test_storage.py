"""The storage page and its API: use against the budget, what bounds it, what was shed, outlets; and words of it elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis
from dashboard_process import BASIC, await_true, environment, log_in
from fleet_seed import fleet, now_ms
from playwright.sync_api import expect

from settings import load
from store import schema
from web import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.testing import FlaskClient
    from fleet_seed import Seed
    from playwright.sync_api import Page

MIB = 1024 * 1024


@pytest.fixture
def store(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client
        client.config_set("maxmemory", 0)


@pytest.fixture
def with_outlet(redis_url: str) -> FlaskClient:
    """A dashboard whose settings name MongoDB and a bound; logged in."""
    settings = load(environment(redis_url, MONGO_URL="mongodb://127.0.0.1:1/x", STORE_BYTES=str(256 * MIB)), "web")
    client = create_app(settings).test_client()
    assert log_in(client).status_code == 302
    return client


def test_api_tells_use_bounds_and_what_was_shed(operator: FlaskClient, seed: Seed, store: redis.Redis) -> None:
    seed.publish(*fleet(devices=5, hours=0.5))
    state = {"shedding": "history", "since_ms": 1_700_000_000_000, "reaches_ms": 1_699_999_000_000, "messages": 77}
    store.hset(schema.RETENTION, mapping=state)
    found = operator.get("/api/v1/storage", headers=BASIC).json
    kinds = {kind["name"]: kind for kind in found["kinds"]}
    assert kinds["history"]["count"] == 5 * 31
    assert kinds["history"]["settings"]["HISTORY_AGE_S"] == 7 * 86_400
    assert 0 < kinds["history"]["bytes"] < kinds["history"]["most_bytes"]
    assert sum(kind["bytes"] for kind in kinds.values()) == found["used_bytes"]
    assert (found["budget_bytes"], found["is_full"], found["outlets"]) == (None, False, [])
    assert found["shedding"]["now"] == "history"
    assert found["shedding"]["history_reaches_back_to"] == "2023-11-14T21:56:40.000Z"
    assert found["shedding"]["messages"] == 77


def test_page_says_what_bounds_each_kind(with_outlet: FlaskClient, seed: Seed) -> None:
    seed.publish(*fleet(devices=5, hours=0.5))
    page = with_outlet.get("/storage").text
    for text in ("Recent history", "HISTORY_AGE_S", "7 d", "4.0 MiB", "STORE_BYTES", "of 256 MiB", "Nothing has to go"):
        assert text in page
    assert 'aria-current="page">Storage' in page


def test_outlets_are_shown_with_their_error(with_outlet: FlaskClient, store: redis.Redis, seed: Seed) -> None:
    assert "Not started" in with_outlet.get("/storage").text
    seed.publish(*fleet(devices=1, hours=0.1))
    store.hset(schema.outlet("mongodb"), mapping={"written": 42, "updated_ms": now_ms(), "position": "1700000000000-0"})
    assert "Writing" in with_outlet.get("/storage").text
    store.hset(schema.outlet("mongodb"), mapping={"error": "connection refused", "error_since_ms": now_ms()})
    for path in ("/storage", "/"):
        assert "connection refused" in with_outlet.get(path).text
    outlet = with_outlet.get("/api/v1/storage").json["outlets"][0]
    assert (outlet["name"], outlet["error"], outlet["written"]) == ("mongodb", "connection refused", 42)
    assert outlet["written_up_to"] == "2023-11-14T22:13:20.000Z"


def test_a_full_store_is_said_everywhere_and_can_still_be_looked_at(
    client: FlaskClient, store: redis.Redis, seed: Seed
) -> None:
    """Over its limit Redis takes nothing, failed log-ins included: the dashboard works all the same."""
    seed.publish(*fleet(devices=2, hours=0.1))
    await_true(lambda: client.get("/readyz").json == {"status": "ready"}, "ready")
    store.config_set("maxmemory", MIB)
    await_true(lambda: client.get("/readyz").json == {"status": "store_full"}, "full")
    assert client.get("/readyz").status_code == 503
    assert log_in(client, password="wrong").status_code == 401
    assert log_in(client).status_code == 302
    assert "Redis is full" in client.get("/").text
    assert "Redis is full" in client.get("/storage").text
    assert client.get("/devices").status_code == 200
    assert client.get("/api/v1/storage").json["is_full"]


def test_what_was_shed_is_said_on_the_overview(operator: FlaskClient, store: redis.Redis, seed: Seed) -> None:
    seed.publish(*fleet(devices=2, hours=0.1))
    assert "makes room" not in operator.get("/").text
    store.hset(schema.RETENTION, mapping={"shedding": "history", "reaches_ms": now_ms() - 7_200_000})
    assert "Old history makes room for new: it reaches back to" in operator.get("/").text


@pytest.mark.parametrize("width", [375, 1440])
def test_page_in_a_browser_updates_itself(page: Page, seed: Seed, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 812})
    seed.publish(*fleet(devices=3, hours=0.2))
    page.goto("/storage")
    row = page.get_by_role("row", name="Recent history")
    expect(row).to_contain_text("about 39 messages")
    expect(page.get_by_role("img", name="Use of memory by kind of data")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    seed.publish(*fleet(devices=3, hours=0.2))
    expect(row).to_contain_text("about 78 messages", timeout=30_000)


def test_what_a_broker_refused_is_said_on_the_overview(operator: FlaskClient, seed: Seed) -> None:
    seed.node({}, "tcp-1.a", subscriptions_refused=12, receive_buffers_refused=3, wills_refused=0)
    seed.node({}, "tcp-2.b")
    shown = operator.get("/overview").text
    assert "<td>subscriptions 12, receive buffers 3</td>" in shown
    assert "<td>nothing</td>" in shown
