"""Loads plugins with amqtt's own PluginManager, one manager a plugin, so that every bad one is reported and not just the first.

The only place that knows how amqtt finds plugins and what it raises.
"""

from __future__ import annotations

import enum
import logging
import typing
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from amqtt.contexts import BrokerConfig
from amqtt.errors import PluginError, PluginLoadError
from amqtt.events import MQTTEvents
from amqtt.plugins.logging_amqtt import EventLoggerPlugin
from amqtt.plugins.manager import PluginManager
from amqtt.utils import import_string
from dacite.exceptions import WrongTypeError

from broker.host.interface import Event, PluginConfigurationError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Mapping

    from amqtt.plugins.base import BasePlugin

    from broker.host.broker_context import PluginContext

    Handlers = dict[Event, Callable[..., Coroutine[Any, Any, None]]]

NAMESPACE = "amqtt.broker.plugins"  # the name of its loggers too
LOGGED_ABOVE_DEBUG = {Event.CLIENT_CONNECTED, Event.CLIENT_DISCONNECTED}


def load_plugins(
    plugins: Mapping[str, dict[str, Any]], context: PluginContext, loop: asyncio.AbstractEventLoop
) -> list[BasePlugin]:
    """Return a plugin for each class path with its options, in their order. Call it in `loop`, which they will run in.

    Raises PluginConfigurationError with one line for each plugin that cannot be used.
    """
    loaded: list[BasePlugin] = []
    problems: list[str] = []
    for path, options in plugins.items():
        try:
            context.config = BrokerConfig(plugins={path: _with_enums(path, options)})
            loaded += PluginManager(NAMESPACE, context, loop).plugins
        except Exception as error:  # noqa: BLE001  a plugin's module and __init__ may raise anything
            problems.append(f"{path}: {_reason(error)}.")
    if problems:
        raise PluginConfigurationError(problems)
    return loaded


def _with_enums(path: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return options with words made the enum members they stand for: amqtt's HTTP plugins want them, YAML has none."""
    try:
        wanted = typing.get_type_hints(import_string(path).Config)
    except (ImportError, AttributeError, NameError, TypeError):
        return options  # the PluginManager says what is wrong with it
    return {name: _as_enum(wanted.get(name), value) for name, value in options.items()}


def _as_enum(wanted: object, value: Any) -> Any:
    if not (isinstance(wanted, type) and issubclass(wanted, enum.Enum)) or isinstance(value, wanted):
        return value
    try:
        return wanted(value)
    except ValueError:
        raise PluginLoadError(f"{value!r} is none of {', '.join(str(each.value) for each in wanted)}") from None


def _reason(error: Exception) -> str:
    cause = error.__cause__
    if isinstance(cause, WrongTypeError):  # its own text shows the value, which can be a secret
        return f"{cause.field_path} has a value of the wrong type ({type(cause.value).__name__})"
    if isinstance(error, PluginError | PluginLoadError):
        return str(cause or error).rstrip(".")
    return f"{type(error).__name__}: {error}"


def handlers_of(plugin: BasePlugin) -> Handlers:
    """Return the plugin's `on_broker_…` coroutines. Raises PluginConfigurationError where one is not a coroutine."""
    handlers: Handlers = {}
    for event in Event:
        handler = getattr(plugin, f"on_{event}", None)
        if handler is not None and not iscoroutinefunction(handler):
            raise PluginConfigurationError([f"{type(plugin).__name__}: on_{event} is not a coroutine."])
        if handler is not None and _is_wanted(plugin, event):
            handlers[event] = handler
    return handlers


def _is_wanted(plugin: BasePlugin, event: Event) -> bool:
    # amqtt's event logger takes everything and drops all but two kinds; messages would cost for nothing.
    is_silent = isinstance(plugin, EventLoggerPlugin) and not plugin.context.logger.isEnabledFor(logging.DEBUG)
    return not is_silent or event in LOGGED_ABOVE_DEBUG


def hears_packets(plugin: BasePlugin) -> bool:
    """Tell whether a plugin listens to `on_mqtt_packet_…`, which the broker does not call."""
    return any(hasattr(type(plugin), f"on_{event}") for event in MQTTEvents)
