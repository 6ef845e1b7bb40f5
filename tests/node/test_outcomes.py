from __future__ import annotations

import pytest

from participant.callers import RateLimited
from participant.node import errors
from participant.node.errors import NodeFailure, failure_of
from participant.node.outcomes import OperatorAbort, failure_of_own, failure_of_session, refusal_of
from participant.node.plan import Decline, Declined
from participant.node.proposals import PolicyDeclined
from participant.policy import Reason, Refuse
from participant.room_refusals import RoomForbidden, RoomUnknown
from participant.store import KeyShareNotFound, RequestConflict, StoreDamaged, StoreUnavailable
from tss.errors import (
    AbortedByPeer,
    BadDigest,
    Degenerate,
    HardenedPath,
    InternalError,
    NotStored,
    ProofInvalid,
    Refused,
    ShareCorrupt,
    Timeout,
)


def test_every_failure_has_a_code_of_its_own():
    found = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, NodeFailure)
    ]
    codes = [kind.reason for kind in found if kind is not NodeFailure]
    assert len(codes) == len(set(codes)) > 20


@pytest.mark.parametrize("code", list(Decline))
def test_every_reason_to_decline_is_told_as_a_failure(code):
    assert isinstance(failure_of_own(Declined(code, "because")), NodeFailure)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Declined(Decline.ACCOUNT_FROZEN, "frozen"), "ACCOUNT_FROZEN"),
        (Declined(Decline.BUSY, "busy"), "BUSY"),
        (Declined(Decline.QUARANTINED, "marked"), "PEER_QUARANTINED"),
        (Declined(Decline.SET_BLOCKED, "blocked"), "SIGNER_SET_BLOCKED"),
        (PolicyDeclined(Refuse(Reason.NO_RULE, "no rule")), "POLICY_REFUSED"),
        (Refused(2, "NO_RULE: no rule"), "POLICY_REFUSED"),
        (Refused(2, "ACCOUNT_EXISTS: it is there"), "ACCOUNT_EXISTS"),
        (Refused(2, "RECORDS_DIFFER: other records"), "CEREMONY_FAILED"),
        (Refused(2, "something"), "CEREMONY_FAILED"),
        (AbortedByPeer(2, "why not"), "CEREMONY_FAILED"),
        (AbortedByPeer(2, "Timeout: no message from 3 in keygen.r0"), "TIMEOUT"),
        (AbortedByPeer(2, "Timeout: no message from nobody in keygen.r0"), "CEREMONY_FAILED"),
        (AbortedByPeer(2, "Busy: no message from 3 in keygen.r0"), "CEREMONY_FAILED"),
        (ProofInvalid("enc-elg", "z1").blame(3, "presign.r1"), "PEER_FAULT"),
        (Timeout([2, 3], "presign.r1"), "TIMEOUT"),
        (OperatorAbort("enough"), "ABORTED"),
        (NotStored("not stored"), "STORE_FAILED"),
        (Degenerate("r = 0"), "CEREMONY_FAILED"),
        (InternalError("a bug"), "INTERNAL"),
        (ShareCorrupt("damaged"), "SHARE_DAMAGED"),
        (StoreUnavailable("full"), "STORE_FAILED"),
        (KeyboardInterrupt(), "INTERNAL"),
        (ZeroDivisionError("a bug"), "INTERNAL"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value,
)
def test_a_sessions_end(error, reason):
    assert failure_of_session(error).reason == reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyShareNotFound("alice"), "KEY_SHARE_NOT_FOUND"),
        (RequestConflict("used"), "REQUEST_CONFLICT"),
        (StoreDamaged("damaged"), "STORE_FAILED"),
        (RoomForbidden("room", 403, "no"), "GATEWAY_REFUSED"),
        (RoomUnknown("room", 404, "no"), "GATEWAY_UNREACHABLE"),
        (HardenedPath("hard"), "HARDENED_PATH"),
        (BadDigest("short"), "BAD_DIGEST"),
        (RateLimited("bob", "1/s", 2.5), "RATE_LIMITED"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value,
)
def test_what_is_raised_below(error, reason):
    assert failure_of(error).reason == reason


def test_details_are_there_for_programs():
    fault = ProofInvalid("enc-elg", "z1").blame(3, "presign.r1")
    fault.evidence = b"evidence"
    told = failure_of_session(fault)
    assert told.metadata["peer"] == "2"
    assert told.metadata["check"] == "presign.r1.enc-elg:z1"
    assert len(told.metadata["evidence_id"]) == 64
    assert "index 2" in str(told)
    refused = failure_of_session(Refused(2, "NO_RULE: no rule"))
    assert (refused.metadata["by"], refused.metadata["rule"]) == ("1", "NO_RULE")
    assert failure_of_session(Timeout([2, 3], "presign.r1")).metadata["silent"] == "1,2"
    assert failure_of(RateLimited("bob", "1/s", 2.5)).metadata["retry_after"] == "2.5"


def test_the_cause_of_a_full_disk_is_told():
    error = NotStored("it could not be stored")
    error.__cause__ = StoreUnavailable("the disk is full")
    assert "the disk is full" in str(failure_of_session(error))


def test_a_bug_says_its_type_and_nothing_else():
    assert "secret" not in str(failure_of(ValueError("secret")))
    assert "ValueError" in str(failure_of(ValueError("secret")))


def test_a_failure_stays_as_it_is():
    failure = errors.Busy("later")
    assert failure_of(failure) is failure
    assert failure_of_session(failure) is failure


def test_refusals_are_taken_apart():
    assert refusal_of(Refused(2, "BUSY: later: much")) == ("BUSY", "later: much")
    assert refusal_of(Refused(2, "what")) == ("", "what")


def test_a_peers_silence_is_told_by_index():
    told = failure_of_session(AbortedByPeer(2, "Timeout: no message from 1, 3 in keygen.r0"))
    assert str(told) == "index 1 ended the session: no message from index 0, 2 in keygen.r0"
    assert told.metadata["silent"] == "0,2"
