"""What a protocol knows about its session, and how its jobs are run."""

from __future__ import annotations

import hashlib

import pytest
from session_testing import identity_of
from tss_testing import TINY, SeededRng

from tss.effects import Received, Send, SendDurably, SessionContext, run_job, run_serially
from tss.encoding import encode
from tss.envelope import PartyId, holder
from tss.errors import BadShare

PARTIES = (PartyId("dealer", 3), holder(2), holder(10))
SID = b"\x02" * 32


def context() -> SessionContext:
    identities = {party: identity_of(party).public for party in reversed(PARTIES)}
    return SessionContext(TINY, SID, holder(2), identities, SeededRng("secret seed"))


def test_parties_are_sorted_and_the_others_lack_only_this_one():
    assert context().parties == PARTIES
    assert context().others == (PartyId("dealer", 3), holder(10))


def test_hashes_are_of_the_sessions_suite():
    assert context().hc("done", SID, 1) == hashlib.sha256(encode([TINY.proto, "done", SID, 1])).digest()


def test_the_context_of_a_proof():
    """CTX = [sid, prover, verifier or none, rid or none, label]."""
    ctx = context()
    assert ctx.proof("label", holder(2)).as_list() == [SID, ["holder", 2], None, None, "label"]
    full = ctx.proof("label", holder(2), holder(10), rid=b"rid", sid=b"isid")
    assert full.as_list() == [b"isid", ["holder", 2], ["holder", 10], b"rid", "label"]


def test_secrets_are_not_in_representations():
    shown = repr([
        context(), Send(1, p2p={holder(2): [987654321]}), SendDurably(1, b"x", record=987654321),
        Received(1, [987654321], None, None),
    ])  # fmt: skip
    assert "secret seed" not in shown
    assert "987654321" not in shown


def fail(error: BaseException) -> None:
    raise error


def test_a_job_that_raises_gives_its_exception_back():
    errors = [BadShare("wrong"), ValueError("bug")]
    jobs = [lambda: 1, lambda: fail(errors[0]), lambda: fail(errors[1]), lambda: 2]
    assert run_serially(jobs) == [1, *errors, 2]
    assert run_job(jobs[1]) is errors[0]


def test_an_interruption_is_no_result():
    with pytest.raises(KeyboardInterrupt):
        run_job(lambda: fail(KeyboardInterrupt()))
