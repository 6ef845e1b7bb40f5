"""kill -9 before each message that a node posts, and after its last one, while an account goes to another committee.

The account goes from a committee of four to three of them, where the victim only deals, and back, where it only gets a
share. Whatever the moment (security.md 5.1): in the end t members of one committee hold shares of one epoch (S3) of the same
key (S4), nobody else holds one that is worth something, and nobody is blamed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import nacl.signing
import pytest
from committee_processes import (
    PATIENCE,
    UNHURRIED,
    CommitteeProcesses,
    NodeProcess,
    create_account,
    make_committee,
    running,
)
from fault_testing import ROUNDS
from killing import (
    VICTIM,
    Moment,
    bring_back,
    check_signs,
    eventually,
    killed_during,
    moments,
    named,
    nobody_is_blamed,
    set_trap,
)
from testing_daemon import TRAP

from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import operator_pb2 as operator
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.committee import Committee
from participant.grpc_client import CallFailed

pytestmark = [pytest.mark.fault(2), pytest.mark.fault(20)]

DEALS = ("msg.0", "echo.0", "msg.1", "echo.1", "msg.2", "msg.3", "echo.3")
GETS = (*DEALS, "done")
EVERY = [("dealer", at) for at in (*moments(DEALS), ("before", "show"), ("after", "show"))] + [
    ("new", at) for at in (*moments(GETS), ("before", "show"))
]
# The usual run takes the moment when a dealer is done, and the one before a new share is known to be there, and an Ed25519
# account, which needs no primes.
USUAL = [("dealer", ("after", "echo.3")), ("new", ("before", "done"))]
CASES = USUAL if ROUNDS == 1 else EVERY
CURVE = "ed25519" if ROUNDS == 1 else "secp256k1"
CURVES = {"ed25519": common.CURVE_ED25519, "secp256k1": common.CURVE_SECP256K1}


async def signs(moving: Moving, node: NodeProcess, name: object, signers: tuple[int, ...]) -> None:
    """These members sign, and the signature is the key's."""
    if CURVE == "secp256k1":
        answer = await check_signs(node, "main", name, signers=signers)
        assert answer.public_key == moving.public_key
        return
    message = repr(name).encode()
    asked = wallet.SignRequest(
        request_id=hashlib.sha256(message).digest()[:16],
        account_id="main",
        message=wallet.MessageToSign(data=message, hash=wallet.MESSAGE_HASH_NONE),
        signers=signers,
    )
    async with node.client() as client:
        answer = await client.call(client.wallet.Sign, asked, timeout=PATIENCE * 2)
    nacl.signing.VerifyKey(moving.public_key).verify(message, bytes(answer.signature))


class Moving:
    """The account, and where it is."""

    def __init__(self, processes: CommitteeProcesses, public_key: bytes) -> None:
        self.processes = processes
        self.public_key = public_key
        cards = processes.committee.members
        self.four = processes.committee
        self.three = Committee.of([card for index, card in enumerate(cards) if index != VICTIM], 2)
        self.where = self.four

    def node(self, of: Committee, index: int) -> NodeProcess:
        identity = of.identities[index]
        return next(node for node in self.processes.nodes if node.identity == identity)

    async def where_is(self, node: NodeProcess) -> bytes | None:
        """The committee that the node holds the account in."""
        async with node.client() as client:
            with suppress(CallFailed):
                request = wallet.GetAccountRequest(account_id="main")
                found = await client.call(client.wallet.GetAccount, request)
                assert found.public_key == self.public_key
                return bytes(found.committee_id)
        return None

    async def approved(self, to: Committee, dealers: list[int]) -> bytes:
        """Make the request, and have everybody approve it; its id."""
        asked = operator.MakeReshareRequestRequest(account_id="main", committee=to.to_yaml(), dealers=dealers)
        async with self.node(self.where, dealers[0]).operator() as client:
            made = await client.call(client.operator.MakeReshareRequest, asked)
        identities = {self.where.identities[index] for index in dealers} | set(to.identities)
        for node in self.processes.nodes:
            if node.identity in identities:
                async with node.operator() as client:
                    request = operator.ApproveRequestRequest(request=made.request)
                    await client.call(client.operator.ApproveRequest, request)
        return bytes(made.request_id)

    async def run(self, node: NodeProcess, request_id: bytes) -> common.Resharing:
        async with node.operator() as client:
            last = common.Progress()
            request = operator.ReshareRequest(request_id=request_id)
            async for progress in client.stream(client.operator.Reshare, request, timeout=180):
                last = progress
        assert last.WhichOneof("result") == "reshare", last
        return last.reshare


@pytest.fixture(scope="module")
def moving(tmp_path_factory) -> Iterator[Moving]:
    directory = tmp_path_factory.mktemp("committee")
    processes = make_committee(directory, 4, settings=UNHURRIED)
    processes.nodes[VICTIM].env[TRAP] = str(directory / "trap")
    with running(processes):

        async def make() -> bytes:
            async with processes.nodes[0].client() as client:
                return bytes((await create_account(client, "main", curve=CURVES[CURVE])).public_key)

        yield Moving(processes, asyncio.run(make()))


@pytest.fixture
def trapped(moving) -> Iterator:
    """Chooses where the victim will kill itself; afterwards everybody is back and well."""
    yield partial(set_trap, moving.processes)
    bring_back(moving.processes)


async def move(moving: Moving, to: Committee, dealers: list[int]) -> None:
    """Without anything going wrong."""
    request = await moving.approved(to, dealers)
    await moving.run(moving.node(moving.where, dealers[0]), request)
    moving.where = to


def can_nobody_hold_it(role: str, at: Moment) -> bool:
    """Whether the certificate cannot be there without what the victim did not say."""
    late = {"echo.3", "show"} | ({"done"} if role == "new" else set())
    return at[1] not in late


@pytest.mark.attack("C8")
@pytest.mark.parametrize(("role", "at"), named(CASES))
async def test_reshare(moving, trapped, role, at):
    start, to = (moving.four, moving.three) if role == "dealer" else (moving.three, moving.four)
    if moving.where is not start:
        await move(moving, start, [0, 1] if start is moving.three else [0, 2])
    processes = moving.processes
    # In the committee of four the victim is index 1 and deals; in that of three it is nobody.
    dealers = [0, VICTIM] if role == "dealer" else [0, 1]
    request = await moving.approved(to, dealers)
    proposer = processes.nodes[0]
    victim = trapped(at)
    await killed_during(processes, victim, moving.run(proposer, request))

    if can_nobody_hold_it(role, at):
        others = [
            node for node in processes.nodes if node is not victim and node.identity in start.identities
        ]
        assert {await moving.where_is(node) for node in others} == {start.committee_id}
        signers = sorted(start.index_of(node.identity) for node in others[:2])
        first = next(node for node in others if start.index_of(node.identity) == signers[0])
        await signs(moving, first, ("before", role, at), tuple(signers))
    found = await moving.run(proposer, request)
    assert found.certified, found.text

    async def arrived() -> bool:
        inside = [node for node in processes.nodes if node.identity in to.identities]
        places = {await moving.where_is(node) for node in inside}
        outside = {await moving.where_is(node) for node in processes.nodes if node not in inside}
        return places == {to.committee_id} and outside <= {None}

    async def complete() -> bool:
        async with proposer.operator() as client:
            listed = await client.call(client.operator.ListResharings, operator.ListResharingsRequest())
        return next(one for one in listed.resharings if one.request_id == request).complete

    await eventually(arrived, "the new committee, and nobody else, has the account")
    await eventually(complete, "the old committee cannot sign any more")
    moving.where = to
    signer = next(node for node in processes.nodes if node.identity == to.identities[0])
    last = to.n - 1
    processes.wait_ready()
    await signs(moving, signer, ("after", role, at), (0, last))
    await nobody_is_blamed(processes)
