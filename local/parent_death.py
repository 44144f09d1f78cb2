"""Children that end when their parent does, however it ended (Linux: prctl(2), PR_SET_PDEATHSIG).

Runs as a script between parent and child: it asks the kernel for the signal, then becomes the command. Code between
fork and exec in the parent itself (`preexec_fn`) would not be safe in a process that has threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
COMMAND_NOT_FOUND = 127


def ending_with_parent(command: list[str], signal_number: signal.Signals) -> list[str]:
    """Return a command line that runs `command` and has the kernel send it `signal_number` when the caller dies.

    The kernel watches the thread that starts it: start it from one that lives as long as the process. Where there is
    no prctl, the command line itself is returned.
    """
    if sys.platform != "linux":
        return command
    return [sys.executable, "-I", "-S", __file__, str(int(signal_number)), str(os.getpid()), *command]


def _become(signal_number: int, parent: int, command: list[str]) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:  # it died before the line above
        os.kill(os.getpid(), signal_number)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would pass that on
    try:
        os.execvp(command[0], command)  # noqa: S606  there is no shell to quote for
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(COMMAND_NOT_FOUND)


if __name__ == "__main__":
    _become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
