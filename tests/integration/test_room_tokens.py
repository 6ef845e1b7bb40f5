"""Three sign-services and a gateway that asks for tokens: a key, signatures, and a node whose key nobody added."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import httpx2
import pytest
from committee_processes import PATIENCE, create_account, make_committee, running, sign_digest, wait_until

from participant.gateway_tokens import key_set
from participant.grpc_client import CallFailed


async def test_rooms_for_these_nodes_alone(tmp_path: Path) -> None:
    path = tmp_path / "gateway-keys.json"
    made = make_committee(
        tmp_path,
        settings={"node": {"gather_seconds": 1}},
        gateway_settings={"access": {"key_set": str(path)}},
    )
    cards = made.committee.members
    path.write_text(json.dumps(key_set(cards[:2])))
    with running(made, start=[0, 1]) as committee:
        assert committee.gateway is not None
        gateway = committee.gateway
        strange = httpx2.get(
            gateway.room(f"committee_{committee.committee_id.hex()[:32]}", "subscribe"), timeout=PATIENCE
        )
        assert strange.json()["error"] == "no_token"

        third = committee.nodes[2].launch()
        third.running.wait_for(
            "the gateway does not let this node in: no key of this gateway's key set.*unknown_key"
        )
        wait_until(
            lambda: "key set" in third.failing().get("gateway", ""), "the third node says why it is not ready"
        )
        assert third.metric("sign_service_gateway_connected") == 0
        async with third.client() as client:
            with pytest.raises(CallFailed, match="mpc-keygen identity") as refused:
                await create_account(client)
            assert refused.value.reason == "GATEWAY_REFUSED"

        # Its card is added while everything runs: it goes on by itself, and so do the others.
        path.write_text(json.dumps(key_set(cards)))
        committee.wait_ready()
        async with committee.nodes[0].client() as client:
            account = await create_account(client)
            for signers in ([0, 1], [0, 2]):
                digest = hashlib.sha256(str(signers).encode()).digest()
                signed = await sign_digest(client, "main", digest, signers=signers)
                assert list(signed.signers) == signers
                assert signed.public_key == account.public_key

        # Taken out again, it is out, and the others sign.
        path.write_text(json.dumps(key_set(cards[:2])))
        wait_until(lambda: "key set" in third.failing().get("gateway", ""), "the third node is out")
        async with committee.nodes[0].client() as client:
            await sign_digest(client, "main", hashlib.sha256(b"after").digest(), signers=[0, 1])
        assert gateway.metric('gateway_refusals_total{reason="unknown_key"}') > 0
        for node in committee.nodes:
            assert "eyJ" not in node.output, "a token is in the log"
        assert "eyJ" not in gateway.process.output
