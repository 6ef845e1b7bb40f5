"""A committee behind three gateways, a load balancer and a store that they share, and what happens to all of them.

Killed with kill -9 and started again in a key generation and under many signings, restarted one after the other under load,
cut off from one node. Every signature either completes or fails with an error that says to try again; none is made of two
requests' parts, and none is lost: the nodes' audit records say so (tests/support/ledger.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from committee_processes import (
    PATIENCE,
    UNHURRIED,
    CommitteeProcesses,
    create_account,
    make_committee,
    merged,
    wait_until,
)
from fault_testing import ROUNDS
from gateway_fleet import GatewayFleet, running_fleet
from killing import nobody_is_blamed
from ledger import Ledger
from namespaces import Net, network_of_its_own
from nats_testing import NatsServer, running_nats
from redis_testing import RedisServer, running_redis

from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import wallet_pb2 as wallet

pytestmark = pytest.mark.fault(1)

ALONE = 2
"""Index of the node behind a network of its own."""
AT_ONCE = 3 if ROUNDS == 1 else 50
DEADLINE = 8 if ROUNDS == 1 else 60
"""Seconds after which silence in signing is noticed; so many at once take their time."""
ROLLS = 1 if ROUNDS == 1 else 5
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
STORES: dict[str, Callable[[], contextlib.AbstractContextManager[RedisServer | NatsServer]]] = {
    "redis that forgets": running_redis,
    "redis that remembers": lambda: running_redis(*DURABLE),
    "nats that forgets": running_nats,
    "nats that remembers": lambda: running_nats("file"),
}
ENDS = ["everything", "store", "gateways"]


@dataclass
class World:
    store: RedisServer | NatsServer
    fleet: GatewayFleet
    net: Net
    committee: CommitteeProcesses
    ledger: Ledger

    async def lose(self, what: str) -> None:
        """kill -9, and the start after it."""
        # Not in another thread: processes die with the thread that started them.
        if what != "gateways":
            self.store.kill()
        if what != "store":
            self.fleet.lose()
        if what != "gateways":
            self.store.start()


def settings_of(store: RedisServer | NatsServer) -> dict[str, Any]:
    if isinstance(store, NatsServer):
        return store.settings
    return {"redis": {"url": store.url, "timeout_seconds": 5}}


@pytest.fixture(scope="module", params=list(STORES)[: 1 if ROUNDS == 1 else None])
def world(request, tmp_path_factory) -> Iterator[World]:
    deadlines = dict.fromkeys(("full-sign", "full-sign.r0", "sign", "sign.r0"), DEADLINE)
    settings = merged(UNHURRIED, {"node": {"hello_seconds": 5, "deadlines": deadlines}})
    committee = make_committee(tmp_path_factory.mktemp("committee"), settings=settings)
    with (
        network_of_its_own() as net,
        STORES[request.param]() as store,
        running_fleet(tmp_path_factory.mktemp("fleet"), settings_of(store)) as fleet,
        contextlib.closing(committee),
    ):
        for node in committee.nodes:
            node.write_settings({"gateway": {"url": fleet.url}})
        net.put(committee, ALONE, fleet.port)
        committee.start()

        async def make() -> None:
            async with committee.nodes[0].client() as client:
                await create_account(client, "main")

        asyncio.run(make())
        world = World(store, fleet, net, committee, Ledger(committee))
        yield world
        asyncio.run(nobody_is_blamed(committee))
        world.ledger.audit()


@pytest.mark.parametrize("what", ENDS[: 1 if ROUNDS == 1 else None])
async def test_killed_during_key_generation(world, what):
    request = wallet.CreateAccountRequest(account_id=f"made without {what}")
    last, lost = common.Progress(), False
    async with world.committee.nodes[1].client() as client:
        async for progress in client.stream(client.wallet.CreateAccount, request, timeout=PATIENCE * 3):
            last = progress
            if not lost and progress.operation == "keygen":
                lost = True
                await world.lose(what)
    assert lost
    assert last.WhichOneof("result") == "account", last


@pytest.mark.parametrize("what", ENDS[: 1 if ROUNDS == 1 else None])
async def test_killed_under_many_signings(world, what):
    await world.ledger.sign_many(AT_ONCE, lambda: world.lose(what), world.committee.nodes[:ALONE])


@pytest.mark.parametrize("kill", [False, True][: 1 if ROUNDS == 1 else 2])
async def test_gateways_restarted_one_after_the_other_under_load(world, kill):
    async def roll() -> None:
        for _ in range(ROLLS):
            for number in range(len(world.fleet.gateways)):
                await world.fleet.restart(number, kill=kill)

    await world.ledger.sign_many(AT_ONCE, roll, world.committee.nodes[:ALONE], go_on=True)


@pytest.mark.fault(16)
async def test_one_node_cut_off_and_back(world):
    """The others go on without it, and with it when its network is back: the same request then succeeds."""
    others = world.committee.nodes[:ALONE]
    for _ in range(ROUNDS):
        needs_it = world.ledger.request(others[0], signers=[0, ALONE])
        world.net.cut()
        try:
            call = asyncio.ensure_future(world.ledger.sign(needs_it))
            await asyncio.gather(*(world.ledger.sign(world.ledger.request(node)) for node in others))
            async with asyncio.timeout(PATIENCE + 2 * DEADLINE):
                await needs_it.refused.wait()
            assert not call.done()
        finally:
            world.net.mend()
        await call
        wait_until(lambda: world.committee.nodes[ALONE].online() == {0, 1}, "it hears the others")


async def test_what_was_signed_is_signed_once(world):
    await world.ledger.ask_again()
