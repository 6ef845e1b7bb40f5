"""The base of a node's own errors. The protocols' are in tss.errors.

Each class stands beside the code that raises it; the text of an error is written for the operator or caller who reads
it: what happened, and what to do.
"""

from __future__ import annotations


class NodeError(Exception):
    """Everything that a participant node raises on purpose outside the protocols."""
