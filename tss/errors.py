"""The error tree of the protocols.

Three things are kept apart: the caller's mistake, a peer's fault, and silence or the network.

    ProtocolError
    |- CallerError            you asked for something that cannot be done; nothing was sent
    |  |- HardenedPath        a hardened index cannot be derived from a public key
    |  |- BadSignerSet        wrong size, unknown or repeated members, self missing
    |  |- BadIndex            an evaluation point that is zero or repeated mod q
    |  |- BadParameters       a security level that breaks an inequality of protocol.md 0.2
    |  |- BadDigest           a digest that is not 32 bytes
    |  `- BadMessage          a message that is too long to be signed
    |- PeerFault              a peer signed something that fails a check; `peer`, `check`, `evidence`, `also`
    |  |- SchemaViolation     validly signed, but not the message that the slot asks for
    |  |- WrongLength         a list or byte string of another length than the check wants
    |  |- OutOfDomain         not a unit, not a ciphertext, not in its range
    |  |- BadPoint            not on the curve, not canonical, or the identity where it may not be
    |  |- BadModulusSize      a modulus of another bit length, or even
    |  |- BadPedersen         ring-Pedersen parameters that hide nothing
    |  |- BadDecommit         an opening that does not match its commitment
    |  |- BadShare            a secret share that does not match its commitment
    |  |- BadPartial          a partial signature that fails its equation
    |  |- ProofInvalid        a zero-knowledge proof that fails; `proof` names it
    |  |- Equivocation        two different signed messages in one slot
    |  |- EchoMismatch        a signed echo that contradicts the messages its sender shows
    |  |- BadProposal         a signed proposal that its signer may not make
    |  `- FalseAccusation     a complaint whose check passes
    |- NoBlame                the session ended and nobody is at fault
    |  |- SessionMismatch     honest parties hold different records; nothing secret was sent
    |  |- Refused             a peer declined the proposal; `by`, `reason`
    |  |- AbortedByPeer       a peer ended the session; `by`, `reason`
    |  |- Timeout             no message from `silent` before the deadline
    |  |- Degenerate          an outcome of negligible probability (a point O, delta = 0, r = 0)
    |  |- SharedPrime         two parties' moduli share a factor; nobody knows who copied
    |  `- Unattributable      a failure that identification could not pin on anybody
    `- LocalFault             our own state does not allow it
       |- ShareCorrupt        a stored share that contradicts its public record
       |- PresignatureSpent   promised to another request, answered, expired or destroyed
       |- NonceUsed           a FROST nonce pair that was used, or is not in the list as it was sent
       |- NotStored           the store did not take what had to be durable before we could go on
       |- SessionClosed       the session has ended
       `- InternalError       a bug of ours: an identity that honest values always satisfy is broken

"Feeding a session anything raises only ProtocolError and its kind" is a contract; anything else is a bug.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, Self


class ProtocolError(Exception):
    """Base of everything that `tss` raises on purpose."""


class CallerError(ProtocolError):
    """The caller asked for something that cannot be done. Nothing was sent, nothing is lost."""


class HardenedPath(CallerError):
    """A derivation index >= 2^31: it needs the private key, which nobody holds."""


class BadSignerSet(CallerError):
    """The signer set has the wrong size, an unknown or repeated member, or lacks this party."""


class BadIndex(CallerError):
    """An evaluation point that is zero or repeated mod q (security.md C3)."""


class BadParameters(CallerError):
    """A parameter set that breaks an inequality of protocol.md 0.2."""


class BadDigest(CallerError):
    """The digest to sign is not exactly 32 bytes."""


class BadMessage(CallerError):
    """The message to sign is too long."""


class Party(Protocol):
    """What names a party of a session: tss.envelope.PartyId."""

    @property
    def role(self) -> str:
        """Its role in the session."""

    @property
    def index(self) -> int:
        """Its evaluation point."""


class PeerFault(ProtocolError):
    """A peer's fault.

    A verifier that does not know whose value it looks at raises with `peer` None; the protocol that called it
    attributes the fault with `blame`. `check` is a stable id such as `presign.r1.enc-elg.k`.

    What it proves: that the holder of the peer's identity key signed a message that fails the check. It does not
    prove intent (a broken disk fails checks too).
    """

    def __init__(self, what: str, *, peer: int | None = None, check: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.peer = peer
        self.role = ""
        """The peer's role, where two parties of a session may have one evaluation point (resharing)."""
        self.check = check
        self.evidence: bytes | None = None
        self.preimages: tuple[Sequence[object], ...] = ()
        """Lists whose hashes the peer signed, and without which its message says nothing to a third party."""
        self.also: tuple[PeerFault, ...] = ()
        """Faults of other parties that came to light in the same step: each is blamed by itself."""

    def blame(self, peer: int | Party, check: str) -> Self:
        """Attribute the fault to a party, or to evaluation point `peer`, under the protocol's check id."""
        self.peer, self.role = (peer, "") if isinstance(peer, int) else (peer.index, peer.role)
        self.check = f"{check}.{self.check}" if self.check else check
        return self

    def is_of(self, party: Party) -> bool:
        """Whether this is the fault of `party`."""
        return party.index == self.peer and self.role in ("", party.role)

    def __str__(self) -> str:
        who = "a peer" if self.peer is None else f"peer {self.peer}"
        return f"{who}: {self.what}" + (f" [{self.check}]" if self.check else "")


class SchemaViolation(PeerFault):
    """Validly signed bytes that are not the message which the slot asks for."""


class WrongLength(PeerFault):
    """A list or byte string whose length is not exactly the one that the check wants."""


class OutOfDomain(PeerFault):
    """A number that is not a unit, not a valid ciphertext, or outside its range."""


class BadPoint(PeerFault):
    """Not on the curve, not canonical, outside the prime-order group, or O where O is not allowed."""


class BadModulusSize(PeerFault):
    """A Paillier or ring-Pedersen modulus that is even or not exactly 2*pb bits."""


class BadPedersen(PeerFault):
    """Ring-Pedersen parameters that hide nothing (s or t trivial, a modulus used twice)."""


class BadDecommit(PeerFault):
    """An opening that does not hash to the commitment sent before."""


class BadShare(PeerFault):
    """A secret share that does not satisfy its Feldman equation."""


class WrongDealer(PeerFault):
    """A dealer shares out something else than its share of the key (resharing)."""


class WrongRecord(PeerFault):
    """A helper states another record of the account than the session is about (recovery)."""


class WrongChainCode(PeerFault):
    """The chain code that a party told is not the account's."""


class BadPartial(PeerFault):
    """A partial signature that does not satisfy its equation."""


class ProofInvalid(PeerFault):
    """A zero-knowledge proof that does not verify. `proof` is the name of protocol.md section 5."""

    def __init__(self, proof: str, check: str) -> None:
        super().__init__(f"proof {proof} does not verify: {check}", check=f"{proof}:{check}")
        self.proof = proof


class Equivocation(PeerFault):
    """Two different validly signed messages in one slot (protocol.md 0.8)."""


class EchoMismatch(PeerFault):
    """A signed echo that contradicts the messages its sender shows."""


class BadProposal(PeerFault):
    """A signed proposal with what is another party's, or with a presignature that was proposed for another request."""


class FalseAccusation(PeerFault):
    """A complaint with complete evidence whose check passes: the accuser is blamed."""


class NoBlame(ProtocolError):
    """The session ended without a result and nobody is at fault."""


class SessionMismatch(NoBlame):
    """The parties' records differ (path, digest, epoch, committee...). Nothing secret was sent."""


class Refused(NoBlame):
    """A peer declined the proposal by its own policy or records."""

    def __init__(self, by: int, reason: str) -> None:
        super().__init__(f"party {by} refused: {reason}")
        self.by = by
        self.reason = reason


class AbortedByPeer(NoBlame):
    """A peer ended the session."""

    def __init__(self, by: int, reason: str) -> None:
        super().__init__(f"party {by} aborted the session: {reason}")
        self.by = by
        self.reason = reason


class Timeout(NoBlame):
    """No message from `silent` before the deadline. Silence is never guilt."""

    def __init__(self, silent: Iterable[int], phase: str) -> None:
        self.silent = tuple(sorted(silent))
        self.phase = phase
        super().__init__(f"no message from {', '.join(map(str, self.silent)) or 'nobody'} in {phase}")


class Degenerate(NoBlame):
    """An outcome that honest randomness reaches with negligible probability."""


class SharedPrime(NoBlame):
    """Moduli of different parties share a factor (protocol.md 2.1 check 3)."""


class Unattributable(NoBlame):
    """A failure that the identification rounds could not pin on anybody."""


class LocalFault(ProtocolError):
    """Our own state does not allow it."""


class ShareCorrupt(LocalFault):
    """A stored share contradicts its public record; it is not used."""


class PresignatureSpent(LocalFault):
    """The presignature is promised to another request, answered, expired or destroyed."""


class NonceUsed(LocalFault):
    """A FROST nonce pair was used before, is unknown, or stands in the list otherwise than it was sent."""


class NotStored(LocalFault):
    """What had to be durable first could not be stored; nothing that depends on it has left. `__cause__` says why."""


class SessionClosed(LocalFault):
    """The session has ended; it takes and sends nothing more."""


class InternalError(LocalFault):
    """An identity that honest values always satisfy is broken: a bug of ours, nobody is blamed."""


class blaming:  # noqa: N801 - reads as a statement: with blaming(j, "keygen.r2")
    """Attributes a fault inside the block to a party, or to evaluation point `peer`, under the protocol's check id."""

    def __init__(self, peer: int | Party, check: str) -> None:
        self._peer = peer
        self._check = check

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, PeerFault) and error.peer is None:
            error.blame(self._peer, self._check)
