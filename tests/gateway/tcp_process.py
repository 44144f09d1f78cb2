"""A small `tcp` process that the gateway's tests start through a Procfile.

It answers each line: `who` with its CONTAINER and process id, `peer` with the address it sees, `env` and `size` with what
the platform sets, `close` by closing, `exit N` by ending, `flood N` with N bytes, `sink` by reading on without an answer;
any other line with itself. Before that, `hold N` keeps N bytes, `spike N` has them for a moment, `child N` has a child that
keeps them. On SIGTERM it closes its connections and ends with status 0. The file `mode` in its folder makes it another
one: `deaf` does nothing on SIGTERM, `default` what the system does, `broken` ends before it listens, `late` never listens.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

ENVIRON = os.environ  # noqa: TID251  it is what an entry point reads
MODE = Path("mode").read_text() if Path("mode").exists() else ""
HELD: list[object] = []
CHILD = "import sys, time; held = b'x' * int(sys.argv[1]); print(flush=True); time.sleep(600)"


def child(size: int) -> None:
    HELD.append(subprocess.Popen([sys.executable, "-c", CHILD, str(size)]))


HOLDERS = {
    "hold": lambda size: HELD.append(b"x" * size),
    "spike": lambda size: len(b"x" * size),
    "child": child,
}


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        verb, *rest = line.decode().split() or [""]
        if verb == "close":
            break
        if verb == "exit":
            os._exit(int(rest[0]))
        if verb == "sink":
            await reader.read()
            break
        writer.write(answer(verb, rest, writer) or line)
        await writer.drain()
    writer.close()


def answer(verb: str, rest: list[str], writer: asyncio.StreamWriter) -> bytes:
    answers = {
        "who": f"{ENVIRON['CONTAINER']} {os.getpid()}\n",
        "peer": f"{writer.get_extra_info('peername')[0]}\n",
        "env": f"{ENVIRON['CONTAINER']} {ENVIRON['PORT']} {ENVIRON['TCP_URL']} {ENVIRON.get('OWN')}\n",
        "size": f"{ENVIRON.get('CONTAINER_MEMORY')}\n",
    }
    if verb in HOLDERS:
        HOLDERS[verb](int(rest[0]))
    if verb == "flood":
        return b"x" * int(rest[0])
    return answers.get(verb, "").encode()


async def main() -> None:
    if MODE == "broken":
        sys.exit(3)
    stopped = asyncio.Event()
    if MODE == "deaf":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: None)
    elif MODE != "default":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        await converse(reader, writer)
        writers.discard(writer)

    if MODE != "late":
        await asyncio.start_server(serve, ENVIRON["HOST"], int(ENVIRON["PORT"]))
        print("listens", flush=True)
    await stopped.wait()
    for writer in writers:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)
    os._exit(0)


asyncio.run(main())
