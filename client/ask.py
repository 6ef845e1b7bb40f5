"""wallet-mpc's way of asking: one SignMessage to our own participant and, through the gateway's gRPC port, to a second one."""

from __future__ import annotations

import asyncio
import secrets

from client.errors import RequestFailed, of_call
from client.request import Answer, Request, Signed
from kit.pb import mpc_pb2
from participant.grpc_client import CallFailed, ServiceClient
from participant.payloads import Digest


async def ask_both(
    own: ServiceClient, gateway: ServiceClient, request: Request, public_key: bytes, *, seconds: float
) -> Answer:
    """The signature of a digest with the account's root key `public_key`, from whoever has it first; unchecked.

    The request id, a UUID, is the execution id. This wire does not tell who signed. Raises RequestFailed.
    """
    if not isinstance(request.payload, Digest) or request.path:
        raise ValueError("this wire carries digests for the root key only")
    message = mpc_pb2.SignMessage(
        # It only names the room, and may collide.
        tx_id=secrets.randbits(31),
        execution_id=request.request_id,
        chain=mpc_pb2.Ethereum,
        data=request.payload.digest,
        account_id=request.account_id,
    )
    calls = [
        asyncio.create_task(own.call(own.participant.SignTx, message, timeout=seconds)),
        asyncio.create_task(gateway.call(gateway.sign_gateway.SignTx, message, timeout=seconds)),
    ]
    failures: list[CallFailed] = []
    try:
        for finished in asyncio.as_completed(calls):
            try:
                found = await finished
            except CallFailed as error:
                failures.append(error)
                continue
            r, s = int.from_bytes(found.r, "big"), int.from_bytes(found.s, "big")
            return Answer((Signed((), request.payload.digest, public_key, r, s, found.v),))
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    # The one that failed first is the cause: the other waited for it.
    raise _both(failures)


def _both(failures: list[CallFailed]) -> RequestFailed:
    first = of_call(failures[0])
    if len(failures) > 1 and failures[1].text != failures[0].text:
        return RequestFailed(
            f"{first.what}; and {failures[1].target}: {failures[1].text}",
            reason=first.reason,
            metadata=first.metadata,
        )
    return first
