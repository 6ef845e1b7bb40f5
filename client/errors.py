"""What a client cannot do, for the people and programs that asked: one class, told apart by a stable reason.

`reason` is the one that the service gave (`wallet.v1`, google.rpc.ErrorInfo), one of participant.grpc_client, or one of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from participant.errors import NodeError
from participant.grpc_client import CallFailed

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_SETTINGS: Final = 2
EXIT_REQUEST: Final = 3
EXIT_NO_SHARE: Final = 4
EXIT_THRESHOLD: Final = 5
EXIT_UNREACHABLE: Final = 6
EXIT_REFUSED: Final = 7
EXIT_PEER: Final = 8
EXIT_INTERRUPTED: Final = 130

EXIT_CODES_HELP: Final = f"""\b
Exit codes: {EXIT_OK} done, {EXIT_FAILED} failed, {EXIT_SETTINGS} wrong settings or usage,
{EXIT_REQUEST} the request cannot be meant, {EXIT_NO_SHARE} key share not found, {EXIT_THRESHOLD} threshold not met,
{EXIT_UNREACHABLE} service or gateway not reachable, {EXIT_REFUSED} refused (policy, permission, limits),
{EXIT_PEER} a participant misbehaved, {EXIT_INTERRUPTED} interrupted"""

_EXIT_CODES: Final[Mapping[str, int]] = {
    "INVALID_REQUEST": EXIT_REQUEST,
    "BAD_DIGEST": EXIT_REQUEST,
    "HARDENED_PATH": EXIT_REQUEST,
    "NOT_A_SIGNER": EXIT_REQUEST,
    "REQUEST_CONFLICT": EXIT_REQUEST,
    "ALREADY_EXISTS": EXIT_REQUEST,
    "ACCOUNT_EXISTS": EXIT_REQUEST,
    "COMMITTEE_UNKNOWN": EXIT_REQUEST,
    "WRONG_CHAIN": EXIT_REQUEST,
    "SESSION_NOT_FOUND": EXIT_REQUEST,
    "KEY_SHARE_NOT_FOUND": EXIT_NO_SHARE,
    "SHARE_DAMAGED": EXIT_NO_SHARE,
    "NEEDS_AUX": EXIT_NO_SHARE,
    "THRESHOLD_NOT_MET": EXIT_THRESHOLD,
    "PARTIES_MISSING": EXIT_THRESHOLD,
    "TIMEOUT": EXIT_THRESHOLD,
    "CONNECTION_REFUSED": EXIT_UNREACHABLE,
    "UNREACHABLE": EXIT_UNREACHABLE,
    "TLS_FAILED": EXIT_UNREACHABLE,
    "GATEWAY_UNREACHABLE": EXIT_UNREACHABLE,
    "GATEWAY_REFUSED": EXIT_UNREACHABLE,
    "NOT_READY": EXIT_UNREACHABLE,
    "BUSY": EXIT_REFUSED,
    "RATE_LIMITED": EXIT_REFUSED,
    "POLICY_REFUSED": EXIT_REFUSED,
    "PERMISSION_DENIED": EXIT_REFUSED,
    "UNAUTHENTICATED": EXIT_REFUSED,
    "ACCOUNT_FROZEN": EXIT_REFUSED,
    "ACCOUNT_DELETED": EXIT_REFUSED,
    "REFRESH_NEEDED": EXIT_REFUSED,
    "SHARE_TOO_OLD": EXIT_REFUSED,
    "PEER_FAULT": EXIT_PEER,
    "PEER_QUARANTINED": EXIT_PEER,
    "SIGNER_SET_BLOCKED": EXIT_PEER,
    "BAD_ANSWER": EXIT_PEER,
    "NOT_OFFERED": EXIT_SETTINGS,
    "SETTINGS": EXIT_SETTINGS,
}


_ADVICE: Final[Mapping[str, str]] = {
    "BAD_DIGEST": "give the 32 bytes to be signed as 64 hexadecimal digits, or the message itself",
    "HARDENED_PATH": "use indices without ' (below 2147483648), such as m/0/5: a hardened key needs the private key",
    "NOT_A_SIGNER": "add one of the signers to service.targets, or let the service choose who signs",
    "REQUEST_CONFLICT": "take a new request id, or leave it out",
    "ALREADY_EXISTS": "take a new request id or account id",
    "ACCOUNT_EXISTS": "take another account id; `mpc-client accounts` lists those that there are",
    "WRONG_CHAIN": "correct chainId in the transaction, or ethereum.chain_id in the settings",
    "KEY_SHARE_NOT_FOUND": "compare the account id with what `mpc-client accounts` lists; make a key with "
    "`mpc-keygen create`, or correct key_share_file in the settings",
    "SHARE_DAMAGED": "ask another participant to sign, and restore this one's share from its backup",
    "NEEDS_AUX": "start all participants once: they make the auxiliary information together",
    "THRESHOLD_NOT_MET": "start the participants that are missing, see that no two have the same index, and that all "
    "use the same gateway",
    "PARTIES_MISSING": "this needs every participant: start those that are missing",
    "TIMEOUT": "see that the silent participants run and reach the gateway, then try again",
    "GATEWAY_UNREACHABLE": "start sign-gateway first, then compare gateway.url with the line that it prints",
    "GATEWAY_REFUSED": "its operator adds the participant's card to the key set; the text says if it is something else",
    "NOT_READY": "try again in a moment",
    "BUSY": "try again in a moment",
    "RATE_LIMITED": "wait, or ask the service's operator for a higher limit",
    "POLICY_REFUSED": "the policy of the participant that refused decides; its operator can change it",
    "PERMISSION_DENIED": "the service's operator decides which accounts you may use",
    "UNAUTHENTICATED": "set a token file, or certificate and key, to credentials that the service knows",
    "ACCOUNT_FROZEN": "the operator of that participant froze the account and can lift it",
    "ACCOUNT_DELETED": "the operators of the participants are deleting the account; until that is done they can call it off",
    "REFRESH_NEEDED": "have an operator refresh the account (mpc-keygen refresh), or ask another participant",
    "SHARE_TOO_OLD": "have an operator refresh the account (mpc-keygen refresh), or ask another participant",
    "PEER_FAULT": "that participant is in quarantine now: go on with others, and look into it before you trust it again",
    "PEER_QUARANTINED": "ask a participant that does not need the one in quarantine, or have the operator look into it and "
    "clear it",
    "SIGNER_SET_BLOCKED": "bring back the participant that was silent, sign with others, or have the operator look into it",
    "BAD_ANSWER": "do not use what this service answers before its operator has explained it",
    "NOT_OFFERED": "see that the address is a sign-service's, and that it is not older than this command",
    "CEREMONY_FAILED": "nobody is at fault: try again",
    "STORE_FAILED": "nothing was signed; see the participant's log and the disk that holds its store",
}


class RequestFailed(NodeError):
    """A request failed, or could not be made; str() says why and what to do.

    `metadata` holds the details that a program may want (see participant.node.errors).
    """

    def __init__(
        self, what: str, *, reason: str, advice: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> None:
        self.what = what
        self.reason = reason
        self.advice = _ADVICE.get(reason, "") if advice is None else advice
        self.metadata: Mapping[str, str] = dict(metadata or {})
        super().__init__(f"{what} ({self.advice})" if self.advice else what)

    @property
    def exit_code(self) -> int:
        """What the command ends with; EXIT_FAILED for reasons that this version does not know."""
        return _EXIT_CODES.get(self.reason, EXIT_FAILED)

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "error": {
                "reason": self.reason,
                "exit_code": self.exit_code,
                "text": str(self),
                "metadata": dict(self.metadata),
            }
        }


def of_call(error: CallFailed) -> RequestFailed:
    """The failed request behind a failed call."""
    return RequestFailed(error.text, reason=error.reason, metadata=error.metadata)
