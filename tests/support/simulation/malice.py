"""A malicious party: it keeps to its sessions, and lies in what it signs, to whom, and when, by rules that the seed draws.

All that it says is validly signed by it. What it cannot do is to sign for others, or to open what is sealed to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from tss_testing import SeededRng

from simulation.artefacts import Ended
from simulation.disk import Refused
from simulation.driving import Running
from simulation.lies import WrongChi, WrongMask, WrongOutputs, clone, mutated_payload, presigning
from simulation.party import Party
from simulation.planning import Plan
from tss.cggmp24 import aux_info, keygen, presign, sign
from tss.cggmp24.presignature import Presignature
from tss.cggmp24.sign import SignRequest
from tss.encoding import encode
from tss.envelope import (
    MAX_ROUND,
    Body,
    Kind,
    Sealed,
    Signed,
    decode_body,
    holder,
    pack,
    seal,
    unpack,
)
from tss.evidence import Evidence
from tss.hd import derive
from tss.proposal import Proposal
from tss.rand import Rng
from tss.session import Outgoing, Session

if TYPE_CHECKING:
    from simulation.world import World

RULES: Final = (
    "mutate", "equivocate", "withhold", "wrong round", "replay", "relabel", "complain", "abort", "garbage show",
    "wrong outputs", "wrong masks", "conflict", "unapproved", "late done", "two faces", "two copies",
)  # fmt: skip

CHECKS: Final = {
    keygen.KIND: ("keygen.r2.decommit", "keygen.r2.share", "keygen.r2.chain code", "keygen.r3.sch:equation"),
    aux_info.KIND: ("aux.r2.decommit", "aux.r2.N", "aux.r2.prm:range", "aux.r3.mod:w", "aux.r3.fac:range"),
    presign.KIND: (
        "presign.r1.item0.k.enc-elg:1", "presign.r1.item0.K", "presign.r2.item0.h", "presign.r2.item0.x.aff-g:1",
        "presign.r3.item0.elog:1", "presign.abort-delta.item0", "presign.abort-chi.item0",
    ),
    presign.FULL_KIND: ("presign.r1.item0.k.enc-elg:1", "presign.r3.item0.elog:1", "sign.partial.equation"),
    sign.KIND: ("sign.partial.equation", "sign.partial.range", "sign.show.place", "sign.r0.msg"),
}  # fmt: skip
"""What honest parties look at, as a false complaint names it."""


# -- the session -------------------------------------------------------------------------------------------------------


class LyingSession(Session):
    """A session whose bodies pass through its party before they are signed."""

    lie: Callable[[Body], Body]

    def _sign(self, body: Body) -> Signed:
        return super()._sign(self.lie(body))


AIMS: Final = tuple(
    (round_, p2p) for p2p in (False, True, True) for round_ in ((1, 2, 3) if p2p else range(6))
)
"""Rounds, and whether to all or to one."""


class OtherFace:
    """Dice that show the same acceptance, and then others: a second run of the same session."""

    def __init__(self, seed: object) -> None:
        self._same, self._other = SeededRng(seed), SeededRng((seed, "other"))
        self._calls = 0

    def __call__(self, n: int) -> bytes:
        self._calls += 1
        return self._same(n) if self._calls <= 2 else self._other(n)


class Cheat(Party):
    """The malicious party. Its rules, and how often each is followed, are drawn from the seed."""

    malicious = True

    def __init__(self, world: World, index: int) -> None:
        super().__init__(world, index)
        dice = self.dice
        self.rules = {rule: dice.choice((0.3, 1.0)) for rule in self._draw_rules(dice.choice((1, 1, 2, 4)))}
        self.rate = dice.choice((0.03, 0.1, 0.4))
        """Of bodies that are changed at all."""
        self.aim = dice.choice(AIMS) if dice.random() < 0.6 else None
        """The round, and whether what goes to all or to one, that alone is tampered with: so it comes as far as that."""
        self.heard: list[Signed] = []
        self.own: list[Body] = []
        self.twins: dict[int, Running] = {}
        """The other one of two sessions that run in one place, by number."""
        self.sides: dict[int, frozenset[int]] = {}
        """Who hears of such a session."""
        self.copies: dict[bytes, Presignature] = {}
        """Every presignature once more, as it was when it was made."""
        self.session_class = type("Lying", (LyingSession,), {"lie": staticmethod(self._lie)})
        self.say(f"follows {self.rules}")

    def _draw_rules(self, count: int) -> list[str]:
        """One field of one message, or wrong outputs, come far where nothing else comes in between."""
        draw = self.dice.random()
        if draw < 0.42:
            return ["mutate"] if draw < 0.3 else ["wrong outputs"]
        return self.dice.sample(RULES, count)

    def _fresh(self) -> None:
        super()._fresh()
        self.copies = {}

    def follows(self, rule: str) -> bool:
        return self.dice.random() < self.rules.get(rule, 0.0)

    def lies(self, rule: str) -> bool:
        """Whether this very message falls under a rule."""
        if self.follows(rule) and self.dice.random() < self.rate:
            self.world.count(f"malice: {rule}")
            return True
        return False

    def tampers(self, rule: str, kind: Kind, round_: int, *, p2p: bool) -> bool:
        """Whether this very message falls under a rule that has an aim."""
        if self.aim is None:
            return self.lies(rule)
        if kind is not Kind.MSG or (round_, p2p) != self.aim or not self.follows(rule):
            return False
        self.world.count(f"malice: {rule}")
        return True

    def approves(self, _request: SignRequest) -> bool:
        return True

    def crash(self, down: float) -> None:
        """It is always there."""

    # -- what it says ----------------------------------------------------------------------------------------------

    def _begin(self, plan: Plan, then: Callable[[Ended], None] | None) -> Running | None:
        account = self.disk.accounts.get(plan.proposal.account_id or "")
        if plan.proposal.kind == presign.KIND and account is not None:
            kind = None
            if self.follows("wrong outputs"):
                kind = self.dice.choice((WrongOutputs, WrongChi))
            elif self.follows("wrong masks"):
                kind = WrongMask
            if kind is not None:
                self.world.count(f"malice: {kind.__name__}")
                plan = replace(
                    plan,
                    program=presigning(
                        kind, plan.proposal, account.share, self.disk.aux[account.aux_id or b""]
                    ),
                )
        running = super()._begin(plan, then)
        if running is not None and self.lies("complain"):
            delay = self.dice.choice((0.5, 2.0, 5.0, 15.0))
            self.world.scheduler.after(delay, partial(self._complain, running))
        if running is not None and self.lies("abort"):
            self.world.scheduler.after(
                self.dice.expovariate(0.5), lambda: self._say(running, Kind.ABORT, encode(["X", "no"]))
            )
        if running is not None and self.lies("garbage show"):
            self.world.scheduler.after(self.dice.expovariate(0.5), partial(self._show, running))
        return running

    def _open(self, plan: Plan, then: Callable[[Ended], None] | None, rng: Rng | None = None) -> Running:
        running = super()._open(plan, then, rng)
        others = [j for j in plan.members if j != self.index]
        if plan.proposal.kind != sign.KIND and len(others) > 1 and self.follows("two faces"):
            self.world.count("malice: two faces")
            side = frozenset(self.dice.sample(others, self.dice.randrange(1, len(others))))
            seed = (self.world.seed, self.index, self.lives, running.number)
            twin = super()._open(plan, None, OtherFace(seed))
            self.sides[running.number], self.sides[twin.number] = side, frozenset(others) - side
            self.twins[running.number], self.twins[twin.number] = twin, running
        return running

    def _start(self, running: Running) -> None:
        super()._start(running)
        if running.number in self.twins:
            super()._start(self.twins[running.number])

    def _give(self, running: Running, envelope: bytes) -> None:
        """Both faces hear everything."""
        super()._give(running, envelope)
        if running.number in self.twins:
            super()._give(self.twins[running.number], envelope)

    def _persist(self, plan: Plan, number: int, record: object) -> None:
        with suppress(Refused):
            super()._persist(plan, number, record)

    def _lie(self, body: Body) -> Body:
        """What is signed instead of an honest body, for everybody."""
        dice, group = self.dice, self.world.suite.group
        honest = body
        if self.tampers("mutate", body.kind, body.round, p2p=body.to is not None):
            body = replace(body, payload=mutated_payload(body.payload, dice, group))
        if self.lies("wrong round"):
            body = replace(
                body,
                round=dice.choice(
                    (max(0, body.round - 1), min(MAX_ROUND, body.round + 1), dice.randrange(16))
                ),
            )
        if self.lies("relabel"):
            body = replace(
                body,
                kind=dice.choice(list(Kind)),
                sender=dice.choice((body.sender, holder(dice.randrange(8)))),
            )
        if self.own and self.lies("replay"):
            body = replace(body, payload=dice.choice(self.own).payload)
        self.own = [*self.own[-40:], honest]
        if body is not honest:
            self.say(f"lies in {honest.kind} {honest.round}")
        return body

    def _copies(self, running: Running, outgoing: Outgoing) -> None:
        """Every recipient gets what the rules give for it."""
        parts = unpack(outgoing.envelope)
        header = parts if isinstance(parts, Sealed) else decode_body(parts[0])
        kind, round_ = header.kind, header.round
        if kind in (Kind.ABORT, Kind.COMPLAINT) and self.dice.random() < 0.7:
            # It does not tell what it has seen, or of itself.
            return
        members = running.plan.members if outgoing.to is None else (outgoing.to.index,)
        for recipient in members:
            if recipient == self.index or recipient not in self.sides.get(running.number, members):
                continue
            if self.tampers("withhold", kind, round_, p2p=outgoing.to is not None):
                continue
            envelope = outgoing.envelope
            if kind is Kind.DONE and self.follows("late done"):
                self.world.count("malice: late done")
                late = self.dice.choice((30.0, 100.0, 300.0))
                self.world.scheduler.after(late, partial(self._send_all, envelope, [recipient]))
                continue
            if self.tampers("equivocate", kind, round_, p2p=outgoing.to is not None):
                envelope = self._version(running, outgoing)
            self._send_all(envelope, [recipient])
            if self.lies("two copies"):
                self._send_all(self._version(running, outgoing), [recipient])

    def _version(self, running: Running, outgoing: Outgoing) -> bytes:
        """Another message for the same slot, validly signed."""
        parts = unpack(outgoing.envelope)
        if isinstance(parts, Sealed):
            epk = running.session._epks.get(outgoing.to)
            body = Body(parts.proto, parts.sid, parts.round, parts.kind, self.me, parts.to, b"")
            known = [
                b.payload
                for b in self.own
                if (b.sid, b.round, b.kind, b.to) == (body.sid, body.round, body.kind, body.to)
            ]
            payload = mutated_payload(known[-1], self.dice, self.world.suite.group) if known else b""
            signed = self.sign(replace(body, payload=payload), running.number)
            return outgoing.envelope if epk is None else seal(signed, epk)
        body = decode_body(parts[0])
        payload = mutated_payload(body.payload, self.dice, self.world.suite.group)
        return pack(self.sign(replace(body, payload=payload), running.number))

    def _say(self, running: Running, kind: Kind, payload: bytes, round_: int = 0) -> None:
        scope = running.session.sid or running.plan.ph
        signed = self.sign(
            Body(self.world.suite.proto, scope, round_, kind, self.me, None, payload), running.number
        )
        self._send_all(pack(signed), [j for j in running.plan.members if j != self.index])

    def _complain(self, running: Running) -> None:
        """A false complaint: with all that the session shows, or its own part of it changed, with anything, or nothing."""
        dice, session = self.dice, running.session
        accused = holder(dice.choice([j for j in running.plan.members if j != self.index]))
        shown = [
            signed
            for slot, signed in session._mail.slots.items()
            if slot.to is None or slot.sender == accused
        ]
        if dice.random() < 0.4:
            shown = [
                self._again(signed, running) if signed.body.sender == self.me else signed for signed in shown
            ]
        elif dice.random() < 0.4:
            shown = dice.sample(self.heard, min(len(self.heard), dice.choice((0, 1, 4))))
        if shown and dice.random() < 0.3:
            shown.pop(dice.randrange(len(shown)))
        kind = running.plan.proposal.kind
        check = dice.choice(
            (*CHECKS.get(kind, ()), f"{kind}.r{dice.randrange(5)}.schema", f"{kind}.r1.msg", "x")
        )
        preimage = session.sid_preimage
        evidence = Evidence.collect(
            proto=self.world.suite.proto, sid_preimages=() if preimage is None else (preimage,), accused=accused,
            check=check, messages=(*shown, *session.setup.background),
        ).encode()  # fmt: skip
        evidence = dice.choice((evidence, evidence, evidence, b"", dice.randbytes(50)))
        self._say(running, Kind.COMPLAINT, encode([accused.as_list(), check, evidence]))

    def _again(self, signed: Signed, running: Running) -> Signed:
        """Another version of a message of its own."""
        payload = mutated_payload(signed.body.payload, self.dice, self.world.suite.group)
        return self.sign(replace(signed.body, payload=payload), running.number)

    def _show(self, running: Running) -> None:
        dice = self.dice
        shown = dice.sample(self.heard, min(len(self.heard), dice.choice((1, 2, 3))))
        self._say(running, Kind.SHOW, encode([signed.as_value() for signed in shown]), dice.randrange(5))

    def deliver(self, envelope: bytes) -> None:
        signed = self._opened(envelope)
        if signed is not None:
            self.heard = [*self.heard[-60:], signed]
        super().deliver(envelope)

    def _say_done(self, sid: bytes, recipients: Iterable[int]) -> None:
        if not self.follows("late done"):
            super()._say_done(sid, recipients)

    def _keep(self, running: Running, out: Iterable[Outgoing]) -> None:
        pass

    # -- what it proposes ------------------------------------------------------------------------------------------

    def _end(self, running: Running) -> None:
        super()._end(running)
        self.remember()

    def remember(self) -> None:
        """Copy what is fresh: so it can answer as often as it likes."""
        for id_, presignature in self.stock.items():
            if id_ not in self.copies:
                self.copies[id_] = clone(presignature)

    def scheme(self) -> None:
        """Propose what no honest party would."""
        world = self.world
        usable = [c for c in self.copies.values() if self._account_of(c) is not None]
        if not usable:
            return
        rule = (
            "conflict" if self.follows("conflict") else "unapproved" if self.follows("unapproved") else None
        )
        if rule is None:
            return
        world.count(f"malice: {rule}")
        presignature = self.dice.choice(usable)
        requests = list(world.artefacts.approved)
        if rule == "unapproved":
            self.propose_with(
                presignature, SignRequest(self.dice.randbytes(32)), SeededRng(self.dice.random())(32)
            )
            return
        e = SeededRng(self.dice.random())(32)
        first = SignRequest(*self.dice.choice(requests))
        for _ in range(self.dice.choice((2, 3))):
            again = self.dice.random()
            request = first if again < 0.4 else SignRequest(*self.dice.choice(requests))
            entropy = e if self.dice.random() < 0.5 else SeededRng(self.dice.random())(32)
            delay = self.dice.choice((0.0, 1.0, 30.0))
            world.scheduler.after(delay, partial(self.propose_with, presignature, request, entropy))

    def propose_with(self, presignature: Presignature, request: SignRequest, e: bytes) -> None:
        """Use a copy of a presignature, whatever it was used for before."""
        account = self._account_of(presignature)
        if account is None:
            return
        share = self.disk.accounts[account].share
        derived = derive(share.X, share.chain_code, request.path)
        mine = clone(presignature)
        mine.promise(request.digest, request.path, derived.tau, lambda _: e)
        self.stock[presignature.id] = mine
        tail = sign.tail(presignature.id, request, derived.tau, presignature.public.signers, e)
        self.propose(self.world.proposal(self.index, account, sign.KIND, tail, self.dice.randbytes(16)))

    def plan(self, proposal: Proposal) -> Plan:
        """As a responder, too, it answers with a new copy every time."""
        if proposal.kind == sign.KIND and proposal.initiator != self.me and proposal.tail[0] in self.copies:
            self.stock[proposal.tail[0]] = clone(self.copies[proposal.tail[0]])
        return super().plan(proposal)

    def _plan_ceremony(self, proposal: Proposal, ph: bytes) -> Plan:
        """It makes an account's key again as often as it is asked."""
        if proposal.account_id not in self.world.artefacts.dealt:
            self.disk.accounts.pop(proposal.account_id or "", None)
        return super()._plan_ceremony(proposal, ph)

    def _account_of(self, presignature: Presignature) -> str | None:
        for name, account in self.disk.accounts.items():
            if account.share.key_id == presignature.public.key_id:
                return name
        return None
