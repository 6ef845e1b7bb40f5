"""The seed's quick start: four commands with config/*.yaml, ending in signatures that foreign libraries accept."""

import hashlib
import json
import shutil
from pathlib import Path

import ecdsa
import pytest
from eth_account import Account
from gateway_testing import GRPC, LISTENING
from processes import ProcessGroup, command, run_process

REPOSITORY = Path(__file__).parents[2]
DIGEST = hashlib.sha256(b"the seed's quick start").digest()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What `mpc-keygen` leaves in a directory that has the repository's config/."""
    directory = tmp_path_factory.mktemp("seed")
    shutil.copytree(REPOSITORY / "config", directory / "config")
    code, process = run_process(command("mpc-keygen"), cwd=directory, timeout=600)
    assert code == 0, process.output
    assert sorted(path.name for path in (directory / "config").iterdir()) == sorted(
        path.name for path in (REPOSITORY / "config").iterdir()
    )
    return directory


@pytest.fixture
def started(made):
    """sign-gateway and sign-service, at ports of their own; the client's environment."""
    with ProcessGroup() as group:
        any_port = {"SIGN_GATEWAY__SERVER__PORT": "0", "SIGN_GATEWAY__GRPC__PORT": "0"}
        gateway = group.start(command("sign-gateway"), LISTENING, any_port, cwd=made)
        url = gateway.ready[0].removeprefix("Listening on ").strip()
        ports = {
            "SIGN_SERVICE__SERVER__PORT": "0", "SIGN_SERVICE__METRICS__PORT": "0", "SIGN_SERVICE__GATEWAY__URL": url,
        }  # fmt: skip
        service = group.start(command("sign-service"), GRPC, ports, cwd=made)
        service.wait_for("Connected to gateway at " + url)
        yield (
            group,
            ports,
            {
                "MPC_CLIENT__GATEWAY__URL": url,
                "MPC_CLIENT__LOCAL_PARTICIPANT__PORT": "0",
                "SIGN_SERVICE__METRICS__PORT": "0",
            },
        )


def sign(made, environment, *options):
    argv = command("mpc-client", "sign", "account1", DIGEST.hex(), "--json", *options)
    code, process = run_process(argv, environment, cwd=made, timeout=300)
    assert code == 0, process.output
    return json.loads(process.stdout[-1])


def check(signature, made):
    """By two libraries that are not ours, against the public key of the share file."""
    public_key = bytes.fromhex(
        json.loads((made / "service_key_shares.json").read_text())["account1"]["public_key"]
    )
    assert bytes.fromhex(signature["public_key"][2:]) == public_key
    r, s = bytes.fromhex(signature["r"][2:]), bytes.fromhex(signature["s"][2:])
    verifier = ecdsa.VerifyingKey.from_string(public_key, curve=ecdsa.SECP256k1)
    assert verifier.verify_digest(r + s, DIGEST)
    vrs = (signature["v"], int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    assert Account._recover_hash(DIGEST, vrs=vrs) == signature["address"]


@pytest.mark.full_size
def test_client_and_service_sign(made, started):
    _, _, environment = started
    signature = sign(made, environment)
    assert signature["signers"] == [0, 1]
    check(signature, made)


@pytest.mark.full_size
def test_client_and_backup_sign_when_the_service_is_gone(made, started):
    group, ports, environment = started
    group.processes[1].terminate()
    backup = group.start(command("sign-service", "backup_node/sign-service.yaml"), GRPC, ports, cwd=made)
    backup.wait_for("Connected to gateway at ")
    signature = sign(made, environment)
    assert signature["signers"] == [1, 2]
    check(signature, made)
