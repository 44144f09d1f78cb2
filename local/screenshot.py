"""Takes the README's picture: `python -m local.screenshot`, or `make picture`.

Runs the application with its demo fleet on ports and in a data folder of its own, logs in with Chromium, and writes
docs/images/dashboard.png once the fleet has published for FLEET_S seconds.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from local.credentials import load_or_create
from local.readiness import is_healthy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from playwright.sync_api import Page

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "dashboard.png"
WIDTH, HEIGHT = 1280, 800
FLEET_S = 60
START_TIMEOUT_S = 60
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC_BROWSER = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
BROWSER_OPTIONS = ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update",
                   "--disable-sync", "--no-first-run"]  # fmt: skip


def main() -> int:
    """Take the picture; return 0, or 1 where there is no browser."""
    browser = find_browser()
    if browser is None:
        return 1
    with tempfile.TemporaryDirectory() as data, application(Path(data)) as url:
        time.sleep(FLEET_S)  # charts need something to show
        _take(browser, url, load_or_create(Path(data) / "credentials"))
    print(f"wrote {PICTURE.relative_to(ROOT)}")
    return 0


def find_browser() -> str | None:
    """Return the path of Chromium; None where there is none, which is said on stderr."""
    browser = next(filter(None, map(shutil.which, (*BROWSERS, MAC_BROWSER))), None)
    if browser is None:
        print("No Chromium found: install it, on Debian with apt-get install chromium", file=sys.stderr)
    return browser


@contextmanager
def application(data: Path, *, is_demo: bool = True) -> Iterator[str]:
    """Run the application with its data in a folder, until the block ends; yields the dashboard's address."""
    web_port, mqtt_port = _free_port(), _free_port()
    environ = dict(os.environ)  # noqa: TID251  an entry point hands the environment on
    environ.update(DATA_DIR=str(data), WEB_PORT=str(web_port), MQTT_PORT=str(mqtt_port), DEMO=str(int(is_demo)))
    process = subprocess.Popen([sys.executable, "-m", "local"], cwd=ROOT, env=environ)
    try:
        _await_answer(process, web_port)
        yield f"http://127.0.0.1:{web_port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _await_answer(process: subprocess.Popen[bytes], web_port: int) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not is_healthy("127.0.0.1", web_port):
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise RuntimeError("the application did not start: see above")
        time.sleep(0.1)


def _take(browser: str, url: str, credentials: Mapping[str, str]) -> None:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=BROWSER_OPTIONS)
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=1.5)
        log_in(page, url, credentials)
        page.wait_for_load_state("networkidle")
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURE)
        chromium.close()


def log_in(page: Page, url: str, credentials: Mapping[str, str]) -> None:
    """Log in as the operator."""
    page.goto(f"{url}/login")
    page.fill("input[name=username]", credentials["DASHBOARD_USERNAME"])
    page.fill("input[name=password]", credentials["DASHBOARD_PASSWORD"])
    page.click("button.primary")
    page.wait_for_url(f"{url}/")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
