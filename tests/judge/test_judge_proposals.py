"""Evidence about proposals with what is another's, or with one presignature for two requests (protocol.md 3.3, 3.5)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cggmp24_testing import Signers
from judging_testing import SUITES, write
from session_testing import Identity, identity_of
from tss_testing import SMALL_SECP, TINY

from tss.cggmp24 import presign, sign
from tss.cggmp24.presignature import presignature_id
from tss.cggmp24.sign import SignRequest
from tss.encoding import encode
from tss.envelope import Body, Kind, PartyId, Signed, holder
from tss.envelope import sign as sign_body
from tss.errors import BadProposal
from tss.evidence import read_claim
from tss.judge import Verdict, judge
from tss.judge.proposals import OWNER, REQUEST, proposal_evidence
from tss.judge.record import Bystander
from tss.proposal import Proposal

SIGNERS = Signers((1, 2, 4), 4)
OWNER_2 = replace(SIGNERS, owner_=2)
SHARE, AUX = SIGNERS.share, SIGNERS.aux[1]
BATCH = 3
REQUESTED = SignRequest(hashlib.sha256(b"message").digest(), (0, 7))
IDENTITIES = {holder(j): identity_of(holder(j)).public for j in (1, 2, 3, 4)}
ACCUSED = holder(2)


def preimage_of(signers: Signers, seed: object = 0) -> list[Any]:
    """Of a real presigning session of a batch."""
    made = signers.presign(("proposed", seed), batch=BATCH).results()[1]
    assert made[0].transcript is not None
    return list(made[0].transcript.preimage)


PREIMAGE, PREIMAGE_2 = preimage_of(SIGNERS), preimage_of(OWNER_2)


def named(preimage: list[Any], k: int) -> bytes:
    sid = hashlib.sha256(encode(preimage)).digest()
    return presignature_id(Bystander(TINY, sid, IDENTITIES), k)


def signing(preimage: list[Any], k: int = 0, *, request: SignRequest = REQUESTED, e: bytes = b"e" * 32) -> list[Any]:  # fmt: skip
    tau = sum(request.path)
    return sign.tail(named(preimage, k), request, tau, SIGNERS.S, e)


def proposed(kind: str, tail: list[Any], **fields: Any) -> Proposal:
    values: dict[str, Any] = {
        "initiator": ACCUSED, "committee_id": b"c" * 32, "account_id": "main", "kind": kind, "request_id": b"r" * 16,
        "tail": tail, "message": b"m", "expiry": 1,
    }  # fmt: skip
    return Proposal(**(values | fields))


def signed(message: Proposal | Body, by: Identity | None = None) -> Signed:
    body = message.body(TINY) if isinstance(message, Proposal) else message
    return sign_body(body, (by or identity_of(body.sender)).sign)


def verdict(
    kind: str,
    check: str,
    messages: Sequence[Proposal | Body | Signed],
    *preimages: list[Any],
    accused: PartyId = ACCUSED,
    identities: Mapping[PartyId, bytes] = IDENTITIES,
    suites: Any = SUITES,
) -> Verdict:
    shown = [one if isinstance(one, Signed) else signed(one) for one in messages]
    evidence = proposal_evidence(kind, check, shown, *preimages)
    claim = replace(read_claim(evidence), proto=TINY.proto, accused=accused)
    return judge(write(claim), identities, suites)


@dataclass(frozen=True)
class Case:
    """A fault of party 2, as the parties that refuse the proposal keep it."""

    kind: str
    check: str
    section: str
    proposals: tuple[Proposal, ...]
    preimages: tuple[list[Any], ...] = ()

    def verdict(self, **options: Any) -> Verdict:
        return verdict(self.kind, self.check, self.proposals, *self.preimages, **options)

    def of(self, *messages: Any, **options: Any) -> Verdict:
        return verdict(self.kind, self.check, messages, *self.preimages, **options)

    @property
    def honest(self) -> tuple[Proposal, ...]:
        """What its owner may propose: the first alone, and once more for the same request."""
        (first, *more) = self.proposals
        if self.check == OWNER:
            return (replace(first, initiator=holder(1)),)
        return (first, *(replace(first, request_id=b"q" * 16, expiry=9, message=None) for _ in more))


def second(**changes: Any) -> Case:
    other = signing(PREIMAGE_2, **changes)
    return second_tail(other)


def second_tail(other: list[Any]) -> Case:
    tails = (signing(PREIMAGE_2), other)
    return Case("sign", REQUEST, "3.5", tuple(proposed("sign", tail) for tail in tails))


def at(tail: list[Any], place: int, value: Any) -> list[Any]:
    return [*tail[:place], value, *tail[place + 1 :]]


_FULL = presign.full_tail(SHARE, AUX, SIGNERS.S, 1, REQUESTED)
_OTHER = SignRequest(REQUESTED.digest, (0, 8))
CASES = {
    "presigning": Case(
        "presign", OWNER, "3.3", (proposed("presign", presign.tail(SHARE, AUX, SIGNERS.S, 1, BATCH)),)
    ),
    "full signing": Case("full-sign", OWNER, "3.4", (proposed("full-sign", _FULL),)),
    **{
        f"item {k}": Case("sign", OWNER, "3.3", (proposed("sign", signing(PREIMAGE, k)),), (PREIMAGE,))
        for k in range(BATCH)
    },
    "another digest": second(request=SignRequest(b"d" * 32, REQUESTED.path)),
    "another path": second_tail(at(signing(PREIMAGE_2), 2, list(_OTHER.path))),
    "another path and its tweak": second(request=_OTHER),
    "another tweak": second_tail(at(signing(PREIMAGE_2), 3, 5)),
    "other signers": second_tail(at(signing(PREIMAGE_2), 4, [1, 2, 3])),
    "another entropy": second(e=b"f" * 32),
}
OWNED = {name: case for name, case in CASES.items() if case.check == OWNER}
TWICE = {name: case for name, case in CASES.items() if case.check == REQUEST}
WITH_STOCK = {name: case for name, case in OWNED.items() if case.kind == "sign"}
each = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
each_owned = pytest.mark.parametrize("case", OWNED.values(), ids=OWNED)
each_twice = pytest.mark.parametrize("case", TWICE.values(), ids=TWICE)
each_with_stock = pytest.mark.parametrize("case", WITH_STOCK.values(), ids=WITH_STOCK)


def assert_unproven(found: Verdict, said: str) -> None:
    assert (found.guilty, found.cleared, found.section, found.fault) == (False, False, "", None), found
    assert said in found.reason, found


@pytest.mark.attack("D2")
@each
def test_as_it_was_kept_it_proves_guilt(case: Case) -> None:
    found = case.verdict()
    assert (found.guilty, found.cleared, found.accused) == (True, False, ACCUSED), found
    assert (found.check, found.section) == (f"{case.kind}.{case.check}", case.section)
    assert found.reason == {
        "proposal.owner": "it proposes what only another party may propose, the owner",
        "proposal.request": "it proposes one presignature for two requests",
    }.get(case.check)
    assert isinstance(found.fault, BadProposal)
    assert found.fault.peer == ACCUSED.index


@each
def test_the_owner_and_whoever_asks_once_more_for_the_same_are_cleared(case: Case) -> None:
    found = verdict(case.kind, case.check, case.honest, *case.preimages, accused=case.honest[0].initiator)
    assert (found.guilty, found.cleared, found.reason) == (False, True, "the check passes"), found


@each
def test_nobody_else_is_guilty_by_it(case: Case) -> None:
    for party in IDENTITIES:
        if party != ACCUSED:
            assert_unproven(case.verdict(accused=party), "something else than proposals of the accused")


@each
def test_what_nobody_here_signed_proves_nothing(case: Case) -> None:
    stranger = Identity.of("a stranger")
    for place, proposal in enumerate(case.proposals):
        messages: list[Any] = list(case.proposals)
        messages[place] = signed(proposal, stranger)
        assert_unproven(case.of(*messages), "that no member of this committee signed")
    strangers = {party: Identity.of(("other", party)).public for party in IDENTITIES}
    assert_unproven(case.verdict(identities=strangers), "no member of this committee")
    assert_unproven(case.verdict(identities={}), "no member of this committee")


@each
def test_with_a_proposal_less_or_more_it_proves_nothing(case: Case) -> None:
    for place in range(len(case.proposals)):
        rest = [signed(p) for k, p in enumerate(case.proposals) if k != place]
        claim = read_claim(proposal_evidence(case.kind, case.check, list(map(signed, case.proposals))))
        shown = tuple((one.encoded, one.signature) for one in rest)
        assert_unproven(judge(write(replace(claim, messages=shown)), IDENTITIES, SUITES), "messages, the check is of")  # fmt: skip
    third = replace(case.proposals[0], expiry=77)
    assert_unproven(case.of(*case.proposals, third), "messages, the check is of")


@each
def test_of_another_suite_or_for_another_kind_of_session_it_proves_nothing(case: Case) -> None:
    for suites in ({}, {SMALL_SECP.proto: replace(SMALL_SECP, proto="another/v1")}):
        assert not case.verdict(suites=suites).guilty
    for other in ({c.kind for c in CASES.values()} - {case.kind}) | {"keygen"}:
        found = verdict(other, case.check, case.proposals, *case.preimages)
        assert not found.guilty
        assert not found.cleared
    *rest, last = case.proposals
    keygen = replace(last, kind="keygen", tail=[3, 2])
    assert_unproven(case.of(*rest, keygen), "another kind")


@each
def test_what_is_no_proposal_proves_nothing(case: Case) -> None:
    *rest, last = case.proposals
    body = last.body(TINY)
    assert_unproven(case.of(*rest, replace(body, payload=b"\x00")), "cannot be read")
    assert_unproven(case.of(*rest, replace(body, sid=bytes(32))), "cannot be read")
    assert_unproven(case.of(*rest, replace(body, kind=Kind.MSG)), "something else than proposals")
    of_other = replace(body, proto="other/v1")
    assert_unproven(case.of(*rest, of_other), "of another suite")


@each_twice
def test_somebody_elses_second_request_frames_no_owner(case: Case) -> None:
    """A party that may not even propose with it could sign another one."""
    first, other = case.proposals
    mixed = (first, replace(other, initiator=holder(1)))
    for accused in (ACCUSED, holder(1)):
        assert_unproven(case.of(*mixed, accused=accused), "something else than proposals of the accused")


@each_twice
def test_two_presignatures_may_serve_two_requests(case: Case) -> None:
    first, other = case.proposals
    with_another = replace(other, tail=at(other.tail, 0, named(PREIMAGE_2, 1)))
    assert_unproven(case.of(first, with_another), "with two presignatures")


@each_with_stock
def test_without_the_session_that_made_the_presignature_it_proves_nothing(case: Case) -> None:
    for preimages in ((), (PREIMAGE, PREIMAGE)):
        found = verdict(case.kind, case.check, case.proposals, *preimages)
        assert_unproven(found, "the presigning's session id is missing")
    another = verdict(case.kind, case.check, case.proposals, preimage_of(SIGNERS, "another"))
    assert_unproven(another, "did not make the presignature")


CHANGES: Mapping[str, tuple[Callable[[list[Any]], list[Any]], str]] = {
    "another owner": (lambda p: [*p[:-2], 4, p[-1]], "did not make the presignature"),
    "another ph": (lambda p: at(p, 5, bytes(32)), "did not make the presignature"),
    "fewer items": (lambda p: [*p[:-1], 0], "did not make the presignature"),
    "another kind": (lambda p: [*at(p, 2, "keygen")[:7], 3, 2], "session id is missing"),
    "another suite": (lambda p: at(p, 0, "other/v1"), "suite is not one"),
    "a weaker level": (lambda p: at(p, 4, [16, 32, 160, 64, 8]), "other security parameters"),
    "another party": (lambda p: at(p, 6, [[*p[6][0][:2], b"i" * 32, *p[6][0][3:]], *p[6][1:]]), "committee"),
    "no preimage": (lambda _: [5], "cannot be read"),
}


@each_with_stock
@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
def test_a_preimage_that_was_changed_proves_nothing(case: Case, change: Any, said: str) -> None:
    assert_unproven(verdict(case.kind, case.check, case.proposals, change(PREIMAGE)), said)


def test_an_item_past_the_batch_is_none() -> None:
    case = CASES["item 0"]
    beyond = replace(case.proposals[0], tail=signing(PREIMAGE, BATCH))
    assert_unproven(case.of(beyond), "did not make the presignature")


def test_with_ones_own_presignature_nobody_is_guilty() -> None:
    """Whose it is the session says, not the accuser."""
    own = proposed("sign", signing(PREIMAGE_2))
    assert verdict("sign", OWNER, [own], PREIMAGE_2).cleared
    assert_unproven(verdict("sign", OWNER, [own], PREIMAGE), "did not make the presignature")
