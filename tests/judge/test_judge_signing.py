"""Evidence about partial signatures: what of it can be missing or different, and what it then proves (protocol.md 4.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from cggmp24_cheating import reports
from cggmp24_testing import Signers, clone
from judging_testing import CHEATER, Case, another_version, place_of, write
from session_testing import Anything, identity_of, says
from tss_testing import SMALL_SECP, TINY

from tss.cggmp24.sign import SignRequest
from tss.encoding import decode, encode
from tss.envelope import Kind, decode_body, holder
from tss.envelope import sign as sign_body
from tss.errors import BadPartial, FalseAccusation
from tss.evidence import Claim, read_claim, request_preimages, session_preimages
from tss.proposal import Proposal, decode_proposal

Q = TINY.group.q
REQUEST = SignRequest(hashlib.sha256(b"message").digest())
TWO, TWO_OWNED, THREE = Signers((1, 2), 3), Signers((1, 2), 3, owner_=2), Signers((1, 2, 4), 4)
EQUATION = "sign.partial.equation"


def false_sigma(round_: int, *, in_acceptance: bool = False) -> Any:
    def change(value: list[Any]) -> list[Any]:
        if in_acceptance:
            return [value[0], [value[1][0], (value[1][1] + 1) % Q]]
        return [value[0], (value[1] + 1) % Q]

    return says(round_, change)


def without_signature(shown: list[Any]) -> list[Any]:
    return [[shown[0][0], bytes(64)], *shown[1:]]


def _cases() -> Iterator[tuple[str, Case]]:
    """Party 2 cheats in all of them."""

    def stock(signers: Signers, *rules: Any) -> Callable[..., Any]:
        return partial(signers.sign_with_made_stock, REQUEST, tamper={CHEATER: list(rules)})

    yield "responder", Case(EQUATION, "3.5", stock(TWO, false_sigma(0, in_acceptance=True)))
    yield "owner", Case(EQUATION, "3.5", stock(TWO_OWNED, false_sigma(1)))
    yield "one of three", Case(EQUATION, "3.5", stock(THREE, false_sigma(2)), by=4)
    yield (
        "owner of three",
        Case(EQUATION, "3.5", stock(Signers((1, 2, 4), 4, owner_=2), false_sigma(2)), by=4),
    )
    yield (
        "a bad show",
        Case(
            "sign.show.signature", "3.4", stock(Signers((1, 2, 4), 4, owner_=2), says(1, without_signature))
        ),
    )
    full = partial(THREE.full_sign, REQUEST, tamper={CHEATER: [false_sigma(4)]})
    yield "full signing", Case(EQUATION, "3.5", full)


def another_entropy(body: Any) -> Any:
    """Another acceptance of the same party."""
    echo, (_, *rest) = decode(body.payload, Anything(TINY.group))
    return replace(body, payload=encode([echo, [b"x" * 32, *rest]]))


CASES = dict(_cases())
PARTIAL = {name: case for name, case in CASES.items() if case.check == EQUATION}
each = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
each_partial = pytest.mark.parametrize("case", PARTIAL.values(), ids=PARTIAL)


@each
def test_as_it_was_written_it_proves_guilt(case: Case) -> None:
    verdict = case.verdict(case.evidence)
    assert (verdict.guilty, verdict.accused, verdict.section) == (True, holder(CHEATER), case.section), (
        verdict
    )
    assert verdict.check.startswith(case.check)


@each_partial
def test_with_a_message_less_it_proves_nothing(case: Case) -> None:
    """All of it is needed, but for the others' partial signatures and echoes, and the accused's first presigning round."""
    spare = set()
    for place, body in enumerate(case.bodies):
        verdict = case.verdict(case.without(place))
        assert not verdict.cleared
        if verdict.guilty:
            spare.add(place_of(body))
    presign_or_sigma = {"1 msg 2", "4 msg 2"}
    if case is PARTIAL["full signing"]:
        assert spare == {"2 msg 1"}
    else:
        assert spare <= {"1 echo 3", "4 echo 3", "2 msg 1", *presign_or_sigma}
    for place, body in enumerate(case.bodies):
        if place_of(body) in presign_or_sigma and body.sid != case.outcomes[case.by].session.sid:
            assert not case.verdict(case.without(place)).guilty, "round 2 of presigning"


@each_partial
def test_another_version_of_what_others_said_proves_nothing(case: Case) -> None:
    """Neither of the presigning, which the accused's echoes bind, nor of the entropies, which its req binds."""
    for place, body in enumerate(case.bodies):
        if body.sender == holder(CHEATER) or body.kind is not Kind.MSG:
            continue
        other = case.instead(place, another_entropy(body) if body.round == 0 else another_version(body))
        verdict = case.verdict(other)
        if not verdict.guilty:
            assert not verdict.cleared
        else:
            assert case.verdict(case.without(place)).guilty, "it was not needed at all"


@each
def test_nobody_else_is_guilty_by_it(case: Case) -> None:
    for party in case.identities:
        if party != holder(CHEATER):
            assert not case.verdict(replace(case.claim, accused=party)).guilty


@each_partial
def test_without_what_the_session_id_is_made_of_it_proves_nothing(case: Case) -> None:
    for place in range(len(case.claim.preimages)):
        preimages = [p for k, p in enumerate(case.claim.preimages) if k != place]
        verdict = case.verdict(replace(case.claim, preimages=tuple(preimages)))
        assert not verdict.guilty
        assert not verdict.cleared


@each_partial
def test_another_proposal_or_request_proves_nothing(case: Case) -> None:
    """With another digest, path or tweak every partial signature is wrong: but this is not what the accused signed."""
    for place, body in enumerate(case.bodies):
        if body.kind is Kind.PROPOSE:
            values = decode(body.payload, Anything(TINY.group))
            tail = decode(values[4], Anything(TINY.group))
            for changed in ([*tail[:1], b"d" * 32, *tail[2:]], [*tail[:3], tail[3] + 1, *tail[4:]]):
                payload = encode([*values[:4], encode(changed), *values[5:]])
                assert not case.verdict(case.instead(place, replace(body, payload=payload))).guilty
    for encoded in case.claim.preimages:
        values = decode(encoded, Anything(TINY.group))
        if values[1] == "req":
            other = encode([*values[:4], values[4] + 1, values[5]])
            preimages = [other if p == encoded else p for p in case.claim.preimages]
            assert not case.verdict(replace(case.claim, preimages=tuple(preimages))).guilty


def test_an_honest_partial_signature_clears_and_whoever_complains_of_it_is_to_blame() -> None:
    lied = PARTIAL["one of three"]
    accused, message = holder(1), lied.bodies[0]
    claim = replace(lied.claim, accused=accused)
    verdict = lied.verdict(claim)
    assert (verdict.guilty, verdict.cleared) == (False, True), verdict
    complaint = sign_body(
        replace(
            message,
            sid=lied.outcomes[4].session.sid or b"",
            round=0,
            kind=Kind.COMPLAINT,
            sender=holder(4),
            to=None,
            payload=encode([accused.as_list(), EQUATION, write(claim)]),
        ),
        identity_of(holder(4)).sign,
    )
    about = replace(
        lied.claim,
        preimages=session_preimages(lied.claim.preimages),
        accused=holder(4),
        check="sign.complaint.false",
        messages=((complaint.encoded, complaint.signature),),
    )
    found = lied.verdict(about)
    assert (found.guilty, found.accused) == (True, holder(4)), found
    assert isinstance(found.fault, FalseAccusation)


def test_a_later_presignature_of_a_batch_and_a_key_below_the_root() -> None:
    """A lie is one, and the true partial signature is none."""
    signers, suites = Signers((1, 2), 2, suite=SMALL_SECP), {SMALL_SECP.proto: SMALL_SECP}
    made = {j: clone(items[1]) for j, items in signers.presign("a batch", batch=2).results().items()}
    rule = says(0, lambda value: [value[0], [value[1][0], value[1][1] + 1]])
    request = replace(REQUEST, path=(0, 7))
    case = Case(EQUATION, "3.5", partial(signers.stock_sign, request, made, tamper={CHEATER: [rule]}))
    assert case.verdict(case.evidence, suites=suites).guilty
    place = place_in(case, sender=holder(CHEATER), kind=Kind.MSG, round=0)
    echo, (e, (req, sigma)) = decode(case.bodies[place].payload, Anything(SMALL_SECP.group))
    honest = case.instead(place, replace(case.bodies[place], payload=encode([echo, [e, [req, sigma - 1]]])))
    verdict = case.verdict(honest, suites=suites)
    assert (verdict.guilty, verdict.cleared) == (False, True), verdict


def test_in_full_signing_the_evidence_says_which_tweak_was_signed() -> None:
    case = PARTIAL["full signing"]
    first, request = case.claim.preimages
    assert session_preimages(case.claim.preimages) == (first,)
    req = hashlib.sha256(request).digest()
    assert request_preimages(case.claim.preimages, req) == [request]
    assert request_preimages(case.claim.preimages, b"r" * 32) == []
    assert decode(request, Anything(TINY.group))[4] == THREE.tau(REQUEST)
    assert session_preimages((b"", b"\x06", first)) == (b"", b"\x06", first)


def test_everybody_who_is_told_blames_the_sender_of_a_false_sigma() -> None:
    """One signer alone gets the false one; the others judge its complaint."""
    rule = says(2, lambda v: [v[0], (v[1] + 1) % Q], only_to=4)
    outcomes = THREE.sign_with_made_stock(REQUEST, tamper={CHEATER: [rule]}, seed=3)
    assert isinstance(outcomes[4].error, BadPartial)
    told = outcomes[1].error
    assert told is None or (isinstance(told, BadPartial) and told.peer == CHEATER)


def test_nothing_secret_is_in_the_evidence() -> None:
    for name, case in PARTIAL.items():
        signers = {"responder": TWO, "owner": TWO_OWNED}.get(name, THREE)
        share = signers.share
        for secret in (share.chain_code, *(int(s.x).to_bytes(4, "big") for s in signers.shares.values())):
            assert secret not in case.evidence
        assert read_claim(case.evidence).check == case.claim.check
        assert all(decode_body(encoded).to is None for encoded, _ in case.claim.messages)


@pytest.mark.parametrize("name", PARTIAL)
def test_the_session_drops_no_message_that_the_judge_needs(name: str) -> None:
    """Deaf runs give the same evidence as those in which everybody is told."""
    case = PARTIAL[name]
    outcomes = case.run(seed=("again", name), drop=reports)
    error = outcomes[case.by].error
    assert isinstance(error, BadPartial)
    assert case.verdict(error.evidence or b"").guilty


def place_in(case: Case, **fields: Any) -> int:
    """Where the one message with these fields stands."""
    (place,) = (
        k for k, body in enumerate(case.bodies) if all(getattr(body, n) == v for n, v in fields.items())
    )
    return place


def in_another_session(case: Case, change: Callable[[Proposal], Proposal]) -> Claim:
    """The accused's partial signature, which it signs again under the session of another proposal, by its own key."""
    message = case.bodies[place_in(case, kind=Kind.PROPOSE)]
    proposal = change(decode_proposal(TINY, message))
    proposed = sign_body(proposal.body(TINY), identity_of(proposal.initiator).sign)
    former = case.outcomes[case.by].session.sid
    preimage = encode([TINY.proto, "sid", "sign", TINY.group.name, proposed.body.sid])
    sid = hashlib.sha256(preimage).digest()
    messages = [(proposed.encoded, proposed.signature)]
    for body, message_ in zip(case.bodies, case.claim.messages, strict=True):
        if body.sid == former:
            signed = sign_body(replace(body, sid=sid), identity_of(body.sender).sign)
            messages.append((signed.encoded, signed.signature))
        elif body.kind is not Kind.PROPOSE:
            messages.append(message_)
    return replace(case.claim, preimages=(preimage, *case.claim.preimages[1:]), messages=tuple(messages))


def with_tail(place: int, value: Any) -> Callable[[Proposal], Proposal]:
    return lambda p: replace(p, tail=[*p.tail[:place], value, *p.tail[place + 1 :]])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(with_tail(0, b"p" * 32), "did not make the presignature", id="presignature"),
        pytest.param(with_tail(4, [1, 2, 4]), "another signer set's", id="signers"),
        pytest.param(with_tail(4, [1, 9]), "for others than this committee", id="strangers"),
        pytest.param(lambda p: replace(p, initiator=holder(2)), "another owner's", id="not the owner"),
        pytest.param(
            lambda p: replace(p, initiator=holder(4)), "signed proposal is missing", id="nobody who signs"
        ),
        pytest.param(
            lambda p: replace(p, kind="keygen", tail=[3, 2]),
            "something else",
            id="a proposal of another kind",
        ),
        pytest.param(with_tail(3, 1), "another request than this one", id="tweak"),
    ],
)
def test_a_partial_signature_under_another_proposal(change: Any, said: str) -> None:
    case = PARTIAL["responder"]
    verdict = case.verdict(in_another_session(case, change), identities=everybody(case))
    assert not verdict.guilty
    assert not verdict.cleared
    assert said in verdict.reason


def everybody(case: Case) -> Any:
    return {**case.identities, **{holder(j): identity_of(holder(j)).public for j in (1, 2, 4)}}


def test_what_the_presignature_came_from_is_needed() -> None:
    case = PARTIAL["responder"]
    session = case.outcomes[case.by].session
    here = [
        message
        for body, message in zip(case.bodies, case.claim.messages, strict=True)
        if body.sid == session.sid or body.kind is Kind.PROPOSE
    ]
    first, presigning = case.claim.preimages
    values = decode(presigning, Anything(TINY.group))
    keygen = encode([*values[:2], "keygen", *values[3:7], 2, 2])
    for preimages in ((first,), (first, keygen), (first, first)):
        claim = replace(case.claim, preimages=preimages, messages=tuple(here))
        assert "the presigning's session id is missing" in case.verdict(claim).reason


def test_a_run_whose_outputs_do_not_fit_together_gave_nobody_a_presignature() -> None:
    case = PARTIAL["responder"]
    place = place_in(case, sender=holder(CHEATER), kind=Kind.MSG, round=3)
    body = case.bodies[place]
    echo, (items, e) = decode(body.payload, Anything(TINY.group))
    other = [[(items[0][0] + 1) % Q, *items[0][1:]], *items[1:]]
    verdict = case.verdict(case.instead(place, replace(body, payload=encode([echo, [other, e]]))))
    assert "do not fit together" in verdict.reason


def test_a_proposal_that_cannot_be_read_is_no_evidence() -> None:
    """Whoever signed it: it was refused, and nothing was signed under it."""
    case = PARTIAL["owner"]
    place = place_in(case, sender=holder(CHEATER), kind=Kind.PROPOSE)
    verdict = case.verdict(case.instead(place, replace(case.bodies[place], payload=b"\x00")))
    assert (verdict.guilty, verdict.cleared) == (False, False)
    assert "the proposal cannot be read" in verdict.reason


def test_an_acceptance_that_cannot_be_read_is_no_evidence() -> None:
    case = PARTIAL["owner"]
    place = place_in(case, sender=holder(1), kind=Kind.MSG, round=0)
    verdict = case.verdict(case.instead(place, replace(case.bodies[place], payload=b"\x00")))
    assert "cannot be read" in verdict.reason


def test_without_the_proposal_nobody_knows_what_a_session_receives() -> None:
    case = PARTIAL["responder"]
    claim = replace(case.without(place_in(case, kind=Kind.PROPOSE)), check="sign.r0.schema")
    verdict = case.verdict(claim)
    assert (verdict.guilty, verdict.cleared) == (False, False), verdict
    assert "sign has no msg of round 0" in verdict.reason


def test_only_the_owner_of_three_or_more_shows_entropies() -> None:
    show = "sign.show.signature"
    honest = PARTIAL["owner of three"]
    assert honest.verdict(replace(honest.claim, check=show)).cleared
    of_two = PARTIAL["owner"]
    assert "not the owner, who alone" in of_two.verdict(replace(of_two.claim, check=show)).reason
    bad = CASES["a bad show"]
    place = place_in(bad, sender=holder(CHEATER), round=1)
    by_another = bad.instead(place, replace(bad.bodies[place], sender=holder(1)))
    verdict = bad.verdict(replace(by_another, accused=holder(1)))
    assert "not the owner, who alone" in verdict.reason, verdict


def test_round_0_of_signing_is_judged_as_what_it_says_there() -> None:
    """Other sessions have their acceptances in round 0."""
    case = PARTIAL["responder"]
    verdict = case.verdict(replace(case.claim, check="sign.r0.schema"))
    assert (verdict.guilty, verdict.cleared) == (False, True), verdict


def test_a_request_that_is_none_is_no_evidence() -> None:
    """The accused may sign any 32 bytes as its req, so also the hash of what is no request."""
    case = PARTIAL["full signing"]
    none = encode([TINY.proto, "req", b"neither id nor digest"])
    place = place_in(case, sender=holder(CHEATER), round=4)
    body = case.bodies[place]
    _, (_, sigma) = decode(body.payload, Anything(TINY.group))
    signed = case.instead(
        place, replace(body, payload=encode([None, [hashlib.sha256(none).digest(), sigma]]))
    )
    claim = replace(signed, preimages=(signed.preimages[0], none))
    assert "what the accused's req is the hash of is missing" in case.verdict(claim).reason
