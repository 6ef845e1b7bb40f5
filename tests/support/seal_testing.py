"""Tokens and a key service for tests of sealing: SoftHSM in this process, moto's server as a process of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pkcs11
from programs import needed

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = b"sesame-1234"
SO_PIN = "officer-1234"


def make_tokens(directory: Path, *labels: str) -> Path:
    """SoftHSM tokens in `directory`, all with PIN; the path of the configuration that finds them."""
    needed("softhsm2-util")
    tokens = directory / "tokens"
    tokens.mkdir(parents=True)
    configuration = directory / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    for label in labels:
        subprocess.run(
            [
                "softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN.decode(), "--so-pin", SO_PIN,
            ],
            check=True, capture_output=True, env={**os.environ, "SOFTHSM2_CONF": str(configuration)},
        )  # fmt: skip
    return configuration


@contextlib.contextmanager
def tokens_here(directory: Path, *labels: str) -> Iterator[None]:
    """This process finds the tokens."""
    former = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(make_tokens(directory, *labels))
    pkcs11.unload(str(MODULE))
    try:
        yield
    finally:
        pkcs11.unload(str(MODULE))
        if former is None:
            del os.environ["SOFTHSM2_CONF"]
        else:
            os.environ["SOFTHSM2_CONF"] = former


AWS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

_SERVER = """
import sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextlib.contextmanager
def kms_server() -> Iterator[str]:
    """moto's server on a free port; its URL."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def kms_client(url: str) -> Any:
    import boto3

    return boto3.session.Session(region_name=AWS["AWS_DEFAULT_REGION"]).client("kms", endpoint_url=url)


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
