from __future__ import annotations

import pytest
from node_testing import committee_of, node_keys

from participant.node.membership import Membership
from tss.envelope import Body, Kind, Signed, holder, pack, seal, sign
from tss.params import CGGMP24_SECP256K1
from tss.setting import Member

PROTO = CGGMP24_SECP256K1.proto
KEYS = node_keys()
SCOPE = b"s" * 32


def membership(point: int = 1) -> Membership:
    return Membership(committee_of(), holder(point), KEYS[point - 1].sign, frozenset({PROTO}))


def signed(point: int = 2, *, proto: str = PROTO, to: int | None = None, by: int | None = None) -> Signed:
    body = Body(proto, SCOPE, 3, Kind.MSG, holder(point), None if to is None else holder(to), b"payload")
    return sign(body, KEYS[(by or point) - 1].sign)


def test_indices_count_from_0_and_points_from_1():
    mine = membership(2)
    assert mine.index == 1
    assert mine.parties == (holder(1), holder(2), holder(3))
    assert mine.others == (holder(1), holder(3))
    assert mine.identities == {holder(i + 1): key for i, key in enumerate(committee_of().identities)}
    assert mine.members() == tuple(Member(holder(i + 1), KEYS[i].identity) for i in range(3))
    assert mine.members((1, 3)) == (mine.members()[0], mine.members()[2])


def test_what_a_member_signed_is_opened():
    mine, said = membership(), signed()
    opened = mine.open(pack(said))
    assert opened == said
    assert not mine.dropped


def test_ones_own_words_are_opened_by_the_others():
    envelope = membership(3).note(PROTO, SCOPE, Kind.ASK, b"payload", 1)
    opened = membership(1).open(envelope)
    assert opened is not None
    assert opened.body == Body(PROTO, SCOPE, 1, Kind.ASK, holder(3), None, b"payload")


@pytest.mark.parametrize(
    ("envelope", "reason"),
    [
        (b"", "malformed"),
        (b"\x06\x00\x00\x00\x04\x00\x00\x00\x00", "malformed"),
        (pack(signed(by=3)), "stranger"),
        (pack(signed(2, to=1)), "stranger"),
        (pack(sign(Body(PROTO, SCOPE, 0, Kind.MSG, holder(4), None, b""), KEYS[1].sign)), "stranger"),
        (pack(signed(proto="cggmp24-secp256k1/v9")), "version"),
        (seal(signed(2, to=1), bytes([9]) + bytes(31)), "sealed"),
    ],
    ids=["empty", "list", "forged", "not-for-all", "no-member", "version", "sealed"],
)
def test_everything_else_is_dropped_and_counted(envelope, reason):
    mine = membership()
    assert mine.open(envelope) is None
    assert dict(mine.dropped) == {reason: 1}


def test_a_member_of_another_release_is_reported_and_a_stranger_is_not():
    mine, seen = membership(), []
    mine.on_foreign = lambda party, proto: seen.append((party, proto))
    mine.open(pack(signed(proto="cggmp24-secp256k1/v9", by=3)))
    assert not seen
    mine.open(pack(signed(proto="cggmp24-secp256k1/v9")))
    assert seen == [(holder(2), "cggmp24-secp256k1/v9")]


def test_no_bit_of_an_envelope_can_be_changed():
    envelope = pack(signed())
    for position in range(len(envelope)):
        changed = bytearray(envelope)
        changed[position] ^= 1
        assert membership().open(bytes(changed)) is None, position


def test_the_signing_key_is_not_shown():
    assert "sign" not in repr(membership()).replace("sign_function", "")
