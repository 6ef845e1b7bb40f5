"""Targets: `Session.receive` in every phase of every protocol, at the tiny level.

A **scene** is one recorded run: what everybody signed, in order. A session of party `me` is brought to any point of it
by hearing the others' messages again (its own randomness is seeded, results of computations are remembered), and then
hears something else: a mutated envelope, or a member's message that is mutated in one field and validly signed. After
that it hears the rest. Only protocol errors may come of it, an honest member is never blamed, and what nobody signed
changes nothing at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from random import Random
from typing import Any

from cggmp24_testing import Signers, aux_program, primes_of, record_bodies
from engine_testing import rounds
from fuzz_mutate import LEAVES, damaged, mutated
from fuzz_target import Choices, Target, need
from presign_cheating import CHEATER, cheating
from session_testing import Committee, Program, identity_of, party_id
from tss_testing import TINY, SeededRng

from tss.cggmp24 import aux_info, keygen, presign, sign
from tss.cggmp24.presign import Presigning
from tss.cggmp24.sign import SignRequest
from tss.echo import echo_of
from tss.effects import run_serially
from tss.encoding import decode, encode
from tss.envelope import Body, Kind, PartyId, Sealed, decode_body, pack, routing, seal, unpack
from tss.envelope import sign as sign_body
from tss.errors import InternalError, PeerFault, ProtocolError
from tss.params import Suite
from tss.session import Outgoing, Round0, Session

PH = b"\x70" * 32
ENDS = (Kind.COMPLAINT, Kind.ABORT)
SEED = "fuzz"
MAX_ACTIONS = 3


def _never(record: object) -> None:
    """Stores it all."""


@dataclass
class Run:
    """A session on its way, and what is known about what it heard."""

    session: Session
    lied: set[int] = field(default_factory=set)
    """Evaluation points of those who signed what they did not sign in the recorded run."""
    _own: list[Outgoing] = field(default_factory=list)
    _others: list[Body] = field(default_factory=list)

    def note(self, out: Sequence[Outgoing]) -> None:
        """What the session said."""
        self._own += out

    def remember(self, body: Body) -> None:
        """What it heard."""
        self._others.append(body)

    def heard(self, sid: bytes, round_: int) -> dict[PartyId, bytes]:
        """The first broadcast of each party in a round, its own included, encoded."""
        found: dict[PartyId, bytes] = {}
        own = [unpack(outgoing.envelope) for outgoing in self._own if outgoing.to is None]
        mine = [decode_body(parts[0]) for parts in own if not isinstance(parts, Sealed)]
        for body in (*mine, *self._others):
            if (body.sid, body.round, body.kind, body.to) == (sid, round_, Kind.MSG, None):
                found.setdefault(body.sender, body.encode())
        return found

    def work(self, known: list[Done] | None = None) -> None:
        """Run the session's jobs; with `known`, remember what came of them, or take it from there."""
        session, number = self.session, 0
        while session.jobs and not session.finished:
            if known is None:
                results = run_serially(session.jobs)
            else:
                dice = session._runtime.rng
                assert isinstance(dice, SeededRng)
                if number == len(known):
                    results = run_serially(session.jobs)
                    known.append((results, dice._calls))
                # Jobs may have drawn from the session's randomness.
                results, dice._calls = known[number]
                number += 1
            self.note(session.completed(results))


Done = tuple[list[Any], int]
"""The results of jobs, and how often the session's dice had been thrown after them."""


@dataclass
class Scene:
    """One recorded run. `make` gives a committee whose sessions have not begun."""

    make: Callable[[], Committee]
    me: int | PartyId = 1
    completes: bool = True
    """Whether the recorded run has a result; else somebody cheats in it."""
    suite: Suite = TINY

    @property
    def party(self) -> PartyId:
        """Whose session it is."""
        return party_id(self.me)

    @cached_property
    def parties(self) -> list[PartyId]:
        """Everybody, this party included."""
        return list(self.make().nodes)

    @cached_property
    def bodies(self) -> list[Body]:
        """What others said to all or to this party, in order."""
        said: list[Body] = []
        committee = self.make()
        record_bodies(committee, said)
        _run_in_order({node.party: node.session for node in committee.nodes.values()})
        assert committee[self.me].session.finished
        me = self.party
        return [b for b in said if b.sender != me and b.to in (None, me) and b.kind not in ENDS]

    @cached_property
    def _done(self) -> dict[int, list[Done]]:
        """By the delivery after which there were jobs; -1 is the start."""
        return {}

    @cached_property
    def epk(self) -> bytes | None:
        run = self.begin()
        key = run.session._mail.key
        return None if key is None else key.public

    @cached_property
    def envelopes(self) -> list[bytes]:
        """The others' messages as they arrive; sealing is random, so it is done once."""
        return [self.envelope(body) for body in self.bodies]

    def envelope(self, body: Body) -> bytes:
        signed = sign_body(body, identity_of(body.sender).sign)
        if body.to is None or self.epk is None:
            return pack(signed)
        return seal(signed, self.epk)

    def begin(self) -> Run:
        run = Run(self.make()[self.me].session)
        run.note(run.session.start())
        run.work(self._done.setdefault(-1, []))
        return run

    def at(self, place: int) -> Run:
        """A session that heard the first `place` messages."""
        run = self.begin()
        for number in range(place):
            if run.session.finished:
                break
            run.remember(self.bodies[number])
            run.note(run.session.receive(self.envelopes[number]))
            run.work(self._done.setdefault(number, []))
        return run

    @cached_property
    def places(self) -> int:
        """Points of the run at which the session is not over."""
        place = 0
        while place < len(self.bodies) and not self.at(place).session.finished:
            place += 1
        return place


def _run_in_order(sessions: dict[PartyId, Session]) -> None:
    """Oldest message first, jobs one after the other: what each party draws follows from what it heard. No complaints."""
    queue = [outgoing for session in sessions.values() for outgoing in session.start()]
    while queue:
        outgoing = queue.pop(0)
        for party, session in sessions.items():
            if party == outgoing.sender or session.finished or _kind(outgoing) in ENDS:
                continue
            queue += session.receive(outgoing.envelope)
            while session.jobs:
                queue += session.completed(run_serially(session.jobs))


def _kind(outgoing: Outgoing) -> Kind:
    return routing(outgoing.envelope)[1]


# -- what is heard instead ---------------------------------------------------------------------------------------


@dataclass
class Stage:
    """A target: a scene, and the sessions that wait in it where nothing has happened to them yet."""

    scene: Scene
    waiting: dict[int, Run] = field(default_factory=dict)

    def __call__(self, data: bytes) -> str:
        choices = Choices(data)
        place = choices.below(self.scene.places)
        consistent = choices.below(2) == 1
        run = self.waiting.pop(place, None) or self.scene.at(place)
        before = self._state(run.session)
        for _ in range(1 + choices.below(MAX_ACTIONS)):
            if run.session.finished:
                break
            self._act(run, place, choices)
            run.work()
        if not run.lied:
            # What nobody signed is dropped, and the session is as it was.
            need(self._state(run.session) == before, "the session took what nobody signed")
            self.waiting[place] = run
            return "dropped"
        self._finish(run, place, consistent=consistent)
        return self._judge(run.session, run.lied, consistent=consistent)

    def seeds(self) -> Iterator[bytes]:
        for place in range(0, self.scene.places, max(1, self.scene.places // 6)):
            for action in range(len(ACTIONS)):
                yield bytes([place, action & 1, 0, action, 0]) + bytes(8)

    @staticmethod
    def _state(session: Session) -> Any:
        mail = session._mail
        kept = (len(mail.slots), len(mail.shows), len(mail._early))
        return (session.phase, session.waiting_for, session.finished, session.jobs == (), *kept)

    def _act(self, run: Run, place: int, choices: Choices) -> None:
        """Let the session hear one more thing."""
        bodies, envelopes = self.scene.bodies, self.scene.envelopes
        action = ACTIONS[choices.below(len(ACTIONS))]
        # Mostly the next message; sometimes one from before, or from rounds to come.
        at = min(
            max(place + (0, 0, 0, 1, 2, -1, choices.below(256) - 128, 3)[choices.below(8)], 0),
            len(bodies) - 1,
        )
        rng = Random(choices.take(4))
        if action == "bytes":
            envelope = damaged(envelopes[at], rng) if rng.random() < 0.5 else mutated(envelopes[at], rng)
            if envelope != envelopes[at]:
                run.note(run.session.receive(envelope))
            return
        if action == "raw":
            run.note(run.session.receive(choices.rest()))
            return
        body = bodies[at]
        if action == "payload":
            body = replace(body, payload=mutated(body.payload, rng))
        elif action == "written":
            body = replace(body, payload=choices.rest())
        elif action == "header":
            body = _elsewhere(body, self.scene, run.session, rng)
        else:
            kind = rng.choice((Kind.SHOW, Kind.COMPLAINT, Kind.ABORT, Kind.DONE, Kind.ECHO))
            body = replace(body, kind=kind, to=None, payload=_said(kind, self.scene, at, rng))
            if rng.random() < 0.5:
                body = replace(body, sid=run.session.sid or PH)
            if rng.random() < 0.7:
                body = replace(body, payload=mutated(body.payload, rng))
        if len(body.payload) > 1 << 18:
            return
        if body == bodies[at]:
            return
        run.lied.add(body.sender.index)
        try:
            envelope = self.scene.envelope(body)
        except ValueError:
            # Sealed to a header that ENC has no room for.
            return
        run.remember(body)
        run.note(run.session.receive(envelope))

    def _finish(self, run: Run, place: int, *, consistent: bool) -> None:
        """The rest of the run. `consistent`: the others echo what this party heard, as if everybody had heard it."""
        session, shown = run.session, set()
        for number in range(place, len(self.scene.bodies)):
            if session.finished:
                return
            body, envelope = self.scene.bodies[number], self.scene.envelopes[number]
            if consistent:
                same = _as_heard(body, run)
                if same != body:
                    run.lied.add(body.sender.index)
                    body, envelope = same, self.scene.envelope(same)
            run.remember(body)
            run.note(session.receive(envelope))
            run.work()
            if session._echoes.showing is not None and not session.finished:
                self._show(run, shown)
        if not session.finished:
            run.note(session.expire())

    def _show(self, run: Run, shown: set[Any]) -> None:
        """The honest show what they have of a round whose echoes differ."""
        place = run.session._echoes.showing
        if place is None or place in shown:
            return
        shown.add(place)
        own = run.heard(*place).get(self.scene.party)
        listed = {
            b.sender: b
            for b in self.scene.bodies
            if (b.sid, b.round, b.kind, b.to) == (*place, Kind.MSG, None)
        }
        signed = [sign_body(b, identity_of(b.sender).sign).as_value() for b in listed.values()]
        if own is not None:
            signed.append([own, identity_of(self.scene.party).sign(own)])
        for sender in listed:
            if sender.index not in run.lied and not run.session.finished:
                body = Body(self.scene.suite.proto, *place, Kind.SHOW, sender, None, encode(signed))
                run.note(run.session.receive(self.scene.envelope(body)))

    def _judge(self, session: Session, lied: set[int], *, consistent: bool) -> str:
        error = session.error
        if error is None:
            return "done"
        need(isinstance(error, ProtocolError), f"the session ended with {type(error).__name__}")
        need(not isinstance(error, InternalError), f"a bug of ours: {error} {error.__cause__!r}")
        if isinstance(error, PeerFault):
            need(error.peer != self.scene.party.index, "it blames itself")
            # Where the others' messages do not follow from what was heard, they were signed all the same.
            culprits = lied if self.scene.completes else lied | {CHEATER}
            need(consistent or error.peer in culprits, f"{error.peer} is blamed, who did nothing: {error}")
            need(error.evidence is not None, "a blame without evidence")
        return type(error).__name__


ACTIONS = ("payload", "bytes", "header", "payload", "written", "said", "payload", "raw")


def _elsewhere(body: Body, scene: Scene, session: Session, rng: Random) -> Body:
    """The message in another slot."""
    choice = rng.randrange(6)
    if choice == 0:
        return replace(body, sid=rng.choice((PH, session.sid or PH, bytes(32))))
    if choice == 1:
        return replace(body, round=rng.choice((0, 1, 2, 3, 4, 5, 15)))
    if choice == 2:
        return replace(body, kind=rng.choice(list(Kind)))
    if choice == 3:
        return replace(body, to=rng.choice((None, *scene.parties, PartyId("dealer", 1))))
    if choice == 4:
        return replace(body, proto=rng.choice((scene.suite.proto, "", "cggmp24-secp256k1/v1")))
    return replace(
        body, sid=session.sid or PH, kind=rng.choice(list(Kind)), round=rng.choice((0, 1, 2, 15)), to=None
    )


def _said(kind: Kind, scene: Scene, at: int, rng: Random) -> bytes:
    """A payload of a kind, about messages of the run."""
    some = [scene.bodies[rng.randrange(len(scene.bodies))] for _ in range(3)]
    same = [
        b
        for b in scene.bodies
        if (b.sid, b.round, b.kind, b.to) == (scene.bodies[at].sid, scene.bodies[at].round, Kind.MSG, None)
    ]
    shown = [
        sign_body(b, identity_of(b.sender).sign).as_value() for b in (same if rng.random() < 0.7 else some)
    ]
    if kind is Kind.SHOW:
        return encode(shown)
    if kind is Kind.COMPLAINT:
        evidence = encode(["evidence/v1", scene.suite.proto, [], scene.parties[-1].as_list(), "check", shown])
        return encode([rng.choice(scene.parties).as_list(), "check", evidence])
    if kind is Kind.ABORT:
        return encode(["Timeout", "text"])
    if kind is Kind.DONE:
        return encode([None, bytes(32)])
    hashes = [[b.sender.as_list(), hashlib.sha256(b.encode()).digest()] for b in same]
    return encode([bytes(32), hashes])


def _as_heard(body: Body, run: Run) -> Body:
    """A later message of the run as its sender would have signed it had everybody heard what this session heard."""
    sid = run.session.sid
    if body.sid != PH and sid is not None:
        body = replace(body, sid=sid)
    if body.kind is Kind.ECHO:
        heard = run.heard(body.sid, body.round)
        return (
            replace(body, payload=encode(echo_of(body.proto, body.sid, body.round, heard).as_value()))
            if heard
            else body
        )
    if body.kind in (Kind.MSG, Kind.DONE) and body.to is None and body.round > 1:
        echo, value = _split(body.payload)
        heard = {} if echo is None else run.heard(body.sid, body.round - 1)
        if heard:
            payload = _joined(encode(echo_of(body.proto, body.sid, body.round - 1, heard).as_value()), value)
            return replace(body, payload=payload)
    return body


def _split(payload: bytes) -> tuple[bytes | None, bytes]:
    """The encoded echo (None without) and the encoded value of a broadcast of a protocol."""
    size = int.from_bytes(payload[10:14], "big")
    end = 14 + size
    return (payload[9:end] if payload[9] == 6 else None), payload[end:]


def _joined(echo: bytes, value: bytes) -> bytes:
    body = (2).to_bytes(4, "big") + echo + value
    return b"\x06" + len(body).to_bytes(4, "big") + body


# -- the scenes --------------------------------------------------------------------------------------------------

SIGNERS = Signers((1, 2, 3), 4)
REQUEST = SignRequest(hashlib.sha256(b"fuzz").digest())


def committee_of(
    programs: dict[int, Program] | dict[PartyId, Program],
    kind: str,
    tail: Any,
    round0: Round0 = Round0.BLOCKING,
    **options: Any,
) -> Committee:
    """Sessions that have not begun; what they draw is the same each time."""
    given = {"ph": PH, "duplicate": 0.0, **options}
    return Committee(programs, SEED, kind=kind, tail=tail, round0=round0, **given)


def _engine(round0: Round0) -> Callable[[], Committee]:
    return lambda: committee_of(dict.fromkeys((1, 2, 3), rounds), "test", (), round0)


def _keygen() -> Committee:
    program: Program = lambda ctx: keygen.keygen(ctx, 2, None)  # noqa: E731 - one expression
    return committee_of(dict.fromkeys((1, 2, 3), program), "keygen", keygen.tail(3, 2), Round0.BLOCKING)


def _aux() -> Committee:
    primes = primes_of(TINY, 3)
    programs = {j: aux_program(primes[j]) for j in primes}
    return committee_of(programs, "aux", aux_info.tail(None), Round0.BLOCKING)


def _presign(batch: int = 1, cheater: type[Presigning] | None = None) -> Callable[[], Committee]:
    tail = presign.tail(SIGNERS.shares[1], SIGNERS.aux[1], SIGNERS.S, SIGNERS.owner.index, batch)

    def make() -> Committee:
        programs = {j: SIGNERS._presign_program(j, batch) for j in SIGNERS.S}
        options: dict[str, Any] = {}
        if cheater is not None:
            programs[CHEATER] = cheating(cheater, batch)
            options = {"cheaters": [CHEATER]}
        return committee_of(programs, "presign", tail, Round0.WITH_ROUND_1, **options)

    return make


def _full_sign() -> Committee:
    tail = presign.full_tail(SIGNERS.shares[1], SIGNERS.aux[1], SIGNERS.S, SIGNERS.owner.index, REQUEST)
    programs = {j: SIGNERS._full_program(j, REQUEST) for j in SIGNERS.S}
    return committee_of(programs, "full-sign", tail, Round0.WITH_ROUND_1)


def _stock_sign() -> Committee:
    parts = SIGNERS.stock()
    tau = SIGNERS.tau(REQUEST)
    e = parts[SIGNERS.owner.index].promise(REQUEST.digest, REQUEST.path, tau, SeededRng("e"))
    programs = {j: SIGNERS._stock_program(parts[j], REQUEST, e) for j in SIGNERS.S}
    tail = sign.tail(parts[1].id, REQUEST, tau, SIGNERS.S, e)
    return committee_of(programs, "sign", tail, Round0.NONE)


class _LiesInDelta(Presigning):
    """Sends delta_i + 1, so that the honest identify it."""

    def open_masks(self, item: Any, received: Any) -> list[Any]:
        delta, *rest = super().open_masks(item, received)
        return [(delta + 1) % TINY.group.q, *rest]


class _LiesInChi(Presigning):
    """Sends S_i + G."""

    def open_masks(self, item: Any, received: Any) -> list[Any]:
        delta, Delta, S, psi = super().open_masks(item, received)
        item.S_j[self.ctx.me] = S + TINY.group.G
        return [delta, Delta, S + TINY.group.G, psi]


SCENES = {
    "engine-blocking": Scene(_engine(Round0.BLOCKING)),
    "engine-round-1": Scene(_engine(Round0.WITH_ROUND_1)),
    "keygen": Scene(_keygen),
    "aux": Scene(_aux),
    "presign": Scene(_presign()),
    "full-sign": Scene(_full_sign, me=3),
    "sign-owner": Scene(_stock_sign),
    "sign": Scene(_stock_sign, me=2),
    "identify-delta": Scene(_presign(cheater=_LiesInDelta), completes=False),
    "identify-chi": Scene(_presign(cheater=_LiesInChi), me=3, completes=False),
}
SHARES = {"engine-blocking": 0.05, "engine-round-1": 0.05, "keygen": 0.02, "sign-owner": 0.05, "sign": 0.05}


def targets_of(scenes: dict[str, Scene], shares: dict[str, float]) -> list[Target]:
    """`session-<name>` of each scene."""
    return [
        Target(
            f"session-{name}",
            stage,
            stage.seeds,
            tuple(leaf for leaf in LEAVES if leaf),
            max_len=512,
            share=shares.get(name, 0.01),
        )
        for name, stage in ((name, Stage(scene)) for name, scene in scenes.items())
    ]


TARGETS = targets_of(SCENES, SHARES)

__all__ = ["SCENES", "TARGETS", "decode"]
