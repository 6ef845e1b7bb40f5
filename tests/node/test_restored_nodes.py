"""Nodes that come back without what they knew, while the gateway still has what they said before."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from node_network import (
    Member,
    Network,
    all_but_hellos,
    check_signature,
    digest_of,
    last,
    network,
    poll,
    sign_call,
)
from node_testing import wrapper

from participant.store import Store

# The HTTP library forgets dead connections that it was about to close when it is cancelled; the collector closes them.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


async def lose_everything(net: Network) -> None:
    """New machines with the old identities."""
    for member in net:
        await member.stop()
        for path in member.path.parent.glob(f"{member.path.name}*"):
            path.unlink()
        with Store.create(member.path, wrapper()) as store:
            store.put_identity(member.keys)
    for member in net:
        await member.start()


def accepted(member: Member, kind: str) -> bool:
    return any(view.kind == kind for view in member.node.sessions())


@pytest.mark.fault(19)
async def test_what_was_proposed_to_the_former_nodes_is_not_accepted_a_second_time(tmp_path, gateway):
    """A second acceptance would be another version of a message: whoever reads both would have to blame its sender."""
    async with network(tmp_path, gateway.url) as net:
        net.deal("alice")
        await net.ready("alice")
        net[2].channel.mute = all_but_hellos
        running = asyncio.ensure_future(last(net[0].node.create_account("bob")))
        await poll(lambda: accepted(net[1], "keygen"))
        (driver,) = net[1].node._sessions.active()
        await driver.home.flushed()
        running.cancel()
        await lose_everything(net)
        net.deal("alice")
        await net.ready("alice")
        for member in net:
            member.add_primes()
        made: Any = await last(net[1].node.create_account("carol"))
        for signers in ((0, 1), (1, 2)):
            result = await net[signers[0]].node.sign(sign_call("carol", signers, signers=signers))
            check_signature(result, digest_of(signers), made.public_key)
        assert [member.node._proposals.dropped["past"] for member in net] == [0, 1, 1]
        assert [member.node.quarantine() for member in net] == [[]] * 3
