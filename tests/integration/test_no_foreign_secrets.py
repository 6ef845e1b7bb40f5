"""No daemon ever holds another's secrets, and the gateway holds nobody's: stores, logs and whole memories are searched."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from committee_processes import (
    CommitteeProcesses,
    NodeProcess,
    create_account,
    running_committee,
    sign_digest,
)
from tss_testing import SMALL_SECP

from kit.pb.wallet.v1 import operator_pb2 as operator
from participant.sealing import KeyFileWrapper
from participant.store import Store
from tss.records import AuxSet, KeyShare

DIGEST = hashlib.sha256(b"searched for").digest()
PIECE = 1 << 24
DIGIT_BITS = 30


@dataclass(frozen=True)
class Secret:
    name: str
    value: int

    def spellings(self) -> Iterator[bytes]:
        """As bytes of either order (a GMP number is little-endian), as text, as the digits of a Python integer."""
        size = (self.value.bit_length() + 7) // 8
        yield self.value.to_bytes(size, "big")
        yield self.value.to_bytes(size, "little")
        yield f"{self.value:x}".encode()
        yield str(self.value).encode()
        digits, rest = b"", self.value
        while rest:
            digits += (rest & (1 << DIGIT_BITS) - 1).to_bytes(4, "little")
            rest >>= DIGIT_BITS
        yield digits


def secrets_of(node: NodeProcess, directory: Path) -> list[Secret]:
    """What only this node may know, from a copy of its store."""
    copy = directory / f"copy-{node.index}"
    shutil.copytree(node.directory, copy)
    with Store.open(copy / "store.db", KeyFileWrapper.from_file(copy / "seal.key")) as store:
        record = store.accounts.account("main")
        share = KeyShare.from_bytes(SMALL_SECP, store.accounts.share("main"))
        aux = AuxSet.from_bytes(SMALL_SECP, store.accounts.aux_set(record.aux_id))
        identity = store.identity()
        (seed,) = re.findall(rb"(?s).{32}$", identity.to_bytes()[:-1] + identity.to_bytes()[-1:])
    found = [
        Secret("share", int(share.x)),
        Secret("Paillier p", int(aux.paillier.p)),
        Secret("Paillier q", int(aux.paillier.q_)),
        Secret("gateway-access seed", int.from_bytes(seed, "big")),
    ]
    if aux.pedersen is not None:
        found += [Secret("Pedersen p", int(aux.pedersen.p)), Secret("Pedersen lambda", int(aux.pedersen.lam))]
    return found


def memory(pid: int) -> Iterator[bytes]:
    """All that a core image would hold, in pieces that overlap."""
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", buffering=0) as image:
        for line in maps:
            bounds, permissions, *_ = line.split()
            if not permissions.startswith("rw"):
                continue
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            while start < end:
                image.seek(start)
                try:
                    piece = image.read(min(PIECE, end - start))
                except OSError:
                    break
                if not piece:
                    break
                yield piece
                # What lies across two pieces is in the next one.
                start += len(piece) if start + len(piece) >= end else len(piece) - 4096


def found_in(pieces: Iterator[bytes], secrets: list[Secret]) -> set[str]:
    wanted = [(secret.name, spelling) for secret in secrets for spelling in secret.spellings()]
    return {name for piece in pieces for name, spelling in wanted if spelling in piece}


def files_of(directory: Path) -> Iterator[bytes]:
    for path in directory.rglob("*"):
        if path.is_file():
            yield path.read_bytes()


async def use(committee: CommitteeProcesses) -> None:
    async with committee.nodes[0].client() as client:
        await create_account(client, "main")
        for signers in ((0, 1), (0, 2)):
            await sign_digest(client, "main", DIGEST, signers=signers)
    async with committee.nodes[1].operator() as client:
        request = operator.FillStockRequest(account_id="main", signers=[1, 2], count=1)
        async for _ in client.stream(client.operator.FillStock, request, timeout=120):
            pass


@pytest.fixture
def committee(tmp_path) -> Iterator[CommitteeProcesses]:
    with running_committee(tmp_path, settings={"logging": {"level": "debug"}}) as committee:
        yield committee


async def test_stores_logs_and_memories(committee, tmp_path_factory):
    await use(committee)
    copies = tmp_path_factory.mktemp("copies")
    secrets = {node.index: secrets_of(node, copies) for node in committee.nodes}
    assert committee.gateway is not None
    everybodys = [secret for mine in secrets.values() for secret in mine]
    gateway = committee.gateway.process
    assert not found_in(memory(gateway.pid), everybodys)
    assert not found_in(iter([gateway.output.encode()]), everybodys)
    for node in committee.nodes:
        others = [secret for index, mine in secrets.items() if index != node.index for secret in mine]
        pid = node.running.pid
        assert "share" in found_in(memory(pid), secrets[node.index]), "the search finds what is there"
        assert not found_in(memory(pid), others)
        assert not found_in(files_of(node.directory), [*others, *secrets[node.index]])
        assert not found_in(iter([node.output.encode()]), everybodys)
