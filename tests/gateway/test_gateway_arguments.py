from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from emulator.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Procfile").write_text("tcp: true\n")
    (tmp_path / "WebOnly").write_text("web: gunicorn\nnot-tcp: true\n")
    (tmp_path / "script").write_text("at 1 explode\n")
    return tmp_path


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--procfile", "nowhere/Procfile"], "nowhere/Procfile: No such file or directory"),
        (["--procfile", "WebOnly"], "WebOnly has no line `tcp: COMMAND`: the gateway has nothing to start"),
        (["--port", "65536"], "invalid port number value: '65536'"),
        (["--containers", "0"], "invalid number from 1 to 100 value: '0'"),
        (["--rate", "0"], "invalid number above 0 value: '0'"),
        (["--schedule", "script"], "--schedule script: line 1: 'explode' is no action"),
        (["--schedule", "nowhere"], "--schedule nowhere: No such file or directory"),
        (["--chaos", "1", "--chaos-actions", "kill,explode"], "--chaos-actions: use some of deploy"),
        (["explode"], "'explode' is no action"),
    ],
)
def test_a_bad_argument_is_named_and_ends_with_status_2(
    folder: Path, argv: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        main(["gateway", *argv])
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("where", [["--control", "/tmp/" + "x" * 120], ["--output", "/nowhere/file"]])
def test_a_path_that_cannot_be_used_is_one_line(folder: Path, where: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(["gateway", "--port", "0", *where]) == 1
    error = capsys.readouterr().err
    assert error.startswith(" ".join(where))
    assert len(error.splitlines()) == 1
