"""Evidence against FROST's key generation that lacks something: nobody is guilty by it, and nobody is cleared."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import pytest
from cggmp24_cheating import reports
from frost_testing import FrostSigners, run_dkg
from session_testing import Tamper, identity_of, says, tells

from tss.encoding import encode
from tss.envelope import decode_body, holder
from tss.errors import BadPartial, PeerFault
from tss.evidence import Claim, read_claim
from tss.groups import ED25519
from tss.judge import judge
from tss.judge.readers import READERS
from tss.judge.record import NotProven, Preimage
from tss.params import FROST_ED25519
from tss.transcript import hash_commit

CHEATER = 2
IDENTITIES = {holder(j): identity_of(holder(j)).public for j in (1, 2, 3)}
FALSE_SHARE = tells(3, lambda f: (f + 1) % ED25519.q, to=3)
NO_POINTS = says(2, lambda reveal: [[], *reveal[1:]])


def claim_of(*tamper: Tamper) -> Claim:
    """What party 3 holds against the cheater."""
    outcomes = run_dkg(3, 2, "judged", tamper={CHEATER: list(tamper)}, drop=reports)
    error = outcomes[3].error
    assert isinstance(error, PeerFault)
    assert error.evidence is not None
    return read_claim(error.evidence)


def test_a_false_share_is_proven_by_reveal_and_share() -> None:
    claim = claim_of(FALSE_SHARE)
    verdict = judge(claim.encode(), IDENTITIES)
    assert (verdict.guilty, verdict.check, verdict.section) == (True, "frost-keygen.r3.share", "6.2")
    assert {(decode_body(body).round, decode_body(body).to) for body, _ in claim.messages} == {
        (2, None),
        (3, holder(3)),
    }
    for gone in claim.messages:
        less = replace(claim, messages=tuple(message for message in claim.messages if message != gone))
        verdict = judge(less.encode(), IDENTITIES)
        assert (verdict.guilty, verdict.cleared) == (False, False)
        assert "missing" in verdict.reason
    verdict = judge(replace(claim, preimages=()).encode(), IDENTITIES)
    assert (verdict.guilty, verdict.cleared) == (False, False)


def test_a_reveal_without_points_is_no_proof_of_a_false_share() -> None:
    """It is one of a reveal that does not match its commitment."""
    claim = claim_of(NO_POINTS)
    assert judge(claim.encode(), IDENTITIES).check == "frost-keygen.r2.decommit"
    verdict = judge(replace(claim, check="frost-keygen.r3.share").encode(), IDENTITIES)
    assert (verdict.guilty, verdict.cleared, verdict.reason) == (
        False,
        False,
        "the accused revealed no coefficients",
    )


@pytest.mark.parametrize(("n", "t"), [(3, 2), (2, 3), (2, 1)])
def test_sessions_whose_numbers_do_not_fit_are_not_judged(n: int, t: int) -> None:
    members = {holder(j): identity_of(holder(j)).public for j in (1, 2)}
    session = Preimage("frost-keygen", FROST_ED25519, b"s" * 32, b"p" * 32, members, [n, t])
    with pytest.raises(NotProven, match=f"a key generation of {t} of {n} by 2 parties"):
        READERS["frost-keygen"].rounds(session)
    whole = READERS["frost-keygen"].rounds(replace(session, tail=[2, 2]))
    assert [receive.round for receive in whole] == [1, 2, 3, 15]
    assert READERS["frost-pairs"].rounds(session) == ()
    assert READERS["frost-sign"].rounds(replace(session, members={})) == ()
    assert [receive.round for receive in READERS["frost-full-sign"].rounds(session)] == [1]


def test_exchanged_pairs_need_no_transcript() -> None:
    assert FrostSigners((1, 3), 3, 2).prepared()[1].transcript is None


@pytest.mark.parametrize(
    ("parties", "S", "committed", "points", "fits"),
    [
        ((1, 3), [1, 3], (1, 3), 2, True),
        ((1, 2), [1, 3], (1, 3), 2, False),
        ((1, 3), [1, 2], (1, 3), 2, False),
        ((1, 3), [1, 3], (1, 2), 2, False),
        ((1, 3), [1, 3], (1, 3), 3, False),
        ((1, 3), [1, 3], (1, 3), 1, False),
    ],
    ids=["all fits", "other parties", "another S", "other commitments", "a point more", "a point less"],
)
def test_session_and_package_have_to_name_the_same_signers(
    parties: tuple[int, ...], S: list[int], committed: tuple[int, ...], points: int, *, fits: bool
) -> None:
    """Whoever signed a proposal that contradicts itself is not judged by it."""
    G, suite, sid, message = ED25519.G, FROST_ED25519, b"s" * 32, b"m"
    listed = [[j, (j + 1) * G, (j + 2) * G] for j in committed]
    package = encode([suite.proto, "pkg", sid, message, listed])
    pkg = hash_commit(suite.proto, "pkg", sid, message, listed)
    members = {holder(j): identity_of(holder(j)).public for j in parties}
    tail = [b"k" * 32, 5 * G, b"e" * 32, S, [G] * points, hashlib.sha512(message).digest()]
    record = SimpleNamespace(
        session=Preimage("frost-sign", suite, sid, b"p" * 32, members, tail),
        ctx=SimpleNamespace(parties=tuple(members)),
        accused=holder(1),
        claim=SimpleNamespace(preimages=(package,)),
        said=lambda _round: (1, pkg),
    )
    with pytest.raises(BadPartial if fits else NotProven, match="equation" if fits else "who signs"):
        READERS["frost-sign"].steps["partial"].check(record)  # type: ignore[arg-type]
