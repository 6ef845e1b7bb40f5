"""Whole nodes in one event loop, each with a store of its own, that meet in the rooms of a real gateway process.

    async with network(tmp_path, gateway.url) as net:
        net.deal("alice")
        await net.ready()
        result = await net[0].node.sign(sign_call("alice", digest))

The nodes run at the smallest level that secp256k1 allows. Each has a channel that a test can make mute or deaf.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import itertools
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from node_testing import aux_sets, committee_of, deal, node_keys, wrapper
from tss_testing import SMALL_SECP, safe_primes

from participant.channel import ChannelItem, Conversation, Received, RoomChannel, Topic
from participant.committee import Committee
from participant.identity import NodeKeys
from participant.node.api import Progress, SignCall, SignResult
from participant.node.config import Deadlines, NodeConfig, StockSettings
from participant.node.node import Node
from participant.payloads import Digest
from participant.policy import Policy, PolicySettings, RulePolicy, permissive_development_policy
from participant.rooms import Backoff, RoomsClient
from participant.store import NewAux, NewShare, Origin, Store
from tss import ecdsa
from tss.envelope import Kind, routing
from tss.groups import SECP256K1
from tss.params import FROST_ED25519

WAIT = 120.0
"""Seconds after which a test that hangs is stopped; nothing is asserted about time."""

PATIENT = NodeConfig(
    version="test",
    deadlines=Deadlines(default=WAIT, phases={}),
    stock=StockSettings(target=0, pool=0),
    workers=2,
    sign_total=WAIT,
    hello_interval=2.0,
    away_after=WAIT,
    gather=WAIT,
    linger=0.2,
    primes_target=0,
)
"""Nobody is given up by the clock, nothing is made ahead of time."""

SUITES = {"secp256k1": SMALL_SECP, "ed25519": FROST_ED25519}

_networks = itertools.count()

Cut = Callable[[bytes], bool]
"""Whether this envelope is lost."""


def nothing(_: bytes) -> bool:
    return False


def everything(_: bytes) -> bool:
    return True


def all_but_hellos(envelope: bytes) -> bool:
    """What a node loses that is here, and does not answer."""
    return routing(envelope)[1] is not Kind.HELLO


class CutConversation:
    """See CutChannel."""

    def __init__(self, inner: Conversation, channel: CutChannel) -> None:
        self._inner = inner
        self._channel = channel

    async def post(self, *envelopes: bytes, sender: int, receiver: int | None = None) -> None:
        for envelope in envelopes:
            if self._channel.on_post is not None:
                await self._channel.on_post(envelope)
        left = [envelope for envelope in envelopes if not self._channel.mute(envelope)]
        if left:
            await self._inner.post(*left, sender=sender, receiver=receiver)

    async def events(self) -> AsyncGenerator[ChannelItem, None]:
        async with aclosing(self._inner.events()) as items:
            async for item in items:
                if not (isinstance(item, Received) and self._channel.deaf(item.envelope)):
                    yield item


class CutChannel:
    """A channel that loses what a test tells it to: what its node posts, what it should hear."""

    def __init__(self, inner: RoomChannel) -> None:
        self._inner = inner
        self.mute: Cut = nothing
        self.deaf: Cut = nothing
        self.on_post: Callable[[bytes], Any] | None = None
        """Awaited with every envelope before it is posted."""

    @property
    def reachable(self) -> bool | None:
        return self._inner.reachable

    @asynccontextmanager
    async def open(self, topic: Topic) -> AsyncIterator[CutConversation]:
        async with self._inner.open(topic) as conversation:
            yield CutConversation(conversation, self)


@dataclass
class Member:
    """One node and what belongs to it, also while it is down."""

    index: int
    keys: NodeKeys
    path: Path
    gateway_url: str
    config: NodeConfig
    policy: Policy
    node: Node = field(init=False)
    store: Store = field(init=False)
    channel: CutChannel = field(init=False)
    rooms: RoomsClient = field(init=False)
    running: bool = False

    async def start(self) -> None:
        self.store = Store.open(self.path, wrapper())
        self.rooms = RoomsClient(self.gateway_url, backoff=Backoff(0.02, 0.2))
        self.channel = CutChannel(RoomChannel(self.rooms))
        self.node = Node(self.config, self.store, self.channel, self.policy, suites=SUITES)
        await self.node.start()
        self.running = True

    async def stop(self) -> None:
        if self.running:
            self.running = False
            await self.node.stop()
            await self.rooms.close()
            self.store.close()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def sees(self, *indices: int, online: bool = True) -> None:
        """Wait until this node counts the others as present (or away)."""
        await self.until(lambda: all(self.node.peers()[index].online is online for index in indices))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds that hellos tell."""
        for membership in self.node._memberships.values():
            assert await membership.presence.changes.wait_for(holds, WAIT), f"index {self.index}"

    def add_primes(self, count: int = 4) -> None:
        """Test primes for an aux run: the same at every run of the tests, no two nodes share one."""
        have = self.store.primes.count(SMALL_SECP.level.pb)
        for prime in safe_primes(SMALL_SECP.level, count + have, ("network", self.index))[have:]:
            self.store.primes.add(prime)


class Network:
    """The nodes of one committee, by index."""

    def __init__(self, members: list[Member], committee: Committee, seed: object) -> None:
        self.members = members
        self.committee = committee
        self.seed = seed

    def __getitem__(self, index: int) -> Member:
        return self.members[index]

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    @property
    def nodes(self) -> list[Node]:
        return [member.node for member in self.members]

    def deal(self, *account_ids: str, only: Iterable[int] | None = None) -> None:
        """Give every node (or `only` some), which is running, its share of new keys, and auxiliary information."""
        n, t, committee_id = self.committee.n, self.committee.threshold, self.committee.committee_id
        for member, aux in zip(self.members, aux_sets(SMALL_SECP, n), strict=True):
            if only is not None and member.index not in only:
                continue
            if member.store.accounts.current_aux_id(committee_id) is None:
                member.store.accounts.put_aux(committee_id, NewAux.of(aux))
            for account_id in account_ids:
                share = deal(SMALL_SECP, t, n, (self.seed, account_id))[member.index]
                member.store.accounts.add(NewShare.of(account_id, share), committee_id, Origin.KEYGEN)
            member.node._records.forget()
            member.node._refresh(committee_id)

    async def ready(self, account_id: str | None = None) -> None:
        """Wait until all running nodes see each other, and know who has the account."""
        up = [member for member in self.members if member.running]
        for member in up:
            await member.sees(*(other.index for other in up))
            if account_id is not None:
                await member.until(lambda member=member: _holders(member, account_id, up))


def _holders(member: Member, account_id: str, up: list[Member]) -> bool:
    from participant.node.hello import account_tag

    record = member.store.accounts.account(account_id)
    tag = account_tag(record.committee_id, account_id, record.share_epoch, record.aux_id)
    membership = member.node._memberships[record.committee_id]
    parties = [membership.parties[other.index] for other in up]
    return all(membership.presence.holds(party, tag) for party in parties)


@asynccontextmanager
async def network(
    directory: Path,
    gateway_url: str,
    n: int = 3,
    t: int = 2,
    *,
    config: NodeConfig = PATIENT,
    policies: Mapping[int, PolicySettings] | None = None,
    start: Iterable[int] | None = None,
) -> AsyncIterator[Network]:
    """A committee of its own, started (all, or the indices `start`), and stopped at the end."""
    seed = ("network", next(_networks), str(directory))
    committee = committee_of(n, t, seed)
    config = replace(config, committees=(committee,), gateway_url=gateway_url)
    members = []
    for index, keys in enumerate(node_keys(n, seed)):
        path = directory / f"node-{index}.db"
        with Store.create(path, wrapper()) as store:
            store.put_identity(keys)
        settings = (policies or {}).get(index) or permissive_development_policy()
        members.append(Member(index, keys, path, gateway_url, config, RulePolicy(settings)))
    net = Network(members, committee, seed)
    try:
        for index in range(n) if start is None else start:
            await members[index].start()
        yield net
    finally:
        await asyncio.gather(*(member.stop() for member in members))
        _close_forgotten_connections()


def _close_forgotten_connections() -> None:
    """The HTTP library forgets dead connections that it was about to close when it is cancelled; the collector does it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


async def poll(holds: Callable[[], bool]) -> None:
    """Look until something holds that nothing tells about."""
    async with asyncio.timeout(WAIT):
        while not holds():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)


def request_id_of(name: object) -> bytes:
    """16 bytes."""
    return hashlib.sha256(repr(name).encode()).digest()[:16]


def digest_of(name: object) -> bytes:
    """32 bytes."""
    return hashlib.sha256(f"digest of {name!r}".encode()).digest()


def sign_call(account_id: str, name: object, **fields: Any) -> SignCall:
    """A request for the digest that `name` gives."""
    return SignCall(request_id_of(name), account_id, Digest(digest_of(name)), **fields)


def check_signature(result: SignResult, digest: bytes, public_key: bytes) -> None:
    """Fails unless the result is a low-s signature of `digest` under `public_key`, with its recovery id."""
    X = SECP256K1.decode_point(public_key)
    assert result.digest == digest
    assert result.public_key == public_key
    assert ecdsa.verify(X, digest, result.r, result.s)
    assert ecdsa.recover(digest, result.r, result.s, result.signed[0].v) == X


async def last(steps: AsyncGenerator[Progress, None]) -> Any:
    """The result that the last item of an operation carries."""
    async with aclosing(steps):
        result = None
        async for progress in steps:
            result = progress.result
    return result
