"""Units by one gcd, against each by its own."""

from __future__ import annotations

from random import Random

from gmpy2 import mpz
from tss_testing import TINY
from zk_cases import keys

from tss.zk.common import are_units, is_unit


def test_together_as_one_by_one() -> None:
    """10^4 lists modulo a number with many small factors, its edges among them."""
    rnd, N = Random(11), mpz(3 * 5 * 7 * 11 * 13)
    verdicts = []
    for count in range(10_000):
        values = [mpz(rnd.choice([2, 4, N - 1, N - 2, rnd.randrange(1, N)])) for _ in range(count % 5)]
        if count % 7 == 0:
            values.insert(rnd.randint(0, len(values)), mpz(rnd.choice([0, -1, N, N + 1, -N, 3, N - 13])))
        verdicts.append(are_units(values, N))
        assert verdicts[-1] == all(is_unit(a, N) for a in values), (count, values)
    assert 2000 < sum(verdicts) < 9000


def test_a_factor_of_the_modulus_at_each_position() -> None:
    key, _, _, _ = keys(TINY)
    N = key.public.N
    good = [mpz(k) for k in range(2, 40)]
    assert are_units(good, N)
    assert are_units([], N)
    for at in range(len(good)):
        for bad in (key.p, 5 * key.q_, N, mpz(0), -good[at], good[at] + N):
            assert not are_units([*good[:at], bad, *good[at + 1 :]], N)
    # The product of the two is 0 mod N, not just no unit.
    assert not are_units([key.p, key.q_], N)
