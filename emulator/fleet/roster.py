"""Who belongs to the fleet: publishers with their devices, watchers, the one who sends commands. And who does what when."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from emulator.fleet.commander import Commander
from emulator.fleet.device import Device
from emulator.fleet.observer import Observer
from emulator.fleet.publisher import Books, Publisher
from emulator.fleet.scenario import Group
from emulator.fleet.schedule import Schedule
from emulator.fleet.turns import Turns
from emulator.fleet.watcher import Watched, Watcher

if TYPE_CHECKING:
    from emulator.fleet.client import Endpoint
    from emulator.fleet.connection import Connection
    from emulator.fleet.ledger import Kind, Ledger
    from emulator.fleet.scenario import Among, Scenario
    from emulator.fleet.schedule import Action
    from emulator.fleet.totals import Totals

COMMANDS: tuple[Kind, ...] = ("command",)


class Roster:
    """Everybody of one scenario."""

    def __init__(self, scenario: Scenario, endpoint: Endpoint, ledger: Ledger, totals: Totals) -> None:
        self._scenario, self._endpoint, self._seed = scenario, endpoint, scenario.seed
        self._books = Books(ledger, totals, Observer("devices", ledger, 2, COMMANDS))
        self.publishers: list[Publisher] = []
        self.turns: list[Turns] = []
        self._devices: dict[str, list[Device]] = {}  # by the client id that they are behind
        clients: dict[Among, list[str]] = {"devices": [], "gateways": []}
        for group in scenario.groups:
            clients["gateways" if group.is_of_gateways else "devices"] += self._enlist(group)
        self.watchers = self._watchers(ledger, totals)
        self.commander = self._commander()
        clients["watchers"] = [each.client_id for each in self.watchers]
        self._schedule = Schedule(scenario, clients)
        self._by_id = {each.client_id: each for each in [*self.publishers, *self.watchers]}
        self._stepping: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> list[Connection]:
        """All clients."""
        return [*self.senders, *self.watchers]

    @property
    def senders(self) -> list[Publisher]:
        """All clients that publish."""
        return [*self.publishers, *([self.commander] if self.commander else [])]

    @property
    def device_ids(self) -> list[str]:
        """Every device that something may be stored under: gateways too."""
        own = {publisher.client_id: None for publisher in self.senders}
        return list(own | {device_id: None for publisher in self.publishers for device_id in publisher.device_ids})

    @property
    def observers(self) -> list[Observer]:
        """The fleet's own: watchers, and where commands are sent, those who get them."""
        found: list[Observer] = list(dict.fromkeys(watcher.observer for watcher in self.watchers))
        return [*found, self._books.commands_seen] if self.commander else found

    @property
    def unsettled(self) -> int:
        """How many messages wait to be sent or answered."""
        return sum(sender.unsettled for sender in self.senders)

    def assemble(self) -> None:
        """Leave out those who come later."""
        for publisher in self.publishers:
            if publisher.client_id in self._schedule.absent:
                publisher.step_aside()

    async def play(self) -> None:
        """Let happen to the fleet what the scenario says, from now on, until its end."""
        started_s = time.monotonic()
        for action in self._schedule.actions:
            await asyncio.sleep(started_s + action.at_s - time.monotonic())
            self._apply(action)

    async def send_commands(self) -> None:
        """Send commands at the scenario's rate, until cancelled."""
        if self.commander is None or self._scenario.commands is None:
            return
        while True:
            await asyncio.sleep(1 / self._scenario.commands.rate)
            self.commander.command_one_of(self.publishers)

    def call_back(self) -> None:
        """Give everybody the network back, and have them here, so that they can send what they keep."""
        for connection in self.connections:
            connection.release_all()
        for publisher in self.publishers:
            publisher.step_in()

    def _apply(self, action: Action) -> None:
        client = self._by_id[action.client_id]
        match action.verb:
            case "cut" | "silence":
                client.hold(is_silent=action.verb == "silence")
            case "restore":
                client.release()
            case "reconnect":
                client.reconnect()
            case "join" if isinstance(client, Publisher):
                client.step_in()
            case "leave" if isinstance(client, Publisher):
                stepping = asyncio.create_task(client.step_out())
                self._stepping.add(stepping)
                stepping.add_done_callback(self._stepping.discard)
            case _:
                self._apply_to_devices(action)

    def _apply_to_devices(self, action: Action) -> None:
        now_s = time.time()
        for device in self._devices.get(action.client_id, []):
            if action.verb == "publish":
                for _ in range(action.value):
                    device.take_reading(now_s)
            elif action.verb == "skew":
                device.skew_s = action.value
            elif action.verb == "malform":
                device.malformed_share, device.malformations = action.value

    def _enlist(self, group: Group) -> list[str]:
        members = group.members()
        for client_id, device_ids in members.items():
            publisher = Publisher(client_id, device_ids, group, self._seed, self._endpoint, self._books)
            self.publishers.append(publisher)
            self._devices[client_id] = [Device(each, publisher, self._seed) for each in device_ids]
        # One of each gateway after the other, not one gateway's devices in a row.
        behind = [self._devices[client_id] for client_id in members]
        devices = [device for some in zip(*behind, strict=True) for device in some]
        self.turns.append(Turns(devices, group.rate, self._scenario.duration_s))
        return list(members)

    def _watchers(self, ledger: Ledger, totals: Totals) -> list[Watcher]:
        wanted = [each for each in self._scenario.watchers for _ in range(each.count)]
        found: list[Watcher] = []
        for number, watchers in enumerate(wanted, 1):
            name = f"{self._scenario.groups[0].prefix}-watcher-{number}"
            observer = Watched(f"watcher-{number}", ledger, watchers)
            client_ids = (
                [f"{name}-{member}" for member in range(1, watchers.members + 1)] if observer.is_group else [name]
            )
            found += [Watcher(each, self._seed, self._endpoint, observer, totals) for each in client_ids]
        return found

    def _commander(self) -> Commander | None:
        commands = self._scenario.commands
        if commands is None:
            return None
        name = f"{self._scenario.groups[0].prefix}-commander"
        group = Group(count=1, rate=commands.rate, prefix=name, qos=commands.qos)
        return Commander(name, group, self._seed, self._endpoint, self._books)
