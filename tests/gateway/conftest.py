from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gateway_process import GatewayProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway with a Procfile of small processes, not started yet."""
    made = GatewayProcess(tmp_path)
    yield made
    made.clean_up()
