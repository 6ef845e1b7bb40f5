"""The quick start of the README: four commands without an argument, in a directory with the project's config/*.yaml."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from eth_keys import keys
from processes import ProcessGroup, clean_environment, command, run_process

CONFIG = Path(__file__).parents[2] / "config"
DIGEST = "0x5f16f4c7f149ac4f9510d9cf8cf384038ad348b3bcdc01915f95de12df9d1b02"
LISTENING = r"Listening on (http://\S+)"
WAIT = 900


@pytest.mark.full_size
def test_four_commands_end_in_a_signature(tmp_path: Path):
    shutil.copytree(CONFIG, tmp_path / "config")
    configuration = {path: path.read_bytes() for path in (tmp_path / "config").iterdir()}
    code, made = run_process(command("mpc-keygen"), cwd=tmp_path, timeout=WAIT)
    assert code == 0, made.output
    assert {path: path.read_bytes() for path in (tmp_path / "config").iterdir()} == configuration
    shares = {
        name: json.loads((tmp_path / f"{name}_key_shares.json").read_text())
        for name in ("client", "service", "backup")
    }
    (account,) = shares["client"]
    public_key = shares["client"][account]["public_key"]
    # Only the ports are not the usual ones, which others may use.
    with ProcessGroup() as group:
        any_port = {"SIGN_GATEWAY__SERVER__PORT": "0", "SIGN_GATEWAY__GRPC__PORT": "0"}
        gateway = group.start(command("sign-gateway"), LISTENING, any_port, cwd=tmp_path)
        assert gateway.ready is not None
        url = gateway.ready[1]
        service = group.start(
            command("sign-service"),
            re.escape(f"Connected to gateway at {url}"),
            {
                "SIGN_SERVICE__GATEWAY__URL": url,
                "SIGN_SERVICE__SERVER__PORT": "0",
                "SIGN_SERVICE__METRICS__PORT": "0",
            },
            cwd=tmp_path,
        )
        service.wait_for(r"gRPC server on 127\.0\.0\.1:\d+")
        done = subprocess.run(
            command("mpc-client"),
            input=f"accounts\nsign {account} {DIGEST}\nquit\n",
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=clean_environment(
                {"MPC_CLIENT__GATEWAY__URL": url, "MPC_CLIENT__LOCAL_PARTICIPANT__PORT": "0"}
            ),
            timeout=WAIT,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr + service.output
    answer = dict(re.findall(r"^(\w+(?: \w+)*?) {2,}(.+)$", done.stdout, re.MULTILINE))
    assert answer["signers"] == "0, 1", done.stdout
    assert answer["digest"] == DIGEST
    assert answer["public key"] == "0x" + public_key
    signature = keys.Signature(vrs=(int(answer["v"]), int(answer["r"], 16), int(answer["s"], 16)))
    recovered = signature.recover_public_key_from_msg_hash(bytes.fromhex(DIGEST[2:]))
    assert recovered.to_compressed_bytes().hex() == public_key
    assert recovered.to_checksum_address() == answer["address"]
