"""`wallet.v1.Operator`: requests to bring an account to another committee, over the operator's socket."""

from __future__ import annotations

import pytest
from node_testing import committee_of
from scripted_node import ScriptedNode, operated

from kit.pb.wallet.v1 import operator_pb2 as operator
from participant.grpc_client import CallFailed
from participant.node import api

REQUEST = b"r" * 32
VIEW = api.ReshareView(
    request_id=REQUEST,
    account_id="main",
    old_committee_id=b"o" * 32,
    new_committee_id=b"n" * 32,
    threshold=2,
    new_threshold=3,
    dealers=(0, 2),
    withdrawn=False,
    certified=True,
    deletions_due=2,
    deleted=(0,),
    not_deleted=(1, 2),
    absent="",
)
CAN_SIGN = (
    "the new committee has the account, and the old committee can still sign: 1 of 2 signed deletions are here, none of old "
    "index 1, 2"
)


async def test_a_request_from_making_it_to_its_end(tmp_path):
    committee = committee_of()
    node = ScriptedNode(
        reshare_request=("the file", REQUEST),
        approve=VIEW,
        reshare=[api.Progress("reshare", 1, 2), api.Progress("revocation", 2, 2, result=VIEW)],
        resharings=[VIEW],
        withdraw_approval=None,
    )
    async with operated(node, tmp_path / "operator.sock") as client:
        service = client.operator
        asked = operator.MakeReshareRequestRequest(
            account_id="main", committee=committee.to_yaml(), dealers=[0, 2]
        )
        made = await client.call(service.MakeReshareRequest, asked)
        assert (made.request, made.request_id) == ("the file", REQUEST)
        assert node.asked == ("reshare_request", ("main", committee, None, (0, 2)), {})
        approved = await client.call(
            service.ApproveRequest, operator.ApproveRequestRequest(request="the file")
        )
        assert node.asked == ("approve", ("the file",), {})
        found = approved.resharing
        assert (found.request_id, list(found.dealers), found.complete) == (REQUEST, [0, 2], False)
        assert (list(found.deleted), list(found.not_deleted), found.text) == ([0], [1, 2], CAN_SIGN)
        steps = client.stream(service.Reshare, operator.ReshareRequest(request_id=REQUEST))
        assert [step.reshare.text for step in [step async for step in steps]] == ["", CAN_SIGN]
        assert node.asked == ("reshare", (REQUEST,), {})
        listed = await client.call(service.ListResharings, operator.ListResharingsRequest())
        assert [entry.text for entry in listed.resharings] == [CAN_SIGN]
        await client.call(service.WithdrawApproval, operator.WithdrawApprovalRequest(request_id=REQUEST))
        assert node.asked == ("withdraw_approval", (REQUEST,), {})
        with pytest.raises(CallFailed, match="the new committee: "):
            await client.call(
                service.MakeReshareRequest,
                operator.MakeReshareRequestRequest(account_id="main", committee="no"),
            )
        with pytest.raises(CallFailed, match="name the request by its id"):
            await client.call(service.WithdrawApproval, operator.WithdrawApprovalRequest())
