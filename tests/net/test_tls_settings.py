"""A broker with a bad certificate, key or authority does not start, and says why in one line for each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from settings import SettingsError, load

if TYPE_CHECKING:
    from certificates import Authority, Certificate

ROOT = Path(__file__).resolve().parents[2]
BASE = {"REDIS_URL": "redis://127.0.0.1:1", "ALLOW_ANONYMOUS": "true"}


def problems(**environ: str) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load({**BASE, **environ}, "tcp")
    return raised.value.problems


@pytest.mark.parametrize("value", ["nowhere.pem", "/", "\0", "x" * 5000, "-----BEGIN CERTIFICATE-----\nAAAA\n"])
@pytest.mark.parametrize("name", ["TLS_CERT", "TLS_CLIENT_CA", "TLS_KEY"])
def test_what_is_no_pem_is_named(name: str, value: str) -> None:
    (problem,) = problems(**{name: value})
    assert problem.startswith(f"{name}: ")
    assert "\n" not in problem


def test_every_bad_value_has_its_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"\xff")
    found = problems(
        TLS_CERT=str(empty),
        TLS_KEY=str(empty),
        TLS_CLIENT_CA=str(empty),
        TLS_CLIENT_CERT="maybe",
        ALLOW_PLAIN_TEXT="no!",
    )
    names = ["TLS_CERT", "TLS_KEY", "TLS_CLIENT_CA", "TLS_CLIENT_CERT", "ALLOW_PLAIN_TEXT"]
    assert [problem.split(":")[0] for problem in found] == names
    assert str(empty) not in found[1]  # a secret's value is never shown


def test_what_belongs_together_is_set_together(authority: Authority, server_certificate: Certificate) -> None:
    certificate, key = str(server_certificate.certificate), str(server_certificate.key)
    pair = {"TLS_CERT": certificate, "TLS_KEY": key}
    assert problems(TLS_CERT=certificate) == ["TLS_KEY is not set, but its counterpart is: set both."]
    assert problems(TLS_KEY=key) == ["TLS_CERT is not set, but its counterpart is: set both."]
    assert problems(ALLOW_PLAIN_TEXT="false")[0].startswith("ALLOW_PLAIN_TEXT is false, but TLS_CERT is not set")
    assert problems(**pair, TLS_CLIENT_CERT="required")[0].startswith("TLS_CLIENT_CERT needs TLS_CLIENT_CA")
    unasked = problems(**pair, TLS_CLIENT_CA=str(authority.own.certificate))
    assert unasked[0].startswith("TLS_CLIENT_CA is set, but clients are not asked")


def start_output(**environ: str) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-m", "broker"],
        check=False,
        env={**BASE, **environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
    )
    return ended.returncode, ended.stderr


def test_a_key_of_another_certificate_stops_the_start(
    server_certificate: Certificate, client_certificate: Certificate
) -> None:
    code, output = start_output(TLS_CERT=str(server_certificate.certificate), TLS_KEY=str(client_certificate.key))
    assert code == 2
    (line,) = output.splitlines()
    assert "ERROR TLS_KEY: its value cannot be used" in line
    assert "KEY_VALUES_MISMATCH" in line


def test_a_key_with_a_password_stops_the_start(server_certificate: Certificate, tmp_path: Path) -> None:
    """OpenSSL would ask for the password on the terminal and wait."""
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkcs8", "-topk8", "-in", server_certificate.key, "-passout", "pass:secret", "-out", locked]
    subprocess.run(command, check=True, capture_output=True, timeout=20)
    code, output = start_output(TLS_CERT=str(server_certificate.certificate), TLS_KEY=locked.read_text())
    assert code == 2
    (line,) = output.splitlines()
    assert "the key needs a password" in line
