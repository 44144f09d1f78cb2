from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mosquitto import Mosquitto, Subscriber

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def subscriber(mosquitto: Mosquitto) -> Iterator[Subscriber]:
    watcher = Subscriber(mosquitto.port)
    yield watcher
    watcher.close()
