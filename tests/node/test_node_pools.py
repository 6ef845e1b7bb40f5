"""Whole nodes sign from pools that they filled in idle time, and fill them again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from node_network import PATIENT, Member, check_signature, digest_of, network, poll, sign_call

from participant.node.config import StockSettings
from tss.randomizers import shelf
from tss.randomizers.shelf import Shelf

FILLING = replace(PATIENT, stock=StockSettings(target=0, pool=2, idle=0.01))


# The HTTP library forgets dead connections that it was about to close when it is cancelled; the collector closes them.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def shelves(member: Member) -> list[Shelf]:
    return [one for pool in member.node._pools._pools.values() for one in pool._shelves()]


def full(member: Member) -> bool:
    """Whether the node has everything that it wants ahead of time."""
    wanted = [one for one in shelves(member) if one.target]
    return bool(wanted) and all(len(one) >= one.target for one in wanted)


async def test_a_presignature_takes_what_idle_time_made_and_idle_time_makes_it_again(
    tmp_path, gateway, monkeypatch
):
    async with network(tmp_path, gateway.url, 2, 2, config=FILLING, start=[0]) as net:
        net[1].config = replace(net[1].config, stock=PATIENT.stock)
        await net[1].start()
        net.deal("alice")
        await net.ready("alice")
        key = net[0].node.public_key("alice", "m").public_key
        await net[0].node.sign(sign_call("alice", "first", signers=(0, 1)))
        await poll(lambda: full(net[0]))
        ready: dict[Shelf, list[int]] = {}
        give = Shelf.give

        def counting(self, rng):
            ready.setdefault(self, []).append(len(self))
            return give(self, rng)

        monkeypatch.setattr(shelf.Shelf, "give", counting)
        result = await net[0].node.sign(sign_call("alice", "second", signers=(0, 1)))
        check_signature(result, digest_of("second"), key)
        asked = {one: counts for one, counts in ready.items() if one in shelves(net[0])}
        assert asked
        assert all(count > 0 for counts in asked.values() for count in counts), (
            "nothing was made while a caller waited"
        )
        await poll(lambda: full(net[0]))
