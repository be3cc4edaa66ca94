"""The gauge: open interest rounded up in 23 bits, and the stable price's flag."""

from __future__ import annotations

from random import Random

from risk.exact.market import gauge


def test_rounds_up_by_less_than_one_part_in_32768() -> None:
    rng = Random(1)
    values = [0, 1, 0xFFFF, 0x10000, 0x10001, 2**104 - 1, *(2**i - 1 for i in range(105))]
    values += [rng.getrandbits(rng.randint(1, 104)) for _ in range(5_000)]
    for value in values:
        for apart in (False, True):
            word = gauge.encode(value, apart)
            assert 0 <= word < 2**24
            assert gauge.stable_apart(word) == apart
            found = gauge.open_interest(word)
            assert value <= found <= value + value // 2**15
            # the smallest that can be written: one less does not cover it
            if found > value:
                step = 1 << (word >> 17)
                assert found - step < value


def test_monotone() -> None:
    last = 0
    for value in range(0, 2**20, 37):
        found = gauge.open_interest(gauge.encode(value, False))
        assert found >= last
        last = found
