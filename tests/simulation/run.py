"""Simulates committees: `python tests/simulation/run.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from simulation.main import main

if __name__ == "__main__":
    sys.exit(main())
