"""Hashes and challenges: golden values worked out by hand, and that every field counts."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import gmpy2
import pytest
from gmpy2 import mpz
from tss_testing import SMALL_SECP, TESTING_TINY, TINY, SeededRng

from tss.encoding import encode
from tss.groups import ED25519, SECP256K1
from tss.params import LEVEL_128, Suite
from tss.transcript import Challenger, Context, hash_commit, low_bits, stream, xof

CTX = Context(b"\x01" * 32, ["holder", 1], ["holder", 2], b"\x02" * 32, "label")
STATEMENT = [1, SECP256K1.G]
COMMITMENT = [b"com"]
SUITE = Suite("cggmp24-secp256k1/v1", SECP256K1, LEVEL_128)


def challenger(suite=SUITE, proof="sch", context=CTX, statement=STATEMENT, commitment=COMMITMENT):
    return Challenger(suite, proof, context, statement, commitment)


def written(tag, content):
    return bytes([tag]) + len(content).to_bytes(4, "big") + content


def test_hash_commit_preimage():
    items = written(2, b"proto") + written(2, b"tag") + written(3, b"\x00\x05") + written(1, b"ab")
    preimage = written(6, (4).to_bytes(4, "big") + items)
    assert hash_commit("proto", "tag", 5, b"ab") == hashlib.sha256(preimage).digest()


@pytest.mark.attack("A8")
def test_hash_commit_takes_nothing_and_separates_tags():
    assert hash_commit("p", "t") != hash_commit("p", "t", None)
    assert hash_commit("p", "ta", "b") != hash_commit("p", "t", "ab")
    assert hash_commit("pt", "") != hash_commit("p", "t")


def test_xof():
    assert xof(b"seed", 5, 1, 256) == hashlib.shake_256(b"seed\x00\x00\x00\x01\x00\x00\x01\x00").digest(5)
    assert xof(b"seed", 40) == hashlib.shake_256(b"seed").digest(40)


def test_a_stream_counts_its_calls_behind_its_own_counters():
    drawn = stream(b"seed", 7, 9)
    assert [drawn(n) for n in (32, 0, 5)] == [
        hashlib.shake_256(b"seed" + bytes([0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0, call])).digest(n)
        for call, n in enumerate((32, 0, 5))
    ]


def test_low_bits():
    assert low_bits(b"\xff\xff", 9) == 511
    assert low_bits(b"\x80\x01", 8) == 1
    assert low_bits(b"", 8) == 0


def seed_by_hand():
    context = [b"\x01" * 32, ["holder", 1], ["holder", 2], b"\x02" * 32, "label"]
    level = [1536, 256, 1280, 512, 128]
    preimage = ["cggmp24-secp256k1/v1", "secp256k1", "sch", level, context, STATEMENT, COMMITMENT]
    return hashlib.sha512(encode(preimage)).digest()


def test_scalar_challenge_by_hand():
    block = hashlib.shake_256(seed_by_hand() + bytes(4)).digest(32)
    assert challenger().scalar(SECP256K1) == int.from_bytes(block, "big")


def test_scalar_challenge_is_below_a_small_order():
    """q itself is drawn often enough here, and drawn again."""
    drawn = [challenger(statement=[i]).scalar(SimpleNamespace(q=5)) for i in range(200)]
    assert set(drawn) == {0, 1, 2, 3, 4}


def test_bit_challenge_by_hand():
    block = hashlib.shake_256(seed_by_hand() + bytes(4)).digest(16)
    assert challenger().bits(128) == [int(b) for b in f"{int.from_bytes(block, 'big'):0128b}"]


def test_unit_challenge_by_hand():
    n = mpz(3 * 5 * 7 * 11 * 13)
    expected = []
    for i in range(20):
        for c in range(1000):
            block = hashlib.shake_256(seed_by_hand() + i.to_bytes(4, "big") + c.to_bytes(4, "big")).digest(2)
            value = int.from_bytes(block, "big") % (1 << 14)
            if 0 < value < n and gmpy2.gcd(value, n) == 1:
                expected.append(value)
                break
    assert challenger().units(n, 20) == expected


@pytest.mark.parametrize(("n", "size"), [(3 * 7 * 13, 2), (3 * 5 * 17, 1), (3 * 5, 1)])
def test_whole_bytes_are_drawn(n, size):
    """For 9, 8 and 4 bits; 1 is a unit too."""
    seed, counters = seed_by_hand(), [c.to_bytes(4, "big") for c in range(100)]
    drawn = [low_bits(hashlib.shake_256(seed + c).digest(size), n.bit_length()) for c in counters]
    assert challenger().scalar(SimpleNamespace(q=n)) == next(value for value in drawn if value < n)
    expected = []
    for i in range(20):
        drawn = [hashlib.shake_256(seed + i.to_bytes(4, "big") + c).digest(size) for c in counters]
        values = (low_bits(block, n.bit_length()) for block in drawn)
        expected.append(next(value for value in values if 0 < value < n and gmpy2.gcd(value, n) == 1))
    assert challenger().units(mpz(n), 20) == expected
    assert n > 15 or 1 in expected


CHANGES = {
    "proto": {"suite": replace(SUITE, proto="cggmp24-secp256k1/v2")},
    "group": {"suite": replace(SUITE, group=ED25519)},
    "level": {"suite": replace(SUITE, level=SMALL_SECP.level)},
    "m": {"suite": replace(SUITE, level=replace(LEVEL_128, m=136))},
    "proof": {"proof": "elog"},
    "sid": {"context": replace(CTX, sid=b"\x03" * 32)},
    "prover": {"context": replace(CTX, prover=["holder", 3])},
    "prover's role": {"context": replace(CTX, prover=["dealer", 1])},
    "verifier": {"context": replace(CTX, verifier=["holder", 3])},
    "no verifier": {"context": replace(CTX, verifier=None)},
    "rid": {"context": replace(CTX, rid=b"\x03" * 32)},
    "no rid": {"context": replace(CTX, rid=None)},
    "label": {"context": replace(CTX, label="other")},
    "statement": {"statement": [2, SECP256K1.G]},
    "statement's length": {"statement": [*STATEMENT, None]},
    "commitment": {"commitment": [b"con"]},
    "border of statement and commitment": {"statement": [*STATEMENT, b"com"], "commitment": []},
}


@pytest.mark.attack("A4")
@pytest.mark.parametrize("field", CHANGES)
def test_every_field_enters_the_challenge(field):
    changed = challenger(**CHANGES[field])
    n = mpz(2) ** 255 - 19
    assert changed.scalar(SECP256K1) != challenger().scalar(SECP256K1)
    assert changed.bits(128) != challenger().bits(128)
    assert set(changed.units(n, 4)).isdisjoint(challenger().units(n, 4))


@pytest.mark.attack("A6")
def test_every_challenge_bit_takes_both_values():
    """One counter that is never incremented once left 96 of 128 bits zero (security.md A6)."""
    ones, zeros = [0] * 128, [0] * 128
    for i in range(200):
        for place, bit in enumerate(challenger(commitment=[i]).bits(128)):
            ones[place] += bit
            zeros[place] += 1 - bit
    assert min(ones) > 60
    assert min(zeros) > 60


@pytest.mark.attack("A9")
@pytest.mark.parametrize("suite", [SUITE, TINY, replace(SUITE, group=ED25519)], ids=lambda s: s.group.name)
def test_scalar_challenges_fill_the_range_of_their_group(suite):
    """Lengths come from the group: secp256k1 256 bits, Ed25519 253, the toy curve 32; every bit varies."""
    q = suite.group.q
    draws = [challenger(suite, commitment=[i]).scalar(suite.group) for i in range(300)]
    assert all(0 <= e < q for e in draws)
    assert len(set(draws)) == 300
    for place in range(q.bit_length() - 1):
        assert 80 < sum(e >> place & 1 for e in draws) < 220
    assert max(draws) > q - q // 20
    assert min(draws) < q // 20


@pytest.mark.attack("A9")
def test_scalar_challenge_rejects_rather_than_reduces():
    """Ed25519's order is just above 2^252, so that half of the 253-bit blocks are rejected."""
    suite = replace(SUITE, group=ED25519)
    rejected = 0
    for i in range(40):
        context = replace(CTX, label=f"{i}")
        e = challenger(suite, context=context).scalar(ED25519)
        seed = challenger(suite, context=context)._seed
        blocks = [low_bits(xof(seed, 32, c), 253) for c in range(100)]
        assert e == next(b for b in blocks if ED25519.q > b)
        rejected += blocks[0] >= ED25519.q
    assert 8 < rejected < 32


@pytest.mark.attack("A9")
def test_unit_challenges_are_units_below_n():
    rng = SeededRng("units")
    n = mpz(int.from_bytes(rng(40), "big") | 1) * 3 * 5 * 7
    draws = challenger().units(n, 200)
    assert len(set(draws)) == 200
    assert all(0 < y < n and gmpy2.gcd(y, n) == 1 for y in draws)
    assert max(draws) > n * 9 // 10
    # Element i does not depend on how many are drawn.
    assert challenger().units(n, 3) == draws[:3]


def test_bits_of_other_counts():
    assert len(challenger().bits(8)) == 8
    assert challenger().bits(TESTING_TINY.m) == challenger().bits(128)[: TESTING_TINY.m]
