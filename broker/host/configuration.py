"""Reads BROKER_CONFIG, a YAML file in the format of amqtt's broker. Only its `plugins` section has an effect here.

    plugins:
      amqtt.plugins.authentication.FileAuthPlugin:
        password_file: passwords.txt
      my_package.my_module.MyPlugin:

Loads no plugin and no part of amqtt; `loading` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from broker.host.interface import PluginConfigurationError

NOT_HONOURED = {
    "listeners": "the platform gives one port; see PORT, HOST and MAX_CONNECTIONS",
    "sys_interval": "the broker publishes $SYS itself",
    "timeout_disconnect_delay": "keep-alive is the specification's: one and a half times what the client asked for",
    "session_expiry_interval": "see MAX_SESSION_EXPIRY_S",
    "auth": "amqtt ignores it too where there is a plugins section",
    "topic-check": "amqtt ignores it too where there is a plugins section",
    "topic_check": "amqtt ignores it too where there is a plugins section",
}
OLD_STYLE = {"auth", "topic-check", "topic_check"}
NOT_NEEDED = {
    "amqtt.plugins.sys.broker.BrokerSysPlugin": "the broker publishes $SYS itself",
    "amqtt.contrib.persistence.SessionDBPlugin": "sessions and retained messages are kept in Redis",
}


@dataclass(frozen=True)
class PluginConfiguration:
    """Each plugin's class path with its options, in the file's order, and what to say in the log."""

    plugins: dict[str, dict[str, Any]]
    notes: tuple[str, ...]


def read_configuration(path: str | Path) -> PluginConfiguration:
    """Read and check the file. Raises PluginConfigurationError."""
    content = _content(path)
    problems = [f"{path}: {key!r} is not a key of amqtt's configuration." for key in content if not _is_known(key)]
    if content.get("plugins") is None:
        problems.append(f"{path}: {_no_plugins(content)}")
        raise PluginConfigurationError(problems)
    plugins = _plugins(path, content["plugins"], problems)
    if problems:
        raise PluginConfigurationError(problems)
    notes = [f"{key} has no effect: {why}." for key, why in NOT_HONOURED.items() if content.get(key) is not None]
    notes += [f"{name} is not needed: {why}." for name, why in NOT_NEEDED.items() if name in plugins]
    return PluginConfiguration(
        {name: options for name, options in plugins.items() if name not in NOT_NEEDED}, tuple(notes)
    )


def _content(path: str | Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise PluginConfigurationError([f"{path}: cannot be read: {error.strerror}."]) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PluginConfigurationError([f"{path}: is not YAML: {_where(error)}."]) from error
    if not isinstance(content, dict):
        raise PluginConfigurationError([f"{path}: has to be a mapping with a plugins section."])
    return content


def _where(error: Exception) -> str:
    # The error's own text quotes the lines around it, which can hold secrets.
    mark = getattr(error, "problem_mark", None)
    return (
        f"{getattr(error, 'problem', None)}, line {mark.line + 1}" if mark is not None else "not UTF-8 or not readable"
    )


def _is_known(key: object) -> bool:
    return key == "plugins" or key in NOT_HONOURED


def _no_plugins(content: dict[str, Any]) -> str:
    if OLD_STYLE & content.keys():
        return "auth and topic-check are amqtt's old style; name their plugins in a plugins section."
    # amqtt would load its defaults, which let everybody in.
    return "has no plugins section; `plugins: {}` says that there are none."


def _plugins(path: str | Path, section: object, problems: list[str]) -> dict[str, dict[str, Any]]:
    plugins: dict[str, dict[str, Any]] = {}
    for name, options in _entries(section):
        if not isinstance(name, str) or not isinstance(options, dict | None):
            problems.append(f"{path}: plugins: {name!r} has to be a class path with a mapping of options, or nothing.")
        else:
            plugins[name] = {str(key): value for key, value in (options or {}).items()}
    return plugins


def _entries(section: object) -> list[tuple[object, object]]:
    """Return name and options of each plugin; amqtt also takes a list of names and of mappings."""
    if isinstance(section, dict):
        return list(section.items())
    if not isinstance(section, list):
        return [(section, None)] if isinstance(section, str) else [(section, section)]
    return [entry for item in section for entry in (item.items() if isinstance(item, dict) else [(item, None)])]
