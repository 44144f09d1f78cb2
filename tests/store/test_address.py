from __future__ import annotations

import pytest

from store.address import Server, parse_address


@pytest.mark.parametrize("url", ["redis://:p@h:1/2", "rediss://h", "unix:///s.sock?db=1"])
def test_one_server_keeps_its_url(url: str) -> None:
    address = parse_address(url)
    assert (address.kind, address.any_server_url) == ("server", url)


@pytest.mark.parametrize(
    ("url", "servers", "master_name"),
    [
        ("redis+cluster://a:1,b:2", (("a", 1), ("b", 2)), ""),
        ("redis+cluster://user:p,w@a,[::1]:2", (("a", 6379), ("::1", 2)), ""),
        ("redis+sentinel://a,b:2/main", (("a", 26379), ("b", 2)), "main"),
    ],
)
def test_several_servers_are_listed(url: str, servers: tuple[Server, ...], master_name: str) -> None:
    address = parse_address(url)
    assert (address.servers, address.master_name) == (servers, master_name)


@pytest.mark.parametrize(
    ("url", "server_url"),
    [
        ("redis+cluster://a:1,b:2", "redis://c:3"),
        ("rediss+cluster://u:p@a:1,b:2?ssl_cert_reqs=none", "rediss://u:p@c:3?ssl_cert_reqs=none"),
        ("redis+sentinel://:p@a:1,b:2/main/4", "redis://:p@c:3/4"),
    ],
)
def test_each_server_is_reached_the_same_way(url: str, server_url: str) -> None:
    assert parse_address(url).server_url(("c", 3)) == server_url
