"""The command line: arguments in, one frozen `Options` out."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.argument_types import password_from, positive, url_parts
from emulator.hostile.scenarios import BY_NAME
from emulator.hostile.target import Target

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from emulator.hostile.scenario import Scenario

DESCRIPTION = """Attack a running broker, a scenario after the other, while a bystander publishes. A scenario is ok when
the bystander had its PUBACKs in time, memory stayed in bounds, and the broker did all it is for 10 s later. It leaves
device records behind: give the broker a store of its own for this. Exit status 0: all are ok. docs/emulator.md."""

DEFAULT_PORT = 1883


@dataclass(frozen=True)
class Options:
    """One run. `pids` may be empty, so may `redis_url`; `restart`: a command, "" for none; times in seconds."""

    target: Target
    scenarios: tuple[Scenario, ...]
    is_list: bool
    seconds: float
    wait_s: float
    scale: float
    seed: int
    memory_limit: int
    pids: tuple[int, ...]
    redis_url: str
    restart: str
    json: Path | None


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to `parser`."""
    add = parser.add_argument
    add("--url", metavar="tcp://[USER:PASSWORD@]HOST[:PORT]", help="where the broker is")
    add("--username", help="user name of every client; wins over the URL's")
    add("--password", help="password of every client; wins over the URL's")
    add("--password-env", metavar="NAME", help="environment variable that holds the password (keeps it out of ps)")
    add("--dashboard", metavar="http://HOST:PORT", help="the dashboard, for the scenarios web-…")
    add("--list", action="store_true", help="print the scenarios, and do nothing else")
    add("--only", metavar="NAME,NAME", help="these scenarios (default: all; web-… with --dashboard)")
    add("--seconds", type=positive, default=60.0, metavar="S", help="longest time of one attack (default 60)")
    add("--wait", type=positive, default=10.0, metavar="S", help="from an attack to the service check (default 10)")
    add("--scale", type=positive, default=1.0, metavar="F", help="factor on counts: connections, packets (default 1)")
    add("--seed", type=int, default=1, metavar="K", help="the same seed sends the same bytes (default 1)")
    add("--pid", metavar="PID,PID", help="processes whose memory counts, with all their children (Linux)")
    add("--memory-mb", type=positive, default=256.0, metavar="N", help="what they may hold, in MiB (default 256)")
    add("--redis-url", default="", metavar="URL", help="the broker's Redis, for its memory")
    add("--restart", default="", metavar="COMMAND", help="restart the broker with it afterwards, and check again")
    add("--remote", action="store_true", help="allow a broker that is not on this machine: one of yours, for tests")
    add("--json", type=Path, metavar="FILE", help="write the outcomes for machines")


def read(given: argparse.Namespace, environ: Mapping[str, str]) -> Options:
    """Return the options of a parsed command line. Raises ValueError with one line that names the bad argument."""
    if not given.list and not given.url:
        raise ValueError("--url is needed: where the broker is")
    return Options(
        target=_target(given, environ),
        scenarios=_scenarios(given.only, has_dashboard=bool(given.dashboard)),
        is_list=given.list,
        seconds=given.seconds,
        wait_s=given.wait,
        scale=given.scale,
        seed=given.seed,
        memory_limit=int(given.memory_mb * 2**20),
        pids=_pids(given.pid) if given.pid else (),
        redis_url=given.redis_url,
        restart=given.restart,
        json=given.json,
    )


def _target(given: argparse.Namespace, environ: Mapping[str, str]) -> Target:
    url = given.url or "tcp://127.0.0.1"
    host, port, username, password = url_parts("--url", url, ("tcp", "mqtt"), "tcp", DEFAULT_PORT)
    dashboard = url_parts("--dashboard", given.dashboard, ("http",), "http", 80) if given.dashboard else ("", 0)
    for argument, each in (("--url", host), ("--dashboard", dashboard[0])):
        if each and not given.remote and not _is_here(each):
            raise ValueError(f"{argument}: {each} is not this machine; --remote allows it, if it is yours")
    return Target(
        host=host,
        port=port,
        username=given.username or username,
        password=given.password or password_from("--password-env", given.password_env, environ) or password,
        dashboard_host=dashboard[0],
        dashboard_port=dashboard[1],
    )


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _scenarios(only: str | None, *, has_dashboard: bool) -> tuple[Scenario, ...]:
    if only is None:
        return tuple(each for each in BY_NAME.values() if has_dashboard or not each.is_on_dashboard)
    unknown = [name for name in only.split(",") if name not in BY_NAME]
    if unknown:
        raise ValueError(f"--only: there is no scenario {', '.join(unknown)}; --list names them")
    chosen = tuple(BY_NAME[name] for name in only.split(","))
    if any(each.is_on_dashboard for each in chosen) and not has_dashboard:
        raise ValueError("--only: scenarios web-… need --dashboard")
    return chosen


def _pids(text: str) -> tuple[int, ...]:
    try:
        pids = tuple(map(int, text.split(",")))
    except ValueError:
        raise ValueError(f"--pid: {text!r} is not process ids with commas") from None
    gone = [pid for pid in pids if pid < 1 or not Path(f"/proc/{pid}").exists()]
    if gone:
        raise ValueError(f"--pid: no process {', '.join(map(str, gone))} (or no /proc)")
    return pids
