"""The one error of this package."""

from __future__ import annotations

from tss.errors import CallerError


class PayloadError(CallerError):
    """What was asked to be signed is not acceptable: the caller's fault. Nothing was signed.

    `what` says what is wrong and where, `remedy` what to do about it. When the payload came in a peer's proposal, the
    proposal is refused with this text; it is no proof of a fault, since another version may take more than ours.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what}; {remedy}" if remedy else what)
        self.what = what
        self.remedy = remedy
