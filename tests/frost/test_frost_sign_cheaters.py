"""FROST signing with a malicious signer (protocol.md 6.2, 7): a lie for every check, and evidence for whoever was not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cggmp24_cheating import Cheat, assert_caught, changed, errors_of, lying, reports
from ed25519_encodings import BAD_ENCODINGS, IDENTITY
from frost_testing import FrostSigners, frost_key
from session_testing import (
    LEADING_ZERO,
    NEGATIVE_ZERO,
    Outcomes,
    Program,
    Raw,
    assert_judged,
    identity_of,
    says,
    silent,
)

from tss.effects import SessionContext
from tss.encoding import encode
from tss.envelope import Kind, holder, unpack
from tss.errors import (
    BadPartial,
    BadPoint,
    Equivocation,
    OutOfDomain,
    PeerFault,
    SchemaViolation,
    SessionMismatch,
    Timeout,
)
from tss.evidence import Claim, read_claim
from tss.frost import sign
from tss.groups import ED25519
from tss.judge import judge

CHEATER, ALL = 2, (1, 3)
SIGNERS = FrostSigners((1, 2, 3), 4, 3)
MESSAGE, OTHER = b"what everybody agreed to sign", b"what nobody agreed to sign"
Q, G = ED25519.q, ED25519.G
IDENTITIES = {holder(j): identity_of(holder(j)).public for j in SIGNERS.S}


@dataclass(frozen=True)
class Way:
    """One of the two ways to sign: the round of z, and a signer's program with another share, pairs or message."""

    kind: str
    round: int

    def run(self, **options: Any) -> Outcomes:
        if self.round:
            return SIGNERS.full_sign(MESSAGE, **options)
        return SIGNERS.sign(MESSAGE, **options)

    def program(
        self, seed: object, *, share: Any = None, message: bytes = MESSAGE, swapped: bool = False
    ) -> Program:
        """The cheater's run with these; its pair is the one that the run of `seed` uses."""
        own = share or SIGNERS.shares[CHEATER]

        def start(ctx: SessionContext) -> Any:
            if self.round:
                pair = SIGNERS.pairs(("full", seed))[CHEATER][0]
                return sign.full_sign(ctx, own, _swapped(pair) if swapped else pair, message)
            part = SIGNERS.prepared(seed)[CHEATER]
            if swapped:
                part = replace(part, pair=_swapped(part.pair))
            return sign.sign(ctx, own, part, message)

        return start


def _swapped(pair: Any) -> Any:
    """d and e in each other's place."""
    d, e = pair._secrets
    pair._secrets = (e, d)
    return pair


FULL, AHEAD = Way("frost-full-sign", 1), Way("frost-sign", 0)
WAYS = [pytest.param(FULL, id="two rounds"), pytest.param(AHEAD, id="pairs exchanged ahead")]


def point(encoded: bytes) -> Raw:
    return Raw(bytes([ED25519.point_tag]) + len(encoded).to_bytes(4, "big") + encoded)


def as_agreed(values: Sequence[Any]) -> Sequence[Any]:
    """A package that says the agreed message."""
    sid, _, listed = values
    return sid, MESSAGE, listed


def caught(way: Way, cheat: Cheat, program: Callable[..., Program] | None = None) -> Outcomes:
    """`assert_caught`; a program is made anew for each run, with the pairs of that run's seed."""

    def run(seed: object, **options: Any) -> Outcomes:
        if program is not None:
            options["programs"] = {CHEATER: program(seed)}
        return way.run(seed=seed, **options)

    return assert_caught(replace(cheat, check=f"{way.kind}.{cheat.check}"), CHEATER, run)


# -- signature shares --------------------------------------------------------------------------------------------


def z(change: Any) -> Any:
    return lambda round_: (says(round_, lambda value: changed(value, 0, change)),)


SHARES = [
    ("z + 1", BadPartial, "partial.equation", z(lambda z: (z + 1) % Q)),
    ("z = 0", BadPartial, "partial.equation", z(0)),
    ("-z", BadPartial, "partial.equation", z(lambda z: Q - z)),
    ("z + L", OutOfDomain, "partial.range", z(lambda z: z + Q)),
    ("z = L", OutOfDomain, "partial.range", z(Q)),
    ("z of more bits than L", SchemaViolation, "r{}.schema", z(1 << 253)),
    ("a negative z", SchemaViolation, "r{}.schema", z(lambda z: z - Q)),
    ("z with a leading zero", SchemaViolation, "r{}.schema", z(LEADING_ZERO)),
    ("z that is negative zero", SchemaViolation, "r{}.schema", z(NEGATIVE_ZERO)),
    ("z is bytes", SchemaViolation, "r{}.schema", z(b"z" * 32)),
    ("pkg of 31 bytes", SchemaViolation, "r{}.schema", lambda r: (says(r, lambda v: [v[0], v[1][1:]]),)),
    ("no pkg", SchemaViolation, "r{}.schema", lambda r: (says(r, lambda v: v[:1]),)),
]


@pytest.mark.attack("D6")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("what", "error", "check", "tamper"), SHARES, ids=[case[0] for case in SHARES])
def test_every_false_share_is_caught(way: Way, what: str, error: Any, check: str, tamper: Any) -> None:
    caught(way, Cheat(what, error, check.format(way.round), ALL, tamper(way.round)))


PROGRAMS = [
    ("for another message", {"message": OTHER}),
    ("with the share of another key", {"share": replace(frost_key(4, 3, "other")[2], key_id=SIGNERS.share.key_id,
                                                        share_epoch=SIGNERS.share.share_epoch, X=SIGNERS.share.X)}),
    ("with d and e exchanged", {"swapped": True}),
]  # fmt: skip


@pytest.mark.attack("D6")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("what", "given"), PROGRAMS, ids=[case[0] for case in PROGRAMS])
def test_a_share_that_is_computed_from_something_else(way: Way, what: str, given: Mapping[str, Any]) -> None:
    """Under the package that everybody signs: it fails the equation, and blames its sender."""
    make = lambda seed: lying(way.program(seed, **given), hashes={"pkg": as_agreed})  # noqa: E731 - one expression
    caught(way, Cheat(what, BadPartial, "partial.equation", ALL), make)


@pytest.mark.parametrize("way", WAYS)
def test_two_cheaters_are_both_found(way: Way) -> None:
    tamper = {j: list(z(lambda z: (z + 1) % Q)(way.round)) for j in (2, 3)}
    outcomes = way.run(seed="two", tamper=tamper, drop=reports)
    error = outcomes[1].error
    assert isinstance(error, BadPartial)
    assert {error.peer, *(fault.peer for fault in error.also)} == {2, 3}


@pytest.mark.parametrize("way", WAYS)
def test_a_false_share_for_one_alone(way: Way) -> None:
    """Whoever gets it blames; the others have their signature."""
    rule = says(way.round, lambda value: changed(value, 0, (value[0] + 1) % Q), only_to=3)
    outcomes = way.run(seed="one", tamper={CHEATER: [rule]}, drop=reports)
    assert outcomes[3].blamed == CHEATER
    assert_judged(outcomes, outcomes[3])
    assert outcomes[1].error is None


# -- packages ----------------------------------------------------------------------------------------------------


@pytest.mark.attack("D6")
@pytest.mark.parametrize("way", WAYS)
def test_another_package_blames_nobody(way: Way) -> None:
    """It says nothing about z: no blame, no signature, and the name of who differs."""
    rule = says(way.round, lambda value: changed(value, 1, b"p" * 32))
    outcomes = way.run(seed="pkg", tamper={CHEATER: [rule]})
    outcomes.assert_no_blame(SessionMismatch)
    assert any("party 2 signed another package" in str(error) for error in outcomes.errors().values())


@pytest.mark.parametrize("way", WAYS)
def test_a_false_share_is_blamed_beside_another_package(way: Way) -> None:
    tamper = {
        2: [says(way.round, lambda value: changed(value, 1, b"p" * 32))],
        3: [says(way.round, lambda value: changed(value, 0, (value[0] + 1) % Q))],
    }
    outcomes = way.run(seed="both", tamper=tamper, drop=reports)
    assert outcomes[1].blamed == 3


@pytest.mark.parametrize("way", WAYS)
def test_whoever_is_silent_is_not_guilty(way: Way) -> None:
    outcomes = way.run(seed="silent", drop=silent(CHEATER, round_=way.round, kind=Kind.MSG))
    for index in ALL:
        error = outcomes[index].error
        assert isinstance(error, Timeout), errors_of(outcomes)
        assert error.silent == (CHEATER,)


# -- commitments in the acceptances ------------------------------------------------------------------------------


def accepts(change: Any) -> Any:
    """The list [[D, E]] in the acceptance."""
    return (says(0, lambda value: [*value[:2], change(value[2])]),)


ACCEPTANCES = [
    *(
        (f"{name} {what}", BadPoint, accepts(lambda listed, e=e, at=at: [changed(listed[0], at, point(e))]))
        for name, at in (("D", 0), ("E", 1))
        for what, e in {**BAD_ENCODINGS, "the identity": IDENTITY}.items()
    ),
    ("no pair", SchemaViolation, accepts(lambda _: [])),
    ("65 pairs", SchemaViolation, accepts(lambda listed: listed * 65)),
    ("a pair without E", SchemaViolation, accepts(lambda listed: [listed[0][:1]])),
    ("a point of secp256k1", SchemaViolation, accepts(lambda _: [[Raw(b"\x04\0\0\0\x21" + b"\x02" * 33)] * 2])),
    ("something behind the pairs", SchemaViolation, (says(0, lambda value: [*value, 5]),)),
]  # fmt: skip


@pytest.mark.parametrize(("what", "error", "tamper"), ACCEPTANCES, ids=[case[0] for case in ACCEPTANCES])
def test_commitments_that_cannot_be_are_blamed_on_their_sender(what: str, error: Any, tamper: Any) -> None:
    caught(FULL, Cheat(what, error, "r0.schema", ALL, tamper))


def test_the_same_where_pairs_are_exchanged_ahead() -> None:
    cheat = Cheat("D is O", BadPoint, "frost-pairs.r0.schema", ALL, accepts(lambda _: [[point(IDENTITY), G]]))
    assert_caught(cheat, CHEATER, SIGNERS.prepare)


def test_an_acceptance_of_another_kind_proves_itself_to_its_receiver_alone() -> None:
    """Nothing shows a third party which kind of session it was for: who receives it blames, and nobody else does."""
    plain = (says(0, lambda value: value[:2]),)
    outcomes = FULL.run(seed="plain", tamper={CHEATER: list(plain)}, drop=reports)
    for index in ALL:
        error = outcomes[index].error
        assert isinstance(error, SchemaViolation)
        assert (error.peer, error.check) == (CHEATER, "frost-full-sign.r0.schema")
        assert error.evidence is not None
        verdict = judge(error.evidence, IDENTITIES)
        assert (verdict.guilty, verdict.cleared) == (False, False)
        assert "another kind" in verdict.reason


@pytest.mark.parametrize("kind", ["frost-full-sign", "frost-keygen", "frost-pairs", "keygen"])
def test_an_honest_acceptance_is_guilty_under_no_name(kind: str) -> None:
    """With commitments or without: an accuser cannot make it look like another kind's."""
    for outcomes in (FULL.run(seed="honest"), AHEAD.run(seed="honest")):
        for node in outcomes.honest:
            first = node.posted[0].envelope
            parts = unpack(first)
            assert isinstance(parts, tuple)
            claim = Claim("frost-ed25519/v1", (), node.party, f"{kind}.r0.schema", (parts,))
            assert not judge(claim.encode(), IDENTITIES).guilty


@pytest.mark.attack("C11")
def test_two_versions_of_a_commitment() -> None:
    """The echo of round 0 travels beside z, and is compared before z is used."""
    other = accepts(lambda listed: [[listed[0][0] + G, listed[0][1]]])[0]
    rule = replace(other, recipients=frozenset({3}))
    outcomes = FULL.run(seed="echo", tamper={CHEATER: [rule]}, drop=reports)
    outcomes.assert_blamed(CHEATER, Equivocation, check="frost-full-sign.r0.msg", by=ALL)


def test_a_commitment_replaced_behind_ones_own_back() -> None:
    """What a party accepted with is what it signs under; a list that says otherwise is never answered."""
    strange = SIGNERS.pairs("strange")
    outcomes = FULL.run(
        seed="own",
        programs={CHEATER: lambda ctx: sign.full_sign(ctx, SIGNERS.shares[2], strange[2][0], MESSAGE)},
    )
    assert type(outcomes[2].error).__name__ == "NonceUsed"
    assert not [body for body in outcomes[2].bodies() if body.round == 1 and body.kind is Kind.MSG]


def test_pairs_that_are_not_the_ones_that_were_sent_are_not_prepared() -> None:
    """Else a signature would be proposed with a pair that this party never committed to."""
    strange, owner = SIGNERS.pairs("strange"), holder(SIGNERS.S[0])
    program: Program = lambda ctx: sign.prepare(ctx, SIGNERS.shares[2], strange[2], owner)  # noqa: E731 - one expression
    outcomes = SIGNERS.prepare("own", programs={CHEATER: program})
    assert type(outcomes[2].error).__name__ == "NonceUsed"


# -- evidence ----------------------------------------------------------------------------------------------------


def guilty(way: Way) -> tuple[Claim, Outcomes]:
    outcomes = way.run(
        seed="evidence", tamper={CHEATER: list(z(lambda z: (z + 1) % Q)(way.round))}, drop=reports
    )
    error = outcomes[1].error
    assert isinstance(error, PeerFault)
    assert error.evidence is not None
    assert_judged(outcomes, outcomes[1])
    return read_claim(error.evidence), outcomes


@pytest.mark.parametrize("way", WAYS)
def test_evidence_that_lacks_something_proves_nothing(way: Way) -> None:
    claim, _ = guilty(way)
    verdict = judge(claim.encode(), IDENTITIES)
    assert (verdict.guilty, verdict.section, verdict.check) == (True, "6.2", f"{way.kind}.partial.equation")
    lacking = [
        replace(claim, preimages=()),
        replace(claim, preimages=claim.preimages[:1]),
        replace(claim, preimages=claim.preimages[1:]),
        *(replace(claim, messages=tuple(m for m in claim.messages if m != gone)) for gone in claim.messages),
        replace(claim, accused=holder(1)),
        replace(claim, check=f"{way.kind}.other"),
    ]
    for less in lacking:
        verdict = judge(less.encode(), IDENTITIES)
        assert (verdict.guilty, verdict.cleared) == (False, False), verdict


@pytest.mark.parametrize("way", WAYS)
def test_a_package_that_the_accused_did_not_sign_proves_nothing(way: Way) -> None:
    """Whoever shows another message, list or session than the one in pkg shows nothing."""
    claim, outcomes = guilty(way)
    commitments = {j: SIGNERS.pairs("x")[j][0].commitments for j in SIGNERS.S}
    sid = outcomes[1].session.sid
    assert sid is not None
    for forged in (
        sign.pkg_preimage("frost-ed25519/v1", sid, OTHER, commitments),
        sign.pkg_preimage("frost-ed25519/v1", b"s" * 32, MESSAGE, commitments),
        ["frost-ed25519/v1", "pkg", 5],
    ):
        shown = replace(claim, preimages=(claim.preimages[0], encode(forged)))
        verdict = judge(shown.encode(), IDENTITIES)
        assert (verdict.guilty, verdict.cleared) == (False, False)
        assert "pkg" in verdict.reason


SIGNED = [
    ("another message", lambda v: [v[0], OTHER, v[2]], "another message"),
    ("another session", lambda v: [b"s" * 32, *v[1:]], "pkg is the hash of"),
    ("without one signer", lambda v: [*v[:2], v[2][:2]], "who signs"),
    ("with O", lambda v: [*v[:2], [[1, ED25519.identity, G], *v[2][1:]]], "pkg is the hash of"),
]


def claim_against(way: Way, outcomes: Outcomes, seed: str, change: Any = list) -> Claim:
    """What an accuser may show of the cheater's share: everything that it said, and what its pkg is the hash of."""
    session = outcomes[1].session
    assert session.sid is not None
    commitments = (
        {j: SIGNERS.pairs(("full", seed))[j][0].commitments for j in SIGNERS.S}
        if way.round
        else SIGNERS.prepared(seed)[1].public.commitments
    )
    proto, tag, *values = sign.pkg_preimage("frost-ed25519/v1", session.sid, MESSAGE, commitments)
    preimages = (encode(list(session.sid_preimage or ())), encode([proto, tag, *change(list(values))]))
    said = [unpack(out.envelope) for out in outcomes[CHEATER].posted]
    shown = [(signed.encoded, signed.signature) for signed in session.setup.background]
    shown += [parts for parts in said if isinstance(parts, tuple)]
    return Claim(proto, preimages, holder(CHEATER), f"{way.kind}.partial", tuple(shown))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("what", "change", "reason"), SIGNED, ids=[case[0] for case in SIGNED])
def test_a_package_that_no_session_agreed_to_proves_nothing(
    way: Way, what: str, change: Any, reason: str
) -> None:
    """The accused signed it, but for no honest party: nobody complains, and a judge says why it is no proof."""
    program = lying(way.program("signed"), hashes={"pkg": lambda values: change(list(values))})
    tamper = {CHEATER: list(z(lambda z: (z + 1) % Q)(way.round))}
    outcomes = way.run(seed="signed", programs={CHEATER: program}, tamper=tamper, drop=reports)
    assert all(isinstance(outcomes[index].error, SessionMismatch) for index in ALL), what
    verdict = judge(claim_against(way, outcomes, "signed", change).encode(), IDENTITIES)
    assert (verdict.guilty, verdict.cleared) == (False, False), verdict
    assert reason in verdict.reason


@pytest.mark.parametrize("way", WAYS)
def test_a_false_accusation_comes_back(way: Way) -> None:
    """With complete evidence, and every check passes: the accuser is blamed."""
    outcomes = way.run(seed="false")
    outcomes.results()
    verdict = judge(claim_against(way, outcomes, "false").encode(), IDENTITIES)
    assert (verdict.guilty, verdict.cleared) == (False, True), verdict


def test_echoes_say_what_was_accepted() -> None:
    """An echo of round 0 that leaves somebody out is its sender's fault."""
    outcomes = FULL.run(
        seed="short echo",
        tamper={CHEATER: [says(0, lambda value: [value[0], value[1][:2]], kind=Kind.ECHO)]},
        drop=reports,
    )
    for index in ALL:
        assert outcomes[index].blamed == CHEATER
