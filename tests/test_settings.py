"""The settings table, its reader, and the files that repeat part of it: scalingo.json and docs/settings.md."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from secrets import token_hex, token_urlsafe
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

import settings
from local.credentials import load_or_create
from local.settings_page import settings_page
from settings import TABLE, Process, Setting, SettingsError, load
from store.connection import connect
from store.mongo import connect_mongo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).parent.parent
PROCESSES: tuple[Process, ...] = ("tcp", "web")
GOOD: dict[str, str] = {
    "REDIS_URL": "redis://:hidden-1@host:1",
    "MQTT_USERNAME": "device",
    "MQTT_PASSWORD": "hidden-word-2",
    "DASHBOARD_USERNAME": "admin",
    "DASHBOARD_PASSWORD": "hidden-word-3",
    "SECRET_KEY": "hidden-key-of-tests-4",
}
BY_NAME = {setting.name: setting for setting in TABLE}
SET_BY_PLATFORM = {"PORT", "REDIS_URL", "TCP_URL", "CONTAINER", "WEB_CONCURRENCY"}


def problems(process: Process, environ: Mapping[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load(environ, process)
    return raised.value.problems


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in GOOD.items() if name not in names}


# --- the table itself


def test_names_are_unique_and_plain():
    names = [name for setting in TABLE for name in (setting.name, *setting.aliases)]
    assert len(set(names)) == len(names)
    assert all(name == name.upper() and name.replace("_", "").isalnum() for name in names)


@pytest.mark.parametrize("setting", TABLE, ids=lambda setting: setting.name)
def test_each_row_can_be_used(setting: Setting):
    if setting.default:
        setting.parse(setting.default)
    assert setting.help.endswith(".")
    assert set(setting.required_by) <= set(setting.used_by) <= set(PROCESSES)
    assert bool(setting.required_by) == (setting.default is None)
    assert not (setting.is_secret and setting.default)  # no default secret


def test_units_stand_in_the_names_that_need_them():
    suffixes = {"_S": "s", "_BYTES": "bytes"}
    for setting in (each for each in TABLE if each.name != "CONTAINER_MEMORY"):  # the platform's name
        for suffix, unit in suffixes.items():
            assert setting.name.endswith(suffix) == (setting.unit == unit), setting.name


# --- the reader


@pytest.mark.parametrize("process", PROCESSES)
def test_the_minimum_starts_and_holds_each_setting_of_the_process(process: Process):
    loaded = load(GOOD, process)
    used = {setting.name.lower() for setting in TABLE if process in setting.used_by}
    assert set(vars(loaded)) == used
    assert loaded.port == 1883
    assert loaded.redis_url == "redis://:hidden-1@host:1"


def test_a_process_does_not_hold_what_only_the_other_uses():
    with pytest.raises(AttributeError, match="no setting MQTT_PASSWORD for this process"):
        _ = load(GOOD, "web").mqtt_password
    with pytest.raises(AttributeError, match="SECRET_KEY"):
        _ = load(GOOD, "tcp").secret_key


@pytest.mark.parametrize(("process", "name"), [(p, s.name) for s in TABLE for p in s.required_by])
@pytest.mark.parametrize("absence", ["unset", "empty"])
def test_a_required_setting_that_is_missing_is_named(process: Process, name: str, absence: str):
    environ = without(name) | ({name: ""} if absence == "empty" else {})
    assert problems(process, environ) == [f"{name} is not set. {BY_NAME[name].help}"]


BAD_VALUES = [
    ("PORT", "0", "use a whole number from 1 to 65535"),
    ("PORT", "65536", "use a whole number from 1 to 65535"),
    ("PORT", "eighty", "use a whole number from 1 to 65535"),
    ("PORT", "-1", "use a whole number from 1 to 65535"),
    ("PORT", "٣", "use a whole number from 1 to 65535"),
    ("PORT", " 1883", "use a whole number from 1 to 65535"),
    ("LOG_LEVEL", "debug", "use one of DEBUG, INFO, WARNING, ERROR"),
    ("ACK_AFTER", "never", "use one of memory, disk"),
    ("ALLOW_ANONYMOUS", "perhaps", "use true or false"),
    ("DEVICE_TOPICS", "devices/#", "'devices/#' needs {device} as exactly one whole level"),
    ("DEVICE_TOPICS", "a/{device}/b/{device}", "needs {device} as exactly one whole level"),
    ("DEVICE_TOPICS", "a/x{device}/#", "needs {device} as exactly one whole level"),
    ("DEVICE_TOPICS", "a/#/{device}", "may have # only as its last level"),
    ("REDIS_URL", "http://host", "use redis://HOST:PORT"),
    ("REDIS_URL", "host:6379", "use redis://HOST:PORT"),
    ("REDIS_URL", "redis+other://host", "use redis://HOST:PORT"),
    ("REDIS_URL", "http+cluster://host", "use redis://HOST:PORT"),
    ("REDIS_URL", "redis://:a,b@one:1,two:2", "several hosts need redis+cluster:// or redis+sentinel://"),
    ("REDIS_URL", "redis+cluster://one:1,two:2/0", "Redis Cluster has no database numbers"),
    ("REDIS_URL", "redis+cluster://one:1,", "a host is missing"),
    ("REDIS_URL", "redis+cluster://one:1,two:x", "a port has to be a number up to 65535"),
    ("REDIS_URL", "redis+sentinel://one:1,two:2", "name the master that the Sentinels watch"),
    ("REDIS_URL", "redis+sentinel://one/name/x", "only the number of a database may follow"),
    ("REDIS_URL", "redis://host:6379x", "a port has to be a number up to 65535"),
    ("REDIS_URL", "redis://host:65536", "a port has to be a number up to 65535"),
    ("REDIS_URL", "redis://[::1", "of IPv6 in brackets"),
    ("REDIS_URL", "redis://::1:6379", "a port has to be a number up to 65535"),
    ("REDIS_URL", "redis://ho..st:6379", "a host is no name and no address"),
    ("REDIS_URL", "redis://:6379", "a host is missing"),
    ("REDIS_URL", "redis://host:6379/zero", "only the number of a database may follow"),
    ("REDIS_URL", "redis://ho st:6379", "a URL has no spaces"),
    ("REDIS_URL", "redis://host?db=x", "the option db has to be a number"),
    ("REDIS_URL", "rediss+cluster://host?socket_timeout=", "the option socket_timeout has to be a number"),
    ("MONGO_URL", "mongodb+srv://host:27017/db", "one HOST without a port"),
    ("MONGO_URL", "mongodb+srv://one,two/db", "one HOST without a port"),
    ("MONGO_URL", "mongodb+srv://", "use mongodb://USER:PASSWORD@HOST:PORT/DATABASE"),
    ("TCP_URL", "tcp://host", "use tcp://HOST:PORT"),
    ("TCP_URL", "tcp://[::1", "use tcp://HOST:PORT"),
    ("TCP_URL", "tcp://host:port", "use tcp://HOST:PORT"),
    ("TCP_URL", "https://host/", "use tcp://HOST:PORT"),
    ("INFLUX_URL", "influx:8086/db", "use http://USER:PASSWORD@HOST:PORT/DATABASE"),
    ("INFLUX_URL", "http://user:hidden-5@host:8086", "or http://HOST:PORT?org=ORG&bucket=BUCKET"),
    ("INFLUX_URL", "http://host:8086/a/b", "use http://USER:PASSWORD@HOST:PORT/DATABASE"),
    ("INFLUX_URL", "http://host:8086/db?bucket=b&org=o", "use http://USER:PASSWORD@HOST:PORT/DATABASE"),
    ("INFLUX_URL", "http://host:8086?bucket=b", "use http://USER:PASSWORD@HOST:PORT/DATABASE"),
    ("INFLUX_URL", "http://host:x/db", "use http://USER:PASSWORD@HOST:PORT/DATABASE"),
    ("INFLUX_URL", "http://ho st:8086/db", "use http://USER:PASSWORD@HOST:PORT/DATABASE"),
    ("INFLUX_URL", "http://ho..st:8086/db", "use http://USER:PASSWORD@HOST:PORT/DATABASE"),
    ("INFLUX_TOKEN", "a b", "a token has no spaces"),
    ("INFLUX_MEASUREMENT", "_internal", "begin with a letter or a digit"),
    ("INFLUX_MEASUREMENT", "a,b", "use letters, digits"),
    ("MAX_PACKET_BYTES", "268435461", "use a whole number from 128 to 268435460"),
]


@pytest.mark.parametrize(("name", "value", "complaint"), BAD_VALUES)
def test_a_bad_value_is_named_with_what_would_do(name: str, value: str, complaint: str):
    (problem,) = problems("tcp", {**GOOD, name: value})
    assert problem.startswith(f"{name}: ")
    assert complaint in problem


@pytest.mark.parametrize(
    ("name", "value", "parsed"),
    [
        ("PORT", "65535", 65535),
        ("ALLOW_ANONYMOUS", "Yes", True),
        ("ALLOW_ANONYMOUS", "0", False),
        ("DEVICE_TOPICS", "a/{device}/#, +/{device} ,", ("a/{device}/#", "+/{device}")),
        ("REDIS_URL", "unix:///s.sock", "unix:///s.sock"),
        ("REDIS_URL", "rediss+cluster://u:p,@one,two:2", "rediss+cluster://u:p,@one,two:2"),
        ("REDIS_URL", "redis+sentinel://one:1/name/2", "redis+sentinel://one:1/name/2"),
        (
            "REDIS_URL",
            "redis://u:p%23@[::1]:6379/2?socket_timeout=1.5",
            "redis://u:p%23@[::1]:6379/2?socket_timeout=1.5",
        ),
        ("TCP_URL", "tcp://tcp-1.osc-fr1.scalingo.com:20003", "tcp://tcp-1.osc-fr1.scalingo.com:20003"),
        ("TCP_URL", "host:1883", "host:1883"),
        ("ACK_AFTER", "disk", "disk"),
    ],
)
def test_a_good_value_is_parsed(name: str, value: str, parsed: Any):
    assert getattr(load({**GOOD, name: value}, "tcp"), name.lower()) == parsed


def test_every_bad_value_is_reported_at_once():
    environ = {**without("REDIS_URL"), "PORT": "x", "LOG_LEVEL": "x", "HISTORY_AGE_S": "1", "MQTT_PASSWORD": ""}
    names = ["PORT", "REDIS_URL", "LOG_LEVEL", "HISTORY_AGE_S", "MQTT_PASSWORD"]
    found = problems("tcp", environ)
    assert [problem.split(":")[0].split()[0] for problem in found] == names
    with pytest.raises(SettingsError) as raised:
        load(environ, "tcp")
    assert str(raised.value).splitlines() == found


def test_secrets_are_never_shown():
    environ = {**GOOD, "REDIS_URL": "http://:hidden-5@host", "PORT": "x"}
    for process in PROCESSES:
        assert "hidden" not in "\n".join(problems(process, environ))


def test_a_public_address_with_a_password_in_it_is_not_shown():
    assert problems("tcp", {**GOOD, "TCP_URL": "tcp://u:hidden@host:1"}) == [
        "TCP_URL: its value cannot be used: use tcp://HOST:PORT, where devices reach the broker."
    ]


def test_a_value_that_is_no_secret_is_shown():
    assert problems("tcp", {**GOOD, "PORT": "x"}) == ["PORT: 'x' cannot be used: use a whole number from 1 to 65535."]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"SCALINGO_REDIS_URL": "redis://add-on"}, "redis://add-on"),
        ({"REDIS_URL": "redis://own"}, "redis://own"),
        ({"SCALINGO_REDIS_URL": "redis://add-on", "REDIS_URL": "redis://own"}, "redis://add-on"),
        ({"SCALINGO_REDIS_URL": "", "REDIS_URL": "redis://own"}, "redis://own"),
    ],
)
def test_the_add_ons_name_wins_where_it_is_set(environ: dict[str, str], expected: str):
    assert load({**without("REDIS_URL"), **environ}, "web").redis_url == expected


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"MQTT_USERNAME": ""}, "MQTT_USERNAME is not set, but its counterpart is: set both."),
        ({"MQTT_PASSWORD": ""}, "MQTT_PASSWORD is not set, but its counterpart is: set both."),
        ({"MQTT_USERNAME": "", "MQTT_PASSWORD": ""}, "No device could connect: set MQTT_USERNAME and MQTT_PASSWORD"),
    ],
)
def test_a_broker_that_nobody_could_use_does_not_start(environ: dict[str, str], complaint: str):
    (problem,) = problems("tcp", {**GOOD, **environ})
    assert problem.startswith(complaint)


def test_anonymous_devices_need_no_credentials():
    loaded = load({**without("MQTT_USERNAME", "MQTT_PASSWORD"), "ALLOW_ANONYMOUS": "true"}, "tcp")
    assert (loaded.mqtt_username, loaded.mqtt_password, loaded.allow_anonymous) == ("", "", True)


def test_settings_are_frozen_and_replaced_by_copy():
    loaded = load(GOOD, "tcp")
    with pytest.raises(AttributeError, match="settings are frozen: port"):
        loaded.port = 1
    changed = loaded.replace(port=1)
    assert (loaded.port, changed.port, changed.redis_url) == (1883, 1, loaded.redis_url)


# --- secrets that are guessed at once

LENGTHS = {"DASHBOARD_PASSWORD": 8, "SECRET_KEY": 16, "API_TOKEN": 8}


@pytest.mark.parametrize("name", LENGTHS)
def test_a_secret_that_is_too_short_is_refused(name: str):
    process: Process = "web"
    long_enough = "kT7-vR2_xW9.pL4!"[: LENGTHS[name]]
    assert getattr(load({**GOOD, name: long_enough}, process), name.lower()) == long_enough
    for short in ("x", "ab", long_enough[:-1]):
        (problem,) = problems(process, {**GOOD, name: short})
        assert problem == (
            f"{name}: its value cannot be used: it is shorter than {LENGTHS[name]} characters; "
            "make one with `openssl rand -hex 16`."
        )


@pytest.mark.parametrize(
    "weak",
    ["aaaaaaaaaaaaaaaa", "abababababababab", "aabbccddaabbccdd", "passwordpassword", "1234567890123456", "9876543210987654",
     "abcdefghijklmnop", "ponmlkjihgfedcba", "qwertyuiopasdfgh", "Password-2026-!!", "supersecret12345", "change-me-1234567",
     "p@ssw0rd-1234567", "your-secret-key-", "----changeme----", "example012345678"],
)  # fmt: skip
@pytest.mark.parametrize("name", LENGTHS)
def test_a_secret_that_everybody_tries_is_refused(name: str, weak: str):
    process: Process = "web"
    (problem,) = problems(process, {**GOOD, name: weak})
    assert problem.startswith(f"{name}: its value cannot be used: it is among the first that everybody guesses")
    assert weak not in problem


@pytest.mark.parametrize("make", [lambda: token_hex(16), lambda: token_hex(8), lambda: token_urlsafe(16)])
def test_secrets_that_are_generated_are_accepted(make: Callable[[], str]):
    for _ in range(300):
        load({**GOOD, "SECRET_KEY": make(), "DASHBOARD_PASSWORD": make()}, "web")


def test_secrets_of_a_local_run_are_accepted(tmp_path: Path):
    for number in range(20):
        made = load_or_create(tmp_path / str(number))
        for process in PROCESSES:
            load({**made, "REDIS_URL": "redis://host"}, process)


# --- addresses that hold a password

SPECIAL = "#/?@[]%: ,\\\"'<>^`{|}äß\n"
HARD = [
    "redis://:{}@host:6379", "rediss://user:{}@host/1", "redis://{}:x@host", "redis+cluster://:{}@one:1,two:2",
    "redis+sentinel://u:{}@one:1,two:2/name", "unix://u:{}@/s.sock", "mongodb://user:{}@host:27017/db", "mongodb+srv://user:{}@host/db",
    "mongodb://{}:x@host", "http://user:{}@host:8086/db", "https://{}:x@host/db", "http://host:8086?org={}&bucket=b",
]  # fmt: skip


@pytest.mark.parametrize("form", HARD)
def test_a_password_with_special_characters_is_read_or_refused_in_one_line_and_never_shown(form: str):
    name = {"r": "REDIS_URL", "u": "REDIS_URL", "m": "MONGO_URL", "h": "INFLUX_URL"}[form[0]]
    for character in SPECIAL:
        for password in (f"hunter{character}two", f"77{character}hunter@two", f"{character}hunter"):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    loaded = load({**GOOD, name: form.format(password), "INFLUX_TOKEN": "t"}, "tcp")
                    if name == "REDIS_URL":
                        connect(loaded).close()
                    if name == "MONGO_URL" and "+srv" not in form:
                        connect_mongo(loaded).client.close()
            except SettingsError as error:
                (problem,) = error.problems
                assert problem.startswith(f"{name}: its value cannot be used: ")
                assert len(problem.splitlines()) == 1
                assert "hunter" not in problem
                assert "two" not in problem.partition("two:2")[0]
                assert "77" not in problem
            encoded = form.format(quote(password, safe=""))
            load({**GOOD, name: encoded, "INFLUX_TOKEN": "t"}, "tcp")


@pytest.mark.parametrize(
    "url", ["redis://:hunter#two@host:6379", "mongodb://u:hunter#two@host/db", "http://u:a#b@host/db"]
)
def test_a_password_with_a_number_sign_is_told_how_to_write_it(url: str):
    name = {"r": "REDIS_URL", "m": "MONGO_URL", "h": "INFLUX_URL"}[url[0]]
    (problem,) = problems("tcp", {**GOOD, name: url})
    assert "# as %23" in problem


# --- what repeats the table


def test_the_documentation_is_current():
    assert (ROOT / "docs" / "settings.md").read_text() == settings_page(), "run `make docs`"


MANIFEST: dict[str, Any] = json.loads((ROOT / "scalingo.json").read_text())


def test_the_manifest_has_only_fields_the_platform_knows():
    known = {"name", "description", "logo", "website", "repository", "ref", "env", "addons", "formation"}
    assert {"name"} <= set(MANIFEST) <= known
    for variable in MANIFEST["env"].values():
        assert set(variable) <= {"description", "value", "generator", "required"}
        assert ("value" in variable) != ("generator" in variable)
        assert isinstance(variable.get("value", ""), str)
        assert variable.get("generator", "secret") == "secret"
    for add_on in MANIFEST["addons"]:
        assert isinstance(add_on, str)
        assert add_on.count(":") == 1
    for size in MANIFEST["formation"].values():
        assert set(size) == {"amount", "size"}
        assert size["amount"] >= 1


def test_the_manifest_starts_each_process_and_brings_what_it_needs():
    procfile = (ROOT / "Procfile").read_text()
    assert set(MANIFEST["formation"]) == {line.partition(":")[0] for line in procfile.splitlines()} == set(PROCESSES)
    assert [add_on.partition(":")[0] for add_on in MANIFEST["addons"]] == ["redis", "tcp-gateway"]


def test_the_manifest_sets_what_is_required_and_nothing_unknown():
    required = {setting.name for setting in TABLE if setting.required_by} - SET_BY_PLATFORM
    assert required <= set(MANIFEST["env"]) <= set(BY_NAME)
    for name, variable in MANIFEST["env"].items():
        assert variable["description"] == BY_NAME[name].help
        is_secret = BY_NAME[name].is_secret
        assert ("generator" in variable) == is_secret, f"{name}: secrets are generated, never written down"


@pytest.mark.parametrize("process", PROCESSES)
def test_the_manifest_is_enough_to_start(process: Process):
    values = {name: variable.get("value", token_hex(16)) for name, variable in MANIFEST["env"].items()}
    platform = {
        "PORT": "5000",
        "SCALINGO_REDIS_URL": "redis://h:1",
        "CONTAINER": f"{process}-1",
        "WEB_CONCURRENCY": "1",
    }
    assert load({**values, **platform}, process).port == 5000


def test_the_reader_never_falls_back_to_the_process_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PORT", "4242")
    assert settings.load(GOOD, "tcp").port == 1883


@pytest.mark.parametrize(
    "url", ["http://host/db", "mongodb:///", "mongodb://host:port/db", "mongodb://a:b@c:d@host/db"]
)
def test_an_address_that_is_no_mongodb_is_refused_without_being_shown(url: str):
    with pytest.raises(SettingsError) as raised:
        load({**GOOD, "MONGO_URL": url}, "web")
    (problem,) = raised.value.problems
    assert problem.startswith("MONGO_URL: its value cannot be used: ")
    assert url not in problem


@pytest.mark.parametrize(
    "url", ["mongodb://user:pw@host:27017/db?replicaSet=db-rs0&ssl=true", "mongodb+srv://user:pw@host.example/db"]
)
def test_both_shapes_of_a_mongodb_address_and_the_platforms_name_for_it(url: str):
    assert load({**GOOD, "SCALINGO_MONGO_URL": url, "MONGO_URL": "mongodb://other"}, "tcp").mongo_url == url


def test_with_mongodb_a_packet_has_to_fit_into_a_document():
    large = {**GOOD, "MAX_PACKET_BYTES": "15000001"}
    assert load(large, "tcp").max_packet_bytes == 15_000_001
    with pytest.raises(SettingsError, match="MAX_PACKET_BYTES"):
        load({**large, "MONGO_URL": "mongodb://host"}, "tcp")
