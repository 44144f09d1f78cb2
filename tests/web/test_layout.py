"""Every page in Chromium, on a phone and on a desk, light and dark, empty and full: nothing overlaps or leaves its place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dashboard_process import DEADLINE_S, PASSWORD, USERNAME
from fleet_seed import fleet, message, now_ms
from playwright.sync_api import expect

from local.screenshots import EMPTY, OPEN, SCHEMES, WIDTHS, with_data
from store import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleet_seed import Seed
    from playwright.sync_api import Browser, Page

    from local.screenshots import Screen
    from local.valkey import EmbeddedValkey

LAYOUT = (Path(__file__).parent / "layout.js").read_text()
LONG = "long" * 40
WAITING = re.compile("^…$")


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=SCHEMES)
def visitor(request: pytest.FixtureRequest, browser: Browser, address: str, width: int) -> Iterator[Page]:
    """A page that nobody has logged in to."""
    context = browser.new_context(
        base_url=address, viewport={"width": width, "height": 812}, color_scheme=request.param, reduced_motion="reduce"
    )
    context.set_default_timeout(DEADLINE_S * 1000)
    yield context.new_page()
    context.close()


def log_in(page: Page, password: str = PASSWORD) -> None:
    page.goto("/login")
    page.get_by_label("User name").fill(USERNAME)
    page.get_by_label("Password").fill(password)
    with page.expect_navigation():
        page.get_by_role("button", name="Log in").click()


def complaints(page: Page, screens: tuple[Screen, ...]) -> list[str]:
    """Return what is wrong with pages as they open, and with all that can be unfolded unfolded."""
    found = []
    for screen in screens:
        page.goto(screen.path)
        page.locator(screen.ready).first.wait_for()
        found += [f"{screen.name}: {each}" for each in page.evaluate(LAYOUT)]
        if page.locator("details").count():
            page.locator("details").evaluate_all("all => all.forEach((each) => { each.open = true; })")
            expect(page.locator(".payload-place", has_text=WAITING)).to_have_count(0)
            found += [f"{screen.name}, unfolded: {each}" for each in page.evaluate(LAYOUT)]
    return found


def test_log_in_pages(visitor: Page):
    assert complaints(visitor, OPEN) == []
    for attempt in range(11):
        log_in(visitor, "wrong")
        if attempt in {0, 10}:  # the refusal, and the one of too many
            assert visitor.evaluate(LAYOUT) == []
    assert "Try again in" in visitor.inner_text("main")


def test_empty_pages(visitor: Page):
    log_in(visitor)
    assert complaints(visitor, EMPTY) == []


def test_full_pages(visitor: Page, seed: Seed):
    seed.publish(*fleet(devices=12, hours=1))
    seed.publish(
        message(
            f"devices/{LONG}/a/topic/with/many/levels",
            {"text": "w" * 500, "a.long.name.of.a.field" * 3: -1.23456789e-100},
        ),
        message("devices/greenhouse-01/blob", bytes(range(256)), flags=0b101),
    )
    seed.node({"greenhouse-01": now_ms()})
    seed._redis.hset(
        schema.RETENTION, mapping={"shedding": "history", "reaches_ms": now_ms() - 7_200_000, "messages": 10**9}
    )
    log_in(visitor)
    assert complaints(visitor, with_data("greenhouse-01")) == []
    assert complaints(visitor, with_data(LONG)) == []


def test_chart_with_a_range_of_its_own(visitor: Page, seed: Seed):
    seed.publish(*fleet(devices=1, hours=1))
    log_in(visitor)
    visitor.goto("/device?id=greenhouse-01")
    visitor.locator("#plot canvas").wait_for()
    visitor.get_by_text("Custom", exact=True).click()
    visitor.locator("#chart-from").wait_for()
    assert visitor.evaluate(LAYOUT) == []


def test_pages_with_messages_that_arrive(visitor: Page, seed: Seed):
    log_in(visitor)
    visitor.goto("/live")
    visitor.get_by_text("Live", exact=True).nth(1).wait_for()
    seed.commit([message("devices/a/t", {"n": 1}), message(f"devices/{LONG}/{LONG}", {"text": "w" * 1000})])
    visitor.locator("#stream li").nth(1).wait_for()
    assert visitor.evaluate(LAYOUT) == []


def test_pages_while_the_store_is_away(visitor: Page, valkey_server: EmbeddedValkey):
    log_in(visitor)
    valkey_server.kill()
    try:
        for path in ("/", "/devices", "/storage", "/device?id=a"):
            visitor.goto(path)
            assert "The store does not answer" in visitor.inner_text("main")
            assert visitor.evaluate(LAYOUT) == []
    finally:
        valkey_server.start()


# --- the check itself


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ('<p style="width:3000px">a', "scrolls sideways"),
        ('<p>first</p><p style="margin-top:-30px">second', '"first" and "second" overlap'),
        ('<p>first</p><button style="margin-top:-30px">b</button>', '"first" and button b overlap'),
        ('<div class="card" style="height:20px">a<br>b<br>c</div>', '"c" leaves its card'),
        (
            '<div class="card" style="width:50px"><button style="width:90px">b</button></div>',
            "button b leaves its card",
        ),
        ('<p style="margin-left:-30px">text', '"text" leaves the screen'),
    ],
)
def test_check_sees_what_is_wrong(browser: Browser, body: str, complaint: str):
    page = browser.new_page(viewport={"width": 375, "height": 812})
    page.set_content(body)
    assert any(complaint in each for each in page.evaluate(LAYOUT)), page.evaluate(LAYOUT)
    page.close()


@pytest.mark.parametrize(
    "body",
    [
        "<p>first</p><p>second",
        '<div class="card" style="height:20px;overflow:auto">a<br>b<br>c</div>',
        '<details><summary>s</summary><p style="margin-top:-30px">a</p></details>',
        '<p>first</p><p hidden style="margin-top:-30px">second',
        "<button>a <b>bold</b></button>",
    ],
)
def test_check_is_silent_where_nothing_is_wrong(browser: Browser, body: str):
    page = browser.new_page(viewport={"width": 375, "height": 812})
    page.set_content(body)
    assert page.evaluate(LAYOUT) == []
    page.close()
