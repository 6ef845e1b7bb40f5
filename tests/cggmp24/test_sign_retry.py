"""One presignature, one answer (protocol.md 3.5 step 1): retries, lost messages, and requests that are refused."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest
from cggmp24_cheating import durable
from cggmp24_testing import (
    Signers,
    dealt_presignature,
    one_signature,
    said,
)
from session_testing import silent
from tss_testing import SMALL_SECP, SeededRng

from tss import ecdsa as our_ecdsa
from tss.cggmp24 import sign
from tss.cggmp24.presignature import State
from tss.cggmp24.sign import SignRequest
from tss.envelope import Kind, holder
from tss.errors import (
    AbortedByPeer,
    BadSignerSet,
    NoBlame,
    PresignatureSpent,
    SessionMismatch,
    Timeout,
)

DIGEST = hashlib.sha256(b"message").digest()
SECP = Signers((1, 3), 3, suite=SMALL_SECP)


class TestRetry:
    """The same request again gets the same bytes; anything else is refused (protocol.md 3.5 step 1)."""

    SIGNERS = (Signers((1, 2), 2), Signers((1, 2, 3), 3, owner_=2))

    def sigmas(self, signers: Signers, bodies: list[Any]) -> dict[int, Any]:
        owner = signers.owner.index
        if len(signers.S) == 2:
            return {j: said(bodies, j, 1) if j == owner else said(bodies, j, 0)[1][1] for j in signers.S}
        return {j: said(bodies, j, 2) for j in signers.S}

    @pytest.mark.attack("D2")
    @pytest.mark.parametrize("signers", SIGNERS, ids=lambda signers: str(signers.S))
    def test_the_same_request_again(self, signers: Signers) -> None:
        request, parts = SignRequest(DIGEST), signers.stock()
        runs = []
        for attempt in range(3):
            bodies: list[Any] = []
            ph = bytes([attempt + 1]) * 32
            results = signers.stock_sign(request, parts, attempt, ph=ph, bodies=bodies).results()
            runs.append((one_signature(results), self.sigmas(signers, bodies)))
            assert all(part.state is State.ANSWERED for part in parts.values())
        assert runs[0] == runs[1] == runs[2]

    @pytest.mark.parametrize("signers", SIGNERS, ids=lambda signers: str(signers.S))
    def test_after_the_last_message_was_lost(self, signers: Signers) -> None:
        request, parts, owner = SignRequest(DIGEST), signers.stock(), signers.owner.index
        last = 1 if len(signers.S) == 2 else 2
        first = signers.stock_sign(request, parts, drop=silent(owner, round_=last))
        signature = first[owner].result
        assert signature is not None
        for j in set(signers.S) - {owner}:
            assert isinstance(first[j].error, Timeout)
            assert parts[j].state is State.ANSWERED
        again = signers.stock_sign(request, parts, 1, ph=b"\x01" * 32)
        assert one_signature(again.results()) == signature

    @pytest.mark.attack("D2")
    @pytest.mark.parametrize("signers", SIGNERS, ids=lambda signers: str(signers.S))
    def test_another_request_is_refused_by_all(self, signers: Signers) -> None:
        parts = signers.stock()
        signers.stock_sign(SignRequest(DIGEST), parts).results()
        other = SignRequest(b"o" * 32)
        with pytest.raises(PresignatureSpent):
            signers.stock_sign(other, parts)
        # An owner that forgot, or lies: it starts with a fresh copy of its part, the others keep theirs.
        owner = signers.owner.index
        mixed = {**parts, owner: signers.stock()[owner]}
        outcomes = signers.stock_sign(other, mixed, cheaters=[owner])
        for j in set(signers.S) - {owner}:
            assert isinstance(outcomes[j].error, (PresignatureSpent, AbortedByPeer))
            assert parts[j].state is State.ANSWERED
        sigma_rounds = {0, 2} if len(signers.S) > 2 else {0}
        for j in set(signers.S) - {owner}:
            assert not [b for b in outcomes[j].bodies() if b.kind is Kind.MSG and b.round in sigma_rounds]

    @pytest.mark.parametrize("signers", SIGNERS, ids=lambda signers: str(signers.S))
    def test_a_session_without_an_answer_is_the_end_of_the_presignature(self, signers: Signers) -> None:
        parts = signers.stock()
        other = next(j for j in signers.S if j != signers.owner.index)
        outcomes = signers.stock_sign(SignRequest(DIGEST), parts, drop=silent(other))
        assert parts[signers.owner.index].state is State.DESTROYED
        assert isinstance(outcomes[signers.owner.index].error, Timeout)

    @pytest.mark.parametrize("S", [(1, 2), (1, 2, 4)])
    def test_after_the_others_began_anew(self, S: tuple[int, ...]) -> None:
        """A party whose stock is gone after a restart does not answer; the others do not answer twice."""
        signers = Signers(S, 4)
        parts = signers.stock()
        signers.stock_sign(SignRequest(DIGEST), parts).results()
        parts[S[-1]].destroy()
        outcomes = signers.stock_sign(SignRequest(DIGEST), parts)
        assert isinstance(outcomes[S[-1]].error, PresignatureSpent)
        for j in S[:-1]:
            assert outcomes[j].blamed is None
            assert outcomes[j].result is None
            assert parts[j].state is State.ANSWERED


@pytest.mark.attack("D14")
class TestWhoTakesPart:
    def refused(
        self, signers: Signers, *, owner: int | None = None, parts: Any = None, error: Any = BadSignerSet
    ) -> None:
        stock = parts or signers.stock()
        program = lambda ctx: sign.stock_sign(  # noqa: E731 - one expression
            ctx, stock[2], signers.share.chain_code, holder(owner or signers.owner.index), SignRequest(DIGEST), b"e" * 32
        )  # fmt: skip
        outcomes = signers.stock_sign(SignRequest(DIGEST), signers.stock(), programs={2: program})
        assert isinstance(outcomes[2].error, error)
        assert stock[2].state is State.FRESH, "nothing was promised"
        assert not [body for body in outcomes[2].bodies() if body.kind is Kind.MSG]

    def test_another_owner_than_the_presignature_has(self) -> None:
        self.refused(Signers((1, 2), 2), owner=2)

    @pytest.mark.parametrize("S", [(1, 2), (1, 2, 3, 4), (2, 3, 4)])
    def test_another_signer_set(self, S: tuple[int, ...]) -> None:
        signers = Signers((1, 2, 3), 4)
        other = dealt_presignature(Signers(S, 4).shares, S, 1)
        self.refused(signers, parts=other)

    def test_another_chain_code_gives_another_request(self) -> None:
        """Records that differ: no blame, and the sigma of an honest party stays valid for its own request only."""
        request, parts = SignRequest(DIGEST, (1,)), SECP.stock()
        program = lambda ctx: sign.stock_sign(  # noqa: E731 - one expression
            ctx, parts[3], b"\0" * 32, SECP.owner, request, parts[1]._promise.e
        )  # fmt: skip
        outcomes = SECP.stock_sign(request, parts, programs={3: program})
        assert isinstance(outcomes[1].error, SessionMismatch)
        assert parts[1].state is State.DESTROYED

    def test_an_owner_whose_proposal_was_for_another_path(self) -> None:
        parts = SECP.stock()
        e = parts[1].promise(DIGEST, (1,), SECP.tau(SignRequest(DIGEST, (1,))), SeededRng(0))
        program = lambda ctx: sign.stock_sign(  # noqa: E731 - one expression
            ctx, parts[1], SECP.share.chain_code, SECP.owner, SignRequest(DIGEST, (2,)), e
        )  # fmt: skip
        outcomes = SECP.stock_sign(SignRequest(DIGEST), SECP.stock(), programs={1: program})
        assert isinstance(outcomes[1].error, PresignatureSpent)


class TestLossyRelay:
    """Whatever the relay drops: one valid signature or none, nobody blamed, no presignature left half used."""

    @pytest.mark.parametrize("signers", [Signers((1, 2), 2), Signers((1, 2, 3), 3)], ids=lambda s: str(s.S))
    @pytest.mark.parametrize("seed", range(12))
    def test_signing_from_stock(self, signers: Signers, seed: int) -> None:
        dice, parts = random.Random(seed), signers.stock()
        outcomes = signers.stock_sign(
            SignRequest(DIGEST), parts, seed, drop=lambda _posted: dice.random() < 0.15
        )
        found = {node.result for node in outcomes.honest if node.result is not None}
        assert len(found) <= 1
        for signature in found:
            assert our_ecdsa.verify(signers.share.X, DIGEST, signature.r, signature.s)
        for node in outcomes.honest:
            assert node.error is None or isinstance(node.error, NoBlame)
            answered = bool(durable(node))
            expected = State.ANSWERED if answered else State.DESTROYED
            assert parts[node.party.index].state is expected

    @pytest.mark.parametrize("seed", range(6))
    def test_full_signing(self, seed: int) -> None:
        signers, dice = Signers((1, 2), 2), random.Random(seed)
        outcomes = signers.full_sign(SignRequest(DIGEST), seed, drop=lambda _posted: dice.random() < 0.05)
        assert len({node.result for node in outcomes.honest} - {None}) <= 1
        assert all(node.error is None or isinstance(node.error, NoBlame) for node in outcomes.honest)
