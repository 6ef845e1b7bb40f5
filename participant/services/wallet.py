"""`wallet.v1.Wallet`: the service for callers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.callers import Caller
from participant.node.errors import InvalidRequest, SessionUnknown
from participant.node.facade import NodeApi
from participant.services import requests, values
from participant.services.gate import Lasting


class WalletService:
    """See proto/wallet/v1/wallet.proto. Accounts that a caller may not use are to him as if they were not there."""

    def __init__(self, node: NodeApi, lasting: Lasting) -> None:
        self._node = node
        self._lasting = lasting

    async def CreateAccount(
        self, request: wallet.CreateAccountRequest, caller: Caller
    ) -> AsyncGenerator[common.Progress, None]:
        """Generates a key. A caller who leaves ends it, unless it is past the point where the parties agreed."""
        steps = self._node.create_account(
            requests.account_id(request.account_id),
            curve=requests.curve(request.curve),
            threshold=request.threshold or None,
            committee_id=requests.some_id(request.committee_id, "committee_id"),
            caller=caller,
        )
        async with aclosing(steps) as items:
            async for item in items:
                yield values.progress(item)

    async def ListAccounts(
        self, request: wallet.ListAccountsRequest, caller: Caller
    ) -> wallet.ListAccountsResponse:
        """The accounts that the caller may read."""
        page = requests.Page.of(request.page_size, request.page_token)
        committee_id = requests.some_id(request.committee_id, "committee_id")
        # Of a thousand accounts it takes longer than other calls can wait.
        views = await asyncio.to_thread(self._node.accounts, committee_id, caller)
        found, token = page.cut([(view.account_id.encode(), view) for view in views], ordered=True)
        return wallet.ListAccountsResponse(
            accounts=[values.account(view) for view in found], next_page_token=token
        )

    async def GetAccount(self, request: wallet.GetAccountRequest, caller: Caller) -> common.Account:
        """One account."""
        return values.account(self._node.account(requests.account_id(request.account_id), caller))

    async def GetPublicKey(
        self, request: wallet.GetPublicKeyRequest, caller: Caller
    ) -> wallet.GetPublicKeyResponse:
        """Public key and addresses at a path."""
        account_id = requests.account_id(request.account_id)
        return values.public_key(self._node.public_key(account_id, request.path or "m", caller))

    async def Sign(self, request: wallet.SignRequest, caller: Caller) -> wallet.SignResponse:
        """Signs. The work goes on when the caller leaves: the same request id gives him the signature later.

        AbortSession is the way to end it.
        """
        call = requests.sign_call(request, caller)
        return values.signed(await self._lasting.finish(self._node.sign(call)), call.payload)

    async def GetStock(self, request: wallet.GetStockRequest, caller: Caller) -> wallet.GetStockResponse:
        """The presignatures that are in memory."""
        return values.stocks(self._node.stock(request.account_id or None, caller))

    async def AbortSession(
        self, request: wallet.AbortSessionRequest, caller: Caller
    ) -> wallet.AbortSessionResponse:
        """Ends a session of an account that the caller may use."""
        return await abort_session(self._node, request, caller)


async def abort_session(
    node: NodeApi, request: wallet.AbortSessionRequest, caller: Caller | None
) -> wallet.AbortSessionResponse:
    """Ends the session of the request; a caller of None is the operator. Raises SessionUnknown, InvalidRequest."""
    which = request.WhichOneof("which")
    if which is None:
        raise InvalidRequest("name the session: session_id or request_id")
    session_id = requests.full_id(request.session_id, "session_id") if which == "session_id" else None
    request_id = requests.request_id(request.request_id) if which == "request_id" else None
    if caller is not None and caller.accounts is not None:
        for view in node.sessions():
            named = (
                session_id in (view.session_id, view.proposal)
                if session_id
                else view.request_id == request_id
            )
            if named and view.account_id not in caller.accounts:
                raise SessionUnknown("no session of this id is under way")
    ended = await node.abort_session(session_id, request_id, request.reason)
    if ended is None:
        return wallet.AbortSessionResponse(session_id=session_id or b"", aborted=False)
    return wallet.AbortSessionResponse(session_id=ended.session_id or b"", aborted=True)
