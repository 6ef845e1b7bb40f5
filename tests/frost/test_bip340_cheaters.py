"""BIP-340 signing with a malicious signer: false shares for either sign of R, wrong tweaks, and words of another scheme."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cggmp24_cheating import Cheat, assert_caught, changed, lying, reports
from cggmp24_testing import dealt_key
from frost_testing import FrostSigners
from session_testing import Outcomes, Program, assert_judged, identity_of, says

from tss.effects import SessionContext
from tss.encoding import Bytes, ListOf, Tuple, decode, encode
from tss.envelope import decode_body, holder
from tss.errors import BadPartial, OutOfDomain, PeerFault, SchemaViolation
from tss.evidence import Claim, read_claim
from tss.frost import bip340, sign
from tss.frost.bip340 import NO_SCRIPTS, Tweaks, signing_share
from tss.frost.terms import terms
from tss.groups import SECP256K1
from tss.judge import judge
from tss.params import CGGMP24_SECP256K1, FROST_BIP340, FROST_ED25519
from tss.proposal import Proposal, decode_proposal, signers_in

CHEATER, ALL = 2, (1, 3)
TWEAKS = Tweaks((0, 4), NO_SCRIPTS)
SIGNERS = FrostSigners((1, 2, 3), 4, 3, tweaks=TWEAKS)
MESSAGE, OTHER = hashlib.sha256(b"agreed").digest(), hashlib.sha256(b"not agreed").digest()
Q, G = SECP256K1.q, SECP256K1.G
IDENTITIES = {holder(j): identity_of(holder(j)).public for j in SIGNERS.S}


@dataclass(frozen=True)
class Way:
    """One of the two ways to sign, with nonces whose R keeps its sign or changes it."""

    kind: str
    round: int
    sign: int

    def seed(self, name: object) -> object:
        """The first seed under `name` that gives R this sign."""
        for number in itertools.count():
            pairs = self.pairs((name, number))
            listed = {j: pairs[j].commitments for j in SIGNERS.S}
            if terms(SIGNERS.share.X, MESSAGE, listed).sign == self.sign:
                return name, number
        raise AssertionError(name)

    def pairs(self, seed: object) -> dict[int, Any]:
        if self.round:
            return {j: own[0] for j, own in SIGNERS.pairs(("full", seed)).items()}
        return {j: part.pair for j, part in SIGNERS.prepared(seed).items()}

    def run(self, seed: object, **options: Any) -> Outcomes:
        name = "full_sign" if self.round else "sign"
        found: Outcomes = getattr(SIGNERS, name)(MESSAGE, self.seed(seed), **options)
        return found

    def program(self, seed: object, *, share: Any = None, message: bytes = MESSAGE) -> Program:
        """The cheater's run with these."""
        own, found = share or SIGNERS.shares[CHEATER], self.seed(seed)

        def start(ctx: SessionContext) -> Any:
            if self.round:
                return sign.full_sign(ctx, own, self.pairs(found)[CHEATER], message)
            return sign.sign(ctx, own, SIGNERS.prepared(found)[CHEATER], message)

        return start


WAYS = [
    pytest.param(Way(kind, round_, sign), id=f"{kind} R {'even' if sign > 0 else 'odd'}")
    for kind, round_ in (("frost-full-sign", 1), ("frost-sign", 0))
    for sign in (1, -1)
]


def caught(way: Way, cheat: Cheat, program: Callable[[object], Program] | None = None) -> None:
    def run(seed: object, **options: Any) -> Outcomes:
        if program is not None:
            options["programs"] = {CHEATER: program(seed)}
        return way.run(seed, **options)

    assert_caught(replace(cheat, check=f"{way.kind}.{cheat.check}"), CHEATER, run)


SHARES = [
    ("z + 1", BadPartial, "partial.equation", lambda z: (z + 1) % Q),
    ("z = 0", BadPartial, "partial.equation", 0),
    ("-z", BadPartial, "partial.equation", lambda z: Q - z),
    ("z + q", SchemaViolation, "r{}.schema", lambda z: z + Q),
    ("z = q", OutOfDomain, "partial.range", Q),
    ("a negative z", SchemaViolation, "r{}.schema", lambda z: z - Q),
]


@pytest.mark.attack("D6")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("what", "error", "check", "change"), SHARES, ids=[case[0] for case in SHARES])
def test_every_false_share_is_caught(way: Way, what: str, error: Any, check: str, change: Any) -> None:
    tamper = (says(way.round, lambda value: changed(value, 0, change)),)
    caught(way, Cheat(what, error, check.format(way.round), ALL, tamper))


def _other_share(tweaks: Tweaks, negate: bool = False) -> Any:  # noqa: FBT001, FBT002 - a table's column
    """The cheater's share under other tweaks, said to be of the agreed key."""
    share = signing_share(dealt_key(CGGMP24_SECP256K1, 4, 3)[CHEATER], tweaks)
    x = -share.x % Q if negate else share.x
    return replace(share, X=SIGNERS.share.X, public_shares=SIGNERS.share.public_shares, x=x)


PROGRAMS = [
    ("another message", {"message": OTHER}),
    ("the child without the output's tweak", {"share": _other_share(Tweaks((0, 4)))}),
    ("the output of the root", {"share": _other_share(Tweaks((), NO_SCRIPTS))}),
    ("a script tree", {"share": _other_share(Tweaks((0, 4), bytes(32)))}),
    ("the other sign of the key", {"share": _other_share(TWEAKS, negate=True)}),
]


@pytest.mark.attack("D6")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("what", "given"), PROGRAMS, ids=[case[0] for case in PROGRAMS])
def test_a_share_of_another_key_or_message(way: Way, what: str, given: Any) -> None:
    """Under the package that everybody signs."""
    agreed = {"pkg": lambda values: (values[0], MESSAGE, values[2])}
    make = lambda seed: lying(way.program(seed, **given), hashes=agreed)  # noqa: E731 - one expression
    caught(way, Cheat(what, BadPartial, "partial.equation", ALL), make)


@pytest.mark.attack("D6")
@pytest.mark.parametrize("way", WAYS)
def test_nonces_whose_sign_was_not_changed_with_R(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """-(d + e*rho) where d + e*rho is due, and the other way round."""
    real = sign.signature_share

    def mistaken(at: Any, i: int, *rest: int) -> int:
        return real(replace(at, sign=-at.sign) if i == CHEATER else at, i, *rest)

    monkeypatch.setattr(sign, "signature_share", mistaken)
    caught(way, Cheat("the wrong sign", BadPartial, "partial.equation", ALL))


# -- one scheme's words are not the other's ----------------------------------------------------------------------


def guilty(way: Way) -> Claim:
    rule = says(way.round, lambda value: changed(value, 0, (value[0] + 1) % Q))
    outcomes = way.run("evidence", tamper={CHEATER: [rule]}, drop=reports)
    error = outcomes[1].error
    assert isinstance(error, PeerFault)
    assert error.evidence is not None
    assert_judged(outcomes, outcomes[1])
    return read_claim(error.evidence)


@pytest.mark.attack("A8")
@pytest.mark.parametrize("way", WAYS)
def test_evidence_holds_in_its_own_suite_alone(way: Way) -> None:
    claim = guilty(way)
    assert judge(claim.encode(), IDENTITIES).guilty
    for suite in (CGGMP24_SECP256K1, FROST_ED25519):
        renamed = replace(claim, proto=suite.proto)
        verdict = judge(renamed.encode(), IDENTITIES)
        assert (verdict.guilty, verdict.cleared) == (False, False)
        assert not judge(claim.encode(), IDENTITIES, {suite.proto: suite}).guilty
        assert not judge(claim.encode(), IDENTITIES, {claim.proto: suite}).guilty
    assert {decode_body(body).proto for body, _ in claim.messages} == {FROST_BIP340.proto}


@pytest.mark.attack("A8")
def test_a_session_of_one_scheme_is_of_no_other() -> None:
    """The same names and numbers under another suite are another proposal, session and package."""
    tail = [*sign.full_tail(SIGNERS.share, SIGNERS.S, MESSAGE), *TWEAKS.as_list()]
    proposal = Proposal(holder(1), b"c" * 32, "main", sign.FULL_KIND, b"r" * 16, tail, None, 1)
    suites = (FROST_BIP340, CGGMP24_SECP256K1, FROST_ED25519)
    assert len({proposal.hash(suite) for suite in suites}) == 3
    body = proposal.body(FROST_BIP340)
    assert decode_proposal(FROST_BIP340, body) == proposal
    assert signers_in(proposal.kind, proposal.tail) == SIGNERS.S
    for suite in suites[1:]:
        with pytest.raises(SchemaViolation):
            decode_proposal(suite, body)
        with pytest.raises(PeerFault):
            decode_proposal(suite, proposal.body(suite))


@pytest.mark.parametrize("gone", [1, 2])
def test_a_proposal_names_path_and_script_tree(gone: int) -> None:
    tail = [*sign.full_tail(SIGNERS.share, SIGNERS.S, MESSAGE), *TWEAKS.as_list()][:-gone]
    proposal = Proposal(holder(1), b"c" * 32, "main", sign.FULL_KIND, b"r" * 16, tail, None, 1)
    with pytest.raises(SchemaViolation):
        decode_proposal(FROST_BIP340, proposal.body(FROST_BIP340))


def test_tweaks_are_bound_by_the_session() -> None:
    """Two tweaks are two tails, even where they gave the same key."""
    listed = [encode(tweaks.as_list()) for tweaks in (Tweaks(), Tweaks((0,)), Tweaks((), NO_SCRIPTS))]
    assert len(set(listed)) == 3
    path, root = decode(listed[2], Tuple(ListOf(Bytes(0), 0, 9), Bytes(0, 32)))
    assert bip340.tweaks_from(path, root) == Tweaks((), NO_SCRIPTS)
