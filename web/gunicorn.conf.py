# ruff: noqa: N999  gunicorn names its configuration so
"""How gunicorn serves the dashboard: threads, so that open event streams never starve pages or /healthz, and request
buffering, so that slow clients do not hold them (docs/decisions/0010).

Bad settings end the start here, in the first process, with one line for each.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from web.environment import settings_or_exit

if TYPE_CHECKING:
    from types import FrameType

_settings = settings_or_exit()

bind = f"{_settings.host}:{_settings.port}"
worker_class = "web.serving.worker.RequestBufferingWorker"
workers = _settings.web_concurrency
threads = _settings.web_threads
worker_connections = threads + 300  # each costs up to 16 KiB here and 256 KiB in the kernel
worker_tmp_dir = "/dev/shm"  # noqa: S108  heartbeats in memory: a slow disk must not make a worker look dead
loglevel = _settings.log_level.lower()
graceful_timeout = 10  # s; the platform kills 30 s after SIGTERM
sendfile = False  # Python's waits for a writable socket once more when all is sent
control_socket_disable = True


def post_worker_init(worker: Any) -> None:
    """End the worker's event streams as soon as SIGTERM arrives; gunicorn itself would wait for them in vain."""
    tailer = worker.wsgi.extensions["tailer"]

    def end_streams(signal_number: int, frame: FrameType | None) -> None:
        tailer.close()
        worker.handle_exit(signal_number, frame)

    signal.signal(signal.SIGTERM, end_streams)
