"""Pages in real Chromium: they update by themselves, fit small screens, and the console stays silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fleet_seed import fleet, message, now_ms
from playwright.sync_api import expect

from web.presentation import rfc3339

if TYPE_CHECKING:
    from fleet_seed import Seed
    from playwright.sync_api import Page

DEVICE = "/device?id=greenhouse-01"
PATHS = ["/", "/devices", DEVICE, "/live", "/storage", "/api"]


def stay(page: Page) -> None:
    """Leave a mark that a reload would wipe out."""
    page.evaluate("window.hasStayed = true")


def assert_stayed(page: Page) -> None:
    assert page.evaluate("window.hasStayed") is True


def test_overview_waits_for_the_first_message_and_flips_by_itself(page: Page, seed: Seed):
    command = page.locator(".command code")
    expect(command).to_contain_text(
        "mosquitto_pub -h broker.example.com -p 20003 -u 'device user' -P \"$MQTT_PASSWORD\""
    )
    expect(page.get_by_text("Waiting for the first message…")).to_be_visible()
    stay(page)
    seed.publish(message("devices/my-first-device/telemetry", {"temperature": 21.5}))
    expect(page.get_by_role("link", name="my-first-device")).to_be_visible()
    expect(page.locator("#devices-total")).to_have_text("1")
    expect(page.locator("#rate-chart canvas")).to_be_visible()
    assert_stayed(page)


def test_overview_counts_on(page: Page, seed: Seed):
    seed.publish(*fleet(devices=3, hours=0.1))
    expect(page.locator("#devices-total")).to_have_text("3")
    stay(page)
    seed.publish(message("devices/another/t", {"t": 1}))
    expect(page.locator("#devices-total")).to_have_text("4")
    assert_stayed(page)


def test_device_list_searches_filters_and_updates(page: Page, seed: Seed):
    seed.publish(*fleet(devices=5, hours=0.1))
    seed.node({"cellar-04": now_ms()})
    page.goto("/devices")
    expect(page.locator("tbody tr")).to_have_count(5)
    stay(page)
    page.get_by_label("Name begins with").fill("green")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.wait_for_url("**search=green**")
    seed.publish(message("devices/greenhouse-77/t", {"t": 1}))
    expect(page.get_by_role("link", name="greenhouse-77")).to_be_visible()
    page.get_by_label("Name begins with").fill("")
    page.get_by_label("Presence").select_option("Online")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("cellar-04")
    assert_stayed(page)


def test_device_page_follows_its_messages(page: Page, seed: Seed):
    seed.publish(*fleet(devices=1, hours=0.5))
    page.goto(DEVICE)
    expect(page.locator("#plot canvas")).to_be_visible()
    page.locator("#message-rows summary").first.click()
    expect(page.locator("pre.content")).to_contain_text('"temperature"')
    stay(page)
    seed.publish(message("devices/greenhouse-01/telemetry", {"temperature": 99.5}))
    expect(page.locator("#value-temperature")).to_contain_text("99.5")
    expect(page.locator("#message-rows tr").first).to_contain_text("99.5")
    expect(page.locator("pre.content")).to_be_visible()
    assert_stayed(page)


def test_device_chart_has_a_table_behind_it(page: Page, seed: Seed):
    seed.publish(*fleet(devices=1, hours=0.5))
    page.goto(DEVICE)
    page.get_by_text("Figures of this chart").click()
    expect(page.locator("#chart-table tbody tr").nth(10)).to_be_visible()
    page.locator("#field").select_option("humidity")
    expect(page.locator("#chart-table tbody tr").first.locator("td").nth(2)).not_to_have_text("")
    page.get_by_text("Day", exact=True).click()
    expect(page.locator("#chart-table tbody tr").nth(5)).to_be_visible()


def test_device_chart_shows_an_hour_or_a_year(page: Page, seed: Seed):
    day_ms = 86_400_000
    seed.publish(*(message("devices/a/t", {"n": age}, at_ms=now_ms() - age * day_ms) for age in (300, 20, 3, 0)))
    page.goto("/device?id=a")
    rows = page.locator("#chart-table tbody tr")
    page.get_by_text("Figures of this chart").click()
    for name, count in (("Hour", 1), ("Week", 2), ("Month", 3), ("Year", 4)):
        page.get_by_text(name, exact=True).click()
        expect(rows).to_have_count(count)
    page.get_by_text("Custom", exact=True).click()
    expect(page.locator("#chart-from")).not_to_have_value("")  # the year that was shown
    page.locator("#chart-to").fill(rfc3339(now_ms() - 10 * day_ms)[:16])
    expect(rows).to_have_count(2)


def test_payload_views_and_download(page: Page, seed: Seed):
    seed.publish(message("devices/a/blob", bytes(range(256)) * 40))
    page.goto("/device?id=a")
    page.locator("#message-rows summary").click()
    expect(page.locator("pre.content")).to_contain_text("00000010  10 11 12")
    expect(page.get_by_text("of 10\u202f240 bytes")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.path().read_bytes() == bytes(range(256)) * 40


def test_messages_page_to_older_ones_and_by_topic(page: Page, seed: Seed):
    seed.publish(*(message(f"devices/a/{number % 2}", {"n": number}) for number in range(60)))
    page.goto("/device?id=a")
    page.get_by_role("link", name="Older").click()
    expect(page.locator("#message-rows tr").first).to_contain_text('"n": 34')
    page.get_by_role("link", name="Newest").click()
    page.get_by_label("Topic or filter").fill("devices/+/1")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#message-rows tr").nth(1)).to_contain_text('"n": 57')
    page.get_by_role("link", name="Show all").click()
    expect(page.locator("#message-rows tr").nth(1)).to_contain_text('"n": 58')


def test_a_burst_leaves_no_hole_in_the_messages(page: Page, seed: Seed):
    seed.publish(message("devices/a/t", {"n": 0}))
    page.goto("/device?id=a")
    expect(page.locator("#message-rows tr")).to_have_count(1)
    seed.publish(*(message("devices/a/t", {"n": number}) for number in range(1, 61)))
    expect(page.locator("#message-rows tr").first).to_contain_text('"n": 60')
    expect(page.locator("#message-rows tr").last).to_contain_text('"n": 36')
    page.get_by_role("link", name="Older").click()
    expect(page.locator("#message-rows tr").first).to_contain_text('"n": 35')


def test_live_page_shows_what_arrives_pauses_and_resumes(page: Page, seed: Seed):
    page.goto("/live")
    expect(page.locator("#state")).to_have_text("Live")
    seed.commit([message("devices/a/t", {"n": 1})])
    expect(page.locator("#stream li")).to_have_count(1)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#state")).to_have_text("Paused")
    seed.commit([message("devices/a/t", {"n": 2})])
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#stream li").first).to_contain_text('"n": 2')
    expect(page.locator("#stream li")).to_have_count(2)


@pytest.mark.parametrize("width", [375, 1440])
def test_no_page_is_wider_than_the_screen(page: Page, seed: Seed, width: int):
    page.set_viewport_size({"width": width, "height": 812})
    expect(page.locator("#first-message")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    seed.publish(*fleet(devices=6, hours=0.3), message(f"devices/{'long' * 40}/t", {"text": "w" * 500}))
    seed.node({"greenhouse-01": now_ms()})
    for path in (*PATHS, f"/device?id={'long' * 40}"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_theme_follows_the_system_until_it_is_chosen(page: Page, seed: Seed):
    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    page.emulate_media(color_scheme="light")
    light = background()
    page.emulate_media(color_scheme="dark")
    dark = background()
    assert light != dark
    page.get_by_role("button", name="Switch between light and dark").click()
    assert background() == light
    page.reload()
    assert background() == light


def test_everything_is_reached_by_keyboard(page: Page, seed: Seed):
    page.goto("/devices")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Name begins with")).to_be_focused()


def test_log_out(page: Page):
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Password")).to_be_visible()
    page.goto("/devices")
    expect(page.get_by_label("Password")).to_be_visible()
