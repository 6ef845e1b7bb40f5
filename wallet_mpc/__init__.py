"""Threshold signing from Python.

from wallet_mpc import MpcConfig, new_mpc_client

async with await new_mpc_client(MpcConfig.load("client.yaml")) as signer:
result = await signer.sign_tx("0x...", "account1")
"""

from client.errors import RequestFailed
from client.result import SignatureResult
from client.settings import MpcConfig
from client.signer import MpcSigner, new_mpc_client

__all__ = ["MpcConfig", "MpcSigner", "RequestFailed", "SignatureResult", "new_mpc_client"]
