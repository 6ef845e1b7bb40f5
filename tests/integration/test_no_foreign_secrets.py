"""No daemon ever holds another's secrets, and the gateway holds nobody's: stores, logs and whole memories are searched."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from committee_processes import (
    CommitteeProcesses,
    create_account,
    make_committee,
    sign_digest,
)
from fault_testing import make_faulty
from secret_search import Secret, files_of, found_in, memory, plaintexts_of, secrets_of
from store_testing import SHARED, running_store

from kit.pb.wallet.v1 import operator_pb2 as operator

DIGEST = hashlib.sha256(b"searched for").digest()


async def use(committee: CommitteeProcesses) -> None:
    async with committee.nodes[0].client() as client:
        await create_account(client, "main")
        for signers in ((0, 1), (0, 2)):
            await sign_digest(client, "main", DIGEST, signers=signers)
    async with committee.nodes[1].operator() as client:
        request = operator.FillStockRequest(account_id="main", signers=[1, 2], count=1)
        async for _ in client.stream(client.operator.FillStock, request, timeout=120):
            pass


@contextlib.contextmanager
def telling_committee(directory: Path, rooms: Mapping[str, Any]) -> Iterator[CommitteeProcesses]:
    """Its nodes write down what they seal to each other. `rooms`: where the gateway keeps its rooms, if not in memory."""
    committee = make_committee(directory, settings={"logging": {"level": "debug"}})
    committee.gateway_settings.update(rooms)
    try:
        gateway = committee.start_gateway()
        for index, node in enumerate(list(committee.nodes)):
            node.write_settings({"gateway": {"url": gateway.url}})
            make_faulty(committee, index, plaintexts=str(directory / f"plaintexts-{index}"))
        yield committee.start()
    finally:
        committee.close()


def secrets_by_node(committee: CommitteeProcesses, copies: Path) -> dict[int, list[Secret]]:
    return {node.index: secrets_of(node.directory, copies / str(node.index)) for node in committee.nodes}


def sealed_in(committee: CommitteeProcesses) -> list[Secret]:
    """What the nodes sent to each other alone."""
    return [
        one
        for index in range(len(committee.nodes))
        for one in plaintexts_of(committee.directory / f"plaintexts-{index}", 12, index)
    ]


@pytest.mark.parametrize("offset", range(3))
def test_the_search_finds_a_secret_in_every_form(offset):
    secret = Secret("it", 0x1234567890ABCDEF << 192 | 0xFEDCBA0987654321)
    raw = secret.value.to_bytes(32, "big")
    texts = [raw, raw[::-1], raw.hex().encode(), raw.hex().upper().encode(), str(secret.value).encode()]
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        texts += [encode(b"abc"[:offset] + one + b"behind") for one in (raw, raw[::-1])]
    for text in texts:
        assert found_in([b"...", b"before" + text + b"after"], [secret], base64_too=True) == {"it"}, text
    assert not found_in([raw[1:], raw[:-1], b"nothing"], [secret], base64_too=True)


@pytest.mark.attack("C10")
@pytest.mark.attack("E3")
@pytest.mark.fault(25)
async def test_stores_logs_and_memories(tmp_path, tmp_path_factory):
    with telling_committee(tmp_path, {}) as committee:
        await use(committee)
        secrets = secrets_by_node(committee, tmp_path_factory.mktemp("copies"))
        everybodys = [secret for mine in secrets.values() for secret in mine]
        sealed = sealed_in(committee)
        assert committee.gateway is not None
        gateway = committee.gateway.process
        assert not found_in(memory(gateway.pid), [*everybodys, *sealed], base64_too=True)
        assert not found_in([gateway.output.encode()], [*everybodys, *sealed], base64_too=True)
        for node in committee.nodes:
            others = [secret for index, mine in secrets.items() if index != node.index for secret in mine]
            pid = node.running.pid
            assert "share" in found_in(memory(pid), secrets[node.index]), "the search finds what is there"
            assert not found_in(memory(pid), others)
            assert not found_in(files_of(node.directory), [*others, *secrets[node.index]])
            assert not found_in(iter([node.output.encode()]), everybodys)


@pytest.mark.attack("C10")
@pytest.mark.attack("E3")
@pytest.mark.parametrize("kind", SHARED)
async def test_what_a_store_of_rooms_keeps(tmp_path, tmp_path_factory, kind):
    with (
        running_store(kind, durable=True) as server,
        telling_committee(tmp_path, server.settings) as committee,
    ):
        async with committee.nodes[0].client() as client:
            await create_account(client, "main")
            await sign_digest(client, "main", DIGEST, signers=(0, 1))
        secrets = secrets_by_node(committee, tmp_path_factory.mktemp("copies"))
        hidden = [*(secret for mine in secrets.values() for secret in mine), *sealed_in(committee)]
        proposed = Secret("proposed", int.from_bytes(DIGEST, "big"))
        assert server.process is not None
        for pieces in (memory(server.process.pid), files_of(server.directory)):
            kept = list(pieces)
            assert found_in(kept, [proposed, *hidden], base64_too=True) == {"proposed"}
