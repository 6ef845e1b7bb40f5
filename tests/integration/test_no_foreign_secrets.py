"""No daemon ever holds another's secrets, and the gateway holds nobody's: stores, logs and whole memories are searched."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

import pytest
from committee_processes import (
    CommitteeProcesses,
    create_account,
    make_committee,
    sign_digest,
)
from fault_testing import make_faulty
from secret_search import Secret, files_of, found_in, memory, plaintexts_of, secrets_of

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


@pytest.fixture
def committee(tmp_path) -> Iterator[CommitteeProcesses]:
    """Its nodes write down what they seal to each other."""
    committee = make_committee(tmp_path, settings={"logging": {"level": "debug"}})
    try:
        gateway = committee.start_gateway()
        for index, node in enumerate(list(committee.nodes)):
            node.write_settings({"gateway": {"url": gateway.url}})
            make_faulty(committee, index, plaintexts=str(tmp_path / f"plaintexts-{index}"))
        yield committee.start()
    finally:
        committee.close()


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
async def test_stores_logs_and_memories(committee, tmp_path_factory):
    await use(committee)
    copies = tmp_path_factory.mktemp("copies")
    secrets = {node.index: secrets_of(node.directory, copies / str(node.index)) for node in committee.nodes}
    assert committee.gateway is not None
    everybodys = [secret for mine in secrets.values() for secret in mine]
    gateway = committee.gateway.process
    sealed = [
        one
        for index in range(3)
        for one in plaintexts_of(committee.directory / f"plaintexts-{index}", 12, index)
    ]
    assert not found_in(memory(gateway.pid), [*everybodys, *sealed], base64_too=True)
    assert not found_in([gateway.output.encode()], [*everybodys, *sealed], base64_too=True)
    for node in committee.nodes:
        others = [secret for index, mine in secrets.items() if index != node.index for secret in mine]
        pid = node.running.pid
        assert "share" in found_in(memory(pid), secrets[node.index]), "the search finds what is there"
        assert not found_in(memory(pid), others)
        assert not found_in(files_of(node.directory), [*others, *secrets[node.index]])
        assert not found_in(iter([node.output.encode()]), everybodys)
