"""The part of `wallet.v1.Operator` about extended keys, deletions and the keys that open the store."""

from __future__ import annotations

from pathlib import Path

from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import operator_pb2 as operator
from participant.callers import Caller
from participant.node import api
from participant.node.facade import NodeApi
from participant.services import requests, values


class KeepingService:
    """See proto/wallet/v1/operator.proto."""

    _node: NodeApi

    async def GetExtendedPublicKey(
        self, request: operator.GetExtendedPublicKeyRequest, _: Caller
    ) -> operator.GetExtendedPublicKeyResponse:
        """The extended public key of an account."""
        account_id = requests.account_id(request.account_id)
        view = await self._node.extended_key(account_id, request.path or "m", testnet=request.testnet)
        return operator.GetExtendedPublicKeyResponse(
            account_id=view.account_id,
            path=view.path,
            extended_key=view.extended_key,
            addresses=values.addresses(view.addresses),
        )

    async def ApproveDeletion(
        self, request: operator.ApproveDeletionRequest, _: Caller
    ) -> operator.ApproveDeletionResponse:
        """This node's word for deleting an account."""
        account_id = requests.account_id(request.account_id)
        return operator.ApproveDeletionResponse(
            approval=await self._node.approve_deletion(account_id, request.reason)
        )

    async def DeleteAccount(self, request: operator.DeleteAccountRequest, _: Caller) -> operator.Deletion:
        """Deletes an account, with enough members' words."""
        account_id = requests.account_id(request.account_id)
        return _deletion(await self._node.delete_account(account_id, list(request.approvals)))

    async def CancelDeletion(self, request: operator.CancelDeletionRequest, _: Caller) -> common.Account:
        """Calls it off."""
        return values.account(await self._node.cancel_deletion(requests.account_id(request.account_id)))

    async def ListDeletions(
        self, _: operator.ListDeletionsRequest, __: Caller
    ) -> operator.ListDeletionsResponse:
        """All deletions."""
        return operator.ListDeletionsResponse(deletions=map(_deletion, await self._node.deletions()))

    async def MakeBackup(self, request: operator.MakeBackupRequest, _: Caller) -> operator.MakeBackupResponse:
        """This node's backup."""
        committee_id = requests.some_id(request.committee_id, "committee_id")
        file = await self._node.make_backup(list(request.recovery_keys), request.quorum, committee_id)
        return operator.MakeBackupResponse(file=file)

    async def ListSeals(self, _: operator.ListSealsRequest, __: Caller) -> operator.ListSealsResponse:
        """What opens the store."""
        return _seals(await self._node.seals())

    async def AddSeal(self, request: operator.AddSealRequest, _: Caller) -> operator.SealSlot:
        """Lets another outer key open the store."""
        view = await self._node.add_seal(Path(request.seal_file), make_token_key=request.make_token_key)
        return _seals(view).slots[-1]

    async def RemoveSeal(self, request: operator.RemoveSealRequest, _: Caller) -> operator.ListSealsResponse:
        """Lets one open it no more."""
        return _seals(await self._node.remove_seal(request.number))

    async def RenewDataKey(
        self, _: operator.RenewDataKeyRequest, __: Caller
    ) -> operator.RenewDataKeyResponse:
        """Seals everything under a new data key."""
        return operator.RenewDataKeyResponse(values=await self._node.renew_data_key())


def _deletion(view: api.DeletionView) -> operator.Deletion:
    return operator.Deletion(
        account_id=view.account_id,
        key_id=view.key_id,
        erase_at=view.erase_at,
        erased=view.erased,
        approved_by=view.approved_by,
    )


def _seals(view: api.SealsView) -> operator.ListSealsResponse:
    slots = [
        operator.SealSlot(
            number=slot.number,
            form=slot.form,
            note=slot.note,
            added_at=slot.added_at // 1000,
            in_use=slot.in_use,
        )
        for slot in view.slots
    ]
    return operator.ListSealsResponse(slots=slots, data_keys=view.data_keys)
