"""`wallet.v1.Operator`: the service for whoever runs the node. It is never on the callers' listener."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import operator_pb2 as operator
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.age_files import encrypt
from participant.callers import Caller
from participant.committee import Committee
from participant.identity import Card
from participant.node import api
from participant.node.errors import AccountUnknown, InvalidRequest, NodeFailure
from participant.node.facade import NodeApi
from participant.services import requests, values
from participant.services.keeping import KeepingService
from participant.services.moving import MovingService
from participant.services.wallet import abort_session
from participant.sharefile import SUITES, encode_share_file, parse_share_file
from tss.errors import ProtocolError
from tss.evidence import claim_in
from tss.params import Suite


class EvidenceUnknown(NodeFailure):
    """There is no evidence of this id."""

    reason = "EVIDENCE_NOT_FOUND"


class OperatorService(KeepingService, MovingService):
    """See proto/wallet/v1/operator.proto. To the node an operator is no caller: policies bind callers and peers."""

    def __init__(self, node: NodeApi, card: Card, suites: Mapping[str, Suite] = SUITES) -> None:
        self._node = node
        self._card = card
        self._suites = suites

    async def GetStatus(self, _: operator.GetStatusRequest, __: Caller) -> operator.GetStatusResponse:
        """Everything at a glance."""
        return values.status(self._node.status())

    # Identities and committees

    async def GetIdentity(self, _: operator.GetIdentityRequest, __: Caller) -> operator.Card:
        """The public card."""
        return operator.Card(identity_key=self._card.identity, text=self._card.to_json())

    async def ListCommittees(
        self, _: operator.ListCommitteesRequest, __: Caller
    ) -> operator.ListCommitteesResponse:
        """All committees, with the presence of their members."""
        return operator.ListCommitteesResponse(committees=map(values.committee, self._node.committees()))

    async def AddCommittee(self, request: operator.AddCommitteeRequest, _: Caller) -> operator.Committee:
        """Joins a committee. A member is named by the text of its card, which its identity signed."""
        committee = Committee.of(map(_card, request.members), request.threshold)
        return values.committee(await self._node.add_committee(committee))

    # Ceremonies

    async def CreateAccount(
        self, request: wallet.CreateAccountRequest, _: Caller
    ) -> AsyncGenerator[common.Progress, None]:
        """As Wallet.CreateAccount, on the operator's word."""
        steps = self._node.create_account(
            requests.account_id(request.account_id),
            curve=requests.curve(request.curve),
            threshold=request.threshold or None,
            committee_id=requests.some_id(request.committee_id, "committee_id"),
        )
        async with aclosing(_shown(steps)) as items:
            async for item in items:
                yield item

    async def RunAux(
        self, request: operator.RunAuxRequest, _: Caller
    ) -> AsyncGenerator[common.Progress, None]:
        """Makes new auxiliary information."""
        committee_id = requests.some_id(request.committee_id, "committee_id")
        async with aclosing(_shown(self._node.run_aux(committee_id, tuple(request.account_ids)))) as items:
            async for item in items:
                yield item

    async def RefreshAccounts(
        self, request: operator.RefreshAccountsRequest, _: Caller
    ) -> AsyncGenerator[common.Progress, None]:
        """Makes new shares of the same keys."""
        if request.all == bool(request.account_ids):
            raise InvalidRequest("name the accounts to refresh, or say all = true")
        committee_id = requests.some_id(request.committee_id, "committee_id")
        steps = self._node.refresh_accounts(committee_id, tuple(request.account_ids))
        async with aclosing(_shown(steps)) as items:
            async for item in items:
                yield item

    async def FillPrimes(
        self, request: operator.FillPrimesRequest, _: Caller
    ) -> AsyncGenerator[common.Progress, None]:
        """Searches safe primes."""
        async with aclosing(_shown(self._node.fill_primes(request.count))) as items:
            async for item in items:
                yield item

    # Shares as files

    async def ImportShares(
        self, request: operator.ImportSharesRequest, _: Caller
    ) -> operator.ImportSharesResponse:
        """Takes shares that the store does not have."""
        # Checking shares is heavy arithmetic.
        entries = await asyncio.to_thread(
            parse_share_file, request.file, "the share file", suites=self._suites
        )
        for name in request.account_ids:
            if name not in entries:
                raise AccountUnknown(f"Key share not found: the share file has no account {name!r}")
        wanted = [
            entry for name, entry in entries.items() if not request.account_ids or name in request.account_ids
        ]
        taken = await self._node.import_share(wanted)
        return operator.ImportSharesResponse(shares=map(_imported, taken))

    async def ExportShares(
        self, request: operator.ExportSharesRequest, _: Caller
    ) -> operator.ExportSharesResponse:
        """Shares as a file, encrypted unless plain text is asked for in so many words."""
        protection = request.WhichOneof("protection")
        if protection is None or (protection == "plaintext" and not request.plaintext):
            raise InvalidRequest("say how the file is protected: recipients, passphrase, or plaintext = true")
        entries = await self._node.export_shares(tuple(request.account_ids))
        file = encode_share_file(entries)
        if protection == "recipients":
            file = encrypt(file, recipients=list(request.recipients.keys))
        elif protection == "passphrase":
            try:
                password = request.passphrase.decode()
            except UnicodeDecodeError:
                raise InvalidRequest("the passphrase is not UTF-8 text") from None
            if not password:
                raise InvalidRequest("the passphrase is empty")
            # Turning a password into a key is meant to be slow.
            file = await asyncio.to_thread(encrypt, file, password=password)
        return operator.ExportSharesResponse(file=file, account_ids=[entry.account_id for entry in entries])

    # Accounts

    async def FreezeAccount(self, request: operator.FreezeAccountRequest, _: Caller) -> common.Account:
        """This node signs no more with the account."""
        return values.account(self._node.freeze(requests.account_id(request.account_id), request.reason))

    async def UnfreezeAccount(self, request: operator.UnfreezeAccountRequest, _: Caller) -> common.Account:
        """The opposite."""
        return values.account(self._node.unfreeze(requests.account_id(request.account_id)))

    # Quarantine and evidence

    async def ListQuarantine(
        self, _: operator.ListQuarantineRequest, __: Caller
    ) -> operator.ListQuarantineResponse:
        """Peers that failed a check, each with its places, and signer sets that are blocked."""
        peers: dict[bytes, operator.QuarantinedPeer] = {}
        for mark in self._node.quarantine():
            peer = peers.setdefault(
                mark.identity,
                operator.QuarantinedPeer(
                    identity_key=mark.identity,
                    check=mark.reason,
                    evidence_id=mark.evidence_id.hex() if mark.evidence_id else "",
                    since=mark.since,
                ),
            )
            place = operator.CommitteeIndex(committee_id=mark.committee_id, index=mark.index or 0)
            if mark.index is not None and place not in peer.places:
                peer.places.append(place)
        sets = [
            operator.BlockedSignerSet(
                session_id=blocked.session_id,
                committee_id=blocked.committee_id,
                signers=blocked.signers,
                lacking=blocked.lacking,
                text=blocked.reason,
                since=blocked.since,
            )
            for blocked in self._node.blocked_sets()
        ]
        return operator.ListQuarantineResponse(peers=peers.values(), signer_sets=sets)

    async def ClearQuarantine(
        self, request: operator.ClearQuarantineRequest, caller: Caller
    ) -> operator.ClearQuarantineResponse:
        """Works with a peer, or in a signer set, again, on the operator's word."""
        if request.session_id:
            if request.identity_key:
                raise InvalidRequest(
                    "give the identity_key of a peer or the session_id of a signer set, not both"
                )
            session_id = requests.full_id(request.session_id, "session_id")
            lifted = self._node.clear_blocked_set(session_id, caller.name, request.reason)
            return operator.ClearQuarantineResponse(cleared=lifted)
        identity = requests.full_id(request.identity_key, "identity_key")
        marks = self._node.clear_quarantine(identity, caller.name, request.reason)
        return operator.ClearQuarantineResponse(cleared=marks > 0)

    async def ListEvidence(
        self, request: operator.ListEvidenceRequest, _: Caller
    ) -> operator.ListEvidenceResponse:
        """All evidence, newest first."""
        page = requests.Page.of(request.page_size, request.page_token)
        newest = [(evidence_id, evidence_id) for evidence_id in reversed(self._node.evidence_ids())]
        found, token = page.cut(newest, ordered=False)
        return operator.ListEvidenceResponse(
            evidence=[self._evidence(evidence_id)[0] for evidence_id in found], next_page_token=token
        )

    async def GetEvidence(
        self, request: operator.GetEvidenceRequest, _: Caller
    ) -> operator.GetEvidenceResponse:
        """One evidence file."""
        try:
            evidence_id = bytes.fromhex(request.evidence_id)
        except ValueError:
            evidence_id = b""
        evidence, file = self._evidence(evidence_id)
        return operator.GetEvidenceResponse(evidence=evidence, file=file)

    def _evidence(self, evidence_id: bytes) -> tuple[operator.Evidence, bytes]:
        file = self._node.evidence(evidence_id) if evidence_id else None
        if file is None:
            raise EvidenceUnknown(
                f"there is no evidence {evidence_id.hex()!r}; ListEvidence names what there is"
            )
        evidence = operator.Evidence(evidence_id=evidence_id.hex())
        for mark in self._node.quarantine():
            if mark.evidence_id == evidence_id:
                evidence.identity_key, evidence.recorded_at = mark.identity, mark.since
        try:
            accused, evidence.check = claim_in(file)
        except ProtocolError as error:
            evidence.text = f"the file cannot be read: {error}"
        else:
            evidence.text = f"against party index {accused.index - 1} ({accused.role})"
        return evidence, file

    # Stock

    async def GetStock(self, request: wallet.GetStockRequest, _: Caller) -> wallet.GetStockResponse:
        """The presignatures that are in memory."""
        return values.stocks(self._node.stock(request.account_id or None))

    async def FillStock(
        self, request: operator.FillStockRequest, _: Caller
    ) -> AsyncGenerator[common.Progress, None]:
        """Makes presignatures now."""
        account_id = requests.account_id(request.account_id)
        signers = tuple(request.signers) or None
        async with aclosing(_shown(self._node.fill_stock(account_id, signers, request.count))) as items:
            async for item in items:
                yield item

    async def DropStock(self, request: operator.DropStockRequest, _: Caller) -> operator.DropStockResponse:
        """Destroys presignatures."""
        return operator.DropStockResponse(dropped=self._node.drop_stock(request.account_id or None))

    # Store and sessions

    async def CheckStore(self, request: operator.CheckStoreRequest, _: Caller) -> operator.CheckStoreResponse:
        """Looks at the whole store."""
        report = await self._node.check_store(deep=request.deep)
        return operator.CheckStoreResponse(
            sound=report.sound,
            findings=[
                operator.StoreFinding(error=True, text=f"{finding.what}: {finding.text}")
                for finding in report.findings
            ],
            accounts=report.accounts,
            audit_records=report.audit_records,
        )

    async def ListSessions(
        self, request: operator.ListSessionsRequest, _: Caller
    ) -> operator.ListSessionsResponse:
        """Sessions, newest first."""
        page = requests.Page.of(request.page_size, request.page_token)
        views = [(view.proposal, view) for view in self._node.sessions(ended=request.ended)]
        found, token = page.cut(views, ordered=False)
        return operator.ListSessionsResponse(sessions=map(values.session, found), next_page_token=token)

    async def AbortSession(
        self, request: wallet.AbortSessionRequest, _: Caller
    ) -> wallet.AbortSessionResponse:
        """Ends a session."""
        return await abort_session(self._node, request, None)


async def _shown(steps: AsyncGenerator[api.Progress, None]) -> AsyncGenerator[common.Progress, None]:
    """The steps of a ceremony as messages."""
    async with aclosing(steps) as items:
        async for item in items:
            yield values.progress(item)


def _card(message: operator.Card) -> Card:
    if not message.text:
        raise InvalidRequest(
            "a member has no card: give the text that `mpc-keygen identity` printed on its node"
        )
    card = Card.from_json(message.text)
    if message.identity_key and message.identity_key != card.identity:
        raise InvalidRequest("a member's identity_key is not that of its card")
    return card


def _imported(share: api.ImportedShare) -> operator.ImportedShare:
    message = operator.ImportedShare(account_id=share.account_id, imported=share.imported, text=share.text)
    if share.account is not None:
        message.account.CopyFrom(values.account(share.account))
    return message
