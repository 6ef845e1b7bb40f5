"""The life of two keys through real daemons at full parameters: made at 2-of-3, refreshed, moved to 3-of-5, a node lost and
recovered, moved back to 2-of-3 with two new nodes, backed up, every store deleted, restored. After each step they sign for the
same addresses, and nobody else can.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import nacl.signing
import pytest
from coincurve import PublicKey, PublicKeyXOnly
from committee_processes import (
    UNHURRIED,
    CommitteeProcesses,
    NodeProcess,
    create_account,
    make_committee,
    merged,
    running,
    sign_digest,
    wait_until,
)
from eth_keys.datatypes import PublicKey as EthereumKey
from keygen_testing import Ran, succeeds

from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.committee import Committee, read_committee, write_committee
from participant.grpc_client import CallFailed

CURVES = {"ethereum": common.CURVE_SECP256K1, "solana": common.CURVE_ED25519}
MINUTES = 60.0
PATIENT = merged(UNHURRIED, {"node": {"phase_seconds": 15 * MINUTES, "deadlines": {"aux": 15 * MINUTES}}})


def keygen(*arguments: object) -> Ran:
    return succeeds(*(str(argument) for argument in arguments), full_size=True)


class Fleet:
    """Seven nodes. Committees are files beside their directories, named by what they are for."""

    def __init__(self, processes: CommitteeProcesses) -> None:
        self.processes = processes
        self.directory = processes.directory
        self.nodes = processes.nodes
        self.accounts: dict[str, common.Account] = {}

    def committee(self, name: str, places: list[int], threshold: int) -> Path:
        """Write the committee of these nodes."""
        path = self.directory / f"{name}.yaml"
        cards = self.processes.committee.members
        write_committee(path, Committee.of([cards[place] for place in places], threshold))
        return path

    def members(self, path: Path) -> list[NodeProcess]:
        """The nodes of a committee, by index."""
        by_identity = {node.identity: node for node in self.nodes}
        return [by_identity[identity] for identity in read_committee(path).identities]

    def start(self, path: Path, *nodes: NodeProcess) -> None:
        """Start nodes that belong to a committee. They need not hear anybody yet."""
        committee = read_committee(path)
        for node in nodes:
            mpc = {
                "committee": str(path),
                "threshold": committee.threshold,
                "total_participants": committee.n,
            }
            node.write_settings({"mpc": mpc, "server": {"index": committee.index_of(node.identity)}})
            node.start()

    def adopt(self, path: Path) -> None:
        """The settings of all members name this committee from now on, as docs/operations.md says."""
        members = self.members(path)
        for node in members:
            if node.settings["mpc"]["committee"] != str(path):
                node.stop()
                self.start(path, node)
        self.wait_ready(path)
        for node in members:
            status = keygen("status", node.directory, "--operator", node.operator_target, "--json").json
            present = [known["committee_id"] for known in status["committees"] if not known["is_left"]]
            assert present == [read_committee(path).committee_id.hex()]

    def wait_ready(self, path: Path) -> None:
        """Until all members of a committee hear each other."""
        members = self.members(path)
        for index, node in enumerate(members):
            node.wait_ready([other for other in range(len(members)) if other != index])

    async def create(self, node: NodeProcess) -> None:
        for name, curve in CURVES.items():
            async with node.client() as client:
                self.accounts[name] = await create_account(client, name, curve=curve)

    async def sign(self, node: NodeProcess, step: str, signers: tuple[int, ...]) -> None:
        """Both keys sign, by ECDSA, BIP-340 and Ed25519; other libraries find that it is for the addresses of the beginning."""
        digest = hashlib.sha256(repr((step, signers)).encode()).digest()
        async with node.client() as client:
            answer = await sign_digest(client, "ethereum", digest, signers=signers)
            recovered = PublicKey.from_signature_and_message(answer.signature, digest, hasher=None)
            address = EthereumKey(recovered.format(compressed=False)[1:]).to_checksum_address()
            assert address in [known.text for known in self.accounts["ethereum"].addresses]
            answer = await sign_digest(client, "ethereum", digest, signers=signers, bip340=wallet.Bip340())
            schnorr = PublicKeyXOnly(self.accounts["ethereum"].public_key[1:])
            assert schnorr.verify(bytes(answer.signature), digest)
            asked = wallet.SignRequest(
                request_id=digest[:16],
                account_id="solana",
                message=wallet.MessageToSign(data=digest, hash=wallet.MESSAGE_HASH_NONE),
                signers=signers,
            )
            answer = await client.call(client.wallet.Sign, asked, timeout=MINUTES)
            key = nacl.signing.VerifyKey(self.accounts["solana"].public_key)
            key.verify(digest, bytes(answer.signature))

    def signs(self, path: Path, step: str, *quorums: tuple[int, ...]) -> None:
        """These quorums of a committee sign."""
        members = self.members(path)
        for signers in quorums:
            asyncio.run(self.sign(members[signers[-1]], step, signers))

    def held_by(self, node: NodeProcess) -> dict[str, tuple[bytes, bytes]]:
        """Committee and epoch of each of the accounts that a node has."""

        async def ask() -> dict[str, tuple[bytes, bytes]]:
            found = {}
            async with node.client() as client:
                for name, first in self.accounts.items():
                    try:
                        request = wallet.GetAccountRequest(account_id=name)
                        account = await client.call(client.wallet.GetAccount, request)
                    except CallFailed:
                        continue
                    assert (account.public_key, account.addresses) == (first.public_key, first.addresses)
                    found[name] = (bytes(account.committee_id), bytes(account.share_epoch))
            return found

        return asyncio.run(ask())

    def all_moved(self, path: Path, *, away: list[NodeProcess]) -> dict[str, bytes]:
        """Wait until all members of a committee have both accounts in one epoch, and the nodes `away` neither; the epochs."""
        wanted = read_committee(path).committee_id

        def moved() -> dict[str, bytes] | None:
            places = [self.held_by(node) for node in self.members(path)]
            if any(place != places[0] for place in places) or any(self.held_by(node) for node in away):
                return None
            if set(places[0]) != set(CURVES) or any(where != wanted for where, _ in places[0].values()):
                return None
            return {name: epoch for name, (_, epoch) in places[0].items()}

        wait_until(lambda: moved() is not None, f"everybody in {path.name} has the accounts")
        epochs = moved()
        assert epochs is not None
        return epochs

    def reshare(self, old: Path, new: Path, dealers: list[int]) -> None:
        """Both accounts go to another committee; every operator approves."""
        for name in CURVES:
            file = self.directory / f"{name}-to-{new.stem}.yaml"
            proposer = self.members(old)[dealers[0]]
            chosen = ",".join(map(str, dealers))
            about = (
                "--to", new, "--dealers", chosen, "--request", file, "--operator", proposer.operator_target
            )  # fmt: skip
            keygen("reshare", name, *about, "--request-only")
            concerned = [self.members(old)[dealer] for dealer in dealers] + self.members(new)
            for node in {node.index: node for node in concerned}.values():
                keygen("approve", file, "--operator", node.operator_target)
            ran = keygen("reshare", name, *about, "--json")
            assert json.loads(ran.out.splitlines()[-1])["certified"]

    def replace_lost(self, path: Path, index: int) -> Path:
        """The machine at this index is gone; another one gets its place and its shares. The committee's file from now on."""
        lost = self.members(path)[index]
        lost.kill()
        shutil.rmtree(lost.directory)
        card = keygen("identity", lost.directory, "--in-place-of", path, index, "--json").json
        lost.identity = bytes.fromhex(card["identity"])
        new = lost.directory / "committee.yaml"
        self.start(new, lost)
        file = self.directory / "lost.yaml"
        operators = [("--operator", node.operator_target) for node in self.members(new)]
        about = ("--lost", index, "--to", new, "--request", file)
        keygen("recover", *about, "--request-only", *operators[0])
        known = [f"{name}={account.public_key.hex()}" for name, account in self.accounts.items()]
        keys = [word for text in known for word in ("--public-key", text)]
        for operator in operators:
            keygen("approve", file, *keys, *operator)
        ran = keygen("recover", "--request", file, *operators[0], "--json")
        assert json.loads(ran.out.splitlines()[-1])["complete"]
        return new

    def lose_all_and_restore(self, path: Path) -> Path:
        """Every store is deleted, and made again of its backup and two of three recovery keys. The committee's file."""
        keys = [self.directory / f"board-{number}" for number in range(3)]
        for key, kind in zip(keys, ("mlkem768-x25519", "p256", "x25519"), strict=True):
            keygen("recovery-key", "-o", key, "--kind", kind)
        public = [word for key in keys for word in ("-r", f"{key}.pub")]
        members, files = self.members(path), []
        for index, node in enumerate(members):
            files.append(self.directory / f"index-{index}.backup")
            at = ("--operator", node.operator_target)
            keygen("backup", node.directory, "-o", files[-1], "--quorum", 2, *public, *at)
            keygen("verify-backup", files[-1], "--committee", path)
        for node in members:
            node.kill()
            shutil.rmtree(node.directory)
        self.processes.kill_gateway()
        self.processes.start_gateway()
        for node, file in zip(members, files, strict=True):
            keygen("restore", file, node.directory, "-k", keys[0], "-k", keys[2])
        restored = members[0].directory / "committee.yaml"
        self.start(restored, *members)
        self.wait_ready(restored)
        return restored


@pytest.fixture
def fleet(tmp_path) -> Iterator[Fleet]:
    processes = make_committee(tmp_path, 7, 3, settings=PATIENT, full_size=True)
    with running(processes, start=()):
        yield Fleet(processes)


@pytest.mark.full_size
def test_keys_outlive_their_committees(fleet):
    first = fleet.committee("first", [0, 1, 2], 2)
    fleet.start(first, *fleet.nodes[:3])
    fleet.wait_ready(first)
    asyncio.run(fleet.create(fleet.nodes[0]))
    fleet.signs(first, "made", (0, 1), (1, 2))
    made = fleet.all_moved(first, away=[])

    keygen("refresh", "--all", "--operator", fleet.nodes[1].operator_target)
    refreshed = fleet.all_moved(first, away=[])
    assert all(refreshed[name] != made[name] for name in CURVES)
    fleet.signs(first, "refreshed", (0, 2))

    # One old member is not asked for: it destroys its share when it learns of it.
    second = fleet.committee("second", [0, 1, 2, 3, 4], 3)
    fleet.start(second, *fleet.nodes[3:5])
    fleet.reshare(first, second, [0, 2])
    widened = fleet.all_moved(second, away=[])
    fleet.adopt(second)
    fleet.signs(second, "in five", (0, 3, 4), (1, 2, 4))

    third = fleet.replace_lost(second, 2)
    recovered = fleet.all_moved(third, away=[])
    assert all(recovered[name] != widened[name] for name in CURVES)
    fleet.adopt(third)
    fleet.signs(third, "recovered", (0, 1, 2), (2, 3, 4))

    fourth = fleet.committee("fourth", [0, 5, 6], 2)
    fleet.start(fourth, *fleet.nodes[5:])
    fleet.reshare(third, fourth, [0, 2, 3])
    others = [node for node in fleet.members(third) if node.index != 0]
    fleet.all_moved(fourth, away=others)
    for node in others:
        node.kill()
    fleet.adopt(fourth)
    fleet.signs(fourth, "back in three", (0, 1), (1, 2))

    restored = fleet.lose_all_and_restore(fourth)
    with pytest.raises(CallFailed) as caught:
        fleet.signs(restored, "too early", (0, 1))
    assert caught.value.reason == "REFRESH_NEEDED"
    keygen("refresh", "--all", "--operator", fleet.members(restored)[2].operator_target)
    fleet.all_moved(restored, away=[])
    fleet.signs(restored, "restored", (0, 1), (0, 2), (1, 2))
