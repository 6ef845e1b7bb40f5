"""Every backend that this machine has, against gmpy2: the same results for everything."""

from __future__ import annotations

import ctypes
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import gmpy2
import pytest
from gmpy2 import mpz
from tss_testing import SeededRng

from tss.errors import BadParameters, InternalError, OutOfDomain
from tss.modexp import OwnModulus, power_product, powers_of, powers_secret_list, powmod, powmod_secret
from tss.modexp.backend import Backend, Power, available, choose, current, using
from tss.modexp.crypto_mb import LANES, SIZES, need_success
from tss.modexp.crypto_mb import load as load_crypto_mb
from tss.modexp.openssl import MODULI, OpenSSL, _need
from tss.modexp.openssl import load as load_openssl
from tss.rand import randbelow

# A backend that the machine lacks is not there to be collected.
BACKENDS = pytest.mark.parametrize("name", list(available()))
COMPILED = pytest.mark.parametrize("name", [n for n, b in available().items() if isinstance(b, OpenSSL)])

BITS = (1, 2, 64, 511, 512, 513, 1023, 1024, 1025, 1536, 2047, 2048, 2049, 3072)
LONG = (3073, 4095, 4096, 4097, 6144)


@pytest.fixture(autouse=True)
def the_fastest_again():
    yield
    choose(None)


def odd(rng, bits):
    return randbelow(rng, 1 << bits) | mpz(1) << (bits - 1) | 1


def cases(rng, bits):
    """Powers with an odd modulus of so many bits: edges, and exponents of many lengths."""
    modulus = odd(rng, bits)
    edges = [mpz(1), modulus - 1, randbelow(rng, modulus)]
    exponents = [mpz(e) for e in (1, 2, 3, 255, 1 << 63, (1 << 64) - 1, 1 << 64)]
    if bits < 1600:
        exponents += [modulus + 1, modulus >> 1 | 1, modulus << 9]
    elif bits == 3072:
        exponents.append(modulus >> 1 | 1)
    found = [Power(mpz(0), exponents[2], modulus)] if modulus > 1 else []
    return found + [Power(base % modulus, e, modulus) for e in exponents for base in edges]


@BACKENDS
@pytest.mark.parametrize("bits", BITS + LONG)
def test_powers_are_gmpy2s(name, bits):
    rng = SeededRng(("conformance", bits))
    powers = cases(rng, bits)
    expected = [gmpy2.powmod(*power) for power in powers]
    backend = available()[name]
    assert [backend.power(*power) for power in powers] == expected, rng
    assert [backend.power_secret(*power) for power in powers] == expected, rng
    assert backend.powers_secret(powers) == expected, rng
    assert all(type(one) is type(mpz(1)) for one in backend.powers_secret(powers))
    for first, second in zip(powers, powers[::-1], strict=True):
        product = gmpy2.powmod(*first) * gmpy2.powmod(*second) % first.modulus
        assert backend.product_of_two(first, second) == product, rng


@BACKENDS
def test_ten_thousand_small_powers_are_gmpy2s(name):
    rng = SeededRng("many")
    backend = available()[name]
    powers = []
    for _ in range(1000):
        modulus = odd(rng, 512)
        powers += [Power(randbelow(rng, modulus), 1 + randbelow(rng, 1 << 40), modulus) for _ in range(10)]
    expected = [gmpy2.powmod(*power) for power in powers]
    assert [backend.power(*power) for power in powers[::10]] == expected[::10], rng
    assert backend.powers_secret(powers) == expected, rng


@BACKENDS
def test_moduli_near_every_size_are_served(name):
    """Of the least and the greatest number of a length, where a multiple of the modulus is a bit too short or not."""
    backend = available()[name]
    for size in SIZES[:3]:
        for bits in (size.bits - 2, size.bits - 1, size.bits):
            for modulus in ((mpz(1) << (bits - 1)) + 1, (mpz(1) << bits) - 1, mpz(3) << (bits - 2) | 1):
                powers = [Power(modulus - 2 - i, mpz(1) << 65 | i, modulus) for i in range(LANES + 5)]
                assert backend.powers_secret(powers) == [gmpy2.powmod(*p) for p in powers]


@BACKENDS
def test_lists_of_any_length_and_mixture_keep_their_order(name):
    rng = SeededRng("mixed")
    backend = available()[name]
    some = [p for bits in (3072, 64, 1536, 2048, 700, 1024) for p in cases(rng, bits)[:7]]
    for count in (0, 1, 2, 7, 8, 9, len(some)):
        powers = some[::-1][:count] if count % 2 else some[:count]
        assert backend.powers_secret(powers) == [gmpy2.powmod(*power) for power in powers], rng


@BACKENDS
def test_even_moduli_and_those_of_one_bit(name):
    with using(name):
        even = mpz(1) << 2000
        assert powmod(3, 77, even) == gmpy2.powmod(3, 77, even)
        assert available()[name].product_of_two(Power(mpz(3), mpz(5), even), Power(mpz(7), mpz(9), even)) == (
            3**5 * 7**9 % even
        )
        assert powmod(3, 77, 1) == powmod_secret(3, 77, 1) == 0
        assert powers_secret_list([(3, 77, 1), (3, 0, 1), (3, 0, 9)]) == [0, 0, 1]


@BACKENDS
def test_everything_that_uses_powers_gives_the_same(name):
    rng = SeededRng("uses")
    p, q_ = (gmpy2.next_prime(odd(rng, 600)) for _ in range(2))
    N, base = p * q_, randbelow(rng, p * q_)
    exponents = [odd(rng, 300), -odd(rng, 700), mpz(0), mpz(1)]
    with using(name):
        own = OwnModulus(p, q_)
        assert powmod_secret(base, exponents[1], N) == gmpy2.powmod(base, exponents[1], N)
        assert powers_of(base, exponents, N) == [gmpy2.powmod(base, e, N) for e in exponents]
        assert power_product([base] * 4, exponents, N) == gmpy2.powmod(base, sum(exponents), N)
        assert own.pow_mod_n_list([(base, e) for e in exponents]) == [
            gmpy2.powmod(base, e, N) for e in exponents
        ]
        assert own.nth_powers([base, base + 1]) == [gmpy2.powmod(b, N, N * N) for b in (base, base + 1)]


def test_a_list_takes_odd_moduli_and_exponents_that_are_not_negative():
    assert powers_secret_list([]) == []
    assert powers_secret_list([(-2, 3, 7), (9, 0, 7), (9, 2, 7)]) == [6, 1, 4]
    for power in ((2, -1, 7), (2, 1, 8), (2, 1, 0), (2, 1, -7)):
        with pytest.raises(OutOfDomain):
            powers_secret_list([(2, 3, 7), power])


def test_the_fastest_is_chosen_and_another_can_be():
    assert current() is list(available().values())[-1]
    for name, backend in available().items():
        choose(name)
        assert current() is backend
        with using("gmpy2") as here:
            assert current() is here is available()["gmpy2"]
            seen = []
            thread = threading.Thread(target=lambda: seen.append(current()))  # noqa: B023 - joined at once
            thread.start()
            thread.join()
            assert seen == [backend]
        assert current() is backend
    choose(None)
    assert current() is list(available().values())[-1]
    assert Backend.name == next(iter(available()))


def test_a_backend_that_is_not_there_is_named():
    with pytest.raises(BadParameters, match=r"^powers by abacus: there are gmpy2"):
        choose("abacus")
    with pytest.raises(BadParameters), using("abacus"):
        pass
    assert current() is list(available().values())[-1]


def test_a_library_that_is_not_there_or_lacks_something_is_no_backend():
    assert load_openssl(()) is None
    assert load_openssl(("libno-such-crypto.so.3",)) is None
    # Every process has it, and no BN_new.
    assert load_openssl(("libc.so.6",)) is None
    assert load_crypto_mb(None) is None
    for package in ("no-such-package", "pytest"):
        assert load_crypto_mb(load_openssl(), package) is None


def test_a_failed_call_is_an_error():
    need_success(0)
    with pytest.raises(InternalError):
        need_success(0x10)
    assert _need(1) == 1
    for failed in (None, 0, -1):
        with pytest.raises(InternalError):
            _need(failed)


@COMPILED
def test_openssl_tells_of_failures(name):
    """An even modulus has no Montgomery form; and a result does not fit into fewer bytes than it has."""
    backend = available()[name]
    with pytest.raises(InternalError):
        backend._prepare(mpz(1) << 2000)
    numbers = backend._numbers()
    backend.library.BN_lebin2bn(b"\xff" * 4, 4, numbers.result)
    with pytest.raises(InternalError):
        numbers.read(3)
    assert numbers.read(4) == (1 << 32) - 1


@COMPILED
def test_numbers_of_openssls_are_cleared_and_given_back(name):
    library = available()[name].library
    backend = type(available()[name])(library, *([available()[name]._mbx] if name == "crypto_mb" else []))
    modulus = odd(SeededRng("cleared"), 1100)
    assert backend.power_secret(mpz(3), mpz(5), modulus) == 243
    numbers = backend._mine.numbers
    for number in (numbers.result, *numbers._operands):
        assert library.BN_is_zero(ctypes.c_void_p(number))
    # More moduli than are kept, and the first again.
    moduli = [modulus + 2 * i for i in range(MODULI + 2)]
    for one in [*moduli, modulus]:
        assert backend.power(mpz(3), mpz(5), one) == 243
    assert backend._montgomery.cache_info().currsize == MODULI
    del backend, numbers
    gc.collect()


@BACKENDS
def test_many_threads_at_once(name):
    rng = SeededRng("threads")
    powers = [p for bits in (1100, 1536, 64) for p in cases(rng, bits)]
    expected = [gmpy2.powmod(*power) for power in powers]

    def work(turn):
        backend = available()[name]
        single = [backend.power_secret(*power) for power in powers[turn:] + powers[:turn]]
        return single[len(powers) - turn :] + single[: len(powers) - turn], backend.powers_secret(powers)

    with ThreadPoolExecutor(6) as pool:
        for single, listed in pool.map(work, range(24)):
            assert single == expected, rng
            assert listed == expected, rng
