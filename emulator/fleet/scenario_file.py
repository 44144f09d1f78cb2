"""Scenario files: TOML in, a `Scenario` out, or every mistake at once, each with its key and what is allowed there."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from emulator.fleet import scenario
from emulator.fleet.malformed import MALFORMATIONS

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_CONNECTIONS = 100_000
MAX_S = 7 * 86_400.0
REQUIRED = object()


class ScenarioError(ValueError):
    """The file cannot be used; the message has one line for each mistake."""


class Key(NamedTuple):
    """One key of a table: which values it takes, in words too, and what it is when left out."""

    is_allowed: Callable[[Any], bool]
    allowed: str
    default: Any = REQUIRED
    field: str = ""  # of the dataclass, where it is not the key's own name


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(low: float, high: float, default: Any = REQUIRED) -> Key:
    return Key(lambda value: _is_number(value) and low <= value <= high, f"a number from {low:g} to {high:g}", default)


def _whole(low: int, high: int, default: Any = REQUIRED) -> Key:
    return Key(
        lambda value: isinstance(value, int) and _is_number(value) and low <= value <= high,
        f"a whole number from {low} to {high}",
        default,
    )


def _one_of(*choices: Any, default: Any = REQUIRED) -> Key:
    # The type is compared too: in Python, true is in (0, 1, 2).
    allowed = "one of " + ", ".join(f'"{each}"' if isinstance(each, str) else str(each) for each in choices)
    return Key(lambda value: any(value == each and type(value) is type(each) for each in choices), allowed, default)


def _is_prefix(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 100 and not any(each in value for each in "/+#\0")


def _prefix(default: str) -> Key:
    return Key(_is_prefix, "a text of at most 100 characters, without / + #", default)


def _are_kinds(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(each in MALFORMATIONS for each in value)


AT, FOR, SHARE = _number(0, MAX_S), _number(0, MAX_S), _number(0, 1, 1.0)
QOS = _one_of(0, 1, 2, default=1)
PERSISTENT = _one_of(True, False, default=True)._replace(allowed="true or false", field="is_persistent")
AMONG = _one_of("all", "devices", "gateways", "watchers", default="all")
DEVICES = {
    "count": _whole(1, MAX_CONNECTIONS),
    "rate": _number(0.001, 1_000_000),
    "prefix": _prefix("sensor"),
    "qos": QOS,
    "persistent": PERSISTENT,
    "buffer": _whole(0, 1_000_000, 1000),
    "window": _whole(1, 10_000, 20),
}
TOP = {
    "seed": _whole(0, 2**63 - 1, 1),
    "duration_s": _number(0.1, MAX_S, None),
    "protocol": _one_of("3.1.1", "5", default="5"),
    "keep_alive_s": _whole(1, 65_535, 60),
    "start": _number(0, 1, 1.0),
}
GATEWAYS = {**DEVICES, "prefix": _prefix("gateway"), "devices": _whole(1, 1000)}
WATCHERS = {
    "count": _whole(1, 100, 1),
    "qos": _one_of(0, 1, 2, default=2),
    "members": _whole(1, 100, 1),
    "persistent": PERSISTENT,
}
COMMANDS = {"rate": _number(0.001, 1000), "qos": QOS}
PHASES: dict[str, tuple[type, dict[str, Key]]] = {
    "ramp": (scenario.Ramp, {"at_s": AT, "for_s": FOR, "to": _number(0, 1)}),
    "outage": (
        scenario.Outage,
        {"at_s": AT, "for_s": FOR, "share": SHARE, "among": AMONG, "how": _one_of("cut", "silent", default="cut")},
    ),
    "storm": (
        scenario.Storm,
        {
            "at_s": AT,
            "share": SHARE,
            "among": AMONG,
            "what": _one_of("reconnect", "publish", default="reconnect"),
            "readings": _whole(1, 10_000, 10),
        },
    ),
    "clock-skew": (
        scenario.ClockSkew,
        {"at_s": AT, "for_s": FOR, "skew_s": _number(-1e9, 1e9), "share": SHARE, "among": AMONG},
    ),
    "malformed": (
        scenario.Malformed,
        {
            "at_s": AT,
            "for_s": FOR,
            "share": _number(0, 1),
            "kinds": Key(_are_kinds, "a list of " + ", ".join(MALFORMATIONS), list(MALFORMATIONS)),
        },
    ),
}
TABLES = ("devices", "gateways", "watchers", "phases")


def load(path: str) -> scenario.Scenario:
    """Read a scenario file. Raises ScenarioError with the file's name and every mistake."""
    try:
        return parse(Path(path).read_text(encoding="utf-8"))
    except ScenarioError as error:
        raise ScenarioError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from None
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"{path}: is not UTF-8") from None


def parse(text: str) -> scenario.Scenario:
    """Return the scenario that a TOML document describes. Raises ScenarioError with every mistake."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"is not TOML: {error}") from None
    reader = _Reader()
    found = reader.whole(document)
    if reader.mistakes:
        raise ScenarioError("\n".join(reader.mistakes))
    return found


class _Reader:
    """Reads tables key by key and collects the mistakes; where there are any, what it returns is not to be used."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def whole(self, document: dict[str, Any]) -> scenario.Scenario:
        lists = {name: self._tables(document, name) for name in TABLES}
        commands = document.get("commands")
        top = {name: value for name, value in document.items() if name not in (*TABLES, "commands")}
        values = self._table("", top, TOP, (*TABLES, "commands"))
        groups = self._all("devices", lists, scenario.Group, DEVICES)
        groups += self._all("gateways", lists, scenario.Group, GATEWAYS)
        if not lists["devices"] and not lists["gateways"]:
            self.mistakes.append("needs [[devices]] or [[gateways]]: nobody would publish")
        self._refuse_shared_names(groups)
        return scenario.Scenario(
            groups=tuple(groups),
            watchers=tuple(self._all("watchers", lists, scenario.Watchers, WATCHERS)),
            commands=None if commands is None else self._one("commands", commands, scenario.Commands, COMMANDS),
            phases=tuple(self._phase(f"phases[{index}]", each) for index, each in enumerate(lists["phases"], 1)),
            **values,
        )

    def _refuse_shared_names(self, groups: list[scenario.Group]) -> None:
        prefixes = [group.prefix for group in groups if group is not None]
        for prefix in sorted({each for each in prefixes if prefixes.count(each) > 1}):
            self.mistakes.append(f'prefix "{prefix}" is used by two groups: give each a prefix of its own')

    def _tables(self, document: dict[str, Any], name: str) -> list[Any]:
        found = document.get(name, [])
        if isinstance(found, list):
            return found
        self.mistakes.append(f"{name}: write [[{name}]] with two brackets; there may be several")
        return []

    def _all(self, name: str, lists: dict[str, list[Any]], kind: type, keys: dict[str, Key]) -> list[Any]:
        return [self._one(f"{name}[{index}]", each, kind, keys) for index, each in enumerate(lists[name], 1)]

    def _phase(self, where: str, table: Any) -> Any:
        name = table.get("kind") if isinstance(table, dict) else None
        if not isinstance(name, str) or name not in PHASES:
            self.mistakes.append(f"{where}.kind: {name!r} is not one of {', '.join(PHASES)}")
            return None
        kind, keys = PHASES[name]
        return self._one(where, {key: value for key, value in table.items() if key != "kind"}, kind, keys)

    def _one(self, where: str, table: Any, kind: type, keys: dict[str, Key]) -> Any:
        before = len(self.mistakes)
        if not isinstance(table, dict):
            self.mistakes.append(f"{where}: has to be a table")
            return None
        values = self._table(f"{where}.", table, keys)
        return None if len(self.mistakes) > before else kind(**values)

    def _table(
        self, where: str, table: dict[str, Any], keys: dict[str, Key], others: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        for name in table.keys() - keys.keys():
            self.mistakes.append(f"{where}{name}: is not known here; allowed are {', '.join([*keys, *others])}")
        return {
            key.field or name: self._value(where + name, table.get(name, key.default), key)
            for name, key in keys.items()
        }

    def _value(self, where: str, value: Any, key: Key) -> Any:
        if value is REQUIRED:
            self.mistakes.append(f"{where}: is missing; it has to be {key.allowed}")
        elif value is not key.default and not key.is_allowed(value):
            self.mistakes.append(f"{where}: {value!r} is not {key.allowed}")
        return tuple(value) if isinstance(value, list) else value
