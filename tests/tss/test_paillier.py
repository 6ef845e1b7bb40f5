"""Paillier: the scheme's identities, the owner's short cuts against the plain formulas, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import gmpy2
import pytest
from constant_time import constant_time_only
from gmpy2 import mpz
from tss_testing import TESTING_SECP, TESTING_TINY, SeededRng, paillier_key, safe_primes

from tss.errors import BadModulusSize, OutOfDomain, ShareCorrupt
from tss.paillier import PaillierPublic, PaillierSecret, check_modulus
from tss.params import LEVEL_128
from tss.rand import plus_minus, unit

SECRET = paillier_key(TESTING_TINY)
PUBLIC = SECRET.public
LEVELS = pytest.mark.parametrize(
    ("level", "rounds"), [(TESTING_TINY, 100), (TESTING_SECP, 1), (LEVEL_128, 1)]
)


def edge_plaintexts(key):
    return [0, 1, -1, key.half, -key.half, key.half - 1, 2, -2]


def decrypt_plainly(p, q_, C):
    """Decryption with lambda = phi, by the textbook."""
    N, phi = p * q_, (p - 1) * (q_ - 1)
    m = (pow(int(C), int(phi), int(N * N)) - 1) // N * pow(int(phi), -1, int(N)) % N
    return m - N if m > N // 2 else m


@LEVELS
def test_round_trip(level, rounds):
    key, rng = paillier_key(level), SeededRng(("round trip", level.name))
    public = key.public
    drawn = [plus_minus(rng, public.half) for _ in range(rounds)]
    for m in edge_plaintexts(public)[: 8 if rounds > 1 else 5] + drawn:
        r = public.nonce(rng)
        C = public.enc(m, r)
        public.check_ciphertext(C, "C")
        assert key.enc(m, r) == C, rng
        assert key.dec(C) == m, rng
        assert key.extract_nonce(C) == r, rng
    assert decrypt_plainly(key.p, key.q_, C) == m


def test_encryption_is_the_formula():
    rng = SeededRng("formula")
    N, N2 = int(PUBLIC.N), int(PUBLIC.N) ** 2
    for _ in range(20):
        m, r = int(plus_minus(rng, N)), int(PUBLIC.nonce(rng))
        assert PUBLIC.enc(m, r) == (1 + m * N) * pow(r, N, N2) % N2
    assert PUBLIC.N2 == N2


def test_plaintexts_count_mod_n_and_come_back_centred():
    rng = SeededRng("centred")
    N, half = PUBLIC.N, PUBLIC.half
    assert 2 * half + 1 == N
    r = PUBLIC.nonce(rng)
    for m, centred in (
        (N, 0),
        (N + 5, 5),
        (half + 1, -half),
        (-half - 1, half),
        (-N - 1, -1),
        (7 * N - 3, -3),
    ):
        assert PUBLIC.enc(m, r) == PUBLIC.enc(centred, r) == SECRET.enc(m, r)
        assert SECRET.dec(PUBLIC.enc(m, r)) == centred


def test_decryption_modulo_one_prime():
    """The plaintext mod p, centred: up to p/2 it is the plaintext."""
    rng, p = SeededRng("one prime"), SECRET.p
    half = (p - 1) // 2
    edges = [0, 1, -1, half, -half, half + 1, -half - 1, p, -p, p + 1, PUBLIC.half, -PUBLIC.half]
    plaintexts = edges + [plus_minus(rng, 1 << 8 * (1 + n % 39)) for n in range(10_000)]
    centred = [(m + half) % p - half for m in plaintexts]
    assert SECRET.dec_mod_p(PUBLIC.enc(m, 2) for m in plaintexts) == (centred, []), rng
    assert all((c == m) == (abs(m) <= half) for c, m in zip(centred, plaintexts, strict=True))
    assert SECRET.dec_mod_p([]) == ([], [])


def test_homomorphism():
    rng = SeededRng("homomorphism")
    for _ in range(20):
        a, b = plus_minus(rng, PUBLIC.half // 4), plus_minus(rng, PUBLIC.half // 4)
        x = plus_minus(rng, 1 << 20)
        A, B = PUBLIC.enc(a, PUBLIC.nonce(rng)), PUBLIC.enc(b, PUBLIC.nonce(rng))
        assert SECRET.dec(PUBLIC.oplus(A, B)) == a + b, rng
        assert SECRET.dec(PUBLIC.ominus(A, B)) == a - b, rng
        small = PUBLIC.enc(a >> 40, PUBLIC.nonce(rng))
        assert SECRET.dec(PUBLIC.otimes(x, small)) == x * (a >> 40), rng
        assert PUBLIC.otimes(x, small) == PUBLIC.otimes_secret(x, small) == SECRET.own.pow_mod_n2(small, x), (
            rng
        )
    assert SECRET.dec(PUBLIC.otimes(0, A)) == 0
    assert SECRET.dec_list([A, B, A]) == [SECRET.dec(A), SECRET.dec(B), SECRET.dec(A)]
    assert SECRET.dec_list([]) == []
    assert PUBLIC.otimes(0, A) == PUBLIC.otimes_secret(0, A) == 1
    assert PUBLIC.ominus(A, A) == 1


def test_nonces_combine_as_plaintexts_do():
    """The identity that the dec proof rests on."""
    rng = SeededRng("nonces")
    r, rho = PUBLIC.nonce(rng), PUBLIC.nonce(rng)
    C = PUBLIC.oplus(PUBLIC.otimes(5, PUBLIC.enc(7, r)), PUBLIC.enc(-3, rho))
    assert SECRET.dec(C) == 32
    nonce = SECRET.extract_nonce(C)
    assert nonce == pow(r, 5, PUBLIC.N) * rho % PUBLIC.N
    assert PUBLIC.enc(32, nonce) == C


def test_nonce_is_a_fresh_unit():
    rng = SeededRng("nonce")
    drawn = [PUBLIC.nonce(rng) for _ in range(50)]
    assert len(set(drawn)) == 50
    for r in drawn:
        PUBLIC.check_nonce(r, "r")


N, P = PUBLIC.N, SECRET.p
NOT_CIPHERTEXTS = {
    "0": 0,
    "N": N,
    "5N": 5 * N,
    "N^2": N * N,
    "N^2 + 1": N * N + 1,
    "-1": -1,
    "-C": -PUBLIC.enc(5, 2),
    "C + N^2": PUBLIC.enc(5, 2) + N * N,
    "p": P,
    "a multiple of p": 12345 * P,
    "a megabyte": mpz(1) << (1 << 23),
}


@pytest.mark.attack("B8")
@pytest.mark.attack("B9")
@pytest.mark.parametrize("name", NOT_CIPHERTEXTS)
def test_not_a_ciphertext(name):
    for use in (
        lambda C: PUBLIC.check_ciphertext(C, "K"),
        SECRET.dec,
        lambda C: SECRET.dec_mod_p([5, C]),
        SECRET.extract_nonce,
    ):
        with pytest.raises(OutOfDomain) as refusal:
            use(NOT_CIPHERTEXTS[name])
        assert refusal.value.peer is None
    with pytest.raises(OutOfDomain, match=r"^a peer: K "):
        PUBLIC.check_ciphertext(NOT_CIPHERTEXTS[name], "K")


@pytest.mark.attack("B8")
def test_smallest_and_largest_ciphertexts():
    """1 and N^2 - 1 are units mod N^2, encryptions of 0 with nonces 1 and -1."""
    for C, nonce in ((1, 1), (N * N - 1, N - 1)):
        PUBLIC.check_ciphertext(C, "C")
        assert SECRET.dec(C) == 0
        assert SECRET.extract_nonce(C) == nonce


@pytest.mark.attack("B8")
def test_ten_thousand_numbers_are_ciphertexts_or_out_of_domain():
    """Whatever is taken can be used: nothing else is ever raised, and what comes out is a ciphertext again."""
    rng = SeededRng("numbers")
    special = [0, 1, N, N * N, P, SECRET.q_, PUBLIC.enc(7, 5)]
    taken = 0
    for number in range(10_000):
        drawn = int.from_bytes(rng(1 + number % 90), "big")
        base = special[drawn % len(special)]
        C = (drawn, -drawn, base + drawn % 3 - 1, base * drawn, base - drawn, N * N - drawn)[number % 6]
        try:
            PUBLIC.check_ciphertext(C, "C")
        except OutOfDomain:
            with pytest.raises(OutOfDomain):
                SECRET.dec(C)
            with pytest.raises(OutOfDomain):
                SECRET.dec_list([1, C])
            continue
        taken += 1
        assert 0 < C < N * N
        PUBLIC.check_ciphertext(PUBLIC.oplus(PUBLIC.otimes(-3, C), PUBLIC.ominus(C, C)), "C")
        assert abs(SECRET.dec(C)) <= N // 2
    assert 2_000 < taken < 9_000


@pytest.mark.parametrize("value", [0, N, -1, N + 1, P, N - P], ids=["0", "N", "-1", "N+1", "p", "N-p"])
def test_not_a_nonce(value):
    with pytest.raises(OutOfDomain, match="z2"):
        PUBLIC.check_nonce(value, "z2")


def test_the_prime_that_is_not_safe_is_told_apart():
    weak = gmpy2.next_prime(SECRET.q_ + (1 << 70))
    while weak % 4 != 3:
        weak = gmpy2.next_prime(weak)
    for primes, named in (((P, weak), "second"), ((weak, P), "first")):
        with pytest.raises(ShareCorrupt, match=f"the {named} prime is not a safe prime"):
            PaillierSecret.generate(TESTING_TINY, SeededRng(0), primes)
        with pytest.raises(ShareCorrupt, match=f"the {named} prime is not a safe prime"):
            PaillierSecret(*primes).check(TESTING_TINY)


def test_a_public_key_is_its_modulus():
    assert repr(PUBLIC) == f"PaillierPublic(N={N!r})"
    assert PaillierPublic(N) == PUBLIC
    with pytest.raises(TypeError):
        PaillierPublic(N, N * N)


def test_ominus_of_no_ciphertext():
    with pytest.raises(OutOfDomain):
        PUBLIC.ominus(PUBLIC.enc(1, 1), mpz(5 * N))


@pytest.mark.attack("B7")
@pytest.mark.parametrize(
    ("modulus", "reason"),
    [
        (N >> 1, "319 bits"),
        (2 * N + 1, "321 bits"),
        ((mpz(1) << 320) + 1, "321 bits"),
        (N - 1, "even"),
        (mpz(0), "0 bits"),
        (-N, "320 bits"),
        (mpz(1) << (1 << 20), "1048577 bits"),
    ],
    ids=["short", "long", "just too long", "even", "zero", "negative", "huge"],
)
def test_modulus_size_is_exact(modulus, reason):
    with pytest.raises(BadModulusSize, match=f"^a peer: N (has|is) {reason}"):
        PaillierPublic(modulus).check(TESTING_TINY)
    with pytest.raises(BadModulusSize, match=r"^a peer: N\^ (has|is) "):
        check_modulus(modulus, TESTING_TINY, "N^")


@pytest.mark.attack("B7")
@pytest.mark.parametrize("bits", [2048, 3071, 3073, 8192])
def test_moduli_of_other_sizes_than_the_full_one(bits):
    with pytest.raises(BadModulusSize, match=f"{bits} bits"):
        check_modulus(mpz(3) << (bits - 2) | 1, LEVEL_128, "N")


def test_modulus_of_its_level_passes():
    PUBLIC.check(TESTING_TINY)
    with pytest.raises(BadModulusSize):
        PUBLIC.check(LEVEL_128)
    # The extremes of two primes with their top two bits set, and of the length itself.
    for N_ in ((mpz(3) << 158) ** 2 + 1, (mpz(1) << 320) - 1, (mpz(1) << 319) + 1):
        check_modulus(N_, TESTING_TINY, "N")


def test_generate_searches_its_own_primes():
    key = PaillierSecret.generate(TESTING_TINY, SeededRng("generate"))
    key.check(TESTING_TINY)
    key.public.check(TESTING_TINY)
    assert key.p != key.q_
    again = PaillierSecret.generate(TESTING_TINY, SeededRng("generate"))
    assert again.public == key.public
    assert PaillierSecret.generate(TESTING_TINY, SeededRng("other")).public != key.public


def test_generate_takes_primes_and_refuses_unfit_ones():
    p, q_ = safe_primes(TESTING_TINY, 2, seed="paillier")
    key = PaillierSecret.generate(TESTING_TINY, SeededRng(0), (p, q_))
    assert (key.p, key.q_) == (p, q_)
    ordinary = int(gmpy2.next_prime(mpz(3) << 158))
    for primes in ((p, p), (p, ordinary), (ordinary, q_), (p, 2 * q_ + 1), (p, 7)):
        with pytest.raises(ShareCorrupt):
            PaillierSecret.generate(TESTING_TINY, SeededRng(0), primes)
    with pytest.raises(ShareCorrupt):
        PaillierSecret.generate(replace(TESTING_TINY, pb=161), SeededRng(0), (p, q_))


@pytest.mark.attack("B10")
def test_check_finds_damaged_primes():
    p, q_ = SECRET.p, SECRET.q_
    for primes in ((p, gmpy2.next_prime(q_)), (p + 2, q_), (p, mpz(7))):
        with pytest.raises(ShareCorrupt):
            PaillierSecret(*primes).check(TESTING_TINY)


@pytest.mark.parametrize("primes", [(7, 7), (3, 7), (7, 29), (1, 7), (8, 7)])
def test_primes_that_make_no_key(primes):
    """Equal, gcd(N, phi) = 3 and 7, one, even."""
    with pytest.raises(ShareCorrupt):
        PaillierSecret(*primes)


def test_smallest_key_exhaustively():
    """Every plaintext and every nonce under N = 5 * 7."""
    key = PaillierSecret(5, 7)
    seen = set()
    for m in range(-17, 18):
        for r in (r for r in range(1, 35) if gmpy2.gcd(r, 35) == 1):
            C = key.public.enc(m, r)
            assert key.enc(m, r) == C
            assert (key.dec(C), key.extract_nonce(C)) == (m, r)
            assert key.dec_mod_p([C], [C]) == ([(m + 2) % 5 - 2], [m])
            seen.add(C)
    assert seen == {C for C in range(1, 35 * 35) if gmpy2.gcd(C, 35) == 1}


def test_repr_hides_the_secret():
    assert repr(SECRET) == "PaillierSecret(320 bits)"
    shown = f"{SECRET} {SECRET!r} {SECRET.own!r} {PUBLIC!r}"
    for secret in (SECRET.p, SECRET.q_, SECRET.own.phi):
        assert str(secret) not in shown
        assert f"{secret:x}" not in shown


def test_public_keys_are_values():
    assert PaillierPublic(int(N)) == PUBLIC
    assert hash(PaillierPublic(int(N))) == hash(PUBLIC)
    assert PaillierPublic(N + 2) != PUBLIC
    assert type(PaillierPublic(int(N)).N) is type(mpz(1))


@pytest.mark.attack("E2")
def test_the_owner_uses_constant_time_powers_alone(monkeypatch):
    C, r = PUBLIC.enc(5, 3), unit(SeededRng("ct"), N)
    constant_time_only(monkeypatch)
    assert SECRET.dec_mod_p([C], [C]) == ([5], [5])
    assert SECRET.dec(C) == 5
    assert SECRET.extract_nonce(C) == 3
    SECRET.enc(7, r)
    PUBLIC.otimes_secret(-5, C)
    with pytest.raises(AssertionError, match="variable-time"):
        PUBLIC.otimes(5, C)


@pytest.mark.parametrize("call", ["dec", "extract_nonce"])
def test_what_is_no_ciphertext_is_named(call):
    with pytest.raises(OutOfDomain, match="ciphertext is outside"):
        getattr(SECRET, call)(0)
