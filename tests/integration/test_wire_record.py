"""The record of what was said: what may never be in it is found when it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from node_testing import node_keys
from tss_testing import SMALL_SECP
from wire_record import check_record, stock_sid

from tss.cggmp24 import sign as stock
from tss.encoding import encode
from tss.envelope import Body, Kind, holder, pack, sign
from tss.proposal import Proposal

KEYS = node_keys()
IDENTITIES = [one.identity for one in KEYS]


def said(body: Body, by: int = 0) -> bytes:
    return pack(sign(body, KEYS[by].sign))


def message(value: int, sid: bytes = bytes(32), kind: Kind = Kind.MSG) -> Body:
    return Body(SMALL_SECP.proto, sid, 1, kind, holder(1), None, encode([value]))


PROPOSAL = Proposal(
    initiator=holder(1),
    committee_id=bytes(32),
    account_id="main",
    kind=stock.KIND,
    request_id=bytes(16),
    tail=[b"p" * 32, bytes(32), [], 0, [1, 2], bytes(32)],
    message=None,
    expiry=1,
)
ANOTHER = replace(PROPOSAL, request_id=b"another request!")


def test_copies_forgeries_and_nonsense_are_no_second_message():
    forged = said(message(2), by=1)
    found = check_record(
        [said(message(1)), said(message(1)), forged, b"nonsense", said(PROPOSAL.body(SMALL_SECP))],
        IDENTITIES,
        SMALL_SECP,
    )
    assert found == {"slots": 1, "presignatures": 1}


@pytest.mark.parametrize("kind", [Kind.MSG, Kind.ECHO, Kind.DONE])
def test_two_messages_in_one_slot(kind):
    record = [said(message(1, kind=kind)), said(message(2, kind=kind))]
    with pytest.raises(AssertionError, match="two messages in one slot"):
        check_record(record, IDENTITIES, SMALL_SECP)
    check_record(record, IDENTITIES, SMALL_SECP, rolled_back=[0])
    with pytest.raises(AssertionError, match="two messages in one slot"):
        check_record(record, IDENTITIES, SMALL_SECP, rolled_back=[1])


def test_a_presignature_that_is_promised_twice():
    record = [said(one.body(SMALL_SECP)) for one in (PROPOSAL, ANOTHER)]
    with pytest.raises(AssertionError, match="promised twice"):
        check_record(record, IDENTITIES, SMALL_SECP, rolled_back=[0])


def test_two_partial_signatures_of_a_node_that_has_forgotten_one():
    sid = stock_sid(SMALL_SECP, PROPOSAL.hash(SMALL_SECP))
    record = [said(PROPOSAL.body(SMALL_SECP)), said(message(1, sid)), said(message(2, sid))]
    with pytest.raises(AssertionError, match="two messages in one slot"):
        check_record(record, IDENTITIES, SMALL_SECP, rolled_back=[0])
