from __future__ import annotations

import re
from pathlib import Path

import pytest

from emulator.fleet import scenario_file
from emulator.fleet.scenario import ClockSkew, Commands, Group, Malformed, Outage, Ramp, Storm, Watchers
from emulator.fleet.scenario_file import ScenarioError

ROOT = Path(__file__).parents[2]
READY_MADE = sorted((ROOT / "emulator/scenarios").glob("*.toml"))
DEVICES = "[[devices]]\ncount = 2\nrate = 1\n"


def test_a_file_says_who_the_fleet_is_and_what_happens_to_it():
    found = scenario_file.parse(
        """
        seed = 7
        duration_s = 60
        [[devices]]
        count = 3
        rate = 1.5
        qos = 2
        persistent = false
        [[gateways]]
        count = 2
        devices = 2
        rate = 1
        buffer = 5
        [[watchers]]
        [[watchers]]
        qos = 1
        members = 3
        persistent = false
        [commands]
        rate = 2
        [[phases]]
        kind = "ramp"
        at_s = 0
        for_s = 10
        to = 0.5
        [[phases]]
        kind = "outage"
        at_s = 1
        for_s = 2
        share = 0.3
        among = "gateways"
        how = "silent"
        [[phases]]
        kind = "storm"
        at_s = 3
        what = "publish"
        readings = 4
        [[phases]]
        kind = "clock-skew"
        at_s = 4
        for_s = 5
        skew_s = -60
        [[phases]]
        kind = "malformed"
        at_s = 6
        for_s = 7
        share = 0.1
        kinds = ["empty"]
        """
    )
    assert (found.seed, found.duration_s, found.protocol, found.start) == (7, 60, "5", 1.0)
    assert found.groups == (
        Group(count=3, rate=1.5, prefix="sensor", qos=2, is_persistent=False),
        Group(count=2, rate=1, prefix="gateway", devices=2, buffer=5),
    )
    assert (found.watchers, found.commands) == (
        (Watchers(1, 2), Watchers(1, 1, 3, is_persistent=False)),
        Commands(2, 1),
    )
    assert found.phases == (
        Ramp(0, 10, 0.5),
        Outage(1, 2, 0.3, "gateways", "silent"),
        Storm(3, 1.0, "all", "publish", 4),
        ClockSkew(4, 5, -60),
        Malformed(6, 7, 0.1, ("empty",)),
    )


def test_a_gateway_speaks_for_devices_of_its_own():
    members = Group(count=2, rate=1, prefix="gw", devices=2).members()
    assert members == {"gw-0001": ["gw-0001-01", "gw-0001-02"], "gw-0002": ["gw-0002-01", "gw-0002-02"]}
    assert Group(count=1, rate=1, prefix="d").members() == {"d-0001": ["d-0001"]}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("duration_s = ", "is not TOML: Invalid value (at end of document)"),
        ("", "needs [[devices]] or [[gateways]]: nobody would publish"),
        (DEVICES.replace("count", "cuont"), "devices[1].cuont: is not known here; allowed are count, rate, prefix,"),
        (
            DEVICES.replace("count = 2", ""),
            "devices[1].count: is missing; it has to be a whole number from 1 to 100000",
        ),
        (DEVICES + "qos = 3", "devices[1].qos: 3 is not one of 0, 1, 2"),
        (DEVICES + "qos = true", "devices[1].qos: True is not one of 0, 1, 2"),
        (DEVICES + "persistent = 1", "devices[1].persistent: 1 is not true or false"),
        (DEVICES + 'prefix = "a/b"', "devices[1].prefix: 'a/b' is not a text of at most 100 characters, without / + #"),
        (DEVICES * 2, 'prefix "sensor" is used by two groups: give each a prefix of its own'),
        ("phases = 1\n" + DEVICES, "phases: write [[phases]] with two brackets; there may be several"),
        ("commands = 1\n" + DEVICES, "commands: has to be a table"),
        ('protocol = "4"\n' + DEVICES, 'protocol: \'4\' is not one of "3.1.1", "5"'),
        (
            DEVICES + "[[phases]]\nkind = 'flood'",
            "phases[1].kind: 'flood' is not one of ramp, outage, storm, clock-skew,",
        ),
        (
            DEVICES + "[[phases]]\nkind = 'ramp'\nat_s = 0\nfor_s = 1\nto = 1.5",
            "phases[1].to: 1.5 is not a number from 0 to 1",
        ),
        (
            DEVICES + "[[phases]]\nkind = 'malformed'\nat_s = 0\nfor_s = 1\nshare = 1\nkinds = ['odd']",
            "phases[1].kinds: ['odd'] is not a list of not-json, bad-utf-8, binary, huge, empty",
        ),
    ],
)
def test_a_mistake_is_named_with_its_key_and_what_is_allowed(text: str, complaint: str):
    with pytest.raises(ScenarioError) as raised:
        scenario_file.parse(text)
    assert any(line.startswith(complaint) for line in str(raised.value).splitlines()), raised.value


def test_all_mistakes_are_told_at_once_each_with_the_file(tmp_path: Path):
    path = tmp_path / "bad.toml"
    path.write_text('seed = -1\n[[devices]]\nrate = "fast"\n')
    with pytest.raises(ScenarioError) as raised:
        scenario_file.load(str(path))
    lines = str(raised.value).splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"{path}: ") for line in lines)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(ScenarioError, match=r"nowhere\.toml: No such file or directory"):
        scenario_file.load(str(tmp_path / "nowhere.toml"))


@pytest.mark.parametrize("path", READY_MADE, ids=[path.stem for path in READY_MADE])
def test_ready_made_scenarios_can_be_read_and_say_what_they_are_for(path: Path):
    assert scenario_file.load(str(path)).duration_s
    assert path.read_text().startswith("# ")


def test_the_chaos_is_as_large_as_it_says():
    groups = scenario_file.load(str(ROOT / "emulator/scenarios/ten-minutes-of-chaos.toml")).groups
    assert sum(group.count for group in groups if not group.is_of_gateways) == 300
    assert sum(group.count for group in groups if group.is_of_gateways) == 20
    assert {group.qos for group in groups} == {1, 2}


def test_the_documented_example_can_be_read():
    text = (ROOT / "docs/emulator.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(scenario_file.parse(example).phases) == 2


def test_every_key_is_documented():
    text = (ROOT / "docs/emulator.md").read_text()
    tables = [scenario_file.TOP, scenario_file.GATEWAYS, scenario_file.WATCHERS, scenario_file.COMMANDS]
    tables += [keys for _, keys in scenario_file.PHASES.values()]
    assert [name for keys in tables for name in keys if f"`{name}`" not in text] == []
    assert [kind for kind in scenario_file.PHASES if f"| `{kind}` |" not in text] == []
