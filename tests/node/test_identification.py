"""Somebody cheats in presigning and is silent: its set is blocked, others sign, and what it signed is judged when it comes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from lying_presigner import AnotherDelta
from node_network import (
    PATIENT,
    Member,
    Network,
    all_but_hellos,
    check_signature,
    digest_of,
    network,
    poll,
    sign_call,
)
from tss_testing import SMALL_SECP

from participant.node.api import BlockedSetView, SignResult
from participant.node.cases import sender_of_opening
from participant.node.errors import PeerQuarantined, SignerSetBlocked
from tss.cggmp24 import presign
from tss.judge import judge

LIAR = 1
BRIEF = replace(PATIENT, gather=2.0, deadlines=replace(PATIENT.deadlines, phases={"*.r5": 2.0}))
"""Who opens nothing is given up soon."""

# The HTTP library forgets dead connections that it was about to close when it is cancelled; the collector closes them.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


async def dealt(net: Network) -> None:
    net.deal("alice")
    await net.ready("alice")


async def signed(member: Member, name: object, **fields: Any) -> SignResult:
    result = await member.node.sign(sign_call("alice", name, **fields))
    check_signature(result, digest_of(name), member.node.public_key("alice").public_key)
    return result


def let_lie(monkeypatch: pytest.MonkeyPatch, kind: type[presign.Presigning]) -> None:
    """The node at index LIAR presigns as `kind` does."""
    honest = presign.Presigning

    def presigning(ctx: Any, *rest: Any) -> presign.Presigning:
        return (kind if ctx.me.index == LIAR + 1 else honest)(ctx, *rest)

    monkeypatch.setattr(presign, "Presigning", presigning)


def cut_off_when_it_opens(member: Member) -> None:
    """From its abort message on nothing but hellos of this node reaches anybody."""

    async def watch(envelope: bytes) -> None:
        if sender_of_opening(envelope) is not None:
            member.channel.mute = all_but_hellos

    member.channel.on_post = watch


async def blocked(member: Member) -> BlockedSetView:
    """The block, once the session in which it began is over."""
    await poll(lambda: bool(member.node.blocked_sets() and not member.node.sessions()))
    (view,) = member.node.blocked_sets()
    return view


@pytest.mark.attack("D7")
@pytest.mark.attack("D8")
async def test_a_silent_signer_is_not_at_fault_and_its_set_is_blocked_until_it_opens(
    tmp_path, gateway, monkeypatch
):
    async with network(tmp_path, gateway.url, config=BRIEF) as net:
        await dealt(net)
        let_lie(monkeypatch, AnotherDelta)
        cut_off_when_it_opens(net[LIAR])
        assert (await signed(net[0], 1)).signers == (0, 2)
        view = await blocked(net[0])
        assert (view.signers, view.lacking) == ((0, LIAR), (LIAR,))
        assert net[0].node.quarantine() == [], "silence is nobody's guilt"
        with pytest.raises(SignerSetBlocked):
            await net[0].node.sign(sign_call("alice", 2, signers=(0, LIAR)))
        assert any("do not sign together" in line for line in net[0].node.status().warnings)
        await net[0].restart()
        await net[0].sees(2)
        assert net[0].node.blocked_sets()[0].session_id == view.session_id, "a block outlives the process"
        with pytest.raises(SignerSetBlocked):
            await net[0].node.sign(sign_call("alice", 3, signers=(0, LIAR)))
        assert (await signed(net[0], 4)).signers == (0, 2)
        # What the liar has signed is kept, also across its own restart, and sent to whoever says that it lacks it.
        kept = net[LIAR].store.blocked.openings(view.session_id)[LIAR + 1]
        await net[LIAR].restart()
        await poll(lambda: bool(net[0].node.quarantine()))
        assert net[0].store.blocked.openings(view.session_id)[LIAR + 1] == kept
        (mark,) = net[0].node.quarantine()
        assert (mark.index, "presign.abort-delta.item0.dec" in mark.reason) == (LIAR, True)
        assert net[0].node.blocked_sets() == [], "it is known who it was"
        identities = dict(net[0].node._memberships[net.committee.committee_id].identities)
        evidence = net[0].node.evidence(mark.evidence_id or b"")
        verdict = judge(evidence or b"", identities, {SMALL_SECP.proto: SMALL_SECP})
        assert (verdict.guilty, verdict.accused.index) == (True, LIAR + 1)
        with pytest.raises(PeerQuarantined):
            await net[0].node.sign(sign_call("alice", 5, signers=(0, LIAR)))
        with pytest.raises(PeerQuarantined):
            async for _ in net[0].node.create_account("bob"):
                pass
