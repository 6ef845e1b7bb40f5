"""Proposals (protocol.md 0.7): what is signed, what ph binds, and that nothing else is read."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from session_testing import LEADING_ZERO, Raw, encode_any
from tss_testing import SMALL_SECP, TINY

from tss.encoding import encode
from tss.envelope import Body, Kind, PartyId, holder
from tss.errors import BadPoint, SchemaViolation
from tss.params import FROST_ED25519, Suite
from tss.proposal import FROST_TAILS, MAX_TAIL, TAILS, WITHOUT_ROUND_0, Proposal, decode_proposal, signers_in

G = TINY.group.G
ID = b"\x07" * 32
PARAMETERS = [[15, 21, 4, 9], [33, 35, 2, 3]]
PRESIGN = [ID, 5 * G, ID, ID, [1, 2], [2 * G, 3 * G], PARAMETERS, 1, 2]
SCALAR = TINY.group.q - 1
ACCOUNT = [ID, 5 * G, ID, 2, ID, ID, [2 * G, 3 * G]]
"""One account of a refresh."""
# Of a recovery: helpers, everybody's public shares, the place, the new identity.
RESHARE = [ID, 5 * G, ID, 2, ID, [1, 3], [2 * G, 3 * G], 3, ID]
GOOD = {
    "keygen": [[3, 2], [16, 16]],
    "aux": [[None], [[]], [[ID, b"\x08" * 32]]],
    "refresh": [[[ACCOUNT]], [[ACCOUNT, [*ACCOUNT[:2], None, 2, ID, None, [G] * 16]]]],
    "reshare": [RESHARE, [*RESHARE[:2], None, *RESHARE[3:]]],
    "recover": [RESHARE, [*RESHARE[:2], None, *RESHARE[3:]]],
    "presign": [PRESIGN],
    "full-sign": [[*PRESIGN, ID, []], [*PRESIGN, ID, [0, (1 << 31) - 1]]],
    "sign": [[ID, ID, [], 0, [1, 2], ID], [ID, ID, [5] * 255, SCALAR, list(range(1, 33)), ID]],
}
CASES = [(TINY, kind, tail) for kind, tails in GOOD.items() for tail in tails]

B = FROST_ED25519.group.G
FROST_KEY = [ID, 5 * B, ID, [1, 2]]
FROST_FULL = [*FROST_KEY, [2 * B, 3 * B], b"\x08" * 64]
FROST_SIGN = [*FROST_FULL, [[1, ID, 4 * B, 5 * B], [2, ID, 6 * B, 7 * B]]]
FROST_ACCOUNT = [ID, 5 * B, None, 2, ID, None, [2 * B, 3 * B]]
FROST_MOVE = [ID, 5 * B, None, 2, ID, [1, 3], [2 * B, 3 * B], 3, ID]
FROST_GOOD = {
    "frost-keygen": [[3, 2], [16, 16]],
    "refresh": [[[FROST_ACCOUNT]]],
    "reshare": [FROST_MOVE],
    "recover": [FROST_MOVE],
    "frost-pairs": [[*FROST_KEY, 1, 64], [*FROST_KEY[:3], list(range(32)), (1 << 16) - 1, (1 << 16) - 1]],
    "frost-full-sign": [FROST_FULL, [*FROST_KEY[:3], list(range(32)), [B] * 32, bytes(64)]],
    "frost-sign": [FROST_SIGN, [*FROST_FULL[:3], list(range(32)), [B] * 32, bytes(64), [[1, ID, B, B]] * 32]],
}
CASES += [(FROST_ED25519, kind, tail) for kind, tails in FROST_GOOD.items() for tail in tails]


def proposal(kind: str = "keygen", tail: list[object] | None = None) -> Proposal:
    return Proposal(
        initiator=holder(2),
        committee_id=b"\x0c" * 32,
        account_id="acct",
        kind=kind,
        request_id=b"\x0d" * 16,
        tail=[3, 2] if tail is None else tail,
        message=b"transaction",
        expiry=1_800_000_000,
    )


PAYLOAD = [b"\x0c" * 32, "acct", "keygen", b"\x0d" * 16, encode([3, 2]), b"transaction", 1_800_000_000]


def body_of(payload: bytes) -> Body:
    """Party 2's body with this payload, under the hash that fits."""
    initiator = holder(2)
    ph = hashlib.sha256(encode([TINY.proto, "proposal", initiator.as_list(), payload])).digest()
    return Body(TINY.proto, ph, 0, Kind.PROPOSE, initiator, None, payload)


def test_what_is_signed_and_hashed():
    """ph = Hc("proposal", initiator, payload)."""
    assert proposal().encode() == encode(PAYLOAD)
    assert proposal().body(TINY) == body_of(encode(PAYLOAD))
    assert proposal().hash(TINY) == body_of(encode(PAYLOAD)).sid


def test_the_kinds_of_sessions():
    assert set(TAILS) == set(GOOD)
    assert set(FROST_TAILS) == set(FROST_GOOD)
    assert {"sign", "frost-sign"} == WITHOUT_ROUND_0


@pytest.mark.parametrize(("suite", "kind", "tail"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_a_proposal_reads_back(suite: Suite, kind, tail):
    written = proposal(kind, tail)
    assert decode_proposal(suite, written.body(suite)) == written


def test_who_signs_stands_in_the_tails_of_signing():
    for suite, kind, tail in CASES:
        signing = kind.endswith(("sign", "pairs"))
        signers = next((tuple(items) for items in tail if isinstance(items, list) and items[:1] == [1]), None)
        if signing and signers is not None:
            assert signers_in(kind, tail) == signers, (suite.proto, kind)
        if not signing:
            assert signers_in(kind, tail) is None


@pytest.mark.parametrize(
    "change", [{"account_id": None}, {"message": None}, {"account_id": "", "message": b""}], ids=repr
)
def test_what_may_be_missing(change):
    written = replace(proposal(), **change)
    assert decode_proposal(TINY, written.body(TINY)) == written


CHANGES = [
    {"initiator": holder(3)}, {"initiator": PartyId("dealer", 2)}, {"committee_id": ID}, {"account_id": "other"},
    {"account_id": None}, {"request_id": b"\x0e" * 16}, {"tail": [3, 3]}, {"message": b"other"}, {"message": None},
    {"expiry": 1_800_000_001}, {"kind": "aux", "tail": [None]},
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=repr)
def test_ph_binds_everything(change):
    other = replace(proposal(), **change)
    assert other.hash(TINY) != proposal().hash(TINY)
    with pytest.raises(SchemaViolation, match="not the one in its header"):
        decode_proposal(TINY, replace(other.body(TINY), sid=proposal().hash(TINY)))


@pytest.mark.parametrize(
    "change",
    [{"kind": Kind.MSG}, {"to": holder(1)}, {"proto": "cggmp24-secp256k1/v2"}, {"round": 1}],
    ids=repr,
)
def test_what_is_not_a_proposal_of_this_suite(change):
    with pytest.raises(SchemaViolation, match="not a proposal"):
        decode_proposal(TINY, replace(proposal().body(TINY), **change))


WRONG_FIELDS = [
    (0, ID[:31]), (0, ID + b"x"), (0, None), (1, "a" * 513), (1, b"acct"), (2, "k" * 17), (2, b"keygen"), (3, b"\x0d" * 15),
    (3, b"\x0d" * 17), (4, [3, 2]), (4, bytes(MAX_TAIL + 1)), (5, "text"), (6, -1), (6, 1 << 63), (6, LEADING_ZERO), (6, None),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value"), WRONG_FIELDS, ids=lambda v: repr(v)[:24])
def test_a_wrong_field_is_refused(place, value):
    fields = [value if at == place else field for at, field in enumerate(PAYLOAD)]
    with pytest.raises(SchemaViolation):
        decode_proposal(TINY, body_of(encode_any(fields)))


@pytest.mark.parametrize("kind", ["renew", "frost", "", "Keygen"])
def test_an_unknown_kind_is_refused(kind):
    fields = [*PAYLOAD[:2], kind, *PAYLOAD[3:]]
    with pytest.raises(SchemaViolation, match="unknown kind of session"):
        decode_proposal(TINY, body_of(encode(fields)))


def test_the_largest_fields_are_taken():
    largest = replace(proposal(), account_id="a" * 512, expiry=(1 << 63) - 1)
    assert decode_proposal(TINY, largest.body(TINY)) == largest


@pytest.mark.parametrize(
    "payload", [b"", encode(PAYLOAD)[:-1], encode(PAYLOAD) + b"\x00", encode(PAYLOAD[:-1])], ids=len
)
def test_bytes_that_are_no_proposal_are_refused(payload):
    with pytest.raises(SchemaViolation):
        decode_proposal(TINY, body_of(payload))


NUMBER_OVER = 1 << TINY.level.modulus_bits
SIGN = [ID, ID, [], 0, [1, 2], ID]
WRONG_TAILS = [
    ("keygen", [3]), ("keygen", [3, 2, 1]), ("keygen", [3, -1]), ("keygen", [1 << 16, 2]),
    ("aux", []), ("aux", [ID]), ("aux", [[ID[:31]]]), ("aux", [None, None]),
    ("refresh", []), ("refresh", [[]]), ("refresh", [[ACCOUNT[:-1]]]), ("refresh", [[ACCOUNT], None]),
    ("presign", PRESIGN[:-1]), ("presign", [*PRESIGN, 1]),
    ("full-sign", PRESIGN), ("full-sign", [*PRESIGN, ID[:31], []]), ("full-sign", [*PRESIGN, ID, [1 << 31]]),
    ("full-sign", [*PRESIGN, ID, [0] * 256]), ("full-sign", [*PRESIGN, ID, None]),
]  # fmt: skip
WRONG_TAILS += [
    (kind, [*RESHARE[:at], wrong, *RESHARE[at + 1 :]])
    for kind in ("reshare", "recover")
    for at, wrong in [
        (0, ID[:31]), (1, ID), (2, ID[:31]), (3, -1), (4, None), (5, [1]), (5, [1] * 17), (6, [G]), (6, [G] * 17),
        (7, 1 << 16), (8, ID[:31]),
    ]
]  # fmt: skip
WRONG_TAILS += [
    ("refresh", [[[*ACCOUNT[:at], wrong, *ACCOUNT[at + 1 :]]]])
    for at, wrong in [
        (0, ID[:31]), (1, ID), (2, ID[:31]), (3, -1), (3, 1 << 16), (4, None), (5, ID[:31]), (6, [G]), (6, [G] * 17),
    ]
]  # fmt: skip
WRONG_TAILS += [
    ("presign", [*PRESIGN[:at], wrong, *PRESIGN[at + 1 :]])
    for at, wrong in [
        (0, ID[:31]), (1, ID), (1, None), (2, ID[:31]), (3, ID + b"x"), (4, [1]), (4, list(range(33))), (4, [1, -2]),
        (5, [G]), (5, [G] * 33), (5, [G, ID]), (6, PARAMETERS[:1]), (6, PARAMETERS * 17), (6, [[1, 2, 3], [1, 2, 3]]),
        (6, [[1, 2, 3, NUMBER_OVER], [1, 2, 3, 4]]), (6, [[-1, 2, 3, 4], [1, 2, 3, 4]]), (7, -1), (7, 1 << 16), (8, -1),
        (8, 1 << 16),
    ]
]  # fmt: skip
WRONG_TAILS += [
    ("sign", [*SIGN[:at], wrong, *SIGN[at + 1 :]])
    for at, wrong in [
        (0, ID[:31]), (1, ID[:31]), (2, [1 << 31]), (2, [-1]), (2, [0] * 256), (3, TINY.group.q), (3, -1), (4, [1]),
        (4, list(range(33))), (5, ID[:31]),
    ]
]  # fmt: skip


@pytest.mark.parametrize(("kind", "tail"), WRONG_TAILS, ids=lambda v: repr(v)[:40])
def test_a_wrong_tail_is_refused(kind, tail):
    with pytest.raises(SchemaViolation):
        decode_proposal(TINY, proposal(kind, tail).body(TINY))


WRONG_FROST = [
    (kind, [*tail[:at], wrong, *tail[at + 1 :]])
    for kind, tail, at, wrong in [
        *(
            (kind, FROST_GOOD[kind][0], at, wrong)
            for kind in ("frost-pairs", "frost-full-sign", "frost-sign")
            for at, wrong in [(0, ID[:31]), (1, ID), (2, ID + b"x"), (3, [1]), (3, list(range(33))), (3, [1, -2])]
        ),
        *(("frost-pairs", FROST_GOOD["frost-pairs"][0], at, wrong) for at in (4, 5) for wrong in (-1, 1 << 16, None)),
        *(
            (kind, FROST_GOOD[kind][0], at, wrong)
            for kind in ("frost-full-sign", "frost-sign")
            for at, wrong in [(4, [B]), (4, [B] * 33), (4, [B, ID]), (5, bytes(63)), (5, bytes(65))]
        ),
        *(
            ("frost-sign", FROST_SIGN, 6, wrong)
            for wrong in [
                [], FROST_SIGN[6][:1], FROST_SIGN[6] * 17, [[1, ID, B], [2, ID, B]], [[1, ID[:31], B, B], FROST_SIGN[6][1]],
                [[-1, ID, B, B], FROST_SIGN[6][1]], [[1 << 16, ID, B, B], FROST_SIGN[6][1]],
            ]
        ),
    ]
]  # fmt: skip
WRONG_FROST += [(kind, FROST_GOOD[kind][0][:-1]) for kind in FROST_GOOD]
WRONG_FROST += [(kind, [*FROST_GOOD[kind][0], 1]) for kind in FROST_GOOD]


@pytest.mark.parametrize(("kind", "tail"), WRONG_FROST, ids=lambda v: repr(v)[:40])
def test_a_wrong_tail_of_frost_is_refused(kind, tail):
    with pytest.raises(SchemaViolation):
        decode_proposal(FROST_ED25519, proposal(kind, tail).body(FROST_ED25519))


@pytest.mark.parametrize("place", [2, 3], ids=["D", "E"])
def test_a_nonce_commitment_that_is_the_identity_is_refused(place):
    listed = [
        [*FROST_SIGN[6][0][:place], FROST_ED25519.group.identity, *FROST_SIGN[6][0][place + 1 :]],
        FROST_SIGN[6][1],
    ]
    with pytest.raises(BadPoint):
        decode_proposal(FROST_ED25519, proposal("frost-sign", [*FROST_FULL, listed]).body(FROST_ED25519))


def test_kinds_of_one_suite_are_unknown_to_the_other():
    for suite, kind, tail in ((TINY, "frost-keygen", [3, 2]), (FROST_ED25519, "keygen", [3, 2])):
        with pytest.raises(SchemaViolation, match="unknown kind of session"):
            decode_proposal(suite, proposal(kind, tail).body(suite))


def test_the_largest_number_and_all_signers_are_taken():
    largest = [[NUMBER_OVER - 1] * 4] * 32
    tail = [*PRESIGN[:4], list(range(32)), [G] * 32, largest, (1 << 16) - 1, (1 << 16) - 1]
    assert decode_proposal(TINY, proposal("presign", tail).body(TINY)).tail == tail


def test_accounts_of_an_aux_run_are_bounded():
    most = proposal("aux", [[ID] * 10_000])
    assert decode_proposal(TINY, most.body(TINY)) == most
    with pytest.raises(SchemaViolation, match="list of 10001 items"):
        decode_proposal(TINY, proposal("aux", [[ID] * 10_001]).body(TINY))


def test_accounts_of_a_refresh_are_bounded():
    most = proposal("refresh", [[ACCOUNT] * 1000])
    assert decode_proposal(TINY, most.body(TINY)) == most
    with pytest.raises(SchemaViolation, match="list of 1001 items"):
        decode_proposal(TINY, proposal("refresh", [[ACCOUNT] * 1001]).body(TINY))


def test_a_tail_of_a_megabyte_is_read():
    """And then found to be no tail of its kind."""
    assert MAX_TAIL == 1024 * 1024
    fields = [*PAYLOAD[:4], bytes(MAX_TAIL), *PAYLOAD[5:]]
    with pytest.raises(SchemaViolation, match="tag 0 where"):
        decode_proposal(TINY, body_of(encode(fields)))


def test_a_tail_with_trailing_bytes_is_refused():
    fields = [*PAYLOAD[:4], encode([3, 2]) + b"\x00", *PAYLOAD[5:]]
    with pytest.raises(SchemaViolation, match="trailing"):
        decode_proposal(TINY, body_of(encode(fields)))


def test_a_point_off_the_curve_is_refused():
    size = TINY.group.point_bytes
    off = Raw(bytes([TINY.group.point_tag]) + size.to_bytes(4, "big") + b"\xff" * size)
    tail = encode_any([PRESIGN[0], off, *PRESIGN[2:]])
    fields = [*PAYLOAD[:2], "presign", PAYLOAD[3], tail, *PAYLOAD[5:]]
    with pytest.raises(BadPoint) as refused:
        decode_proposal(TINY, body_of(encode(fields)))
    assert refused.value.peer is None


def test_a_proposal_is_of_one_suite():
    """The tail is read with the group and the sizes of this node's suite."""
    tail = [*PRESIGN[:6], [[NUMBER_OVER, 1, 1, 1]] * 2, 1, 2]
    group = SMALL_SECP.group
    tail[1], tail[5] = group.G, [group.G, group.G]
    written = proposal("presign", tail)
    assert SMALL_SECP.level.modulus_bits > TINY.level.modulus_bits
    assert decode_proposal(SMALL_SECP, written.body(SMALL_SECP)) == written
    with pytest.raises(SchemaViolation):
        decode_proposal(TINY, written.body(TINY))
