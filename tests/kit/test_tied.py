from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

from processes import clean_environment

from kit.tied import main, tied

WAIT = 60
SPEAKS = "import os, signal; print(os.getpid(), flush=True); signal.sigwait([signal.SIGUSR1])"


def test_the_command_keeps_process_id_and_exit_code():
    with subprocess.Popen(
        tied([sys.executable, "-c", "import os, sys; print(os.getpid()); sys.exit(7)"]),
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    ) as child:
        out, _ = child.communicate(timeout=WAIT)
        assert int(out) == child.pid
        assert child.returncode == 7


def test_it_ends_when_its_starter_is_killed():
    starter = (
        "import subprocess, sys; from kit.tied import tied; "
        f"subprocess.call(tied([sys.executable, '-c', {SPEAKS!r}]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True, env=clean_environment()
    ) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        poll = select.poll()
        poll.register(child, select.POLLIN)
        assert poll.poll(WAIT * 1000)
        os.close(child)
    assert parent.returncode == -signal.SIGKILL


def test_nothing_is_run_for_a_starter_that_is_gone():
    # No process has this one's parent as its own starter.
    argv = [sys.executable, "-m", "kit.tied", str(os.getppid()), sys.executable, "-c", "print('ran')"]
    done = subprocess.run(argv, capture_output=True, env=clean_environment(), timeout=WAIT, check=False)
    assert (done.returncode, done.stdout) == (1, b"")


def test_a_wrong_call_says_how(capsys):
    for arguments in ([], ["12"], ["x", "true"]):
        assert main(arguments) == 2
    assert "usage: python -m kit.tied PARENT COMMAND..." in capsys.readouterr().err
