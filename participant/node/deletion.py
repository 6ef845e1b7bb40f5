"""The members' signed words for deleting an account.

An approval is ENC of [tag, committee id, account id, key_id, time in seconds, identity key, signature]; the identity key
signs ENC of all before it. t of them delete: as many as could move everything that the account holds. It names the
key, so that it is good for no other account of the name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from participant.committee import Committee
from participant.identity import NodeKeys
from participant.node.errors import InvalidRequest
from participant.store import AccountRecord
from tss.encoding import Bytes, Integer, Text, Tuple, decode, encode
from tss.envelope import IDENTITY_BYTES, SIGNATURE_BYTES, verify_signature
from tss.errors import ProtocolError

APPROVAL_SECONDS: Final = 30 * 86_400
"""How long an approval may be used."""
SKEW_SECONDS: Final = 3600

_TAG: Final = "wallet-mpc/v1 delete account"
_SCHEMA: Final = Tuple(
    Text(64), Bytes(32), Text(512), Bytes(32), Integer(64), Bytes(IDENTITY_BYTES), Bytes(SIGNATURE_BYTES)
)


def approve(record: AccountRecord, keys: NodeKeys, now: int) -> bytes:
    """This node's word, given now (seconds since 1970)."""
    body = [_TAG, record.committee_id, record.account_id, record.key_id, now, keys.identity]
    return encode([*body, keys.sign(encode(body))])


def approved_by(
    approvals: Sequence[bytes], record: AccountRecord, committee: Committee, now: int | None
) -> list[int]:
    """The indices of the members that approved, ascending. `now` None: whenever that was.

    Raises InvalidRequest for one that is not a member's valid word for this very key.
    """
    found = set()
    for approval in approvals:
        try:
            *body, signature = decode(approval, _SCHEMA)
        except ProtocolError:
            raise InvalidRequest("one of the approvals is damaged, or is none") from None
        tag, committee_id, account_id, key_id, given_at, identity = body
        about = (record.committee_id, record.account_id, record.key_id)
        if tag != _TAG or (committee_id, account_id, key_id) != about:
            raise InvalidRequest(
                f"one of the approvals is for {account_id!r}, or for another key of that name"
            )
        if identity not in committee.identities:
            raise InvalidRequest(
                "one of the approvals is by a node that is no member of the account's committee"
            )
        index = committee.identities.index(identity)
        if not verify_signature(identity, encode(body), signature):
            raise InvalidRequest(f"the approval of index {index} is not signed by it")
        if now is not None and not now - APPROVAL_SECONDS <= given_at <= now + SKEW_SECONDS:
            raise InvalidRequest(
                f"the approval of index {index} is older than {APPROVAL_SECONDS // 86_400} days, or from the future"
            )
        found.add(index)
    return sorted(found)


def check_quorum(
    approvals: Sequence[bytes], record: AccountRecord, committee: Committee, now: int
) -> list[int]:
    """As `approved_by`; raises InvalidRequest for fewer than t members, too."""
    found = approved_by(approvals, record, committee, now)
    if len(found) < record.threshold:
        raise InvalidRequest(
            f"deleting account {record.account_id!r} takes the approval of {record.threshold} members of its committee, and "
            f"there are {len(found)}: get more with mpc-keygen delete approve on their nodes"
        )
    return found
