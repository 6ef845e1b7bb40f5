"""mpc-client whose own participant has a test-size signature scheme: `python testing_client.py ARGUMENTS`."""

from __future__ import annotations

import sys
from pathlib import Path

import client.local
from client.main import main

DAEMON = [sys.executable, str(Path(__file__).with_name("testing_daemon.py"))]

if __name__ == "__main__":
    client.local.service_command = lambda: DAEMON
    main()
