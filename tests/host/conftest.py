"""A plugin host in the test's own event loop, with a broker behind it that writes down what plugins do to it."""

from __future__ import annotations

import importlib
import itertools
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from plugin_port import TIMEOUT_S, RecordingPort

from broker.host.plugin_host import PluginHost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import ModuleType

OPTIONAL_PACKAGES = ("aiohttp", "aiosqlite", "bcrypt", "cryptography", "pyjwt", "sqlalchemy")
REQUIREMENTS = (Path(__file__).parents[2] / "requirements-dev.txt").read_text().lower()
# amqtt.contrib's own packages: where they are required and missing, its tests fail; they are left out only unrequired.
collect_ignore = [] if all(name in REQUIREMENTS for name in OPTIONAL_PACKAGES) else ["test_contrib_plugins.py"]


@pytest.fixture
def port() -> RecordingPort:
    return RecordingPort()


@pytest.fixture
async def load(tmp_path: Path, port: RecordingPort) -> AsyncIterator[Callable[..., Any]]:
    """Load and start a host from YAML text; stopped when the test ends."""
    hosts: list[PluginHost] = []

    async def loaded(yaml: str, timeout_s: float = TIMEOUT_S) -> PluginHost:
        path = tmp_path / "broker.yaml"
        path.write_text(textwrap.dedent(yaml))
        hosts.append(PluginHost.load(path, port, timeout_s))
        await hosts[-1].start()
        return hosts[-1]

    yield loaded
    for host in hosts:
        await host.stop()


_numbers = itertools.count()


@pytest.fixture
def plugin_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Write a user's module of plugins where Python finds it, and return it; its name is new each time."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def module(source: str) -> ModuleType:
        name = f"users_plugins_{next(_numbers)}"
        made.append(name)
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield module
    for name in made:
        sys.modules.pop(name, None)
