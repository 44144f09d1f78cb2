"""One container's life, with times that a test can wait for."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from gateway_process import TCP_PROCESS, is_alive

from emulator.gateway.console import Console
from emulator.gateway.container import BootError, Container
from emulator.gateway.cool_off import after_crash_s, after_failed_boot_s
from tests.broker.broker_process import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

COMMAND = f"{sys.executable} {TCP_PROCESS}"


@pytest.fixture
async def container(tmp_path: Path) -> AsyncIterator[Container]:
    made = Container(1, Console(), None)
    yield made
    if made.pid:
        made.kill()
        await made.ended.wait()


async def start(container: Container, folder: Path, mode: str, command: str = COMMAND) -> None:
    (folder / "mode").write_text(mode)
    await container.start(command, folder, {"PATH": os.defpath})


async def test_one_that_leaves_in_time_is_not_killed(container: Container, tmp_path: Path):
    await start(container, tmp_path, "")
    await container.await_ready(20)
    await container.leave(20)
    assert (container.status, container.was_killed_late) == (0, False)


async def test_one_that_does_not_leave_is_killed(container: Container, tmp_path: Path):
    await start(container, tmp_path, "deaf")
    await container.await_ready(20)
    await container.leave(0.2)
    assert (container.status, container.was_killed_late) == (-9, True)


async def test_one_that_never_listens_is_refused(container: Container, tmp_path: Path):
    await start(container, tmp_path, "late")
    with pytest.raises(BootError, match=r"tcp-1\[\d+\] accepted no connection on PORT within 0.5 s"):
        await container.await_ready(0.5)


async def test_a_command_that_is_not_there_is_refused(container: Container, tmp_path: Path):
    await start(container, tmp_path, "", "no-such-command")
    with pytest.raises(BootError, match="ended with status 127 before it accepted a connection"):
        await container.await_ready(20)


async def test_what_else_runs_in_it_ends_with_its_first_process(container: Container, tmp_path: Path):
    script = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid, file=open('child', 'w'))"
    await start(container, tmp_path, "", f'{sys.executable} -c "{script}"')
    await container.ended.wait()
    child = int((tmp_path / "child").read_text())
    eventually(lambda: not is_alive(child), "its child has ended too")


def test_a_crashing_container_waits_longer_each_time():
    assert [after_crash_s(crashes) for crashes in (1, 2, 3, 12, 13)] == [0, 300, 600, 3300, None]


def test_a_container_that_does_not_boot_is_tried_twenty_times():
    pauses = [after_failed_boot_s(boots) for boots in range(1, 21)]
    assert pauses[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert pauses[18:] == [60, None]
