"""3-of-5 at full parameters, over five daemons and a gateway as processes; then one of the five lies."""

from __future__ import annotations

import hashlib

import pytest
from cheating_daemon import CHEATER
from coincurve import PublicKey
from committee_processes import UNHURRIED, merged, running_committee, sign_digest
from ecdsa import SECP256k1, VerifyingKey
from hostile import lie_in_signing

from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import wallet_pb2 as wallet

MINUTES = 60.0


@pytest.mark.attack("D7")
@pytest.mark.full_size
async def test_any_three_of_five_sign(tmp_path):
    settings = merged(UNHURRIED, {"node": {"phase_seconds": 15 * MINUTES, "deadlines": {"aux": 900}}})
    with running_committee(
        tmp_path, 5, 3, settings=settings, full_size=True, cheaters=(CHEATER,)
    ) as committee:
        async with committee.nodes[4].client() as client:
            last = common.Progress()
            request = wallet.CreateAccountRequest(account_id="main")
            stream = client.stream(client.wallet.CreateAccount, request, timeout=30 * MINUTES)
            async for progress in stream:
                last = progress
            assert last.WhichOneof("result") == "account", last
            assert (last.account.threshold, last.account.parties) == (3, 5)
        for signers in ((0, 1, 2), (2, 3, 4)):
            digest = hashlib.sha256(bytes(signers)).digest()
            async with committee.nodes[2].client() as client:
                answer = await sign_digest(client, "main", digest, signers=signers)
            assert tuple(answer.signers) == signers
            key = VerifyingKey.from_string(last.account.public_key, curve=SECP256k1)
            assert key.verify_digest(answer.r + answer.s, digest)
            recovered = PublicKey.from_signature_and_message(answer.signature, digest, hasher=None)
            assert recovered.format() == last.account.public_key
        await lie_in_signing(committee, "sigma + 1", (0, CHEATER, 2))
