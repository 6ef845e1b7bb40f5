"""Evidence (protocol.md 4.1): what is written for a third party, and that reading it trusts nothing."""

from __future__ import annotations

import hashlib

import pytest
from engine_testing import Solo, read_evidence, rounds
from session_testing import LEADING_ZERO, encode_any, identity_of, run_committee, says

from tss.encoding import encode
from tss.envelope import Body, Kind, PartyId, Signed, holder, sign
from tss.errors import Equivocation, SchemaViolation
from tss.evidence import (
    MAX_EVIDENCE_BYTES,
    MAX_EVIDENCE_MESSAGES,
    MAX_PREIMAGES,
    Evidence,
    claim_in,
    messages_in,
    read_claim,
    request_preimages,
    session_preimages,
)

PROTO = "suite/v1"
SID = b"\x02" * 32


def message(index: int, payload: bytes = b"payload") -> Signed:
    sender = holder(index)
    body = Body(PROTO, SID, 1, Kind.MSG, sender, None, payload)
    return sign(body, identity_of(sender).sign)


def evidence(*messages: Signed, preimage: list[object] | None = None) -> Evidence:
    return Evidence.collect(
        proto=PROTO,
        sid_preimages=[] if preimage is None else [preimage],
        accused=holder(2),
        check="test.r1",
        messages=messages,
    )


def test_what_is_written():
    first, second = sorted((message(2), message(3)), key=lambda signed: signed.encoded)
    shown = [[first.encoded, first.signature], [second.encoded, second.signature]]
    preimage = [PROTO, "sid", "test", b"x"]
    written = evidence(message(2), message(3), preimage=preimage).encode()
    assert written == encode(["evidence/v1", PROTO, [encode(preimage)], ["holder", 2], "test.r1", shown])
    bare = evidence().encode()
    assert bare == encode(["evidence/v1", PROTO, [], ["holder", 2], "test.r1", []])


def test_it_is_the_same_in_any_order_and_holds_each_message_once():
    one, two, three = message(1), message(2), message(2, b"other")
    assert evidence(three, one, two, one).encode() == evidence(one, two, three).encode()
    assert len(evidence(three, one, two, one).messages) == 3


def test_a_claim_is_what_was_read():
    written = evidence(message(2), message(3), preimage=[PROTO, "sid", b"x"]).encode()
    claim = read_claim(written)
    assert (claim.proto, claim.preimages) == (PROTO, (encode([PROTO, "sid", b"x"]),))
    assert (claim.accused, claim.check) == (holder(2), "test.r1")
    assert set(claim.messages) == {(m.encoded, m.signature) for m in (message(2), message(3))}
    assert claim.encode() == written


def test_preimages_are_told_apart_by_their_tags():
    """A session's id, and the list whose hash is a request: only the latter has the tag "req" in second place."""
    session, other = encode([PROTO, "sid", "sign", b"x"]), encode([PROTO, "sid", "req"])
    longest = encode(["p" * 64, "t" * 16])
    request, another = encode([PROTO, "req", b"1"]), encode([PROTO, "req", b"2"])
    no_lists = [b"", b"x", encode("req"), encode([]), encode([PROTO]), encode(["req", PROTO]), encode([b"", "req"]),
                encode(["p" * 65, "req"]), encode([PROTO, b"req"]), encode([PROTO, ["req"]])]  # fmt: skip
    listed = [session, request, other, another, longest, *no_lists]
    assert session_preimages(listed) == (session, other, longest, *no_lists)
    req = hashlib.sha256(request).digest()
    assert request_preimages(listed, req) == [request]
    assert request_preimages(listed, hashlib.sha256(session).digest()) == []
    assert request_preimages(listed, hashlib.sha256(b"").digest()) == []
    assert request_preimages([request, request], req) == [request, request]
    assert session_preimages([encode(["p" * 64, "req"])]) == ()


def test_limits():
    assert MAX_EVIDENCE_BYTES == 268_435_456
    assert read_claim(claim_of(proto="p" * 64)).proto == "p" * 64
    with pytest.raises(SchemaViolation):
        read_claim(claim_of(proto="p" * 65))
    preimages = [encode([PROTO])] * MAX_PREIMAGES
    assert MAX_PREIMAGES == 4
    assert read_claim(claim_of(preimages=preimages)).preimages == tuple(preimages)
    with pytest.raises(SchemaViolation):
        read_claim(claim_of(preimages=[*preimages, encode([PROTO])]))


def claim_of(proto: str = PROTO, preimages: list[bytes] | None = None) -> bytes:
    return encode(["evidence/v1", proto, preimages or [], ["holder", 2], "test.r1", []])


def test_another_signature_of_the_same_body_is_kept_as_well():
    one = message(1)
    assert len(evidence(one, Signed(one.body, one.encoded, bytes(64))).messages) == 2


def test_its_messages_read_back():
    written = evidence(message(2), message(3), preimage=[PROTO]).encode()
    assert sorted(messages_in(written)) == sorted(tuple(message(i).as_value()) for i in (2, 3))


def test_what_it_claims_reads_back():
    assert claim_in(evidence(message(2)).encode()) == (holder(2), "test.r1")
    with pytest.raises(SchemaViolation):
        claim_in(b"")


FIELDS = ["evidence/v1", PROTO, [b""], ["holder", 2], "test.r1", []]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, "v" * 65), (0, b"evidence/v1"), (0, "evidence/v2"), (1, "p" * 65), (2, "text"), (2, None), (2, [bytes(9)] * 5),
        (2, [bytes(8 * 1024 * 1024 + 1)]), (3, "holder"),
        (3, ["holder", LEADING_ZERO]), (4, "c" * 129), (5, None), (5, [[b"body"]]), (5, [[b"", bytes(64)]]),
        (5, [[b"body", bytes(63)]]), (5, [[b"b", bytes(64)]] * (MAX_EVIDENCE_MESSAGES + 1)),
    ],
    ids=lambda v: repr(v)[:24],
)  # fmt: skip
def test_what_is_no_evidence_is_refused(place, value):
    messages_in(encode(FIELDS))
    fields = [value if at == place else field for at, field in enumerate(FIELDS)]
    with pytest.raises(SchemaViolation):
        messages_in(encode_any(fields))


@pytest.mark.parametrize("fields", [FIELDS[:-1], [*FIELDS, None]], ids=len)
def test_evidence_of_another_length_is_refused(fields):
    with pytest.raises(SchemaViolation):
        messages_in(encode(fields))


def test_the_largest_evidence_is_read():
    fields = [
        "evidence/v1",
        "p" * 64,
        [bytes(9)] * 4,
        ["r" * 16, 1],
        "c" * 128,
        [[b"b", bytes(64)]] * MAX_EVIDENCE_MESSAGES,
    ]
    assert len(messages_in(encode(fields))) == MAX_EVIDENCE_MESSAGES == 1024


def test_all_that_sixteen_parties_can_leave_in_a_session_fits():
    """One accused fills every slot that a session keeps, fifteen others theirs: 16 rounds under the sid, one under ph."""
    kinds, rounds_ = 3, 16 + 1
    assert 15 * kinds * rounds_ + rounds_ <= MAX_EVIDENCE_MESSAGES


def test_a_third_party_rebuilds_the_sid_and_sees_both_versions():
    run = run_committee(
        dict.fromkeys((1, 2, 3), rounds), 1, tamper={3: [says(1, lambda _v: b"x" * 32, only_to=1)]}
    )
    identities = {holder(i): identity_of(holder(i)).public for i in (1, 2, 3)}
    for node in run.honest:
        assert isinstance(node.error, Equivocation)
        case = read_evidence(node.error, identities)
        assert case.sid == node.session.sid
        assert case.equivocates()
        assert case.accused == PartyId("holder", 3)


def test_before_the_session_has_an_id_there_is_no_preimage():
    solo = Solo()
    solo.hear(solo.acceptance(2), solo.acceptance(2, nonce=bytes(32)))
    case = read_evidence(solo.session.error, solo.identities)
    assert case.sid is None
    assert case.equivocates()


@pytest.mark.parametrize(("size", "found"), [(16, True), (17, False)])
def test_a_tag_has_at_most_16_bytes(size, found):
    """What is longer is no tag at all, so the list is a session's."""
    request = encode(["p", "req" if found else "r" * size, 1])
    assert (session_preimages([request]) == ()) is found
    long = encode(["p" * 64, "req"])
    assert session_preimages([long]) == ()
    assert session_preimages([encode(["p" * 65, "req"])]) != ()


def test_names_of_suites_have_at_most_64_bytes():
    def written(size: int) -> bytes:
        return Evidence.collect(
            proto="p" * size, sid_preimages=[], accused=holder(2), check="x", messages=[message(2)]
        ).encode()

    assert read_claim(written(64)).accused == holder(2)
    with pytest.raises(SchemaViolation):
        read_claim(written(65))
