"""A fleet against brokers behind the gateway emulator, while they and their store are attacked.

    python -m tests.cluster.chaos --seed 7 --duration 600 --devices 300 --gateways 20
    python -m tests.cluster.chaos --scenario emulator/scenarios/ten-minutes-of-chaos.toml --node-timeout 5 --every 15

The seed decides what happens and when. What is attacked is the broker as an operator runs it: three `tcp` containers, a
Valkey that writes its append-only file before it answers, and the dashboard, which tells what is stored. The fleet
judges: it knows what was acknowledged, to whom, and in which order it was sent. Two of its subscribers are alone, two are
groups of three, one has no session to come back to.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import redis

from emulator.gateway.formation import ActionError
from local.valkey import EmbeddedValkey
from tests.cluster.leftovers import leftovers
from tests.gateway.gateway_process import ROOT, GatewayProcess, eventually, is_alive
from tests.ports import free_port
from tests.web.dashboard_process import PASSWORD, USERNAME, served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CONTAINERS = 3
NODE_TIMEOUT_S = 2.0
MEMORY_MB = 256
FIRST_ACT_S, QUIET_END_S = 3.0, 8.0
FLEET_START_S = 60.0
"""Longest time until all clients of the fleet have tried to connect: `duration_s` and the attacks count from there."""
FLEET_END_S = 180.0
"""Longest time from the end of a run to the fleet's verdict."""
CUTS, CUT_S = 5, 0.05

PUBLISHERS = """
[[{kind}]]
prefix = "{kind}-{qos}"
count = {count}
rate = {rate}
qos = {qos}
{more}
"""
SCENARIO = """
duration_s = {duration_s}
seed = {seed}
keep_alive_s = 3
{publishers}
[[watchers]]
qos = 1
[[watchers]]
qos = 2
[[watchers]]
qos = 1
members = 3
[[watchers]]
qos = 2
members = 3
[[watchers]]
persistent = false
[commands]
rate = 2
qos = 2
"""
SETTINGS = {
    "ALLOW_ANONYMOUS": "true",
    "QUEUE_MESSAGES": "200000",
    "QUEUE_BYTES": "500000000",
    "HISTORY_MESSAGES": "100000",
}


@dataclass(frozen=True)
class Plan:
    """One run. `rate`: messages/s of the whole fleet; `every_s`: time between attacks, on average.

    `given`: a scenario for the fleet; else half of the publishers send at QoS 1, half at QoS 2.
    """

    seed: int
    duration_s: float
    devices: int
    gateways: int
    rate: float
    every_s: float
    kinds: tuple[str, ...]
    given: str = ""

    @property
    def scenario(self) -> str:
        """The fleet's scenario."""
        if self.given:
            return self.given
        publishers = "".join(
            PUBLISHERS.format(kind=kind, qos=qos, count=max(1, count // 2), rate=self.rate / 4, more=more)
            for kind, count, more in (("devices", self.devices, ""), ("gateways", self.gateways, "devices = 10"))
            for qos in (1, 2)
        )
        return SCENARIO.format(duration_s=self.duration_s, seed=self.seed, publishers=publishers)

    def acts(self) -> Iterator[Act]:
        """Yield what happens, in order; each kind once before any comes again."""
        rng, at_s = random.Random(self.seed), FIRST_ACT_S
        while True:
            for kind in rng.sample(self.kinds, len(self.kinds)):
                if at_s > self.duration_s - QUIET_END_S:
                    return
                yield Act(at_s, kind, rng.random())
                at_s += rng.uniform(0.5, 1.5) * self.every_s


@dataclass(frozen=True)
class Act:
    """One attack; `chance` in [0, 1) decides what its kind leaves open."""

    at_s: float
    kind: str
    chance: float


class Chaos:
    """Store, dashboard, gateway and brokers in `folder`, and what attacks them. Use it with `with`."""

    def __init__(self, folder: Path, node_timeout_s: float = NODE_TIMEOUT_S, memory_mb: float = MEMORY_MB) -> None:
        self.folder = folder
        self._size = ("--containers", str(CONTAINERS), "--memory-mb", f"{memory_mb:g}")
        self._settings = {**SETTINGS, "NODE_TIMEOUT_S": f"{node_timeout_s:g}"}
        self.store = EmbeddedValkey(folder / "store", port=free_port(), options=("--appendfsync", "always"))
        self.gateway = GatewayProcess(folder, ROOT / "Procfile")
        self._fleet_output = folder / "fleet-output"
        self.on_containers: dict[str, Callable[[float], None]] = {
            "deploy": lambda _: self._act("deploy"),
            "kill": lambda chance: self._act(f"kill {_container(chance)}"),
            "pause": lambda chance: self._pause(_container(chance), node_timeout_s / 2),
            "long-pause": lambda chance: self._pause(_container(chance), node_timeout_s * 2.5),
            "scale": lambda _: self._act("scale 5", "scale 2", f"scale {CONTAINERS}"),
        }
        self.on_store: dict[str, Callable[[float], None]] = {
            "cut": lambda _: self._cut(),
            "freeze": self._freeze,
            "crash": self._crash,
        }
        self.kinds = (*self.on_containers, *self.on_store)

    def __enter__(self) -> Self:
        self.store.start()
        self.gateway.start(*self._size, REDIS_URL=self.store.url, **self._settings)
        return self

    def __exit__(self, *_: object) -> None:
        self.gateway.clean_up()
        self.store.stop()

    def run(self, plan: Plan, say: Callable[[str], None] = lambda _: None) -> tuple[int, str]:
        """Run the fleet while it is attacked; return its exit status and what it printed."""
        (self.folder / "fleet.toml").write_text(plan.scenario)
        with served(self.store.url) as (address, _):
            fleet = self._start_fleet(address)
            eventually(lambda: self._has_begun or fleet.poll() is not None, "the fleet has begun", FLEET_START_S)
            threads = list(self._attack(plan, say))
            status = fleet.wait(plan.duration_s + FLEET_END_S)
            for thread in threads:
                thread.join()
        return status, self._fleet_output.read_text()

    @property
    def _has_begun(self) -> bool:
        return " connected " in self._fleet_output.read_text()

    def _start_fleet(self, dashboard: str) -> subprocess.Popen[bytes]:
        verify = ("--verify", dashboard.replace("//", f"//{USERNAME}@"), "--verify-password-env", "DASHBOARD_PASSWORD")
        where = ("--url", f"tcp://127.0.0.1:{self.gateway.port}", "--scenario", str(self.folder / "fleet.toml"))
        kept = ("--retention", SETTINGS["HISTORY_MESSAGES"], "--ledger", str(self.folder / "ledger"))
        with self._fleet_output.open("w") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "emulator", "fleet", *where, *verify, *kept],
                cwd=ROOT,
                env={"PATH": os.defpath, "DASHBOARD_PASSWORD": PASSWORD},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _attack(self, plan: Plan, say: Callable[[str], None]) -> Iterator[threading.Thread]:
        """Do it all; what happens to containers goes on beside the next acts. (The store ends with its own thread.)"""
        begun = time.monotonic()
        for act in plan.acts():
            time.sleep(max(0.0, begun + act.at_s - time.monotonic()))
            say(f"{time.monotonic() - begun:6.1f} {act.kind} {act.chance:.2f}")
            if act.kind in self.on_store:
                self.on_store[act.kind](act.chance)
            else:
                thread = threading.Thread(target=self.on_containers[act.kind], args=(act.chance,))
                thread.start()
                yield thread

    def _act(self, *actions: str) -> None:
        for action in actions:
            try:
                self.gateway.act(action)
            except ActionError as error:  # another deployment is under way, or there is no such container just now
                print(f"{action}: {error}")

    def _pause(self, container: str, for_s: float) -> None:
        self._act(f"stop {container}")
        time.sleep(for_s)
        self._act(f"cont {container}")

    def _cut(self) -> None:
        with redis.Redis.from_url(self.store.url) as client:
            for _ in range(CUTS):
                client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                time.sleep(CUT_S)

    def _freeze(self, chance: float) -> None:
        self.store.pause()
        time.sleep(1 + 3 * chance)
        self.store.resume()

    def _crash(self, chance: float) -> None:
        self.store.kill()
        time.sleep(2 * chance)
        self.store.start()


def _container(chance: float) -> str:
    return f"tcp-{int(chance * CONTAINERS) + 1}"


# --- by hand


def _consumption(pid: int) -> str:
    """Return what a process holds now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return f"process {pid}: {pages * os.sysconf('SC_PAGE_SIZE') >> 20} MiB, {descriptors} descriptors"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--duration", type=float, default=60, metavar="S")
    parser.add_argument("--devices", type=int, default=60, metavar="N")
    parser.add_argument("--gateways", type=int, default=6, metavar="N")
    parser.add_argument("--rate", type=float, default=40, metavar="R", help="messages/s of the whole fleet")
    parser.add_argument("--every", type=float, default=6, metavar="S", help="seconds between attacks, on average")
    parser.add_argument("--kinds", metavar="A,B", help="only attacks of these kinds")
    parser.add_argument("--node-timeout", type=float, default=NODE_TIMEOUT_S, metavar="S")
    parser.add_argument("--memory-mb", type=float, default=MEMORY_MB, metavar="N", help="size of a container in MiB")
    parser.add_argument("--scenario", type=Path, metavar="FILE", help="another fleet, for as long as it says")
    return parser


def _plan(given: argparse.Namespace, kinds: tuple[str, ...]) -> Plan:
    scenario = given.scenario.read_text() if given.scenario else ""
    duration_s = tomllib.loads(scenario)["duration_s"] if scenario else given.duration
    kinds = tuple(given.kinds.split(",")) if given.kinds else kinds
    return Plan(given.seed, duration_s, given.devices, given.gateways, given.rate, given.every, kinds, scenario)


def main(arguments: Sequence[str]) -> int:
    """Run once and print what became of it. Returns the fleet's exit status: 0 when all is as sent."""
    given = _parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    with Chaos(folder, given.node_timeout, given.memory_mb) as chaos:
        status, output = chaos.run(_plan(given, chaos.kinds), lambda line: print(line, flush=True))
        print(output)
        time.sleep(given.node_timeout * 2)  # the last death is noticed
        print("\n".join(leftovers(chaos.store.url)) or "nothing is left of nodes that are gone")
        print("\n".join(_consumption(pid) for pid in chaos.gateway.container_pids if is_alive(pid)))
        print(f"connections {chaos.gateway.summary()}\nThe containers' output: {folder}/gateway-output")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
