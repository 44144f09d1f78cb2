"""A file that cannot be used is refused whole, with one line for each thing that is wrong, and no value of it shown."""

from __future__ import annotations

import textwrap
import threading
from typing import TYPE_CHECKING, Any

import pytest

import settings
from broker.host.interface import PluginConfigurationError
from broker.host.plugin_host import PluginHost

if TYPE_CHECKING:
    from pathlib import Path

    from plugin_port import RecordingPort

FILE_AUTH = "amqtt.plugins.authentication.FileAuthPlugin"
NO_SUCH = "amqtt.plugins.authentication.NoSuch"


def problems(path: Path, port: Any) -> list[str]:
    with pytest.raises(PluginConfigurationError) as raised:
        PluginHost.load(path, port)
    return [problem.removeprefix(f"{path}: ") for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("plugins: [", ["is not YAML: expected the node content, but found '<stream end>', line 1."]),
        ("just text", ["has to be a mapping with a plugins section."]),
        ("", ["has to be a mapping with a plugins section."]),
        ("listeners: {}", ["has no plugins section; `plugins: {}` says that there are none."]),
        (
            "auth: {plugins: [auth_file]}",
            ["auth and topic-check are amqtt's old style; name their plugins in a plugins section."],
        ),
        ("plugins: {}\nlisten: 1", ["'listen' is not a key of amqtt's configuration."]),
        ("plugins: 5", ["plugins: 5 has to be a class path with a mapping of options, or nothing."]),
        (
            "plugins: {a.B: 1, 7: {}}",
            [
                "plugins: 'a.B' has to be a class path with a mapping of options, or nothing.",
                "plugins: 7 has to be a class path with a mapping of options, or nothing.",
            ],
        ),
        ("plugins: [nowhere]", ["nowhere: nowhere doesn't look like a module path."]),
        ("plugins: [no_such_module.Plugin]", ["no_such_module.Plugin: No module named 'no_such_module'."]),
        (
            f"plugins: [{NO_SUCH}]",
            [f'{NO_SUCH}: Module "amqtt.plugins.authentication" does not define a "NoSuch" attribute/class.'],
        ),
        ("plugins: [pathlib.Path]", ["pathlib.Path: Plugin pathlib.Path is not a subclass of 'BasePlugin'."]),
        (
            f"plugins: {{{FILE_AUTH}: {{pasword: x}}}}",
            [f'{FILE_AUTH}: can not match "pasword" to any data class field.'],
        ),
        (
            f"plugins: {{{FILE_AUTH}: {{password_file: 12345}}}}",
            [f"{FILE_AUTH}: password_file has a value of the wrong type (int)."],
        ),
        (
            f"plugins: {{{FILE_AUTH}: {{password_file: /no/such/file}}, no_such_module.Plugin: }}",
            [
                f"{FILE_AUTH}: Password file '/no/such/file' not found.",
                "no_such_module.Plugin: No module named 'no_such_module'.",
            ],
        ),
    ],
)
async def test_bad_files(tmp_path: Path, port: RecordingPort, yaml: str, expected: list[str]):
    path = tmp_path / "broker.yaml"
    path.write_text(textwrap.dedent(yaml))
    assert problems(path, port) == expected
    assert all(thread.name != "plugins" for thread in threading.enumerate())


def test_with_plugins_no_password_has_to_be_set():
    environ = {"REDIS_URL": "redis://127.0.0.1:1", "BROKER_CONFIG": "broker.yaml"}
    loaded = settings.load(environ, "tcp")
    assert (loaded.broker_config, loaded.plugin_timeout_s) == ("broker.yaml", 5)


async def test_a_missing_file_and_one_that_is_not_text(tmp_path: Path, port: RecordingPort):
    assert problems(tmp_path / "none.yaml", port) == ["cannot be read: No such file or directory."]
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\xff")
    assert problems(tmp_path / "binary.yaml", port) == ["is not YAML: not UTF-8 or not readable."]
