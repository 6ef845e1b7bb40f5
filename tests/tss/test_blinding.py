"""Blinded decryption: the plaintext is the plain formula's, and no secret power sees one input twice."""

from __future__ import annotations

import threading

import gmpy2
import pytest
from tss_testing import TESTING_SECP, TESTING_TINY, SeededRng, paillier_key

from tss.blinding import MULTIPLIER_BITS, USES, Blinding
from tss.modexp import own
from tss.paillier import PaillierSecret
from tss.params import LEVEL_128
from tss.rand import plus_minus, unit

KEY = paillier_key(TESTING_TINY)
N = KEY.public.N


def unblinded(key, C):
    """Decryption as protocol.md 0.3 writes it."""
    p, q_ = key.p, key.q_
    m_p, m_q = (
        (gmpy2.powmod(C, r - 1, r * r) - 1) // r * gmpy2.invert(-s, r) % r for r, s in ((p, q_), (q_, p))
    )
    m = m_p + (m_q - m_p) * gmpy2.invert(p, q_) % q_ * p
    return m - p * q_ if m > p * q_ // 2 else m


@pytest.mark.parametrize(
    ("level", "rounds"), [(TESTING_TINY, 3 * USES), (TESTING_SECP, 3), (LEVEL_128, 2)], ids=["t", "s", "f"]
)
def test_the_plaintext_is_the_plain_formulas(level, rounds):
    key, rng = paillier_key(level), SeededRng(("blinded", level.name))
    for _ in range(rounds):
        m = plus_minus(rng, key.public.half)
        C = key.public.enc(m, key.public.nonce(rng))
        assert key.dec(C) == unblinded(key, C) == m, rng
        other = unit(rng, key.public.N2)
        assert key.dec(other) == unblinded(key, other), rng


def test_a_mask_is_an_encryption_and_its_multipliers_have_one_length():
    blinding, C = Blinding(KEY.own), KEY.public.enc(5, 3)
    masks = [blinding.draw(C) for _ in range(2 * USES + 1)]
    for mask in masks:
        assert unblinded(KEY, mask.factor) % N == mask.a
        for k, prime in ((mask.k_p, KEY.p), (mask.k_q, KEY.q_)):
            assert k.bit_length() == MULTIPLIER_BITS
            assert k % prime
    for values in zip(*((m.a, m.factor, m.k_p, m.k_q) for m in masks), strict=True):
        assert len(set(values)) == len(masks), "a value was drawn twice"


def test_masks_are_the_keys_the_counters_and_the_ciphertexts():
    def drawn(key, *ciphertexts):
        blinding = Blinding(key.own)
        return [blinding.draw(C) for C in ciphertexts]

    C, D = KEY.public.enc(5, 3), KEY.public.enc(5, 7)
    assert drawn(KEY, C, D) == drawn(KEY, C, D)
    assert drawn(KEY, C)[0].a != drawn(KEY, D)[0].a
    assert drawn(KEY, C, C)[1].k_p != drawn(KEY, C, D)[1].k_p
    assert drawn(KEY, C)[0].a != drawn(paillier_key(TESTING_TINY, 1), C)[0].a


@pytest.mark.attack("E2")
def test_no_secret_power_sees_a_ciphertext_or_an_exponent_twice(monkeypatch):
    """The same ciphertext again and again: base and exponent of every power differ, and are not those of the formula."""
    seen = []

    def watched(powers):
        seen.extend(tuple(map(int, power)) for power in powers)
        return original(powers)

    original = own.powers_secret_list
    monkeypatch.setattr(own, "powers_secret_list", watched)
    key = PaillierSecret(KEY.p, KEY.q_)
    C = key.public.enc(-17, 3)
    assert [key.dec(C) for _ in range(2 * USES)] == [-17] * (2 * USES)
    for prime in map(int, (key.p, key.q_)):
        powers = [(b, e) for b, e, modulus in seen if modulus == prime * prime and e % (prime - 1) == 0]
        assert len(powers) == 2 * USES
        bases, exponents = zip(*powers, strict=True)
        assert len(set(bases)) == len(set(exponents)) == 2 * USES
        assert int(C % (prime * prime)) not in bases
        assert prime - 1 not in exponents
        # So that the number of words, which does show, is the same each time.
        assert {e.bit_length() for e in exponents} <= {
            prime.bit_length() + MULTIPLIER_BITS - d for d in (0, 1)
        }


def test_many_threads_decrypt_with_one_key():
    key, rng = PaillierSecret(KEY.p, KEY.q_), SeededRng("threads")
    plain = [plus_minus(rng, key.public.half) for _ in range(200)]
    ciphertexts = [key.public.enc(m, key.public.nonce(rng)) for m in plain]
    found = {}
    threads = [
        threading.Thread(target=lambda i=i: found.update({i: [key.dec(C) for C in ciphertexts]}))
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(found.values()) == [plain] * 8


def test_nothing_is_shown():
    blinding = Blinding(KEY.own)
    mask = blinding.draw(KEY.public.enc(5, 3))
    shown = f"{blinding!r} {blinding} {mask!r} {mask}"
    for secret in (mask.a, mask.factor, mask.k_p, mask.k_q, KEY.p):
        assert str(secret) not in shown
        assert f"{secret:x}" not in shown
