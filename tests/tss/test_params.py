"""Security levels refuse what breaks an inequality of protocol.md 0.2, at exactly the border."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tss_testing import SMALL_SECP, TESTING_SECP, TESTING_TINY, TINY, TOY

from tss.errors import BadParameters
from tss.groups import SECP256K1
from tss.params import CGGMP24_SECP256K1, LEVEL_128, MAX_PARTIES, MAX_SIGNERS, Suite


def test_full_level_is_the_table_of_the_specification():
    assert LEVEL_128.as_list() == [1536, 256, 1280, 512, 128]
    assert LEVEL_128.kappa == 256
    assert (MAX_SIGNERS, MAX_PARTIES) == (32, 16)
    assert LEVEL_128.modulus_bits == 3072
    assert LEVEL_128.max_integer_bits == 6976
    assert CGGMP24_SECP256K1.proto == "cggmp24-secp256k1/v1"
    assert CGGMP24_SECP256K1.group is SECP256K1
    assert CGGMP24_SECP256K1.level is LEVEL_128


def test_testing_levels_are_not_in_the_package():
    assert TINY.proto.endswith("/test")
    assert SMALL_SECP.proto.endswith("/test")
    assert TINY.level is TESTING_TINY
    assert SMALL_SECP.level is TESTING_SECP


C2 = "C2: eps >= l + kappa"
C3 = "C3: l' >= 3l + eps"
C4 = "C4: 2l + eps + 2 <= pb"
C5 = "C5: l' + 2eps + 1 + ceil(log2 |S|max) + 1 < 2pb - 1"
M8 = "m is a positive multiple of 8"

# A level at the border of each inequality, the change that breaks it, and its text.
BORDERS = [
    (LEVEL_128, {"eps": 511}, C2),
    (LEVEL_128, {"kappa": 257}, C2),
    (LEVEL_128, {"l_prime": 1279}, C3),
    (LEVEL_128, {"eps": 513}, C3),
    # 2l + eps + 2 = 1026. (C5) implies (C4) where (C2) and (C3) hold, so that 1026 fails too, for the other reason.
    (LEVEL_128, {"pb": 1025}, C4),
    (LEVEL_128, {"pb": 1026}, C5),
    # l' + 2 eps + 7 < 2 pb - 1: 1280 + 1024 + 7 = 2311 < 2313 at pb = 1157.
    (replace(LEVEL_128, pb=1157), {"pb": 1156}, C5),
    (replace(LEVEL_128, l_prime=2039), {"l_prime": 2040}, C5),
    (LEVEL_128, {"m": 0}, M8),
    (LEVEL_128, {"m": 127}, M8),
    (LEVEL_128, {"m": -8}, M8),
]


@pytest.mark.attack("B6")
@pytest.mark.parametrize(("level", "change", "name"), BORDERS, ids=[f"{b[2][:2]}-{b[1]}" for b in BORDERS])
def test_border(level, change, name):
    with pytest.raises(BadParameters) as refusal:
        replace(level, **change)
    assert str(refusal.value).endswith(f"security level 128 breaks ({name})")


@pytest.mark.attack("B6")
def test_values_that_let_a_false_delta_through_are_refused():
    """Wider masks, eps = pb - 2l - 2 and l' = pb + l, break (C5): the dec proof's range would exceed N."""
    with pytest.raises(BadParameters, match="C5"):
        replace(LEVEL_128, eps=1536 - 512 - 2, l_prime=1536 + 256)


def test_suite_wants_the_group_below_2_to_the_l():
    with pytest.raises(BadParameters, match="C1"):
        Suite("x", SECP256K1, TESTING_TINY)
    with pytest.raises(BadParameters, match="C1"):
        Suite("x", SECP256K1, replace(LEVEL_128, l=255))
    Suite("x", TOY, LEVEL_128)


def test_suite_wants_challenges_no_longer_than_kappa():
    with pytest.raises(BadParameters, match="kappa"):
        Suite("x", SECP256K1, replace(LEVEL_128, kappa=255))
