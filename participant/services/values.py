"""What a node shows, as messages of `wallet.v1`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import operator_pb2 as operator
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.node import api
from participant.payloads import Payload, PsbtTx, Signature, address_of
from participant.payloads.bitcoin import der, sighash_type, taproot_signature
from participant.payloads.psbt import Map, Psbt

CURVES: Final[Mapping[str, common.Curve.ValueType]] = {
    "secp256k1": common.CURVE_SECP256K1,
    "ed25519": common.CURVE_ED25519,
}
_STATES: Final[Mapping[api.AccountStatus, common.AccountState.ValueType]] = {
    api.AccountStatus.ACTIVE: common.ACCOUNT_STATE_ACTIVE,
    api.AccountStatus.NEEDS_AUX: common.ACCOUNT_STATE_NEEDS_AUX,
    api.AccountStatus.FROZEN: common.ACCOUNT_STATE_FROZEN,
    api.AccountStatus.DAMAGED: common.ACCOUNT_STATE_DAMAGED,
    api.AccountStatus.DELETING: common.ACCOUNT_STATE_DELETING,
    api.AccountStatus.NEEDS_REFRESH: common.ACCOUNT_STATE_NEEDS_REFRESH,
    api.AccountStatus.PENDING: common.ACCOUNT_STATE_PENDING,
}


def addresses(by_kind: Mapping[str, str]) -> list[common.Address]:
    """Addresses, by kind."""
    return [common.Address(kind=kind, text=text) for kind, text in by_kind.items()]


def account(view: api.AccountView) -> common.Account:
    """An account."""
    return common.Account(
        account_id=view.account_id,
        curve=CURVES.get(view.curve, common.CURVE_UNSPECIFIED),
        threshold=view.threshold,
        parties=view.parties,
        committee_id=view.committee_id,
        key_id=view.key_id,
        public_key=view.public_key,
        addresses=addresses(view.addresses),
        share_epoch=view.share_epoch,
        aux_id=view.aux_id or b"",
        index=view.index,
        state=_STATES[view.status],
        created_at=view.created_at,
    )


def public_key(view: api.PublicKeyView) -> wallet.GetPublicKeyResponse:
    """The key at a path."""
    return wallet.GetPublicKeyResponse(
        account_id=view.account_id,
        path=view.path,
        curve=CURVES.get(view.curve, common.CURVE_UNSPECIFIED),
        public_key=view.public_key,
        addresses=addresses(view.addresses),
    )


def stock(view: api.StockView) -> common.Stock:
    """The stock of one account."""
    return common.Stock(
        account_id=view.account_id,
        entries=[
            common.StockEntry(
                signers=entry.signers,
                owner=entry.owner,
                fresh=entry.fresh,
                promised=entry.promised,
                target=entry.target,
                oldest_seconds=int(entry.oldest_seconds),
                bip340=entry.bip340,
            )
            for entry in view.entries
        ],
    )


def stocks(views: Iterable[api.StockView]) -> wallet.GetStockResponse:
    """The stock of several accounts."""
    return wallet.GetStockResponse(stocks=[stock(view) for view in views])


def primes(pool: api.PrimePool) -> common.PrimePool:
    """The pool of safe primes."""
    return common.PrimePool(available=pool.available, target=pool.target, searching=pool.searching)


def resharing(view: api.ReshareView) -> common.Resharing:
    """An account on its way to another committee."""
    return common.Resharing(
        request_id=view.request_id,
        account_id=view.account_id,
        old_committee_id=view.old_committee_id,
        new_committee_id=view.new_committee_id,
        threshold=view.threshold,
        new_threshold=view.new_threshold,
        dealers=view.dealers,
        withdrawn=view.withdrawn,
        certified=view.certified,
        deletions_due=view.deletions_due,
        deleted=view.deleted,
        not_deleted=view.not_deleted,
        complete=view.complete,
        text=view.summary,
    )


def recovery(view: api.RecoveryView) -> common.Recovery:
    """Lost shares on their way back."""
    return common.Recovery(
        request_id=view.request_id,
        old_committee_id=view.old_committee_id,
        new_committee_id=view.new_committee_id,
        lost=view.lost,
        identity_key=view.identity,
        helpers=view.helpers,
        account_ids=view.account_ids,
        back=view.back,
        settled=view.settled,
        withdrawn=view.withdrawn,
        complete=view.complete,
        text=view.summary,
    )


def progress(item: api.Progress) -> common.Progress:
    """One step of a ceremony."""
    message = common.Progress(
        operation=item.stage,
        phase=item.phase,
        done=item.done,
        total=item.total,
        text=item.text,
        session_id=item.session_id or b"",
        waiting_for=item.waiting_for,
        elapsed_ms=int(item.elapsed * 1000),
    )
    match item.result:
        case api.AccountView() as view:
            message.account.CopyFrom(account(view))
        case api.AuxView() as view:
            message.aux.CopyFrom(
                common.AuxResult(
                    committee_id=view.committee_id, aux_id=view.aux_id, account_ids=view.account_ids
                )
            )
        case api.RefreshView() as view:
            accounts = map(account, view.accounts)
            message.refresh.CopyFrom(common.RefreshResult(committee_id=view.committee_id, accounts=accounts))
        case api.ReshareView() as view:
            message.reshare.CopyFrom(resharing(view))
        case api.RecoveryView() as view:
            message.recovery.CopyFrom(recovery(view))
        case api.PrimePool() as pool:
            message.primes.CopyFrom(primes(pool))
        case api.StockView() as view:
            message.stock.CopyFrom(stock(view))
        case None:
            pass
    return message


def signed(result: api.SignResult, payload: Payload) -> wallet.SignResponse:
    """The answer to Sign."""
    message = wallet.SignResponse(
        request_id=result.request_id,
        public_key=result.public_key,
        raw_transaction=result.raw_transaction or b"",
        signers=result.signers,
        path=result.path,
        from_stock=all(one.from_stock for one in result.signed),
        session_id=result.signed[-1].session_id,
    )
    if isinstance(payload, PsbtTx):
        message.psbt = result.psbt or b""
        message.address = _spent_address(result) or result.addresses.get("bitcoin", "")
        inputs = Psbt.parse(payload.psbt).inputs
        message.inputs.extend(_input(one, inputs[one.input_index or 0]) for one in result.signed)
        return message
    if result.signed[0].bip340 is not None:
        message.address = _spent_address(result)
    else:
        message.address = result.addresses.get("ethereum") or result.addresses.get("solana", "")
    message.r, message.s, message.v = scalar(result.r), scalar(result.s), result.v
    message.signature, message.digest = result.signature, result.digest
    return message


def _spent_address(result: api.SignResult) -> str:
    first = result.signed[0]
    return "" if first.bip340 is None else address_of(first.public_key, first.bip340)


def _input(one: api.SignedDigest, fields: Map) -> wallet.InputSignature:
    kind = sighash_type(fields, taproot=one.bip340 is not None)
    halves = Signature(one.r, one.s, one.v)
    signature = der(halves) + bytes([kind]) if one.bip340 is None else taproot_signature(halves, kind)
    return wallet.InputSignature(
        input=one.input_index or 0,
        path=one.path,
        public_key=one.public_key,
        digest=one.digest,
        signature=signature,
        sighash_type=kind,
        r=scalar(one.r),
        s=scalar(one.s),
        v=one.v,
    )


def scalar(number: int) -> bytes:
    """32 bytes, big-endian."""
    return number.to_bytes(32, "big")


def committee(view: api.CommitteeView) -> operator.Committee:
    """A committee with the presence of its members."""
    return operator.Committee(
        committee_id=view.committee.committee_id,
        members=[_member(peer) for peer in view.members],
        threshold=view.committee.threshold,
        index=view.index,
        aux_id=view.aux_id or b"",
        is_left=view.is_left,
    )


def _member(peer: api.PeerView) -> operator.Member:
    return operator.Member(
        index=peer.index,
        identity_key=peer.identity,
        online=peer.online,
        last_seen_seconds=int(peer.last_seen or 0),
        never_seen=peer.last_seen is None and not peer.own,
        quarantined=peer.quarantined,
        version=peer.version,
    )


def status(view: api.StatusView) -> operator.GetStatusResponse:
    """The node at a glance."""
    return operator.GetStatusResponse(
        version=view.version,
        identity_key=view.identity,
        uptime_seconds=int(view.uptime),
        gateway_url=view.gateway_url,
        gateway_connected=view.gateway_connected,
        accounts=view.accounts,
        sessions=view.sessions,
        primes=primes(view.primes),
        committees=[committee(one) for one in view.committees],
        warnings=view.warnings,
    )


def session(view: api.SessionView) -> operator.SessionInfo:
    """A session."""
    return operator.SessionInfo(
        session_id=view.session_id or b"",
        kind=view.kind,
        account_id=view.account_id or "",
        committee_id=view.committee_id,
        request_id=view.request_id,
        initiator=view.initiator,
        signers=view.parties,
        state=_session_state(view.outcome),
        phase=view.phase,
        waiting_for=view.waiting_for,
        started_at=int(view.started_at),
        text="" if view.outcome == "done" else view.outcome,
    )


def _session_state(outcome: str) -> operator.SessionState.ValueType:
    if not outcome:
        return operator.SESSION_STATE_RUNNING
    if outcome == "done":
        return operator.SESSION_STATE_DONE
    if outcome.startswith("Timeout"):
        return operator.SESSION_STATE_TIMED_OUT
    return operator.SESSION_STATE_ABORTED
