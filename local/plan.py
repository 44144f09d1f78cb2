"""What one `make run` starts, decided before anything starts: ports, folders, and each process's environment."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local.credentials import load_or_create
from local.procfile import read_procfile

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST = "127.0.0.1"


class LaunchError(Exception):
    """The application cannot run; the message is one line that says what to do."""


@dataclass(frozen=True)
class Plan:
    """`processes`: type -> command line. `provided`: credentials that came from the user's own environment.

    `redis_url` is empty when the launcher is to start a store of its own. `gateway_control` is the control socket of the
    TCP Gateway in front of the brokers, None without one.
    """

    root: Path
    data: Path
    processes: Mapping[str, str]
    ports: Mapping[str, int]
    credentials: Mapping[str, str]
    provided: frozenset[str]
    redis_url: str
    is_demo: bool
    environ: Mapping[str, str]
    gateway_control: Path | None = None

    @property
    def broker_url(self) -> str:
        """Where devices connect."""
        return f"tcp://{HOST}:{self.ports['tcp']}"

    @property
    def dashboard_url(self) -> str:
        """Where people look."""
        return f"http://{HOST}:{self.ports['web']}"

    def environment_of(self, process: str, redis_url: str) -> dict[str, str]:
        """Return the environment for one process type, as the platform would set it."""
        environment = {
            **self.environ,
            **self.credentials,
            "HOST": HOST,
            "REDIS_URL": redis_url,
            "PYTHONUNBUFFERED": "1",
        }
        environment.setdefault("TCP_URL", self.broker_url)
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), self.environ.get("PATH", os.defpath)])
        environment.pop("PORT", None)
        if process in self.ports:
            environment["PORT"] = str(self.ports[process])
        return environment


def make_plan(root: Path, environ: Mapping[str, str]) -> Plan:
    """Read the Procfile and the environment. Raises LaunchError."""
    data = root / environ.get("DATA_DIR", ".data")
    ports = {"tcp": _port(environ, "MQTT_PORT", 1883), "web": _port(environ, "WEB_PORT", 8000)}
    if ports["tcp"] == ports["web"]:
        raise LaunchError(f"MQTT_PORT and WEB_PORT are both {ports['tcp']}: choose two ports")
    try:
        processes = read_procfile(root / "Procfile")
        credentials = load_or_create(data / "credentials")
    except (OSError, ValueError) as error:
        raise LaunchError(str(error)) from None
    provided = frozenset(name for name in credentials if environ.get(name))
    return Plan(
        root=root,
        data=data,
        processes=processes,
        ports=ports,
        credentials={name: environ.get(name) or value for name, value in credentials.items()},
        provided=provided,
        redis_url=environ.get("SCALINGO_REDIS_URL") or environ.get("REDIS_URL") or "",
        is_demo=environ.get("DEMO", "1") not in ("0", "false", "no"),
        environ=environ,
    )


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise LaunchError(f"{name}: {text!r} cannot be used: use a whole number from 1 to 65535")
    return int(text)
