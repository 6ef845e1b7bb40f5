"""What a prover hides its values with: nonces of encryptions and masks of commitments, each with the long power it needs.

`Randomizers` makes them when they are asked for. `Pool` gives out what was made in idle time, and uses tables; what it gives has
the same distribution (docs/randomizers.md has the proofs).
"""

from tss.randomizers.plain import PLAIN, MaskPair, NoncePair, Randomizers, encrypt, lasting_power_of_s
from tss.randomizers.pool import Needs, Pool

__all__ = ["PLAIN", "MaskPair", "Needs", "NoncePair", "Pool", "Randomizers", "encrypt", "lasting_power_of_s"]
