"""Failed nonce and failed chi with malicious signers (protocol.md 4.2): whoever lied in round 2 or 3 is found and blamed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from cggmp24_cheating import changed, durable, reports
from presign_cheating import ALL, CHEATER, KEY, REQUEST, SIGNERS, G, Q, cheating, run
from session_testing import says
from tss_testing import TINY, SeededRng

from tss.cggmp24 import identify, identify_checks, presign
from tss.cggmp24.presign import Presigning
from tss.cggmp24.presign_prove import Item, Mask
from tss.cggmp24.presignature import Presignature, State
from tss.effects import Durable, Echo
from tss.envelope import Kind, PartyId, holder
from tss.errors import (
    BadDecommit,
    OutOfDomain,
    PeerFault,
    PresignatureSpent,
    ProofInvalid,
    SchemaViolation,
    SessionClosed,
    Timeout,
    Unattributable,
)

DELTA, CHI = "presign.abort-delta.item0", "presign.abort-chi.item0"
K_, OPENED, PSI_STAR, PSI_DEC = range(4)
COM, RESPONSES = range(2)


class LiesInDelta(Presigning):
    """Sends delta_i + 1."""

    def open_masks(self, item: Item, received: Any) -> list[Any]:
        delta, *rest = super().open_masks(item, received)
        return [(delta + 1) % Q, *rest]


class LiesInChi(Presigning):
    """Sends S_i + G."""

    def open_masks(self, item: Item, received: Any) -> list[Any]:
        delta, Delta, S, psi = super().open_masks(item, received)
        item.S_j[self.ctx.me] = S + G
        return [delta, Delta, S + G, psi]


class LiesInBoth(LiesInChi):
    def open_masks(self, item: Item, received: Any) -> list[Any]:
        delta, *rest = super().open_masks(item, received)
        return [(delta + 1) % Q, *rest]


CASES = {"delta": (LiesInDelta, DELTA), "chi": (LiesInChi, CHI)}


@pytest.fixture(params=list(CASES))
def case(request) -> tuple[type[Presigning], str]:
    return CASES[request.param]


@pytest.mark.attack("D7")
def test_who_lied_in_round_3_cannot_prove_it(case) -> None:
    kind, check = case
    outcomes = run(programs={CHEATER: cheating(kind)}, drop=reports)
    outcomes.assert_blamed(CHEATER, ProofInvalid, by=ALL)
    assert outcomes[1].error.check == f"{check}.dec:w*base = B + e*S"


def test_chi_is_looked_at_only_if_delta_holds() -> None:
    outcomes = run(programs={CHEATER: cheating(LiesInBoth)}, drop=reports)
    assert outcomes[1].error.check.startswith(DELTA)


def test_the_lowest_failing_item_of_a_batch_is_looked_at() -> None:
    class Second(LiesInChi):
        def open_masks(self, item: Item, received: Any) -> list[Any]:
            first = item.isid == self.ctx.hc("item", self.ctx.sid, 0)
            return (
                Presigning.open_masks(self, item, received) if first else super().open_masks(item, received)
            )

    outcomes = SIGNERS.presign(batch=3, programs={CHEATER: cheating(Second, 3)}, drop=reports)
    outcomes.assert_blamed(CHEATER, ProofInvalid, by=ALL)
    assert outcomes[1].error.check.startswith("presign.abort-chi.item1.dec")


@pytest.mark.attack("D9")
def test_in_full_signing_no_sigma_is_made() -> None:
    program = lambda ctx: presign._rounds(SIGNERS.presigning(ctx, LiesInChi), 1, b"e" * 32)  # noqa: E731 - as in its place
    outcomes = SIGNERS.full_sign(REQUEST, programs={CHEATER: program}, drop=reports)
    outcomes.assert_blamed(CHEATER, ProofInvalid, by=ALL)
    for node in outcomes.honest:
        assert [type(record) for record in durable(node)] == [identify.AbortMessage]
        assert not [body for body in node.bodies() if body.round == 4]


@pytest.mark.attack("D9")
def test_the_batch_is_destroyed_before_anything_is_opened() -> None:
    """What the batch had made is gone, and what blocks the set is durable, before this party's message of the round."""
    made: dict[int, Presignature] = {}
    begun: dict[int, identify.Begun] = {}

    class Lies(LiesInDelta):
        """In the second item only."""

        def open_masks(self, item: Item, received: Any) -> list[Any]:
            honest = item.isid == self.public.isid(0)
            return (
                Presigning.open_masks(self, item, received) if honest else super().open_masks(item, received)
            )

    class Watched(Presigning):
        def finish(self, *args: Any) -> Presignature:
            made[self.ctx.me.index] = super().finish(*args)
            return made[self.ctx.me.index]

    def persist(me: int, record: object) -> None:
        if isinstance(record, identify.Begun):
            assert made[me].state is State.DESTROYED
            begun[me] = record
        elif isinstance(record, Durable):
            assert me in begun

    programs = {CHEATER: cheating(Lies, 2), **{j: cheating(Watched, 2) for j in ALL}}
    outcomes = SIGNERS.presign(
        batch=2, programs=programs, persist={j: partial(persist, j) for j in ALL}, drop=reports
    )
    for j in ALL:
        error = outcomes[j].error
        assert isinstance(error, ProofInvalid)
        assert error.peer == CHEATER
        with pytest.raises(PresignatureSpent):
            made[j].promise(REQUEST.digest, (), 0, SeededRng(1))
        with pytest.raises(SessionClosed):
            outcomes[j].session.receive(b"")
        case = begun[j]
        assert (case.signers, case.case, case.k) == ((1, 2, 3), "delta", 1)
        said = [(signed.body.round, signed.body.kind) for signed in case.transcript.messages]
        assert sorted(said) == sorted([(r, Kind.MSG) for r in (1, 2, 3)] * 3 + [(3, Kind.ECHO)] * 3)


def says5(place: int, new: Any) -> Any:
    return says(identify.ROUND, lambda value: changed(value, place, new))


LIES = [
    pytest.param(says5(K_, 1), SchemaViolation, "item", id="another item"),
    *(
        pytest.param(
            says5(OPENED, lambda o, at=at: [o[0], changed(o[1], at, lambda c: c + 1)]),
            BadDecommit,
            "open",
            id=f"opens another {name}",
        )
        for at, name in enumerate(("D", "F", "D^", "F^"))
    ),
    pytest.param(says5(OPENED, lambda o: o[::-1]), BadDecommit, "open", id="opens for the wrong parties"),
    pytest.param(
        says5(PSI_STAR, lambda p: p[::-1]), ProofInvalid, "aff-g*", id="proofs for the wrong parties"
    ),
    pytest.param(
        says5(
            PSI_STAR,
            lambda p: [changed(p[0], RESPONSES, lambda r: [changed(r[0], 0, lambda z: z + 1), *r[1:]]), p[1]],
        ),
        ProofInvalid,
        "aff-g*",
        id="z of aff-g* + 1",
    ),
    pytest.param(
        says5(
            PSI_STAR,
            lambda p: [changed(p[0], RESPONSES, lambda r: [changed(r[0], 0, 1 << 200), *r[1:]]), p[1]],
        ),
        ProofInvalid,
        "aff-g*",
        id="z of aff-g* out of range",
    ),
    pytest.param(
        says5(PSI_DEC, lambda p: changed(p, RESPONSES, lambda r: [changed(r[0], 2, 0), *r[1:]])),
        OutOfDomain,
        "dec",
        id="v of dec is no unit",
    ),
]


@pytest.mark.parametrize(("rule", "error", "check"), LIES)
def test_every_lie_of_the_identification_is_caught(case, rule, error, check) -> None:
    kind, place = case
    outcomes = run(programs={CHEATER: cheating(kind)}, tamper={CHEATER: [rule]}, drop=reports)
    outcomes.assert_blamed(CHEATER, error, by=ALL)
    assert outcomes[1].error.check.startswith(f"{place}.{check}")


class WrongMask(Presigning):
    """For its accomplice: F is of another mask than D, and the sum misses one."""

    hat = False

    def mask(self, item: Item, j: PartyId) -> Mask:
        mask = super().mask(item, j)
        if j != holder(3):
            return mask
        own = self.own
        if self.hat:
            return replace(mask, y_hat=mask.y_hat + 1, F_hat=own.enc(mask.y_hat + 1, mask.r_hat))
        return replace(mask, y=mask.y + 1, F=own.enc(mask.y + 1, mask.r))


class WrongMaskHat(WrongMask):
    hat = True


class Accomplice(Presigning):
    """Passes over what party 2 sent it."""

    def check_round2(self, item: Item, k_: int, j: PartyId, broadcast: Any, p2p: Any) -> Any:
        if j == holder(CHEATER):
            return broadcast[0]
        return super().check_round2(item, k_, j, broadcast, p2p)


@pytest.mark.attack("D7")
@pytest.mark.parametrize(("kind", "check"), [(WrongMask, DELTA), (WrongMaskHat, CHI)], ids=["delta", "chi"])
def test_two_colluders_cannot_pass_a_bad_mask_between_them(kind, check) -> None:
    programs = {CHEATER: cheating(kind), 3: cheating(Accomplice)}
    outcomes = run(programs=programs, cheaters=(CHEATER, 3), drop=reports)
    outcomes.assert_blamed(CHEATER, ProofInvalid, by=(1,))
    assert outcomes[1].error.check.startswith(f"{check}.aff-g*:")


def test_who_is_silent_is_never_guilty() -> None:
    """A cheater that lies on the wire alone sees no failure itself, and so takes no part in finding it."""
    rule = says(3, lambda value: [[changed(value[0][0], 0, lambda d: (d + 1) % Q)], value[1]])
    outcomes = run(tamper={CHEATER: [rule]}, drop=reports)
    for node in outcomes.honest:
        assert isinstance(node.error, Timeout)
        assert node.error.silent == (CHEATER,)
        assert node.error.phase == f"presign.r{identify.ROUND}"
        assert node.blamed is None


def test_when_everything_holds_nobody_is_blamed(monkeypatch) -> None:
    """Honest values always fit together: here the finding alone is wrong."""
    monkeypatch.setattr(Presigning, "failed", lambda *_: identify.DELTA)
    outcomes = run()
    outcomes.assert_no_blame(Unattributable)
    monkeypatch.setattr(Presigning, "failed", lambda *_: identify.CHI)
    outcomes = run(seed=2)
    outcomes.assert_no_blame(Unattributable)


@pytest.mark.attack("D9")
def test_nothing_secret_is_in_the_evidence() -> None:
    outcomes = run(programs={CHEATER: cheating(LiesInDelta)}, drop=reports)
    evidence = outcomes[1].error.evidence
    assert isinstance(outcomes[1].error, PeerFault)
    for secret in (int(KEY.p), int(KEY.q_)):
        assert secret.to_bytes((secret.bit_length() + 7) // 8, "big") not in evidence


def test_what_is_opened_is_echoed_before_anybody_is_blamed():
    received = identify_checks.receive(TINY, 3)
    assert (received.round, received.echo) == (5, Echo.BLOCKING)


def test_openings_are_refused_under_the_names_of_their_checks():
    signing = SimpleNamespace(
        recipients=lambda _: [holder(2)], isid=lambda _: b"i", mask_hash=lambda *_: b"another", ctx=None
    )
    with pytest.raises(BadDecommit) as caught:
        identify_checks.check_opening(signing, "at", holder(1), [b"h"], [0, [[1, 2, 3, 4]], [], None])
    assert caught.value.check == "at.open"
