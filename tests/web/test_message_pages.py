"""Pages of a device's messages without a script: links to newer and older ones, and filters in the address."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING

import pytest
from dashboard_process import log_in
from fleet_seed import message, now_ms

from store.model import OTHER_DEVICES, MessageId
from web import create_app
from web.presentation import rfc3339

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from fleet_seed import Seed

    from settings import Settings


def numbers(page: str) -> list[int]:
    """The messages of a page, from top to bottom."""
    return [int(number) for number in re.findall(r'"n": (\d+)', unescape(page.partition('id="message-rows"')[2]))]


def link(page: str, name: str) -> str | None:
    """The address of a link; None where it is not shown."""
    for tag, text in re.findall(r"<a ([^>]*)>([^<]*)</a>", page):
        if text == name and "hidden" not in tag:
            return unescape(re.search('href="([^"]*)"', tag)[1]).partition("#")[0]  # type: ignore[index]
    return None


def pages(client: FlaskClient, address: str | None, name: str) -> list[list[int]]:
    """The messages of a page and of all that a link leads to."""
    found = []
    while address is not None:
        page = client.get(address).text
        found.append(numbers(page))
        address = link(page, name)
    return found


@pytest.fixture
def filled(seed: Seed) -> Seed:
    seed.publish(*(message(f"devices/a/{n % 2}", {"n": n, "late" if n > 40 else "early": 1}) for n in range(60)))
    return seed


def test_pages_lead_to_the_oldest_and_back(operator: FlaskClient, filled: Seed):
    down = pages(operator, "/device?id=a", "Older")
    assert down == [[*range(59, 34, -1)], [*range(34, 9, -1)], [*range(9, -1, -1)]]
    page = operator.get("/device?id=a").text
    for _ in range(2):
        page = operator.get(link(page, "Older") or "").text
    assert pages(operator, link(page, "Newer"), "Newer") == [[*range(34, 9, -1)], [*range(59, 34, -1)]]
    newest = operator.get(link(page, "Newest") or "").text
    assert (numbers(newest)[0], link(newest, "Newer")) == (59, None)


def test_filters_go_with_the_pages(operator: FlaskClient, filled: Seed):
    assert pages(operator, "/device?id=a&topic=devices/%2B/1&field=early", "Older") == [[*range(39, 0, -2)]]
    older = pages(operator, "/device?id=a&topic=devices/%2B/0", "Older")
    assert [number for page in older for number in page] == [*range(58, -1, -2)]


def test_a_time_is_utc(operator: FlaskClient, seed: Seed):
    at_ms = now_ms() - 600_000
    seed.publish(*(message("devices/a/t", {"n": n}, at_ms=at_ms + n * 60_000) for n in range(6)))
    begin, end = (rfc3339(at_ms + n * 60_000)[:23] for n in (2, 4))
    page = operator.get(f"/device?id=a&from={begin}&to={end}").text
    assert numbers(page) == [3, 2]
    assert f'value="{begin}"' in page
    assert "data-newer" not in page
    assert "data-newer" in operator.get(f"/device?id=a&from={begin}").text
    assert operator.get("/device?id=a&from=yesterday").status_code == 400


def test_a_page_from_nowhere_has_ways_out(operator: FlaskClient, filled: Seed):
    beginning = operator.get("/device?id=a&before=1-0").text
    assert numbers(beginning) == []
    assert numbers(operator.get(link(beginning, "Newer") or "").text) == [*range(24, -1, -1)]
    future = operator.get(f"/device?id=a&after={MessageId(now_ms() + 10_000, 0)}").text
    assert numbers(future) == [*range(59, 34, -1)]


def test_a_page_says_that_the_long_history_is_away(settings: Settings, filled: Seed):
    app = create_app(settings.replace(mongo_url="mongodb://127.0.0.1:1/x"))
    client = app.test_client()
    log_in(client)
    assert "long history" not in client.get("/device?id=a").text
    assert (
        "The long history does not answer or is behind" in client.get("/device?id=a&topic=devices/a/1&field=early").text
    )
    assert client.get("/device?id=unknown").status_code == 503
    app.extensions["query"].close()


def test_devices_beyond_the_bound_share_a_page_that_says_so(operator: FlaskClient, seed: Seed):
    seed.settings = seed.settings.replace(max_devices=1)
    seed.publish(message("devices/first/t", {"n": 1}))
    seed.publish(message("devices/second/t", {"n": 2}), message("devices/third/t", {"n": 3}))
    assert operator.get("/device?id=second").status_code == 404
    page = operator.get("/device", query_string={"id": OTHER_DEVICES}).text
    assert numbers(page) == [3, 2]
    assert "MAX_DEVICES" in page
    assert "MAX_DEVICES" not in operator.get("/device?id=first").text
