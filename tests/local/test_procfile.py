from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.procfile import read_procfile

if TYPE_CHECKING:
    from pathlib import Path


def test_types_keep_their_order_and_commands_their_colons(tmp_path: Path):
    path = tmp_path / "Procfile"
    path.write_text("# comment\ntcp: python -m broker\n\nweb:gunicorn a:b\npostdeploy: once\n")
    assert list(read_procfile(path).items()) == [("tcp", "python -m broker"), ("web", "gunicorn a:b")]


@pytest.mark.parametrize("line", ["web", "web:", "we b: x", "my-worker: x"])
def test_a_line_that_is_no_process_type_is_named(tmp_path: Path, line: str):
    path = tmp_path / "Procfile"
    path.write_text(f"tcp: x\n{line}\n")
    with pytest.raises(ValueError, match="Procfile line 2"):
        read_procfile(path)
