"""Whatever happens, in any order: requests go on, and in the end everything that was said is looked through.

Memory, open files and threads of nodes that live through all of it stay as they are. Not part of `make test`: `make chaos`.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator

import pytest
from committee_processes import NodeProcess, wait_until
from fault_testing import (
    ROUNDS,
    SHORT,
    Besieged,
    besieged_committee,
    resources,
    signs_in_the_end,
    stopped,
)
from hostile_gateway import Mischief
from mischief import Duplicates, Equivocating, Forging, Lossy, Replaying, Shuffled

SEED = int(os.environ.get("WALLET_MPC_CHAOS_SEED", "1"))
VICTIM = 2
GROWTH = {"bytes": 24 << 20, "files": 8, "threads": 4}
"""What a node may have more than when a third of all was over."""


pytestmark = [pytest.mark.fault(2), pytest.mark.fault(22), pytest.mark.fault(25)]


@pytest.fixture(scope="module")
def besieged(tmp_path_factory) -> Iterator[Besieged]:
    with besieged_committee(tmp_path_factory.mktemp("committee"), settings=SHORT) as besieged:
        yield besieged


def any_mischief(siege: Besieged, rng: random.Random) -> Mischief:
    seed = rng.random()
    makers = [
        Mischief,
        lambda: Duplicates(rng.randrange(2, 20)),
        lambda: Shuffled(seed, rng.uniform(0, 0.5)),
        lambda: Lossy(seed, rng.uniform(0, 0.3), 0.1),
        lambda: Replaying(seed, siege.gateway.posts[-500:], 4),
        lambda: Forging(seed, 3),
        lambda: Equivocating(seed, 0.2),
    ]
    return rng.choice(makers)()


def any_blow(siege: Besieged, rng: random.Random) -> str:
    """Something sudden; it is over when this returns. Here, not in a thread: processes die with the one that starts them."""
    victim, blow = siege.committee.nodes[VICTIM], rng.choice(["kill", "forget", "cut", "stop"])
    if blow == "kill":
        victim.restart()
    elif blow == "forget":
        siege.gateway.forget()
    elif blow == "cut":
        side = rng.randrange(3)
        siege.gateway.block(side)
        siege.gateway.until_more(20)
        siege.gateway.unblock(side)
    else:
        with stopped(victim):
            siege.gateway.until_more(20)
    return blow


def grown(before: dict[str, int], node: NodeProcess) -> dict[str, int]:
    """What a node has too much of."""
    more = {name: count - before[name] for name, count in resources(node).items()}
    return {name: count for name, count in more.items() if count > GROWTH[name]}


async def test_whatever_happens(besieged):
    rng = random.Random(SEED)
    happened: list[str] = []
    third: list[dict[str, int]] = []
    survivors = besieged.committee.nodes[:VICTIM]
    rounds = 3 + 6 * ROUNDS
    print("seed", SEED)  # noqa: T201 - to run it again
    for number in range(rounds):
        besieged.gateway.mischief = mischief = any_mischief(besieged, rng)
        calls = [
            asyncio.ensure_future(signs_in_the_end(node, ("chaos", number, node.index))) for node in survivors
        ]
        await asyncio.to_thread(besieged.gateway.until_more, rng.randrange(1, 30))
        happened.append(f"{type(mischief).__name__} {any_blow(besieged, rng)}")
        besieged.behave()
        await asyncio.gather(*calls)
        besieged.committee.wait_ready()
        if number == rounds // 3:
            third = [resources(node) for node in survivors]
    # Rooms of sessions that have ended stay open for a while.
    for before, node in zip(third, survivors, strict=True):
        wait_until(
            lambda before=before, node=node: not grown(before, node), f"index {node.index} is as it was"
        )
    print(happened, third, [resources(node) for node in survivors])  # noqa: T201 - figures of docs/reliability.md
    await signs_in_the_end(besieged.committee.nodes[VICTIM], "after the chaos")
    await besieged.check()
