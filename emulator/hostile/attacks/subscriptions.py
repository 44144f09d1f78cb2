"""Filters: long, many, deep, and changed without end."""

from __future__ import annotations

from itertools import islice, product
from typing import TYPE_CHECKING

from emulator.hostile.packets import publish, subscribe, unsubscribe
from emulator.hostile.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emulator.hostile.attack import Attack

LARGE_BYTES = 60_000
PACKET_BYTES = 1_990_000
LETTERS = b"abcdefghijklmnopqrstuvwxyz0123456789"
SHORT_FILTERS = 1000


def large_filter(name: str) -> bytes:
    """Return a filter of 60 KB."""
    return f"hostile/{name}/".encode().ljust(LARGE_BYTES, b"x")


def short_filters(client: int) -> list[bytes]:
    """Return 1,000 short filters."""
    return [b"h/%d/%d" % (client, number) for number in range(SHORT_FILTERS)]


def large(attack: Attack) -> None:
    """6 persistent sessions x 132 filters of 60 KB."""
    sessions = attack.count(6)
    for client in range(sessions):
        link = attack.client(b"hostile-large-%d" % client, is_persistent=True)
        link.send_all(subscribe(n + 1, [large_filter(f"{client}-{n}")], qos=1) for n in range(132))
    attack.settle(acknowledgements=132 * sessions)


def rewritten(attack: Attack) -> None:
    """1,000 short filters in a persistent session, then 600 SUBSCRIBE pipelined."""
    link = attack.client(b"hostile-rewritten", is_persistent=True)
    filters = short_filters(0)
    for start in range(0, SHORT_FILTERS, 100):
        link.send(subscribe(1, filters[start : start + 100]))
    attack.settle(0.5)
    total = attack.count(600)
    link.send_all(subscribe(n % 60_000 + 1, [filters[n % 1000]], qos=n & 1) for n in range(total))
    attack.settle(acknowledgements=SHORT_FILTERS + total)


def pairs_short(attack: Attack) -> None:
    """SUBSCRIBE and UNSUBSCRIBE of one short filter, in a clean and a persistent session."""
    pairs = attack.count(15_000)
    for is_persistent in (False, True):
        link = attack.client(b"hostile-pairs-%d" % is_persistent, is_persistent=is_persistent)
        pair = subscribe(1, [b"hostile/pair"]) + unsubscribe(2, [b"hostile/pair"])
        link.send_all(pair for _ in range(pairs))
    attack.settle(acknowledgements=4 * pairs)


def pairs_large(attack: Attack) -> None:
    """SUBSCRIBE and UNSUBSCRIBE of filters of 60 KB in a persistent session."""
    link = attack.client(b"hostile-pairs-large", is_persistent=True)
    pairs = attack.count(400)
    for number in range(pairs):
        filters = [large_filter(f"pair-{number % 10}")]
        link.send(subscribe(1, filters), unsubscribe(2, filters))
    attack.settle(acknowledgements=2 * pairs)


def mirrored(attack: Attack) -> None:
    """3 connections x 1,000 filters of 60 KB, in clean sessions."""
    total = attack.count(1000)
    for client in range(3):
        link = attack.client(b"hostile-mirrored-%d" % client)
        link.send_all(_large_subscribe(client, n) for n in range(total))
    attack.settle(acknowledgements=3 * total)


def _large_subscribe(client: int, number: int) -> bytes:
    return subscribe(number + 1, [large_filter(f"{client}-{number}")])


def many(attack: Attack) -> None:
    """200 clients x 1,000 short filters."""
    clients = attack.count(200)
    for client in range(clients):
        link = attack.client(b"hostile-many-%d" % client)
        filters = short_filters(client)
        link.send(*(subscribe(1, filters[start : start + 100]) for start in range(0, SHORT_FILTERS, 100)))
    attack.settle(acknowledgements=clients * SHORT_FILTERS)


def packed(attack: Attack) -> None:
    """SUBSCRIBE of 2 MB with filters of 4 bytes."""
    link = attack.client(b"hostile-packed", is_persistent=True)
    filters = (bytes(letters) for letters in product(LETTERS, repeat=4))
    fitting = PACKET_BYTES // 7
    for _ in range(attack.count(5)):
        link.send(subscribe(1, islice(filters, fitting)))
    attack.settle()


def deep(attack: Attack) -> None:
    """Filters with 64 levels, some with a wildcard in each."""
    for client in range(attack.count(50)):
        link = attack.client(b"hostile-deep-%d" % client)
        link.send_all(subscribe(1, [_levels(client, n)]) for n in range(500))
    attack.settle()


def _levels(client: int, number: int) -> bytes:
    return b"/".join([b"%d" % client, b"%d" % number, *([b"+", b"level"][number & 1] for _ in range(62))])


def branching(attack: Attack) -> None:
    """Filters of + and a word at each level, so that one topic can be looked for on many ways."""
    for client in range(attack.count(20)):
        link = attack.client(b"hostile-branching-%d" % client)
        chosen = (b"/".join(attack.random.choices((b"+", b"a"), k=24)) for _ in range(500))
        link.send_all(subscribe(1, [each]) for each in chosen)
    attack.settle(0.5)
    publisher = attack.client(b"hostile-branching-publisher")
    publisher.send_all(publish(b"/".join([b"a"] * 23 + [b"%d" % (n % 10)])) for n in range(attack.count(500)))
    attack.settle()


def retained_lookups(attack: Attack) -> None:
    """One SUBSCRIBE of # again and again, while many messages are retained."""
    publisher = attack.client(b"hostile-retainer")
    attack.topics = [b"hostile/retained/%d" % n for n in range(attack.count(3000))]
    publisher.send_all(
        publish(topic, b"x" * 500, qos=1, packet_id=n + 1, is_retained=True) for n, topic in enumerate(attack.topics)
    )
    attack.settle(0.5)
    link = attack.client(b"hostile-lookups")
    link.send_all(_lookups(attack.count(2000)))
    attack.settle()


def _lookups(count: int) -> Iterator[bytes]:
    return (subscribe(number + 1, [b"#"]) for number in range(count))


SCENARIOS = (
    Scenario("filters-large", "6 persistent sessions x 132 filters of 60 KB", "bytes of filters", large),
    Scenario(
        "filters-rewritten", "600 SUBSCRIBE pipelined in a session of 1,000 filters", "work of a change", rewritten
    ),
    Scenario("filters-pairs", "2 x 15,000 SUBSCRIBE + UNSUBSCRIBE pipelined", "work of a change", pairs_short),
    Scenario("filters-pairs-large", "400 such pairs with filters of 60 KB", "bytes of a commit", pairs_large),
    Scenario("filters-mirrored", "3 clean sessions x 1,000 filters of 60 KB", "bytes of filters", mirrored),
    Scenario("filters-many", "200 clients x 1,000 short filters", "filters of all sessions", many),
    Scenario("filters-packed", "5 SUBSCRIBE of 2 MB with filters of 4 bytes", "filters of a packet", packed),
    Scenario("filters-deep", "50 clients x 500 filters with 64 levels", "levels of a filter", deep),
    Scenario("filters-branching", "10,000 filters of + and a, topics of 24 levels", "work of a match", branching),
    Scenario(
        "retained-lookups", "2,000 SUBSCRIBE of # with 3,000 messages retained", "look-ups under way", retained_lookups
    ),
)
