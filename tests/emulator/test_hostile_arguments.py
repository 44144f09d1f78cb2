from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

import pytest

from emulator.__main__ import main
from emulator.hostile import arguments
from emulator.hostile.scenarios import BY_NAME, SCENARIOS

URL = "tcp://device:from-url@127.0.0.1:1884"
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "emulator.md"


def read(*argv: str) -> arguments.Options:
    parser = argparse.ArgumentParser()
    arguments.add_to(parser)
    return arguments.read(parser.parse_args(argv), {"SECRET": "from-env"})


def test_defaults():
    options = read("--url", URL)
    target = options.target
    assert (target.broker, target.username, target.password) == (("127.0.0.1", 1884), "device", "from-url")
    assert (options.seconds, options.wait_s, options.scale, options.seed) == (60.0, 10.0, 1.0, 1)
    assert options.memory_limit == 256 * 2**20
    assert [each for each in options.scenarios if each.is_on_dashboard] == []


def test_a_dashboard_adds_its_scenarios():
    options = read("--url", URL, "--dashboard", "http://127.0.0.1:8000", "--password-env", "SECRET")
    assert options.scenarios == SCENARIOS
    assert options.target.dashboard == ("127.0.0.1", 8000)
    assert options.target.password == "from-env"


def test_scenarios_by_name():
    options = read("--url", URL, "--only", "wills-large,hoard", "--pid", f"{os.getpid()},{os.getppid()}")
    assert [each.name for each in options.scenarios] == ["wills-large", "hoard"]
    assert options.pids == (os.getpid(), os.getppid())


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--url is needed"),
        (["--url", "mqtt://broker.example"], "--url: broker.example is not this machine; --remote allows it"),
        (["--url", "tcp://10.0.0.1"], "--url: 10.0.0.1 is not this machine"),
        (["--url", URL, "--dashboard", "http://example.com"], "--dashboard: example.com is not this machine"),
        (["--url", URL, "--only", "hoard,nothing"], "--only: there is no scenario nothing; --list names them"),
        (["--url", URL, "--only", "web-halves"], "--only: scenarios web-… need --dashboard"),
        (["--url", URL, "--pid", "one"], "--pid: 'one' is not process ids with commas"),
        (["--url", URL, "--pid", "0"], "--pid: no process 0"),
    ],
)
def test_bad_arguments_are_named(argv: list[str], message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        read(*argv)


def test_another_machine_has_to_be_wanted():
    assert read("--url", "tcp://broker.example", "--remote").target.host == "broker.example"


def test_scenarios_have_names_of_their_own():
    assert len(BY_NAME) == len(SCENARIOS) >= 40


def test_the_list(capsys: pytest.CaptureFixture[str]):
    assert main(["hostile", "--list"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == [each.name for each in SCENARIOS]


def test_the_documentation_has_all_scenarios():
    attacks = DOCUMENTATION.read_text().partition("\n## Attacks\n")[2]
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.*?) \| (.*?) \|$", attacks, re.MULTILINE)
    assert rows == [(each.name, each.description, each.bound) for each in SCENARIOS]
