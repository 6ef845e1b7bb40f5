"""Whole nodes bring an account to another committee (protocol.md 2.3): same key, other holders, old shares destroyed."""

from __future__ import annotations

import pytest
from node_network import network, poll
from reshare_network import approve, ask, committee, has_share, holds, newcomers, reshare, signs

# The HTTP library forgets dead connections that it was about to close when it is cancelled; the collector closes them.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


async def test_a_node_is_replaced(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net, newcomers(net, tmp_path, 1) as (carol,):
        net.deal("alice")
        await net.ready("alice")
        before = net[0].node.account("alice")
        new = committee(2, net[0], net[1], carol)
        for member in (net[0], net[1], carol):
            member.add_primes()
        request = await approve(await ask(net[0], "alice", new, dealers=(0, 1)), net[0], net[1], carol)
        view = await reshare(net[0], request)
        assert view.complete, view.summary
        now = await holds("alice", new, net[0], net[1], carol)
        assert (now.public_key, now.addresses) == (before.public_key, before.addresses)
        assert now.key_id != before.key_id
        await signs("alice", new, carol, net[1])
        # The node that left was no dealer: it learns from the others that its share is worth nothing, and destroys it.
        await poll(lambda: not has_share(net[2], "alice", before.key_id))
        assert not any(has_share(member, "alice", before.key_id) for member in net)
