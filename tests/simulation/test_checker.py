"""The simulation's checker sees what it is there for: every invariant is broken by a planted fault, and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from session_testing import says
from simulation.artefacts import Artefacts
from simulation.checker import check
from simulation.disk import Disk
from simulation.driving import Running
from simulation.lies import clone
from simulation.malice import Cheat
from simulation.party import Party
from simulation.planning import Plan
from simulation.relay import Faults
from simulation.world import Setting, World
from tss_testing import TINY, SeededRng

from tss.cggmp24 import keygen, presign, sign
from tss.cggmp24.presign import Presigning
from tss.cggmp24.sign import SignRequest
from tss.effects import Send
from tss.encoding import encode
from tss.envelope import Body, Kind
from tss.errors import PeerFault, ProofInvalid
from tss.proposal import Proposal
from tss.session import Outgoing, Session

REQUEST = SignRequest(b"\x01" * 32)
CALM = Faults(latency=0.1)


def committee(n: int = 3, t: int = 2, faults: Faults | None = None, **classes: Any) -> World:
    setting = Setting(1, TINY, n, t, faults or replace(CALM), **classes)
    world = World(setting)
    world.deal("dealt", 0)
    world.artefacts.approved[REQUEST.digest, REQUEST.path] = frozenset(world.points)
    return world


def stock_proposal(
    world: World, signers: tuple[int, ...] = (1, 2), request: SignRequest = REQUEST
) -> Proposal:
    """Its owner's, with the presignature that it has."""
    owner = world.parties[signers[0]]
    (presignature,) = owner.stock.values()
    e = presignature.promise(request.digest, request.path, 0, SeededRng(0))
    tail = sign.tail(presignature.id, request, 0, signers, e)
    return world.proposal(signers[0], "dealt", sign.KIND, tail, b"\x02" * 16)


def with_stock(world: World, signers: tuple[int, ...] = (1, 2)) -> World:
    world.deal_stock(signers, signers[0], 0)
    return world


def keygen_proposal(world: World, account_id: str = "new") -> Proposal:
    return world.proposal(1, account_id, keygen.KIND, keygen.tail(world.n, world.t), b"\x03" * 16)


def presign_proposal(world: World, signers: tuple[int, ...]) -> Proposal:
    disk = world.parties[signers[0]].disk
    account = disk.accounts["dealt"]
    tail = presign.tail(account.share, disk.aux[account.aux_id or b""], signers, signers[0], 1)
    return world.proposal(signers[0], "dealt", presign.KIND, tail, b"\x04" * 16)


def found(artefacts: Artefacts) -> set[str]:
    """Names of the invariants that are broken."""
    return {what.partition(":")[0] for what in check(artefacts)}


def signed_once(world: World) -> Artefacts:
    with_stock(world)
    world.parties[1].propose(stock_proposal(world))
    return world.run()


class TestNothingIsFoundWhereNothingIsWrong:
    def test_signing(self) -> None:
        artefacts = signed_once(committee(quiet=True))
        assert check(artefacts) == []
        assert [type(ended.result).__name__ for ended in artefacts.ended] == ["Signature"] * 2

    def test_key_generation_and_presigning(self) -> None:
        world = committee(quiet=True)
        world.parties[1].propose(keygen_proposal(world))
        world.parties[1].propose(presign_proposal(world, (1, 3)))
        artefacts = world.run()
        assert check(artefacts) == []
        assert len(artefacts.activated) == 3


class TestS1:
    class Snapshot(Party):
        """A machine whose memory is brought back: its presignatures are always fresh."""

        def plan(self, proposal: Proposal) -> Plan:
            for id_, presignature in list(self.stock.items()):
                self.kept_ = getattr(self, "kept_", None) or clone(presignature)
                self.stock[id_] = clone(self.kept_)
            return super().plan(proposal)

    def test_two_partials_of_one_presignature(self) -> None:
        world = with_stock(committee(honest={2: self.Snapshot}))
        for _ in range(2):
            world.parties[1].propose(stock_proposal(world))
            world.scheduler.run()
        assert "S1" in found(world.run())

    def test_a_retry_of_the_same_request_is_none(self) -> None:
        world = with_stock(committee())
        for _ in range(2):
            world.parties[1].propose(stock_proposal(world))
            world.scheduler.run()
        artefacts = world.run()
        assert check(artefacts) == []
        assert [type(ended.result).__name__ for ended in artefacts.ended] == ["Signature"] * 4


class TestS2:
    class Willing(Party):
        def approves(self, _request: SignRequest) -> bool:
            return True

    def test_a_party_that_signs_what_its_policy_refuses(self) -> None:
        world = committee(honest={2: self.Willing})
        world.artefacts.approved[REQUEST.digest, REQUEST.path] = frozenset({1, 3})
        assert "S2" in found(signed_once(world))

    def test_a_refusal_is_none(self) -> None:
        world = committee()
        world.artefacts.approved[REQUEST.digest, REQUEST.path] = frozenset({1, 3})
        artefacts = signed_once(world)
        assert check(artefacts) == []
        assert not any(ended.result for ended in artefacts.ended)


class TestKeys:
    class Forgetful(Disk):
        """Its pending state is not there when it is needed."""

        def _put_pending(self, pending: Any) -> None:
            pass

    class Overwriting(Party):
        def _plan_ceremony(self, proposal: Proposal, ph: bytes) -> Plan:
            self.disk.accounts.pop("new", None)
            return super()._plan_ceremony(proposal, ph)

    def test_s3_a_key_that_one_party_holds_alone(self) -> None:
        world = committee()
        for j in (2, 3):
            disk = self.Forgetful()
            disk.__dict__.update({**world.parties[j].disk.__dict__})
            world.parties[j].disk = disk
        world.parties[1].propose(keygen_proposal(world))
        assert "S3" in found(world.run())

    def test_s3_shares_that_do_not_give_the_key(self) -> None:
        world = committee()
        account = world.parties[2].disk.accounts["dealt"]
        account.share = replace(account.share, x=account.share.x + 1)
        assert "S3" in found(world.run())

    def test_s4_an_account_whose_key_changes(self) -> None:
        world = committee(honest=dict.fromkeys((1, 2, 3), self.Overwriting))
        for _ in range(2):
            world.parties[1].propose(keygen_proposal(world))
            world.scheduler.run()
        assert "S4" in found(world.run())


class TestS5:
    class Accusing(Session):
        """Takes silence for guilt."""

        def expire(self) -> list[Outgoing]:
            return self.abort(ProofInvalid("none", "it is late").blame(self.waiting_for[0].index, "sign"))

    class Accuser(Party):
        session_class: type[Session] = Session

        def _begin(self, *args: Any) -> Running | None:
            self.session_class = TestS5.Accusing
            return super()._begin(*args)

    class Forgetful(Disk):
        """It does not remember in which sessions its party spoke."""

        def _take(self, record: object, *rest: Any) -> None:
            super()._take(record, *rest)
            self.sids.clear()

    def test_silence_that_is_blamed(self) -> None:
        world = with_stock(committee(honest={1: self.Accuser}))
        proposal = stock_proposal(world)
        world.parties[2].crash(1000.0)
        world.parties[1].propose(proposal)
        world.scheduler.run()
        named = [what for what in check(world.run()) if what.startswith("S5")]
        assert len(named) == 2, "the outcome, and the complaint"

    def test_a_party_that_speaks_twice(self) -> None:
        world = committee()
        forgetful = world.parties[2]
        disk = self.Forgetful()
        disk.__dict__.update(forgetful.disk.__dict__)
        forgetful.disk = disk
        proposal = keygen_proposal(world)
        running = world.parties[1].propose(proposal)
        assert running is not None
        envelopes: list[bytes] = []
        inner = world.relay.deliver[2]
        world.relay.deliver[2] = lambda envelope: (envelopes.append(envelope), inner(envelope))[1]
        world.scheduler.after(0.5, lambda: forgetful.crash(0.1))

        def past_again() -> None:
            for envelope in envelopes:
                inner(envelope)

        world.scheduler.after(1.0, past_again)
        assert "S5" in found(world.run())


class TestS6:
    class Lax(Presigning):
        def check_round3(self, *args: Any) -> None:
            pass

    class LaxParty(Party):
        """Looks at nobody's proof in round 3."""

        def plan(self, proposal: Proposal) -> Plan:
            account = self.disk.accounts["dealt"]
            aux = self.disk.aux[account.aux_id or b""]

            def program(ctx: Any) -> Any:
                run = TestS6.Lax(ctx, account.share, aux, proposal.initiator)
                return (yield from presign._rounds(run, 1, None))[0]

            return replace(super().plan(proposal), program=program)

    class WrongProof(Cheat):
        """Round 3 holds a proof of something else."""

        def __init__(self, world: World, index: int) -> None:
            super().__init__(world, index)
            self.rules = {}

        def _lie(self, body: Body) -> Body:
            if (body.kind, body.round) != (Kind.MSG, 3):
                return body
            rule = says(3, lambda value: [[[*value[0][0][:3], [*value[0][0][3][:-1], 5]]], value[1]])
            return rule.apply(body, self.world.suite.group)

    class Confused(Party):
        """Names another one than it caught."""

        def _end(self, running: Running) -> None:
            if isinstance(running.session.error, PeerFault):
                running.session.error.peer = 5
            super()._end(running)

    def run(self, n: int, **classes: Any) -> Artefacts:
        world = committee(n, 3, **classes)
        # Complaints come late, so that everybody sees for itself.
        world.relay.deliver = {
            j: partial(self.later, world, deliver) for j, deliver in world.relay.deliver.items()
        }
        world.parties[1].propose(presign_proposal(world, (1, 2, 3)))
        return world.run()

    def later(self, world: World, deliver: Callable[[bytes], None], envelope: bytes) -> None:
        delay = 10.0 if b"complaint" in envelope else 0.0
        world.scheduler.after(delay, lambda: deliver(envelope))

    def test_a_cheater_that_all_blame(self) -> None:
        artefacts = self.run(3, malicious={3: self.WrongProof})
        assert check(artefacts) == []
        assert [ended.blamed for ended in artefacts.ended if ended.party != 3] == [3, 3]

    def test_a_cheater_whom_one_takes_a_result_from(self) -> None:
        artefacts = self.run(3, malicious={3: self.WrongProof}, honest={2: self.LaxParty})
        assert found(artefacts) == {"S6"}

    def test_public_values_and_two_verdicts(self) -> None:
        cheats = {3: self.WrongProof, 5: self.WrongProof}
        artefacts = self.run(5, malicious=cheats, honest={2: self.Confused})
        assert found(artefacts) == {"S6"}


class TestResults:
    class Misreading(Party):
        def _end(self, running: Running) -> None:
            if running.session.error is None:
                running.session.result = replace(running.session.result, s=running.session.result.s + 1)
            super()._end(running)

    class WrongId(Party):
        def _end(self, running: Running) -> None:
            if running.session.error is None:
                running.session.result = replace(running.session.result, v=running.session.result.v ^ 1)
            super()._end(running)

    @pytest.mark.parametrize("kind", [Misreading, WrongId])
    def test_e_results_that_differ_and_do_not_verify(self, kind: type[Party]) -> None:
        texts = check(signed_once(committee(honest={2: kind})))
        assert {"different results" in text for text in texts} == {True, False}
        assert all(text.startswith("E") for text in texts)

    def test_e_one_wrong_result_for_all(self) -> None:
        texts = check(signed_once(committee(honest=dict.fromkeys((1, 2), self.Misreading))))
        assert texts
        assert all("does not verify" in text for text in texts)

    class Broken(Party):
        def plan(self, proposal: Proposal) -> Plan:
            def program(ctx: Any) -> Any:
                yield Send(1, broadcast=1)
                raise KeyError("a bug")

            return replace(super().plan(proposal), program=program)

    def test_p_an_exception_outside_of_the_tree(self) -> None:
        assert "P" in found(signed_once(committee(honest={2: self.Broken})))

    class Talkative(Session):
        def expire(self) -> list[Outgoing]:
            self._send(self.sid_or_fail(), 9, Kind.ECHO, encode([1]))
            return super().expire()

    class Talker(Party):
        def _begin(self, *args: Any) -> Running | None:
            self.session_class = TestResults.Talkative
            return super()._begin(*args)

    def test_q_a_word_after_the_end(self) -> None:
        assert found(signed_once(committee(honest={2: self.Talker}))) == {"Q"}

    class Mute(Party):
        def _copies(self, *_: Any) -> None:
            pass

    def test_l_no_result_though_nothing_is_said_to_be_wrong(self) -> None:
        artefacts = signed_once(committee(honest={2: self.Mute}, quiet=True))
        assert found(artefacts) == {"L"}
