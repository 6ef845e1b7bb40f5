"""The part of `wallet.v1.Operator` about what operators approve: accounts that go to another committee, lost shares."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import operator_pb2 as operator
from participant.callers import Caller
from participant.committee import BadCommittee, Committee
from participant.node.errors import InvalidRequest
from participant.node.facade import NodeApi
from participant.recover_request import is_recovery
from participant.services import requests, values


class MovingService:
    """See proto/wallet/v1/operator.proto."""

    _node: NodeApi

    async def MakeReshareRequest(
        self, request: operator.MakeReshareRequestRequest, _: Caller
    ) -> operator.MakeReshareRequestResponse:
        """The file that operators approve."""
        try:
            committee = Committee.from_yaml(request.committee)
        except BadCommittee as error:
            raise InvalidRequest(f"the new committee: {error}") from None
        account_id = requests.account_id(request.account_id)
        text, request_id = await self._node.reshare_request(
            account_id, committee, request.threshold or None, tuple(request.dealers) or None
        )
        return operator.MakeReshareRequestResponse(request=text, request_id=request_id)

    async def ApproveRequest(
        self, request: operator.ApproveRequestRequest, _: Caller
    ) -> operator.ApproveRequestResponse:
        """This node takes part in what the file asks for."""
        if is_recovery(request.request):
            found = await self._node.approve_recovery(request.request, dict(request.public_keys))
            return operator.ApproveRequestResponse(recovery=values.recovery(found))
        if request.public_keys:
            raise InvalidRequest(
                "public keys are given for a recovery only: a request to reshare shows its own"
            )
        view = await self._node.approve(request.request)
        return operator.ApproveRequestResponse(resharing=values.resharing(view))

    async def WithdrawApproval(
        self, request: operator.WithdrawApprovalRequest, _: Caller
    ) -> operator.WithdrawApprovalResponse:
        """It takes no part any more."""
        await self._node.withdraw_approval(_request_id(request.request_id))
        return operator.WithdrawApprovalResponse()

    async def Reshare(
        self, request: operator.ReshareRequest, _: Caller
    ) -> AsyncGenerator[common.Progress, None]:
        """Runs an approved request."""
        async with aclosing(self._node.reshare(_request_id(request.request_id))) as items:
            async for item in items:
                yield values.progress(item)

    async def MakeRecoveryRequest(
        self, request: operator.MakeRecoveryRequestRequest, _: Caller
    ) -> operator.MakeRecoveryRequestResponse:
        """The file that operators approve."""
        try:
            committee = Committee.from_yaml(request.committee)
        except BadCommittee as error:
            raise InvalidRequest(f"the committee: {error}") from None
        account_ids = tuple(map(requests.account_id, request.account_ids))
        helpers = tuple(request.helpers) or None
        text, request_id = await self._node.recover_request(request.lost, committee, helpers, account_ids)
        return operator.MakeRecoveryRequestResponse(request=text, request_id=request_id)

    async def Recover(
        self, request: operator.RecoverRequest, _: Caller
    ) -> AsyncGenerator[common.Progress, None]:
        """Runs an approved request."""
        async with aclosing(self._node.recover(_request_id(request.request_id))) as items:
            async for item in items:
                yield values.progress(item)

    async def ListRecoveries(
        self, _: operator.ListRecoveriesRequest, __: Caller
    ) -> operator.ListRecoveriesResponse:
        """All that were approved here."""
        found = map(values.recovery, await self._node.recoveries())
        return operator.ListRecoveriesResponse(recoveries=found)

    async def ListResharings(
        self, _: operator.ListResharingsRequest, __: Caller
    ) -> operator.ListResharingsResponse:
        """All that were approved here."""
        found = map(values.resharing, await self._node.resharings())
        return operator.ListResharingsResponse(resharings=found)


def _request_id(value: bytes) -> bytes:
    found = requests.some_id(value, "request_id")
    if found is None:
        raise InvalidRequest("name the request by its id, 32 bytes")
    return found
