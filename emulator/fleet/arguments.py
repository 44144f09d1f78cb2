"""The fleet's command line: arguments in, one frozen `Options` out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from emulator.argument_types import password_from, positive, url_parts
from emulator.fleet import scenario_file
from emulator.fleet.client import Endpoint
from emulator.fleet.dashboard import Dashboard
from emulator.fleet.scenario import Group, Scenario

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

DESCRIPTION = """Emulate devices that publish JSON telemetry to devices/ID/telemetry and their presence, retained, to
devices/ID/status, and echo commands. A device that is not connected, or has WINDOW messages unacknowledged, takes no
reading (counted as skipped). Ends with a summary; the exit status is 1 when a message was not acknowledged, or with
--verify is not stored as it was sent. What happens to the fleet can be told in a scenario file: docs/emulator.md."""

DEFAULT_PORT = 1883


SMALL = {"devices": 10, "rate": 10.0, "qos": 1, "protocol": "5", "prefix": "sensor", "keep_alive": 60, "window": 20}
"""What the arguments that describe a fleet without a scenario are when left out."""


@dataclass(frozen=True)
class Options:
    """What one run of the fleet does, and to whom. `dashboard`: whose API is asked what is stored; None: nobody."""

    endpoint: Endpoint
    scenario: Scenario
    drain_timeout_s: float
    verify_timeout_s: float
    is_quiet: bool
    ledger_path: str | None
    dashboard: Dashboard | None
    retention: int


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the fleet's arguments to `parser`."""
    add = parser.add_argument
    add("--url", required=True, metavar="tcp://[USER:PASSWORD@]HOST[:PORT]", help="where the broker is")
    add("--username", help="user name of every device; wins over the URL's")
    add("--password", help="password of every device; wins over the URL's")
    add("--password-env", metavar="NAME", help="environment variable that holds the password (keeps it out of ps)")
    add("--scenario", metavar="FILE", help="what the fleet is and what happens to it (TOML), instead of the next ones")
    add("--devices", type=_count, metavar="N", help="devices in the fleet (default 10)")
    add("--rate", type=positive, metavar="R", help="messages/s of the whole fleet (default 10)")
    add("--qos", type=int, choices=(0, 1, 2), help="quality of service of all messages (default 1)")
    add("--protocol", choices=("3.1.1", "5"), help="MQTT version (default 5)")
    add("--persistent", action="store_true", default=None, help="sessions outlive their connections")
    add("--prefix", help="device ids are PREFIX-0001 and so on (default sensor)")
    add("--keep-alive", type=_count, metavar="S", help="keep alive in seconds (default 60)")
    add("--window", type=_count, metavar="N", help="unacknowledged messages of one device (default 20)")
    add("--duration", type=positive, metavar="S", help="seconds to publish (default: the scenario's, or until stopped)")
    add("--seed", type=int, metavar="K", help="the same seed gives the same run (default: the scenario's, or 1)")
    add("--connect-timeout", type=positive, default=10.0, metavar="S", help="time for one connect (default 10)")
    add("--drain-timeout", type=positive, metavar="S", help="time for the last acknowledgements (10; scenarios 60)")
    add("--ledger", metavar="FILE", help="write what is sent and acknowledged, a line of JSON each")
    add(
        "--verify", metavar="http://[USER:PASSWORD@]HOST[:PORT]", help="the dashboard to ask what is stored, at the end"
    )
    add("--verify-password-env", metavar="NAME", help="environment variable that holds the dashboard's password")
    add("--retention", type=_count, default=2000, metavar="N", help="messages a device's history holds (default 2000)")
    add("--verify-timeout", type=positive, default=30.0, metavar="S", help="time for the last to be shown (default 30)")
    add("--quiet", action="store_true", help="no progress lines; the summary only")


def read(given: argparse.Namespace, environ: Mapping[str, str]) -> Options:
    """Return the options of a parsed command line. Raises ValueError with lines that name the bad arguments."""
    scenario = _scenario(given)
    host, port, username, password = url_parts("--url", given.url, ("tcp", "mqtt"), "tcp", DEFAULT_PORT)
    from_environ = password_from("--password-env", given.password_env, environ)
    endpoint = Endpoint(
        host=host,
        port=port,
        username=given.username or username,
        password=given.password or from_environ or password,
        protocol=scenario.protocol,
        keep_alive_s=scenario.keep_alive_s,
        connect_timeout_s=given.connect_timeout,
    )
    return Options(
        endpoint=endpoint,
        scenario=scenario,
        drain_timeout_s=given.drain_timeout or (60.0 if given.scenario else 10.0),
        verify_timeout_s=given.verify_timeout,
        is_quiet=given.quiet,
        ledger_path=given.ledger,
        dashboard=_dashboard(given, environ),
        retention=given.retention,
    )


def _scenario(given: argparse.Namespace) -> Scenario:
    told = {name: getattr(given, name) for name in (*SMALL, "persistent") if getattr(given, name) is not None}
    if given.scenario and told:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in told)
        raise ValueError(f"{names}: the scenario file says that; leave it out")
    found = scenario_file.load(given.scenario) if given.scenario else _small_fleet({**SMALL, **told})
    return replace(
        found,
        seed=found.seed if given.seed is None else given.seed,
        duration_s=found.duration_s if given.duration is None else given.duration,
    )


def _small_fleet(told: dict[str, Any]) -> Scenario:
    if any(character in told["prefix"] for character in "/+#\0") or not told["prefix"]:
        raise ValueError("--prefix: needs at least one character, and none of / + #")
    group = Group(
        count=told["devices"],
        rate=told["rate"],
        prefix=told["prefix"],
        qos=told["qos"],
        is_persistent=told.get("persistent", False),
        buffer=0,
        window=told["window"],
    )
    return Scenario(groups=(group,), protocol=told["protocol"], keep_alive_s=told["keep_alive"])


def _dashboard(given: argparse.Namespace, environ: Mapping[str, str]) -> Dashboard | None:
    from_environ = password_from("--verify-password-env", given.verify_password_env, environ)
    if given.verify is None:
        return None
    is_tls = given.verify.startswith("https:")
    host, port, username, password = url_parts(
        "--verify", given.verify, ("http", "https"), "http", 443 if is_tls else 80
    )
    return Dashboard(host, port, username or "admin", from_environ or password, is_tls=is_tls)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


_count.__name__ = "whole number above 0"  # argparse puts it in its messages
