"""What serves MongoDB (14 MB in each process) is loaded where MONGO_URL is set, not before."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOADED = "import sys, {}; print([name for name in sys.modules if name.startswith(('pymongo', 'bson'))])"


@pytest.mark.parametrize("module", ["broker.application", "broker.projector.__main__", "web.wsgi"])
def test_a_process_loads_without_its_client(module: str) -> None:
    environ = {
        "REDIS_URL": "redis://127.0.0.1:1",
        "DASHBOARD_USERNAME": "operator",
        "DASHBOARD_PASSWORD": "right-password",
        "SECRET_KEY": "a key for tests only",
    }
    command = [sys.executable, "-c", LOADED.format(module)]
    loaded = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert loaded.stdout == "[]\n", loaded.stderr
