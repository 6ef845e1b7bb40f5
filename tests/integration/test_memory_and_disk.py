"""What may be in memory only is on no disk, whatever the moment; and an older disk never makes a presignature answer twice.

Real daemons tell the test what they draw and open (telling_daemon). Their data directories, logs, temporary files and
everything else that they have open for writing is searched for all of it, in every form in which it may stand there.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from committee_processes import CommitteeProcesses, NodeProcess, create_account, sign_digest, wait_until
from killing import abandon
from node_testing import raw
from secret_search import Secret, files_of, found_in
from telling import Listener, TellingNode, telling_committee

from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import operator_pb2 as operator
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.files import read_private
from participant.grpc_client import CallFailed

IN_MEMORY_ONLY = {
    *(
        "k",
        "gamma",
        "a",
        "b",
        "rho",
        "nu",
        "chi",
        "k~",
        "chi~",
        "session key",
        "coefficient",
        "data key",
        "phi",
    ),
    *("mask " + name for name in ("y", "y_hat", "s", "r", "s_hat", "r_hat")),
}
SEALED = {"x", "prime", "lambda", "identity seed"}


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Iterator[tuple[CommitteeProcesses, Listener]]:
    """A committee of two with the account "main", and who hears it."""
    with telling_committee(tmp_path_factory.mktemp("committee")) as (committee, listener):

        async def make() -> None:
            async with committee.nodes[0].client() as client:
                await create_account(client, "main")

        asyncio.run(make())
        yield committee, listener


def search(committee: CommitteeProcesses, listener: Listener, *but: str) -> None:
    """No secret of any node is in anything that a node has written; `but` names what may be."""
    secrets = [*listener.secrets(*but), *map(sealing_key, committee.nodes)]
    written = [
        (f"index {node.index}: {name}", data) for node in committee.nodes for name, data in node.written()
    ]
    if found := found_in((data for _, data in written), secrets, base64_too=True):
        here = [name for name, data in written if found_in([data], secrets, base64_too=True)]
        raise AssertionError(f"{found} in {here}")


def sealing_key(node: NodeProcess) -> Secret:
    """It is in its file, which is not searched, and nowhere else."""
    return Secret("sealing key", int(read_private(node.directory / "seal.key"), 16))


async def fill(node: NodeProcess, count: int) -> None:
    async with node.operator() as client:
        request = operator.FillStockRequest(account_id="main", signers=[0, 1], count=count)
        async for _ in client.stream(client.operator.FillStock, request, timeout=120):
            pass


async def sign(node: NodeProcess, name: str, account_id: str = "main"):
    digest = hashlib.sha256(name.encode()).digest()
    async with node.client() as client:
        return await sign_digest(client, account_id, digest, request_id=digest[:16])


@pytest.mark.attack("D3")
@pytest.mark.attack("E3")
@pytest.mark.fault(2)
async def test_nothing_that_is_for_memory_is_on_a_disk(told):
    committee, listener = told
    first, second = committee.nodes
    search(committee, listener, "e")

    # In the middle of presigning: k, gamma and all masks are there, and chi.
    await second.arm("msg.3")
    filling = asyncio.ensure_future(fill(first, 2))
    await second.stopped()
    search(committee, listener)
    second.resume()
    await filling
    # The stock is full.
    await listener.heard("k~", 4)
    assert set(listener.told) >= IN_MEMORY_ONLY | SEALED
    search(committee, listener)

    # In the middle of full signing (the second owns no stock): its e_i is drawn and not sent. The first's may be.
    sent = set(listener.told["e"])
    await second.arm("msg.3")
    signing = asyncio.ensure_future(sign(second, "in full"))
    await second.stopped()
    await listener.heard("e", len(sent) + 2)
    drawn = listener.told["e"] - sent
    search(committee, listener, "e")
    unsent = [Secret("e", value) for value in drawn]
    assert not found_in((data for _, data in second.written()), unsent, base64_too=True)
    second.resume()
    assert not (await signing).from_stock

    # After answers from stock; what was sent (e_i within the answer) is on the disk, and so the search sees it. Of an account
    # that signs the idle nodes fill their pools.
    assert (await sign(first, "from stock")).from_stock
    await listener.heard("pooled", 4)
    search(committee, listener, "e")
    entropies = listener.secrets(*(set(listener.told) - {"e"}))
    assert found_in(files_of(second.directory), entropies)
    account = await account_of(first, "main")
    assert account is not None
    public_key = Secret("public key", int.from_bytes(account.public_key, "big"))
    assert found_in(files_of(first.directory), [public_key])

    # After kill -9 in the middle of presigning, with stock left; and after the start that follows.
    await second.arm("msg.3")
    filling = asyncio.ensure_future(fill(first, 1))
    await second.stopped()
    second.kill()
    search(committee, listener, "e")
    await abandon(first)
    with contextlib.suppress(CallFailed):
        await filling
    second.start()
    committee.wait_ready()
    assert not (await sign(first, "after the start")).from_stock
    search(committee, listener, "e")
    shutil.copy(first.directory / "seal.key", first.temporary / "copied")
    with pytest.raises(AssertionError, match=r"sealing key.*copied"):
        search(committee, listener, "e")
    (first.temporary / "copied").unlink()


class Answers:
    """All answers that were ever in any copy of the stores, by node and presignature."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.seen: dict[tuple[int, object], set[object]] = defaultdict(set)
        self.copies = 0

    async def look(self, node: TellingNode) -> Path:
        """Take a copy of a node's directory; no presignature in it may have answered otherwise in another one."""
        self.copies += 1
        copy = self.directory / str(self.copies)
        if node.process is not None:
            await node.snapshot(copy)
        else:
            shutil.copytree(node.directory, copy)
        read = self.directory / f"{self.copies} read"
        shutil.copytree(copy, read)
        for presignature, *answer in raw(
            read / "store.db", "SELECT presignature_id, req, envelope FROM answer"
        ):
            self.seen[node.index, presignature].add(tuple(answer))
        twice = [key for key, answers in self.seen.items() if len(answers) > 1]
        assert not twice, "a presignature has answered twice"
        return copy

    async def put_back(self, node: TellingNode, copy: Path) -> None:
        """Kill it and start it on an older copy."""
        node.kill()
        await self.look(node)
        node.put_back(copy)
        node.start()


@pytest.mark.fault(19)
@pytest.mark.attack("D3")
@pytest.mark.fault(19)
async def test_an_older_store_never_makes_a_presignature_answer_twice(told, tmp_path):
    committee, _ = told
    first, second = committee.nodes
    answers = Answers(tmp_path)
    await fill(first, 2)
    before = [await answers.look(node) for node in committee.nodes]
    signed = await sign(first, "once")
    assert signed.from_stock

    # Who answered: its answer is gone, and so is its part of the stock.
    await answers.put_back(second, before[1])
    committee.wait_ready()
    assert await sign(first, "once") == signed
    assert not (await sign(first, "with an older store")).from_stock
    for node in committee.nodes:
        await answers.look(node)

    # The owner, on a copy that was made when it was stopped: it does not know its request any more.
    await fill(first, 1)
    assert first.stop() == 0
    stopped = await answers.look(first)
    first.start()
    committee.wait_ready()
    await fill(first, 1)
    signed = await sign(first, "twice")
    assert signed.from_stock
    await answers.put_back(first, stopped)
    committee.wait_ready()
    again = await sign(first, "twice")
    assert not again.from_stock
    assert again.signature != signed.signature
    for node in committee.nodes:
        await answers.look(node)
    assert sum(len(found) for found in answers.seen.values()) >= 8


async def account_of(node: NodeProcess, account_id: str) -> common.Account | None:
    async with node.client() as client:
        try:
            return await client.call(
                client.wallet.GetAccount, wallet.GetAccountRequest(account_id=account_id)
            )
        except CallFailed as error:
            assert error.reason == "KEY_SHARE_NOT_FOUND"  # noqa: PT017 - any other failure is one
            return None


async def active(node: NodeProcess, account_id: str) -> common.Account:
    """The account, as soon as it can sign on this node."""
    loop, deadline = asyncio.get_running_loop(), 120.0
    end = loop.time() + deadline
    while True:
        account = await account_of(node, account_id)
        if account is not None and account.state == common.ACCOUNT_STATE_ACTIVE:
            return account
        assert loop.time() < end, f"index {node.index} has no account {account_id!r}"


@pytest.mark.fault(19)
@pytest.mark.fault(19)
async def test_an_older_store_catches_up_or_says_that_it_cannot(told, tmp_path):
    committee, _ = told
    first, second = committee.nodes
    older = await second.snapshot(tmp_path / "before the account")
    await second.arm("done")
    async with first.client() as client:
        making = asyncio.ensure_future(create_account(client, "bob"))
        await second.stopped()
        pending = tmp_path / "pending"
        shutil.copytree(second.directory, pending)
        second.resume()
        made = await making
    await active(second, "bob")

    # To before activation: the other's certificate brings it forward, to the same epoch.
    second.kill()
    second.put_back(pending)
    second.start()
    committee.wait_ready()
    caught_up = await active(second, "bob")
    assert (caught_up.public_key, caught_up.share_epoch) == (made.public_key, made.share_epoch)
    await sign(first, "after catching up", "bob")

    # To before the account existed: the share is lost, and every side says what is wrong.
    second.kill()
    second.put_back(older)
    second.start()
    committee.wait_ready()
    assert await account_of(second, "bob") is None
    await asyncio.to_thread(
        wait_until, lambda: any("older copy" in line.get("event", "") for line in second.log()), "it says so"
    )
    with pytest.raises(CallFailed, match=r"index 1: has no share of the account"):
        await sign(first, "without its share", "bob")
    await sign(first, "what it still has", "main")
    assert (await account_of(first, "bob")) is not None
