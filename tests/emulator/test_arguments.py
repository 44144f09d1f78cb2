from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

from emulator.__main__ import main
from emulator.fleet import arguments
from emulator.fleet.dashboard import Dashboard

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

URL = "tcp://127.0.0.1:1884"


def read(*argv: str, environ: Mapping[str, str] | None = None) -> arguments.Options:
    parser = argparse.ArgumentParser()
    arguments.add_to(parser)
    return arguments.read(parser.parse_args(argv), environ or {})


def test_defaults_are_gentle_and_run_until_stopped():
    options = read("--url", URL)
    assert (options.endpoint.host, options.endpoint.port) == ("127.0.0.1", 1884)
    (group,) = options.scenario.groups
    assert (group.count, group.rate, group.qos, group.is_persistent, group.buffer) == (10, 10.0, 1, False, 0)
    assert (options.scenario.duration_s, options.scenario.seed, options.drain_timeout_s) == (None, 1, 10.0)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("tcp://broker.example", ("broker.example", 1883, "", "")),
        ("mqtt://u:p%40ss%2F@broker.example:20003", ("broker.example", 20003, "u", "p@ss/")),
        ("tcp://[::1]:1883/", ("::1", 1883, "", "")),
    ],
)
def test_a_url_names_host_port_and_credentials(url: str, expected: tuple[str, int, str, str]):
    endpoint = read("--url", url).endpoint
    assert (endpoint.host, endpoint.port, endpoint.username, endpoint.password) == expected


def test_arguments_win_over_the_environment_and_that_over_the_url():
    url = "tcp://u:from-url@host"
    assert read("--url", url).endpoint.password == "from-url"
    assert (
        read("--url", url, "--password-env", "SECRET", environ={"SECRET": "from-env"}).endpoint.password == "from-env"
    )
    both = ("--password-env", "SECRET", "--password", "from-argument")
    assert read("--url", url, *both, environ={"SECRET": "from-env"}).endpoint.password == "from-argument"


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--url", "http://h"], "use tcp://HOST:PORT"),
        (["--url", "tcp://"], "use tcp://HOST:PORT"),
        (["--url", "tcp://h/path"], "use tcp://HOST:PORT"),
        (["--url", "tcp://h:port"], "--url: Port could not be cast"),
        (["--url", "tcp://h:70000"], "--url: Port out of range"),
        (["--url", URL, "--devices", "0"], "invalid whole number above 0 value: '0'"),
        (["--url", URL, "--rate", "nan"], "invalid number above 0 value: 'nan'"),
        (["--url", URL, "--duration", "-1"], "invalid number above 0 value: '-1'"),
        (["--url", URL, "--qos", "3"], "invalid choice: 3"),
        (["--url", URL, "--prefix", "a/b"], "--prefix"),
        (["--url", URL, "--password-env", "NO_SUCH_VARIABLE_HERE"], "NO_SUCH_VARIABLE_HERE is not set"),
        (["--url", URL, "--scenario", "x.toml", "--qos", "1"], "--qos: the scenario file says that; leave it out"),
        (["--url", URL, "--scenario", "nowhere.toml"], "nowhere.toml: No such file or directory"),
        (["--url", URL, "--verify", "tcp://h"], "--verify: use http://HOST:PORT or http://USER:PASSWORD@HOST:PORT"),
        (["--url", URL, "--verify-password-env", "NO_SUCH_VARIABLE_HERE"], "--verify-password-env: NO_SUCH_VARIABLE"),
        ([], "--url"),
    ],
)
def test_a_bad_argument_is_named_and_ends_with_status_2(
    argv: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        main(["fleet", *argv])
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]


def test_a_bad_url_does_not_show_its_password(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["fleet", "--url", "http://u:s3cret@host"])
    assert "s3cret" not in capsys.readouterr().err


def test_seed_and_duration_win_over_the_scenarios(tmp_path: Path):
    path = tmp_path / "s.toml"
    path.write_text("seed = 7\nduration_s = 60\n[[devices]]\ncount = 1\nrate = 1\n")
    told = read("--url", URL, "--scenario", str(path))
    assert (told.scenario.seed, told.scenario.duration_s, told.drain_timeout_s) == (7, 60, 60.0)
    told = read("--url", URL, "--scenario", str(path), "--seed", "0", "--duration", "5", "--drain-timeout", "1")
    assert (told.scenario.seed, told.scenario.duration_s, told.drain_timeout_s) == (0, 5, 1.0)


def test_the_dashboards_password_may_come_from_the_environment():
    given = ("--url", URL, "--verify", "https://h", "--verify-password-env", "SECRET")
    assert read(*given, environ={"SECRET": "s"}).dashboard == Dashboard("h", 443, "admin", "s", is_tls=True)
    assert read("--url", URL, "--verify", "http://u:p@h:8000").dashboard == Dashboard("h", 8000, "u", "p", is_tls=False)
