"""`mpc.Participant`: the call that existing wallet-mpc clients make of every participant at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kit.pb import mpc_pb2 as mpc
from participant.callers import Caller
from participant.node import api
from participant.node.errors import InternalFailure, InvalidRequest
from participant.node.facade import NodeApi
from participant.services import requests, values
from participant.services.gate import Lasting

_CHAINS: Final[Mapping[int, api.Chain]] = {mpc.Ethereum: api.Chain.ETHEREUM, mpc.Bitcoin: api.Chain.BITCOIN}


class BadChain(InternalFailure):
    """A chain that this wire does not have; its callers expect INTERNAL for it."""


class ParticipantService:
    """See proto/mpc.proto."""

    def __init__(self, node: NodeApi, lasting: Lasting) -> None:
        self._node = node
        self._lasting = lasting

    async def SignTx(self, request: mpc.SignMessage, caller: Caller) -> mpc.SignatureMessage:
        """Signs with those who were asked the same. The work goes on when this caller leaves: others wait for it too."""
        account_id = requests.account_id(request.account_id)
        chain = _CHAINS.get(request.chain)
        if chain is None:
            raise BadChain(f"chain {request.chain} is unknown: 0 is Ethereum, 1 is Bitcoin")
        call = api.AskCall(
            tx_id=request.tx_id,
            execution_id=_execution_id(request.execution_id),
            chain=chain,
            data=requests.digest(request.data),
            account_id=account_id,
            caller=caller,
        )
        result = await self._lasting.finish(self._node.sign_tx(call))
        return mpc.SignatureMessage(r=values.scalar(result.r), s=values.scalar(result.s), v=result.v)


def _execution_id(data: bytes) -> bytes:
    if len(data) != requests.REQUEST_ID_BYTES:
        raise InvalidRequest(
            f"execution_id has {len(data)} bytes, the {requests.REQUEST_ID_BYTES} of a UUID are due"
        )
    return data
