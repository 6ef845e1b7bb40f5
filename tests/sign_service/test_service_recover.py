"""`wallet.v1.Operator`: requests to give a lost node its shares back, over the operator's socket."""

from __future__ import annotations

import pytest
from node_testing import committee_of
from scripted_node import ScriptedNode, operated

from kit.pb.wallet.v1 import operator_pb2 as operator
from participant.grpc_client import CallFailed
from participant.node import api

REQUEST = b"r" * 32
FILE = "version: 1\noperation: recover\n"
VIEW = api.RecoveryView(
    request_id=REQUEST,
    old_committee_id=b"o" * 32,
    new_committee_id=b"n" * 32,
    lost=1,
    identity=b"i" * 32,
    helpers=(0, 2),
    account_ids=("alice", "bob"),
    back=("alice",),
    settled=(),
    withdrawn=False,
    complete=False,
    absent="helper 2",
)
TEXT = "approved here; 1 of 2 shares are back here; not heard: helper 2"


async def test_a_request_from_making_it_to_its_end(tmp_path):
    committee = committee_of()
    node = ScriptedNode(
        recover_request=(FILE, REQUEST),
        approve_recovery=VIEW,
        recover=[api.Progress("recover alice", 1, 2), api.Progress("refresh", 2, 2, result=VIEW)],
        recoveries=[VIEW],
    )
    async with operated(node, tmp_path / "operator.sock") as client:
        service = client.operator
        asked = operator.MakeRecoveryRequestRequest(
            lost=1, committee=committee.to_yaml(), helpers=[0, 2], account_ids=["alice"]
        )
        made = await client.call(service.MakeRecoveryRequest, asked)
        assert (made.request, made.request_id) == (FILE, REQUEST)
        assert node.asked == ("recover_request", (1, committee, (0, 2), ("alice",)), {})
        known = operator.ApproveRequestRequest(request=FILE, public_keys={"alice": b"k"})
        approved = await client.call(service.ApproveRequest, known)
        assert node.asked == ("approve_recovery", (FILE, {"alice": b"k"}), {})
        found = approved.recovery
        assert (found.request_id, found.lost, list(found.helpers)) == (REQUEST, 1, [0, 2])
        assert (list(found.account_ids), list(found.back), found.text) == (["alice", "bob"], ["alice"], TEXT)
        assert (found.old_committee_id, found.new_committee_id) == (b"o" * 32, b"n" * 32)
        assert (found.identity_key, found.complete, found.withdrawn) == (b"i" * 32, False, False)
        steps = client.stream(service.Recover, operator.RecoverRequest(request_id=REQUEST))
        assert [step.recovery.text for step in [step async for step in steps]] == ["", TEXT]
        listed = await client.call(service.ListRecoveries, operator.ListRecoveriesRequest())
        assert [entry.text for entry in listed.recoveries] == [TEXT]
        with pytest.raises(CallFailed, match="the committee: "):
            await client.call(
                service.MakeRecoveryRequest, operator.MakeRecoveryRequestRequest(committee="no")
            )
        reshare = operator.ApproveRequestRequest(request="operation: reshare", public_keys={"a": b"k"})
        with pytest.raises(CallFailed, match="for a recovery only"):
            await client.call(service.ApproveRequest, reshare)


def test_what_is_said_in_one_line():
    def line(**fields: object) -> str:
        return api.RecoveryView(**{**vars(VIEW), **fields}).summary  # type: ignore[arg-type]

    assert line() == TEXT
    assert line(complete=True) == "complete: all members have new shares"
    assert line(withdrawn=True) == "withdrawn"
    assert line(back=(), absent="") == "approved here"
