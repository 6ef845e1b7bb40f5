"""The steps that a process is killed in: real sessions, driver and store; only what leaves goes into a pipe.

A step runs on a store that `prepare` made. It must write the same way each time: everything random is seeded, and what
the other parties say was recorded once.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from cggmp24_testing import Signers, aux_program, primes_of, refresh_program, run_aux, run_keygen, run_refresh
from node_testing import aux_sets, committee_of, deal, new_store, next_epoch, wrapper
from session_testing import Outcomes, Posted, Program, holder, identity_of
from tss_testing import TINY, SeededRng

from participant.channel import ChannelItem, Topic, committee_topic
from participant.node.config import Deadlines, NodeConfig
from participant.node.membership import Membership
from participant.node.plan import Plan
from participant.node.room import Room
from participant.node.sessions import Sessions
from participant.node.tasks import Tasks
from participant.node.workers import Workers
from participant.sealing import KeyFileWrapper
from participant.store import AuditRecord, Certificate, NewAux, NewShare, Origin, Store, StoreError
from tss.cggmp24 import keygen
from tss.cggmp24.sign import SignRequest
from tss.envelope import Kind, routing
from tss.errors import ProtocolError
from tss.proposal import Proposal
from tss.setting import Setup

Post = Callable[[bytes], None]
Arm = Callable[[], None]

WAIT = 60.0
CONFIG = NodeConfig(deadlines=Deadlines(WAIT, {}), linger=0.0)
ACCOUNT = "alice"
RECORD = AuditRecord("sign", "index 0", "signed", account=ACCOUNT, digest=bytes(32), path="m", signers=(0, 1))
SEED = "crash"
WAL_FRAMES = 1000
"""SQLite copies its log into the file when a commit leaves so many pages in it."""

WAL_HEADER = 32
WAL_FRAME = 24 + 4096


class PipeConversation:
    def __init__(self, post: Post) -> None:
        self._post = post

    async def post(self, *envelopes: bytes, **_: object) -> None:
        for envelope in envelopes:
            self._post(envelope)

    async def events(self) -> AsyncGenerator[ChannelItem, None]:
        await asyncio.Event().wait()
        yield  # type: ignore[misc]


class PipeChannel:
    """A channel whose messages have left when the pipe has them."""

    reachable: bool | None = True

    def __init__(self, post: Post) -> None:
        self._post = post

    @asynccontextmanager
    async def open(self, _: Topic) -> AsyncIterator[PipeConversation]:
        yield PipeConversation(self._post)


class Mail:
    """What one party was sent in a run."""

    def __init__(self, party: int) -> None:
        self.party = party
        self.envelopes: list[bytes] = []

    def record(self, posted: Posted) -> bool:
        """For the harness's `drop`: drops nothing."""
        if posted.recipient == holder(self.party):
            self.envelopes.append(posted.envelope)
        return False


def plan_of(
    setup: Setup, program: Program, *, account_id: str | None, accounts: tuple[str, ...] = ()
) -> Plan:
    """The plan that the planner would make of a proposal for this session."""
    me = setup.me
    accounts = accounts or (() if account_id is None else (account_id,))
    membership = Membership(committee_of(), me, identity_of(me).sign, frozenset({TINY.proto}))
    proposal = Proposal(me, membership.committee_id, account_id, setup.kind, bytes(16), [], None, 0)
    return Plan(membership, proposal, setup, program, RECORD, accounts=accounts)


async def drive(store: Store, plan: Plan, mail: list[bytes], post: Post) -> None:
    """Run the session to its end with what the others said; their `done` comes after this party's own."""
    arrived: list[Certificate] = []
    later = [envelope for envelope in mail if routing(envelope)[1] is Kind.DONE]

    def leave(envelope: bytes) -> None:
        post(envelope)
        if routing(envelope)[1] is Kind.DONE:
            while later:
                driver.deliver(later.pop())

    workers, channel, tasks = Workers(1), PipeChannel(leave), Tasks()
    home = Room(
        channel, committee_topic(plan.membership.committee_id), 0, receive=lambda _: None, standing=True
    )
    sessions = Sessions(
        config=CONFIG, workers=workers, channel=channel, store=store, tasks=tasks,
        rng=SeededRng((SEED, plan.setup.me)), activated=arrived.append,
    )  # fmt: skip
    talking = asyncio.create_task(home.run())
    driver = sessions.open(plan, home)
    for envelope in mail:
        if envelope not in later:
            driver.deliver(envelope)
    async with asyncio.timeout(WAIT):
        await asyncio.gather(*tasks._tasks)
    driver.outcome.result()
    talking.cancel()
    await asyncio.to_thread(workers.close)


class Answer:
    """A signature from stock, as the owner or the one who answers it."""

    account_id = ACCOUNT
    signers = Signers((1, 2), 3)

    def __init__(self, party: int, message: bytes = b"crash") -> None:
        self.party = party
        self.request = SignRequest(hashlib.sha256(message).digest())
        self.ph = hashlib.sha256(message + b" proposed").digest()

    @cached_property
    def recorded(self) -> tuple[Outcomes, list[bytes]]:
        mail = Mail(self.party)
        options = {"drop": mail.record, "duplicate": 0.0, "ph": self.ph}
        outcomes = self.signers.stock_sign(self.request, seed=SEED, **options)
        outcomes.results()
        return outcomes, mail.envelopes

    def prepare(self, directory: Path) -> None:
        with new_store(directory) as store:
            share = deal()[self.party - 1]
            store.accounts.add(NewShare.of(ACCOUNT, share), committee_of().committee_id, Origin.KEYGEN)
            store.audit.append(AuditRecord("operator", "self", "allow"))

    def plan(self) -> Plan:
        parts = self.signers.stock()
        tau = self.signers.tau(self.request)
        rng = SeededRng(("e", SEED))
        e = parts[self.signers.owner.index].promise(self.request.digest, self.request.path, tau, rng)
        program = self.signers._stock_program(parts[self.party], self.request, e)
        return plan_of(self.recorded[0][self.party].session.setup, program, account_id=ACCOUNT)

    def run(self, directory: Path, post: Post, arm: Arm) -> None:
        mail = self.recorded[1]
        with Store.open(directory / "store.db", wrapper()) as store:
            arm()
            asyncio.run(drive(store, self.plan(), mail, post))


class AnotherAnswer(Answer):
    """Another request for the same presignature, which this process still has fresh; it may be refused."""

    def run(self, directory: Path, post: Post, arm: Arm) -> None:
        with contextlib.suppress(ProtocolError, StoreError):
            super().run(directory, post, arm)


class AnswerWithCheckpoint(Answer):
    """The same where the commit also makes SQLite copy its log into the file."""

    def run(self, directory: Path, post: Post, arm: Arm) -> None:
        mail = self.recorded[1]
        with Store.open(directory / "store.db", wrapper()) as store:
            # A probe is a page. The session's first record takes three, its answer's transaction eight.
            log = directory / "store.db-wal"
            while log.stat().st_size < WAL_HEADER + (WAL_FRAMES - 9) * WAL_FRAME:
                store.probe()
            arm()
            asyncio.run(drive(store, self.plan(), mail, post))


class Completion:
    """The end of a key generation or an aux run, from the moment on in which its result becomes durable."""

    party = 1

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.account_id = "bob" if kind == keygen.KIND else None

    @cached_property
    def recorded(self) -> tuple[Outcomes, list[bytes]]:
        mail = Mail(self.party)
        run = (lambda **options: run_keygen(3, 2, SEED, aux_id=aux_sets()[0].aux_id, **options)) if self.account_id else (
            lambda **options: run_aux(3, SEED, **options)
        )  # fmt: skip
        outcomes = run(drop=mail.record, duplicate=0.0)
        outcomes.results()
        return outcomes, mail.envelopes

    def prepare(self, directory: Path) -> None:
        with new_store(directory) as store:
            committee_id = committee_of().committee_id
            store.accounts.add(NewShare.of(ACCOUNT, deal()[0]), committee_id, Origin.KEYGEN)
            if self.account_id is not None:
                store.accounts.put_aux(committee_id, NewAux.of(aux_sets()[0]))

    def plan(self) -> Plan:
        setup = self.recorded[0][self.party].session.setup
        if self.account_id is not None:
            program: Program = lambda ctx: keygen.keygen(ctx, 2, aux_sets()[0].aux_id)  # noqa: E731 - one expression
            return plan_of(setup, program, account_id=self.account_id)
        program = aux_program(primes_of(TINY, 3)[self.party])
        return plan_of(setup, program, account_id=None, accounts=(ACCOUNT,))

    def run(self, directory: Path, post: Post, arm: Arm) -> None:
        mail = self.recorded[1]
        with Store.open(directory / "store.db", wrapper()) as store:
            put_pending = store.sessions.put_pending

            def arming(*args: Any, **fields: Any) -> None:
                arm()
                put_pending(*args, **fields)

            store.sessions.put_pending = arming  # type: ignore[method-assign]
            asyncio.run(drive(store, self.plan(), mail, post))


class Refresh(Completion):
    """The end of a refresh: new share and new aux set in the place of old ones, which stay until a signature was made."""

    def __init__(self) -> None:
        super().__init__("refresh")
        self.account_id = ACCOUNT

    @property
    def before(self) -> tuple[bytes, bytes]:
        """(share_epoch, aux_id) of the account until then."""
        return deal()[0].share_epoch, aux_sets()[0].aux_id

    @cached_property
    def recorded(self) -> tuple[Outcomes, list[bytes]]:
        mail = Mail(self.party)
        outcomes = run_refresh([dict(enumerate(deal(), 1))], SEED, drop=mail.record, duplicate=0.0)
        outcomes.results()
        return outcomes, mail.envelopes

    def prepare(self, directory: Path) -> None:
        with new_store(directory) as store:
            committee_id = committee_of().committee_id
            store.accounts.add(NewShare.of(ACCOUNT, deal()[0]), committee_id, Origin.KEYGEN)
            store.accounts.put_aux(committee_id, NewAux.of(aux_sets()[0], (ACCOUNT,)))

    def plan(self) -> Plan:
        setup = self.recorded[0][self.party].session.setup
        program = refresh_program([deal()[self.party - 1]], primes_of(TINY, 3)[self.party])
        return plan_of(setup, program, account_id=ACCOUNT)


class Erasure:
    """What a refresh replaced is erased, behind the first signature of the new epoch."""

    account_id = ACCOUNT
    share, aux = next_epoch(deal()[0]), aux_sets(seed=1)[0]

    def prepare(self, directory: Path) -> None:
        with new_store(directory) as store:
            committee_id = committee_of().committee_id
            store.accounts.add(NewShare.of(ACCOUNT, deal()[0]), committee_id, Origin.KEYGEN)
            store.accounts.put_aux(committee_id, NewAux.of(aux_sets()[0], (ACCOUNT,)))
            store.accounts.replace_share(NewShare.of(ACCOUNT, self.share))
            store.accounts.put_aux(committee_id, NewAux.of(self.aux, (ACCOUNT,)))

    def run(self, directory: Path, post: Post, arm: Arm) -> None:
        with Store.open(directory / "store.db", wrapper()) as store:
            arm()
            post(b"%d" % store.accounts.erase_superseded(ACCOUNT))


class AuditAppend:
    """One decision, noted before anything is said about it."""

    account_id = None

    def prepare(self, directory: Path) -> None:
        with new_store(directory) as store:
            store.audit.append(AuditRecord("operator", "self", "allow"))

    def run(self, directory: Path, post: Post, arm: Arm) -> None:
        with Store.open(directory / "store.db", wrapper()) as store:
            arm()
            post(b"%d" % store.audit.append(AuditRecord("sign", "alice", "refuse", "no rule")))
            post(b"%d" % store.audit.append(AuditRecord("sign", "alice", "allow")))


class Resealing:
    """Another outer key, the former one removed, and every value under a new data key."""

    account_id = ACCOUNT
    new = KeyFileWrapper(bytes(range(1, 33)))

    def prepare(self, directory: Path) -> None:
        with new_store(directory) as store:
            store.accounts.add(NewShare.of(ACCOUNT, deal()[0]), committee_of().committee_id, Origin.KEYGEN)
            store.primes.add(1019)

    def run(self, directory: Path, post: Post, arm: Arm) -> None:
        with Store.open(directory / "store.db", wrapper()) as store:
            arm()
            store.seals.add(self.new)
            post(b"1")
            store.seals.remove(1)
            post(b"2")
            store.seals.renew()
            post(b"3")


class Reopening:
    """A start after a crash: SQLite recovers its log, the sessions of the former process are ended, all is read."""

    account_id = ACCOUNT

    def prepare(self, directory: Path) -> None:
        """The store is what another step left."""

    def run(self, directory: Path, post: Post, arm: Arm) -> None:
        arm()
        with Store.open(directory / "store.db", wrapper()) as store:
            found = store.check()
            assert found == [], found
            post(b"%d" % store.audit.verify_chain())


STEPS: dict[str, Any] = {
    "answer": Answer(2),
    "answer-as-owner": Answer(1),
    "answer-other": AnotherAnswer(2, b"another"),
    "answer-with-checkpoint": AnswerWithCheckpoint(2),
    "keygen": Completion("keygen"),
    "aux": Completion("aux"),
    "refresh": Refresh(),
    "erasure": Erasure(),
    "audit": AuditAppend(),
    "seal": Resealing(),
    "reopen": Reopening(),
}
