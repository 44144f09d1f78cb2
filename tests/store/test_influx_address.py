"""What INFLUX_URL says; what it may not say is in tests/test_settings.py."""

from __future__ import annotations

from base64 import b64decode

import pytest

from store.influx_address import InfluxAddress, parse_influx_url


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (
            "http://user:p%40ss%2Fword@host.example:30104/my%20db",
            InfluxAddress("host.example", 30104, False, "my db", "user", "p@ss/word"),
        ),
        ("https://host/db/", InfluxAddress("host", 443, True, "db")),
        ("http://host/db", InfluxAddress("host", 80, False, "db")),
        ("http://[::1]:8086/db", InfluxAddress("::1", 8086, False, "db")),
        ("https://host:8086?org=my%20org&bucket=b", InfluxAddress("host", 8086, True, org="my org", bucket="b")),
        ("https://host/?bucket=b&org=o", InfluxAddress("host", 443, True, org="o", bucket="b")),
    ],
)
def test_both_forms_are_read(url: str, address: InfluxAddress):
    assert parse_influx_url(url) == address


def test_where_points_go_in_1_x():
    address = parse_influx_url("http://us%3Aer:p%C3%BC@host/d%26b")
    assert address.write_target == "/write?db=d%26b&precision=ns"
    assert address.create_target == "/query?q=CREATE+DATABASE+%22d%26b%22"
    assert not address.needs_token
    scheme, _, login = address.authorization("")["Authorization"].partition(" ")
    assert (scheme, b64decode(login).decode()) == ("Basic", "us:er:pü")
    assert parse_influx_url("http://host/db").authorization("") == {}


def test_where_points_go_in_2_x():
    address = parse_influx_url("http://host?org=o&bucket=b%2Fautogen")
    assert address.write_target == "/api/v2/write?org=o&bucket=b%2Fautogen&precision=ns"
    assert address.needs_token
    assert address.authorization("t0k3n==") == {"Authorization": "Token t0k3n=="}


def test_the_password_is_not_in_its_text():
    assert "hidden" not in str(parse_influx_url("http://user:hidden@host/db"))
