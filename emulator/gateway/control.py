"""The control socket: one line in (`deploy`), the answer out, then the connection is closed."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from emulator.gateway.actions import parse_action
from emulator.gateway.formation import ActionError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from emulator.gateway.actions import Action

DONE, FAILED = "done ", "failed "  # an answer begins with one of them
LONGEST_LINE_BYTES = 1024
LINE_TIMEOUT_S = 10
MAX_PATH_BYTES = 100  # the kernel's limit is 107
OWNER_ONLY = 0o077


class ControlError(Exception):
    """The control socket cannot be used; the message is one line."""


class Control:
    """Serves `perform` on a Unix socket that only its owner can use."""

    def __init__(self, path: Path, perform: Callable[[Action], Awaitable[str]]) -> None:
        self._path = path
        self._perform = perform
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen. Raises ControlError, also when another gateway answers there."""
        if _answers(self._path):
            raise ControlError(f"{self._path} belongs to a gateway that runs: stop that one, or choose --control PATH")
        umask = os.umask(OWNER_ONLY)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, self._path, limit=LONGEST_LINE_BYTES)
        except OSError as error:
            raise ControlError(f"--control {self._path}: {error.strerror or error}") from None
        finally:
            os.umask(umask)

    def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, ValueError):  # ValueError: a line that is too long
            line = await asyncio.wait_for(reader.readline(), LINE_TIMEOUT_S)
            writer.write((await self._answer(line.decode(errors="replace"))).encode())
            await writer.drain()
        writer.close()

    async def _answer(self, line: str) -> str:
        try:
            return DONE + await self._perform(parse_action(line.split()))
        except (ActionError, ValueError) as error:
            return FAILED + str(error)


def ask(path: Path, action: Action) -> str:
    """Have the gateway at `path` do `action` and return its answer, however long that takes.

    Raises ControlError when there is no gateway, ActionError when it could not do it.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(os.fspath(path))
            connection.sendall(f"{action}\n".encode())
            with connection.makefile() as answers:
                answer = answers.read()
    except OSError as error:
        raise ControlError(f"no gateway at {path}: {error.strerror or error}") from None
    if answer.startswith(DONE):
        return answer.removeprefix(DONE)
    raise ActionError(answer.removeprefix(FAILED) or "the gateway ended before it answered")


def _answers(path: Path) -> bool:
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise ControlError(f"--control {path}: a socket's path may have {MAX_PATH_BYTES} bytes")
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(os.fspath(path)) == 0
