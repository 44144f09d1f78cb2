"""Takes a picture of every page, on a phone and on a desk, light and dark: `python -m local.screenshots`, or `make screenshots`.

Runs the application twice, without data and with its demo fleet, on ports and in a data folder of its own, and writes one
contact sheet, .data/screenshots.png, with the pages below one another.
"""

from __future__ import annotations

import base64
import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from playwright.sync_api import sync_playwright

from local.credentials import load_or_create
from local.screenshot import BROWSER_OPTIONS, ROOT, application, find_browser, log_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from playwright.sync_api import Browser, Page

SHEET = ROOT / ".data" / "screenshots.png"
WIDTHS = (375, 1440)
SCHEMES = ("light", "dark")
FLEET_S = 20
SHEET_WIDTH = 2400
THUMBNAIL_WIDTHS = {375: 155, 1440: 465}


class Screen(NamedTuple):
    """One page of the dashboard; `ready` selects what is there when its scripts have done their work."""

    name: str
    path: str
    ready: str = "main"


OPEN: tuple[Screen, ...] = (Screen("log-in", "/login"),)
"""Pages without log-in."""
EMPTY: tuple[Screen, ...] = (
    Screen("overview without data", "/", "#first-message"),
    Screen("devices without data", "/devices"),
    Screen("live without data", "/live"),
    Screen("storage without data", "/storage"),
    Screen("API", "/api"),
    Screen("no such page", "/nothing"),
    Screen("no such device", "/device?id=nothing"),
    Screen("bad cursor", "/devices?cursor=nothing"),
)


def with_data(device: str) -> tuple[Screen, ...]:
    """Return the pages that show data, of a device that has sent numbers."""
    return (
        Screen("overview", "/", "#rate-chart canvas"),
        Screen("devices", "/devices", "#devices tbody tr"),
        Screen("no device found", "/devices?search=nothing"),
        Screen("device", f"/device?id={device}", "#plot canvas"),
        Screen("device, no message fits", f"/device?id={device}&topic=nothing/%23", "#plot canvas"),
        Screen("device, older messages", f"/device?id={device}&before=9999-0", "#plot canvas"),
        Screen("device, bad time", f"/device?id={device}&from=nothing"),
        Screen("live", "/live"),
        Screen("live, filtered", f"/live?device={device}&topic=devices/%2B/telemetry"),
        Screen("storage", "/storage", ".kinds"),
    )


def main() -> int:
    """Take the pictures; return 0, or 1 where there is no browser."""
    browser = find_browser()
    if browser is None:
        return 1
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=BROWSER_OPTIONS)
        pictures = [*_pictures(chromium, is_demo=False), *_pictures(chromium, is_demo=True)]
        SHEET.parent.mkdir(exist_ok=True)
        _compose(chromium.new_page(viewport={"width": SHEET_WIDTH, "height": 900}), pictures)
        chromium.close()
    print(f"wrote {SHEET.relative_to(ROOT)}")
    return 0


def _pictures(chromium: Browser, *, is_demo: bool) -> Iterator[tuple[str, int, bytes]]:
    with tempfile.TemporaryDirectory() as folder, application(Path(folder), is_demo=is_demo) as url:
        credentials = load_or_create(Path(folder) / "credentials")
        if is_demo:
            time.sleep(FLEET_S)  # charts need something to show
        for width, scheme in itertools.product(WIDTHS, SCHEMES):
            yield from _of_size(chromium, url, credentials, width, scheme, is_demo=is_demo)


def _of_size(
    chromium: Browser, url: str, credentials: Mapping[str, str], width: int, scheme: str, *, is_demo: bool
) -> Iterator[tuple[str, int, bytes]]:
    page = chromium.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme, base_url=url)  # type: ignore[arg-type]
    if not is_demo:
        yield from _take(page, OPEN, width, scheme)
    log_in(page, url, credentials)
    screens = EMPTY
    if is_demo:
        page.goto("/devices")
        screens = with_data(page.locator("a.device").first.inner_text())
    yield from _take(page, screens, width, scheme)
    page.close()


def _take(page: Page, screens: tuple[Screen, ...], width: int, scheme: str) -> Iterator[tuple[str, int, bytes]]:
    for screen in screens:
        page.goto(screen.path)
        page.locator(screen.ready).first.wait_for()
        yield f"{screen.name}, {width} px, {scheme}", width, page.screenshot(full_page=True)


def _compose(page: Page, pictures: list[tuple[str, int, bytes]]) -> None:
    figures = "".join(
        f'<figure style="width:{THUMBNAIL_WIDTHS[width]}px"><figcaption>{name}</figcaption>'
        f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}"></figure>'
        for name, width, png in sorted(pictures, key=lambda each: each[1])
    )
    style = (
        "body{display:flex;flex-wrap:wrap;gap:12px;align-items:start;background:#888;font:11px sans-serif}"
        "figure{margin:0}img{width:100%;max-height:420px;object-fit:cover;object-position:top}"
    )
    page.set_content(f"<style>{style}</style>{figures}")
    page.screenshot(path=SHEET, full_page=True)


if __name__ == "__main__":
    sys.exit(main())
