"""The gateway's command line: arguments in, one frozen `Options` out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.argument_types import positive
from emulator.gateway.actions import MAX_CONTAINERS, SYNTAX, Action, parse_action
from emulator.gateway.packet_rate import BURST_OF_RATE
from emulator.gateway.procfile import tcp_command
from emulator.gateway.schedule import CHAOS_VERBS, Entry, parse_schedule

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

DESCRIPTION = f"""Stand in front of real `tcp` processes as the platform's TCP Gateway does. Without an ACTION: start
them from the Procfile, balance connections over them, and end with a summary. With one: have the running gateway do it.
Actions: {", ".join(SYNTAX.values())}."""

DEFAULT_PORT = 20003
DEFAULT_CONTROL = Path(".data/gateway.sock")


@dataclass(frozen=True)
class Options:
    """What one run does. `command` is empty when there is an `action`.

    None: no limit for `rate` and `memory_bytes`, no chaos for `chaos_seed`.
    """

    action: Action | None
    control: Path
    host: str
    port: int
    containers: int
    command: str
    root: Path
    environ: Mapping[str, str]
    rate: float | None
    burst: float
    memory_bytes: int | None
    schedule: tuple[Entry, ...]
    chaos_seed: int | None
    chaos_verbs: tuple[str, ...]
    chaos_every_s: float
    duration_s: float | None
    output: Path | None


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the gateway's arguments to `parser`."""
    add = parser.add_argument
    add("action", nargs="*", metavar="ACTION", help="what the running gateway is to do")
    add("--control", type=Path, default=DEFAULT_CONTROL, metavar="PATH", help=f"its socket (default {DEFAULT_CONTROL})")
    add("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    add("--port", type=_port, default=DEFAULT_PORT, metavar="N", help=f"public port (default {DEFAULT_PORT}; 0: any)")
    add("--containers", type=_containers, default=1, metavar="N", help="containers to start (default 1)")
    add("--procfile", type=Path, default=Path("Procfile"), metavar="PATH", help="where the line `tcp: COMMAND` is")
    add("--rate", type=positive, metavar="R", help="packets/s to each container; what exceeds it is dropped")
    add("--burst", type=positive, default=BURST_OF_RATE, metavar="B", help="a burst is B times the rate (default 10)")
    add("--memory-mb", type=positive, metavar="N", help="size of a container in MiB; a larger one is killed (Linux)")
    add("--schedule", type=Path, metavar="PATH", help="lines `at SECONDS ACTION` and `every SECONDS ACTION`")
    add("--chaos", type=int, metavar="SEED", help="random actions; the same seed gives the same ones")
    add("--chaos-actions", default=",".join(CHAOS_VERBS), metavar="A,B", help=f"of {', '.join(CHAOS_VERBS)} (all)")
    add("--chaos-every", type=positive, default=20.0, metavar="S", help="seconds between them on average (default 20)")
    add("--duration", type=positive, metavar="S", help="seconds to run (default: until stopped)")
    add("--output", type=Path, metavar="PATH", help="a file for what the containers print")


def read(given: argparse.Namespace, environ: Mapping[str, str]) -> Options:
    """Return the options of a parsed command line. Raises ValueError with one line that names the bad argument."""
    action = parse_action(given.action) if given.action else None
    return Options(
        action=action,
        control=given.control,
        host=given.host,
        port=given.port,
        containers=given.containers,
        command="" if action else tcp_command(given.procfile),
        root=given.procfile.resolve().parent,
        environ=environ,
        rate=given.rate,
        burst=given.burst * (given.rate or 1),
        memory_bytes=int(given.memory_mb * 2**20) if given.memory_mb else None,
        schedule=_schedule(given.schedule) if given.schedule else (),
        chaos_seed=given.chaos,
        chaos_verbs=_chaos_verbs(given.chaos_actions),
        chaos_every_s=given.chaos_every,
        duration_s=given.duration,
        output=given.output,
    )


def _schedule(path: Path) -> tuple[Entry, ...]:
    try:
        return parse_schedule(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"--schedule {path}: {getattr(error, 'strerror', None) or error}") from None


def _chaos_verbs(text: str) -> tuple[str, ...]:
    verbs = tuple(text.split(","))
    if not set(verbs) <= set(CHAOS_VERBS):
        raise ValueError(f"--chaos-actions: use some of {', '.join(CHAOS_VERBS)}, with commas")
    return verbs


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise ValueError
    return number


def _containers(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MAX_CONTAINERS:
        raise ValueError
    return number


# argparse puts these in its messages
_port.__name__ = "port number"
_containers.__name__ = f"number from 1 to {MAX_CONTAINERS}"
