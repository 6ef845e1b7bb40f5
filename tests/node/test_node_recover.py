"""Whole nodes give one of them its lost shares back (protocol.md 2.4), whatever goes wrong on the way."""

from __future__ import annotations

import pytest
from node_network import network
from recover_network import approve, lose, recover, request_of, settled, signs

# The HTTP library forgets dead connections that it was about to close when it is cancelled; the collector closes them.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.mark.fault(19)
@pytest.mark.parametrize("replaced", [False, True], ids=["same identity", "replaced identity"])
async def test_a_lost_node_comes_back_in_its_place(tmp_path, gateway, replaced):
    async with network(tmp_path, gateway.url) as net:
        net.deal("alice", "bob")
        await net.ready("alice")
        before = {name: net[0].node.account(name) for name in ("alice", "bob")}
        old = net[1].node._records.account("alice").share.x
        new = await lose(net, 1, replaced=replaced)
        assert (new == net.committee) is not replaced
        text = await request_of(net[0], 1, new, "alice", "bob")
        request_id = await approve(text, *net)
        for member in net:
            member.add_primes()
        view = await recover(net[2], request_id)
        assert view.complete, view.summary
        for name in ("alice", "bob"):
            now = await settled(net, new, before[name])
            assert now.committee_id == new.committee_id
        assert net[1].node._records.account("alice").share.x != old, (
            "what is left on the lost device is worth nothing"
        )
        await signs(net, "alice", 1, 2)
        await signs(net, "bob", 0, 1)
        await signs(net, "alice", 0, 2)
