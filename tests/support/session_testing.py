"""A whole committee in memory: real sessions, real identities, a seeded scheduler, and parties that cheat.

    outcomes = run_committee({1: program, 2: program, 3: program}, seed=7)
    outcomes.results()                                  # everybody ended with a result: {index: result}

    outcomes = run_committee(
        programs, seed=7, tamper={3: [tells(2, lambda v: [v[0] + 1, *v[1:]], to=1)]}
    )
    outcomes.assert_blamed(3, BadShare, by=[1])         # party 1 blames party 3, nobody blames anybody else

A program is what `Session` takes: a function of a SessionContext that gives a protocol's generator. A cheater runs the
real session and lies where it signs (`says`, `tells`, `signs`); so its messages are validly signed and its echo fits
what it sent, unless a rule says otherwise. With `only_to` the other parties get the honest version: equivocation.

The relay delivers in any order, repeats what it likes, and drops what `drop` names. When nothing is left to deliver,
every unfinished session's deadline passes. Every run checks what has to hold in all of them: an honest party blames
only cheaters, and a session that has ended takes nothing and says nothing.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import nacl.bindings
import pytest
from after_failure import assert_stopped
from tss_testing import TINY, SeededRng

from tss.effects import Protocol, SessionContext, run_job
from tss.encoding import (
    TAG_BYTES,
    TAG_INT,
    TAG_LIST,
    TAG_NONE,
    TAG_TEXT,
    Bytes,
    Integer,
    NoValue,
    PointOf,
    Reader,
    Text,
    decode,
    encode,
)
from tss.envelope import (
    Body,
    Kind,
    PartyId,
    Sealed,
    Signed,
    decode_body,
    holder,
    pack,
    routing,
    sign,
    unpack,
    verify_signature,
)
from tss.errors import AbortedByPeer, PeerFault, ProtocolError, SchemaViolation, SessionClosed
from tss.evidence import messages_in
from tss.groups import Group
from tss.judge import Verdict, judge
from tss.judge.readers import READERS
from tss.params import Suite
from tss.proposal import WITHOUT_ROUND_0
from tss.session import Member, Outgoing, Round0, Runtime, Session, Setup
from tss.setting import Enclosed

Program = Callable[[SessionContext], Protocol[Any]]
Change = Callable[[Any], Any]


# -- values ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Raw:
    """Bytes that stand in an encoded value as they are: how a test writes what `encode` would not."""

    data: bytes


NEGATIVE_ZERO = Raw(b"\x03\x00\x00\x00\x01\x01")
LEADING_ZERO = Raw(b"\x03\x00\x00\x00\x03\x00\x00\x05")


def encode_any(value: Any) -> bytes:
    """ENC of a value that may hold `Raw`."""
    if isinstance(value, Raw):
        return value.data
    if isinstance(value, (list, tuple)):
        content = len(value).to_bytes(4, "big") + b"".join(encode_any(item) for item in value)
        return bytes([TAG_LIST]) + len(content).to_bytes(4, "big") + content
    return encode(value)


@dataclass(frozen=True)
class Anything:
    """A schema for whatever ENC holds: lists, bytes, texts, integers (as int), points of `group`, none."""

    group: Group

    def read(self, reader: Reader, depth: int) -> Any:
        tag = reader.next_tag()
        if tag == TAG_LIST:
            size = reader.header(TAG_LIST, "list")
            outer, reader.end = reader.end, reader.position + size
            count = int.from_bytes(reader.take(4), "big")
            items = [self.read(reader, depth + 1) for _ in range(count)]
            if reader.position != reader.end:
                raise SchemaViolation("list longer than its items")
            reader.end = outer
            return items
        schemas = {
            TAG_BYTES: Bytes(0, 1 << 30),
            TAG_TEXT: Text(1 << 30),
            TAG_INT: Integer(1 << 20, signed=True),
            TAG_NONE: NoValue(),
            self.group.point_tag: PointOf(self.group),
        }
        if tag not in schemas:
            raise SchemaViolation(f"unknown tag {tag}")
        value = schemas[tag].read(reader, depth)
        return int(value) if tag == TAG_INT else value


# -- cheating ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tamper:
    """One thing that a malicious party signs differently. Made by `says`, `tells`, `signs`, `echoes`."""

    kind: Kind
    round: int
    p2p: bool
    recipients: frozenset[int] | None
    change: Callable[[bytes, Group], bytes]
    """Payload before, payload after."""

    def apply(self, body: Body, group: Group) -> Body:
        return replace(body, payload=self.change(body.payload, group))

    def concerns(self, body: Body) -> bool:
        return (body.kind, body.round, body.to is not None) == (self.kind, self.round, self.p2p)

    def for_all(self, body: Body) -> bool:
        """Whether it changes the message itself: what the cheater remembers and echoes is the changed one."""
        return self.concerns(body) and (
            self.recipients is None or (body.to is not None and body.to.index in self.recipients)
        )

    def for_one(self, body: Body, recipient: PartyId) -> bool:
        """Whether it changes only the copy of a broadcast that `recipient` gets."""
        return self.concerns(body) and not self.p2p and recipient.index in (self.recipients or ())


def says(round_: int, change: Change, *, kind: Kind = Kind.MSG, only_to: int | Iterable[int] = ()) -> Tamper:
    """Change the value of a broadcast; with `only_to` in the copies of these parties only (equivocation)."""

    def payload(data: bytes, group: Group) -> bytes:
        value = decode(data, Anything(group))
        if kind in (Kind.MSG, Kind.DONE) and _has_echo(value):
            return encode_any([value[0], change(value[1])])
        return encode_any(change(value))

    return Tamper(kind, round_, False, _indices(only_to), payload)


def _has_echo(value: Any) -> bool:
    """A protocol's broadcast is [echo or none, value]; an acceptance is two byte strings."""
    return isinstance(value, list) and len(value) == 2 and not isinstance(value[0], bytes)


def tells(round_: int, change: Change, *, to: int | Iterable[int] = ()) -> Tamper:
    """Change the value of a peer-to-peer message, to all parties or to these."""

    def payload(data: bytes, group: Group) -> bytes:
        return encode_any(change(decode(data, Anything(group))))

    return Tamper(Kind.MSG, round_, True, _indices(to), payload)


def echoes(round_: int, change: Change, *, only_to: int | Iterable[int] = ()) -> Tamper:
    """Change the echo that travels inside the broadcast of a round: [E, [[party, hash]...]] or none."""

    def payload(data: bytes, group: Group) -> bytes:
        echo, value = decode(data, Anything(group))
        return encode_any([change(echo), value])

    return Tamper(Kind.MSG, round_, False, _indices(only_to), payload)


def signs(
    round_: int,
    change: Callable[[bytes], bytes],
    *,
    kind: Kind = Kind.MSG,
    p2p: bool = False,
    only_to: int | Iterable[int] = (),
) -> Tamper:
    """Change the payload's bytes."""
    return Tamper(kind, round_, p2p, _indices(only_to), lambda data, _group: change(data))


def _indices(given: int | Iterable[int]) -> frozenset[int] | None:
    indices = frozenset([given] if isinstance(given, int) else given)
    return indices or None


class CheatingSession(Session):
    """A session whose messages pass through `rules` before they are signed."""

    rules: Sequence[Tamper] = ()

    def _sign(self, body: Body) -> Signed:
        for rule in self.rules:
            if rule.for_all(body):
                body = rule.apply(body, self.suite.group)
        return super()._sign(body)


# -- parties -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Identity:
    """An Ed25519 identity made from a name: the same name, the same key."""

    public: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def of(cls, name: object) -> Identity:
        seed = hashlib.sha256(f"identity {name!r}".encode()).digest()
        return cls(*nacl.bindings.crypto_sign_seed_keypair(seed))

    def sign(self, message: bytes) -> bytes:
        return nacl.bindings.crypto_sign(message, self.secret)[:64]


def identity_of(party: PartyId) -> Identity:
    """The identity of a party in every committee made here."""
    return Identity.of((party.role, party.index))


def party_id(party: int | PartyId) -> PartyId:
    """An evaluation point stands for its holder."""
    return holder(party) if isinstance(party, int) else party


@dataclass(frozen=True)
class Posted:
    """One copy of an envelope on its way to one party. `p2p` and the rest are read from its header."""

    number: int
    sender: PartyId
    recipient: PartyId
    kind: Kind
    round: int
    scope: bytes
    p2p: bool
    envelope: bytes = field(repr=False)


Drop = Callable[[Posted], bool]


def silent(
    party: int | PartyId, *, kind: Kind | None = None, round_: int | None = None, to: int | None = None
) -> Drop:
    """Drops what `party` sends: all of it, or of one kind, round or recipient only."""

    def drop(posted: Posted) -> bool:
        return (
            posted.sender == party_id(party)
            and kind in (None, posted.kind)
            and round_ in (None, posted.round)
            and to in (None, posted.recipient.index)
        )

    return drop


@dataclass
class Node:
    """One party: its session and all that came out of it. `log` has ("persist", record), ("post", Outgoing) in order."""

    party: PartyId
    session: Session
    log: list[tuple[str, Any]]
    cheats: bool
    ended: int | None = None
    """How long the log was when the session ended."""

    @property
    def result(self) -> Any:
        return self.session.result

    @property
    def error(self) -> ProtocolError | None:
        return self.session.error

    @property
    def blamed(self) -> int | None:
        """Evaluation point of the party that this one blames."""
        return self.error.peer if isinstance(self.error, PeerFault) else None

    @property
    def records(self) -> list[Any]:
        """What it asked to persist, in order."""
        return [item for what, item in self.log if what == "persist"]

    @property
    def posted(self) -> list[Outgoing]:
        """What it sent, in order."""
        return [item for what, item in self.log if what == "post"]

    def bodies(self) -> list[Body]:
        """The broadcasts that it sent, in order."""
        parts = [unpack(out.envelope) for out in self.posted]
        return [decode_body(part[0]) for part in parts if not isinstance(part, Sealed)]


class Committee:
    """Sessions and the relay between them. Drive it step by step, or `run` it to the end."""

    def __init__(
        self,
        programs: Mapping[int, Program] | Mapping[PartyId, Program],
        seed: object,
        *,
        suite: Suite = TINY,
        kind: str = "test",
        ph: bytes = b"\x70" * 32,
        phs: Mapping[int, bytes] | None = None,
        tail: Sequence[Any] = (),
        tails: Mapping[int, Sequence[Any]] | None = None,
        round0: Round0 = Round0.BLOCKING,
        tamper: Mapping[int, Sequence[Tamper]] | None = None,
        drop: Drop | None = None,
        duplicate: float = 0.1,
        persist: Mapping[int, Callable[[object], Any]] | None = None,
        cheaters: Iterable[int] = (),
        confess: bool = False,
        preimages: Sequence[Sequence[Any]] = (),
        background: Sequence[Signed] = (),
        enclosed: Mapping[int, Enclosed] | None = None,
    ) -> None:
        self.seed = seed
        self.suite = suite
        self.random = random.Random(repr(seed))
        self.drop = drop or (lambda _posted: False)
        self.duplicate = duplicate
        self.queue: list[Posted] = []
        self.sent: list[Posted] = []
        """Every copy that was ever posted, dropped ones included."""
        self._rules = dict(tamper or {})
        self._confess = confess
        parties = [party_id(party) for party in programs]
        self.members = tuple(Member(party, identity_of(party).public) for party in parties)
        self.nodes: dict[PartyId, Node] = {}
        for party, program in zip(parties, programs.values(), strict=True):
            setup = Setup(
                suite=suite,
                kind=kind,
                me=party,
                members=self.members,
                ph=(phs or {}).get(party.index, ph),
                tail=(tails or {}).get(party.index, tail),
                round0=round0,
                preimages=preimages,
                background=background,
                enclosed=(enclosed or {}).get(party.index),
            )
            log: list[tuple[str, Any]] = []
            runtime = Runtime(
                rng=SeededRng((seed, party)),
                sign=identity_of(party).sign,
                persist=_logging(log, (persist or {}).get(party.index, lambda _record: None)),
            )
            session = CheatingSession(setup, program, runtime)
            session.rules = self._rules.get(party.index, ())
            cheats = party.index in self._rules or party.index in set(cheaters)
            self.nodes[party] = Node(party, session, log, cheats)

    def __getitem__(self, party: int | PartyId) -> Node:
        return self.nodes[party_id(party)]

    # what happens

    def start(self, *parties: int) -> None:
        """Start the sessions of `parties`, of all when none is named, in random order."""
        chosen = [self[party] for party in parties] or list(self.nodes.values())
        self.random.shuffle(chosen)
        for node in chosen:
            self.post(node, node.session.start())

    def post(self, node: Node, out: Iterable[Outgoing]) -> None:
        """Put what a session gave back on its way to everybody else, as the relay's readers see it."""
        for outgoing in out:
            if node.cheats and not self._confess and _ends(outgoing):
                continue
            node.log.append(("post", outgoing))
            for recipient in self.nodes:
                if recipient != node.party:
                    self.send(self._copy_for(outgoing, recipient), recipient)
        if node.session.finished and node.ended is None:
            node.ended = len(node.log)

    def _copy_for(self, outgoing: Outgoing, recipient: PartyId) -> bytes:
        rules = self._rules.get(outgoing.sender.index, ())
        if outgoing.to is not None or not rules:
            return outgoing.envelope
        parts = unpack(outgoing.envelope)
        assert not isinstance(parts, Sealed)
        body = decode_body(parts[0])
        changed = body
        for rule in rules:
            if rule.for_one(body, recipient):
                changed = rule.apply(changed, self.suite.group)
        return outgoing.envelope if changed is body else self.forge(changed)

    def forge(self, body: Body) -> bytes:
        """The envelope of a broadcast that its sender really signed."""
        return pack(sign(body, identity_of(body.sender).sign))

    def send(self, envelope: bytes, recipient: int | PartyId) -> None:
        """Put one copy of an envelope on its way, unless it is dropped."""
        parts = unpack(envelope)
        header = parts if isinstance(parts, Sealed) else decode_body(parts[0])
        posted = Posted(
            len(self.sent), header.sender, party_id(recipient), header.kind, header.round, header.sid,
            isinstance(parts, Sealed), envelope,
        )  # fmt: skip
        self.sent.append(posted)
        if not self.drop(posted):
            self.queue.append(posted)

    def deliver(self, posted: Posted) -> None:
        """Hand an envelope to its recipient."""
        node = self[posted.recipient]
        if node.session.finished:
            with pytest.raises(SessionClosed):
                node.session.receive(posted.envelope)
            return
        self.post(node, node.session.receive(posted.envelope))

    def step(self) -> bool:
        """Do one thing, chosen by the seed: deliver one envelope, or finish one session's jobs. False: nothing to do."""
        computing = [node for node in self.nodes.values() if node.session.jobs]
        choices = len(self.queue) + len(computing)
        if choices == 0:
            return False
        chosen = self.random.randrange(choices)
        if chosen < len(computing):
            self.compute(computing[chosen])
            return True
        place = chosen - len(computing)
        self.queue[place], self.queue[-1] = self.queue[-1], self.queue[place]
        posted = self.queue.pop()
        if self.random.random() < self.duplicate:
            self.queue.append(posted)
        self.deliver(posted)
        return True

    def compute(self, node: Node) -> None:
        """Run a session's jobs in random order and give it the results in theirs."""
        jobs = list(node.session.jobs)
        results: list[Any] = [None] * len(jobs)
        for place in self.random.sample(range(len(jobs)), len(jobs)):
            results[place] = run_job(jobs[place])
        self.post(node, node.session.completed(results))

    def settle(self) -> None:
        """Go on until nothing is left to do."""
        while self.step():
            pass

    def expire(self) -> None:
        """The deadline of every unfinished session passes at the same moment."""
        waiting = [node for node in self.nodes.values() if not node.session.finished]
        expired = [(node, node.session.expire()) for node in waiting]
        for node, out in expired:
            self.post(node, out)

    def run(self) -> Outcomes:
        """Start everybody, go on to the end, check what has to hold in every run."""
        self.start()
        self.settle()
        self.expire()
        self.settle()
        return self.check()

    def check(self) -> Outcomes:
        """The invariants of every run. A failure names the seed."""
        outcomes = Outcomes(self)
        cheaters = {node.party.index for node in self.nodes.values() if node.cheats}
        for node in outcomes.honest:
            where = f"seed {self.seed!r}, party {node.party}: {node.error!r}"
            assert node.session.finished, where
            assert node.blamed is None or node.blamed in cheaters, f"blames an honest party; {where}"
            also = node.error.also if isinstance(node.error, PeerFault) else ()
            assert {fault.peer for fault in also} <= cheaters, f"blames an honest party too; {where}"
            said = len(node.log)
            assert node.session.expire() == [], where
            assert len(node.log) == said, where
            assert_stopped(node, where)
        return outcomes


def _ends(outgoing: Outgoing) -> bool:
    """Whether this is an abort or a complaint: a cheater does not report itself, unless it `confess`es."""
    return routing(outgoing.envelope)[1] in (Kind.ABORT, Kind.COMPLAINT)


def _logging(log: list[tuple[str, Any]], persist: Callable[[object], Any]) -> Callable[[object], Any]:
    def logged(record: object) -> Any:
        returned = persist(record)
        log.append(("persist", record))
        return returned

    return logged


class Outcomes:
    """How a run ended for everybody."""

    def __init__(self, committee: Committee) -> None:
        self.committee = committee
        self.nodes = committee.nodes

    def __getitem__(self, party: int | PartyId) -> Node:
        return self.committee[party]

    @property
    def honest(self) -> list[Node]:
        """Parties that keep to the protocol."""
        return [node for node in self.nodes.values() if not node.cheats]

    def results(self) -> dict[int, Any]:
        """{evaluation point: result}; fails unless every honest party has one."""
        for node in self.honest:
            assert node.error is None, f"seed {self.committee.seed!r}: {node.party}: {node.error!r}"
        return {node.party.index: node.result for node in self.nodes.values()}

    def errors(self) -> dict[int, ProtocolError]:
        """{evaluation point: error} of the honest parties; fails when one of them has a result."""
        errors = {node.party.index: node.error for node in self.honest}
        assert all(errors.values()), f"seed {self.committee.seed!r}: {errors}"
        return {index: error for index, error in errors.items() if error is not None}

    def assert_no_blame(self, error: type[ProtocolError]) -> None:
        """Every honest party ended with `error`, or was told of another's end, and blames nobody."""
        for node in self.honest:
            assert isinstance(node.error, (error, AbortedByPeer)), self._where(node)
            assert node.blamed is None, self._where(node)
        assert any(isinstance(node.error, error) for node in self.honest)

    def assert_blamed(
        self, cheater: int, error: type[PeerFault], *, check: str = "", by: Iterable[int] | None = None
    ) -> None:
        """Honest parties end with `error` that names `cheater` under an id that starts with `check`, with evidence.

        `by` lists who must; None means at least one. Whoever does not blame was told of another's end. That nobody
        honest is blamed is checked in every run.
        """
        accusers = [node for node in self.honest if node.blamed is not None]
        for node in accusers:
            assert isinstance(node.error, error), self._where(node)
            assert node.error.peer == cheater, self._where(node)
            assert node.error.check.startswith(check), f"{node.error.check}; {self._where(node)}"
            assert node.error.evidence, self._where(node)
            if can_be_judged(self, node.error.check):
                assert_judged(self, node)
        for node in self.honest:
            assert node in accusers or isinstance(node.error, AbortedByPeer), self._where(node)
        assert {node.party.index for node in accusers} >= set(by or ())
        assert accusers, f"seed {self.committee.seed!r}: nobody blames"

    def evidence(self, party: int | PartyId) -> list[Body]:
        """The messages in the evidence that `party` holds; fails unless all are validly signed by committee members."""
        error = self[party].error
        assert isinstance(error, PeerFault)
        assert error.evidence is not None
        identities = {member.party: member.identity for member in self.committee.members}
        bodies = []
        for encoded, signature in messages_in(error.evidence):
            body = decode_body(encoded)
            assert verify_signature(identities[body.sender], encoded, signature)
            bodies.append(body)
        return bodies

    def _where(self, node: Node) -> str:
        return f"seed {self.committee.seed!r}, party {node.party}: {node.error!r}"


def assert_judged(outcomes: Outcomes, node: Node) -> Verdict:
    """Somebody who was not there, and knows the committee's identities alone, says the same of a party's evidence."""
    fault = node.error
    assert isinstance(fault, PeerFault)
    assert fault.evidence is not None
    committee = outcomes.committee
    identities = {member.party: member.identity for member in committee.members}
    verdict = judge(fault.evidence, identities, {committee.suite.proto: committee.suite})
    assert (verdict.guilty, verdict.accused.index) == (True, fault.peer), (
        f"{verdict}; seed {committee.seed!r}"
    )
    assert (verdict.check, type(verdict.fault)) == (fault.check, type(fault)), (
        f"{verdict}; seed {committee.seed!r}"
    )
    assert verdict.section, verdict
    return verdict


def can_be_judged(outcomes: Outcomes, check: str) -> bool:
    """Whether there is a reader for this check in a session of this kind."""
    setup = next(iter(outcomes.nodes.values())).session.setup
    reader = READERS.get(setup.kind)
    if setup.kind in WITHOUT_ROUND_0 and not setup.background:
        # A dealt presignature, of which there is no transcript, or no proposal.
        return False
    _, step, *rest = check.split(".", 2)
    generic = rest in (["schema"], ["echo"], ["msg"], ["done"]) or (step, rest) == ("complaint", ["false"])
    return reader is not None and (step in reader.steps or generic)


def run_committee(
    programs: Mapping[int, Program] | Mapping[PartyId, Program], seed: object, **options: Any
) -> Outcomes:
    """Run a committee to its end. The options are those of `Committee`."""
    return Committee(programs, seed, **options).run()
