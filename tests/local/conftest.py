from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from launched import Launched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Callable[[str], Launched]]:
    """Make a folder with this Procfile, ready to be started."""
    made: list[Launched] = []

    def make(procfile: str) -> Launched:
        made.append(Launched(tmp_path, procfile))
        return made[-1]

    yield make
    for launcher in made:
        launcher.clean_up()
