"""The dashboard under gunicorn, as the Procfile starts it, and how to log in to it."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask.testing import FlaskClient

ROOT = Path(__file__).parents[2]
USERNAME, PASSWORD, TOKEN = "operator", "correct horse", "token-of-these-tests"
BASIC = {"Authorization": "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()}
DEADLINE_S = 30


def environment(redis_url: str, **extra: str) -> dict[str, str]:
    return {
        "REDIS_URL": redis_url,
        "DASHBOARD_USERNAME": USERNAME,
        "DASHBOARD_PASSWORD": PASSWORD,
        "SECRET_KEY": "a key for tests only",
        "API_TOKEN": TOKEN,
        "MQTT_USERNAME": "device user",
        "TCP_URL": "tcp://broker.example.com:20003",
        **extra,
    }


def await_true(condition: Callable[[], Any], what: str) -> Any:
    """Return the first true answer of `condition`; fail at the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"not within {DEADLINE_S} s: {what}")


def csrf_token(page: str) -> str:
    found = re.search(r'name="csrf_token" [^>]*value="([^"]+)"', page)
    assert found, "the page has a form with a token"
    return found[1]


def log_in(
    client: FlaskClient,
    password: str = PASSWORD,
    next_path: str = "/",
    *,
    username: str = USERNAME,
    headers: dict[str, str] | None = None,
) -> Any:
    address = f"/login?next={next_path}"
    token = csrf_token(client.get(address).text)
    return client.post(address, data={"username": username, "password": password, "csrf_token": token}, headers=headers)


def gunicorn(environ: dict[str, str], application: str = "web.wsgi:app") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gunicorn", "--config", "web/gunicorn.conf.py", application]
    path = {"PATH": os.defpath, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/web'}"}
    return subprocess.Popen(command, cwd=ROOT, env={**path, **environ}, stderr=subprocess.PIPE, text=True)


@contextmanager
def served(
    redis_url: str, application: str = "web.wsgi:app", **extra: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Serve the dashboard on a free port until the block ends; yields its address and its process."""
    port = free_port()
    usual = {"HOST": "127.0.0.1", "PORT": str(port), "LOG_LEVEL": "WARNING", "WEB_THREADS": "16"}
    environ = environment(redis_url, **{**usual, **extra})
    process = gunicorn(environ, application)
    address = f"http://127.0.0.1:{port}"
    try:
        await_true(lambda: process.poll() is not None or _answers(f"{address}/healthz"), "gunicorn serves")
        yield address, process
    finally:
        process.terminate()
        _, log = process.communicate(timeout=DEADLINE_S)
        print(log)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:  # not there yet, or too slow to answer
        return False
