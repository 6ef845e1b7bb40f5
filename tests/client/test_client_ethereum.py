"""What a JSON-RPC node fills into a transaction, over real HTTP."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from keyed_wallet import KeyedWallet, serving

from client.errors import RequestFailed
from client.ethereum import complete
from client.settings import EthereumSettings, ServiceSettings
from wallet_mpc import MpcConfig, new_mpc_client

SENDER = "0x6Eb893e3466931517a04a17D153a6330c3f2f1dD"
TO = "0x" + "11" * 20


class Node:
    """Answers by method, notes what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, object] = {
            "eth_chainId": "0xaa36a7",
            "eth_getTransactionCount": "0x5",
            "eth_maxPriorityFeePerGas": "0x3b9aca00",
            "eth_getBlockByNumber": {"baseFeePerGas": "0x64"},
            "eth_gasPrice": "0x77",
            "eth_estimateGas": "0x5208",
        }
        self.asked: list[tuple[str, list]] = []
        self.paths: set[str] = set()
        self.body: bytes | None = None
        node = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                node.asked.append((request["method"], request["params"]))
                node.paths.add(self.path)
                answer = node.answers[request["method"]]
                content = {"error": {"code": -1, "message": answer.args[0]}} if isinstance(answer, Exception) else {
                    "result": answer
                }  # fmt: skip
                body = node.body or json.dumps({"jsonrpc": "2.0", "id": 1, **content}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def settings(self) -> EthereumSettings:
        port = self.server.server_address[1]
        return EthereumSettings(provider_url=f"http://127.0.0.1:{port}/v3/access-key?x=1")

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def node():
    node = Node()
    yield node
    node.close()


async def test_everything_that_is_open_is_asked_for(node: Node):
    found = await complete({"to": TO, "value": 5, "data": "0x"}, node.settings, SENDER)
    assert found == {
        "to": TO,
        "value": 5,
        "data": "0x",
        "chainId": 11155111,
        "nonce": 5,
        "maxPriorityFeePerGas": 10**9,
        "maxFeePerGas": 10**9 + 200,
        "gas": 21000,
    }
    assert ("eth_getTransactionCount", [SENDER, "pending"]) in node.asked
    assert ("eth_estimateGas", [{"from": SENDER, "to": TO, "value": "0x5", "data": "0x"}]) in node.asked
    assert node.paths == {"/v3/access-key?x=1"}


@pytest.mark.parametrize("kind", [0, 1, "0x0", "0x1"])
async def test_older_types_get_a_gas_price(node: Node, kind: int | str):
    found = await complete({"type": kind, "to": TO, "nonce": 0, "gasLimit": 9}, node.settings, SENDER)
    assert found == {
        "type": kind,
        "to": TO,
        "nonce": 0,
        "gasLimit": 9,
        "chainId": 11155111,
        "gasPrice": 0x77,
    }


async def test_what_is_written_stays_and_is_not_asked_for(node: Node):
    whole = {"chainId": 1, "nonce": 1, "gas": 1, "maxFeePerGas": 1, "maxPriorityFeePerGas": 1, "to": TO}
    assert await complete(whole, node.settings, SENDER) == whole
    assert node.asked == []


@pytest.mark.parametrize(
    ("method", "answer", "says"),
    [
        ("eth_getTransactionCount", "seven", "instead of a quantity"),
        ("eth_getTransactionCount", "0xzz", "instead of a quantity"),
        ("eth_getTransactionCount", 7, "instead of a quantity"),
        ("eth_getBlockByNumber", None, "instead of a quantity"),
        ("eth_estimateGas", RuntimeError("execution reverted"), "eth_estimateGas failed: execution reverted"),
    ],
)
async def test_a_node_that_makes_no_sense(node: Node, method: str, answer: object, says: str):
    node.answers[method] = answer
    with pytest.raises(RequestFailed, match=says) as caught:
        await complete({"to": TO}, node.settings, SENDER)
    assert caught.value.reason == "PROVIDER_FAILED"


async def test_no_json_and_too_much_of_it(node: Node):
    node.body = b"<html>"
    with pytest.raises(RequestFailed, match="no JSON"):
        await complete({"to": TO}, node.settings, SENDER)
    node.body = b" " * (1 << 21)
    with pytest.raises(RequestFailed, match="more than 1048576 bytes"):
        await complete({"to": TO}, node.settings, SENDER)


async def test_nobody_there_and_the_access_key_is_not_shown():
    settings = EthereumSettings(provider_url="http://127.0.0.1:1/v3/access-key")
    with pytest.raises(RequestFailed, match="Connection refused") as caught:
        await complete({"to": TO}, settings, SENDER)
    assert "access-key" not in str(caught.value)


async def test_a_transaction_with_gaps_is_filled_and_signed(node: Node):
    wallet = KeyedWallet()
    async with serving(wallet) as url:
        config = MpcConfig(service=ServiceSettings(targets=[url]), ethereum=node.settings)
        async with await new_mpc_client(config) as signer:
            result = await signer.sign("main", transaction=json.dumps({"to": TO}), path="m/3")
            assert ("eth_getTransactionCount", [result.address, "pending"]) in node.asked
            assert result.raw_transaction is not None
