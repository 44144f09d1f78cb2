"""Accounts refuse what crosses a bound, leave room for small holders, and forget nothing."""

from broker.accounts import SHARES, SMALL_HOLDER_BYTES, Account, BoundedCache

KIB = 1024


def test_charges_and_refunds_add_up():
    account = Account("subscriptions", 8 * 64 * KIB)
    assert account.charge(1000)
    account.adopt(50)
    account.refund(1000)
    assert (account.used_bytes, account.refused) == (50, 0)


def test_one_holder_gets_an_eighth_at_most():
    account = Account("subscriptions", SHARES * 64 * KIB)
    assert account.charge(64 * KIB)
    assert not account.charge(1, held_bytes=64 * KIB)
    assert (account.used_bytes, account.refused) == (64 * KIB, 1)


def test_the_last_eighth_is_for_small_holders():
    account = Account("subscriptions", SHARES * 64 * KIB)
    for _ in range(SHARES - 1):
        assert account.charge(64 * KIB)
    assert not account.charge(SMALL_HOLDER_BYTES + 1)
    small = 0
    while account.charge(SMALL_HOLDER_BYTES):
        small += 1
    assert small == 64 * KIB // SMALL_HOLDER_BYTES
    assert account.is_full


def test_what_was_accepted_before_is_never_refused():
    account = Account("subscriptions", 100)
    account.adopt(1000)
    assert account.used_bytes == 1000
    assert not account.charge(1)


def test_a_cache_stays_within_its_bytes():
    cache = BoundedCache(10 * KIB)
    for number in range(1000):
        cache.put(number, str(number), 100)
        assert cache.used_bytes <= 10 * KIB
    assert 0 < len(cache.entries) <= 102
    cache.put("large", "", 5 * KIB)
    assert "large" not in cache.entries
