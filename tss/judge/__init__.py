"""Judging evidence without having been there (protocol.md 4.1).

`judge` takes evidence and the committee's identity keys; it shares no state with any session, and repeats the failing check
through the function that the protocol itself uses. No clock, no file, no network.
"""

from tss.judge.judging import PRODUCTION_SUITES, Verdict, judge

__all__ = ["PRODUCTION_SUITES", "Verdict", "judge"]
