"""The command as a process of its own, against a real service whose key the test holds."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
from base64 import b64encode
from pathlib import Path

import grpc
import pytest
from bip_utils import SolAddrEncoder
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from embit.psbt import PSBT
from eth_account import Account
from eth_account.messages import encode_typed_data
from keyed_wallet import EdwardsKey, KeyedWallet, payment, refusal, serving
from processes import clean_environment, command

from client.commands import is_psbt
from client.errors import RequestFailed
from participant.payloads import all_addresses, ssh

DIGEST = "0x5f16f4c7f149ac4f9510d9cf8cf384038ad348b3bcdc01915f95de12df9d1b02"
EIP1559 = {
    "chainId": 1,
    "nonce": 7,
    "to": "0x6Eb893e3466931517a04a17D153a6330c3f2f1dD",
    "value": "0xde0b6b3a7640000",
    "gas": 21000,
    "maxFeePerGas": 30_000_000_000,
    "maxPriorityFeePerGas": "0x3b9aca00",
}
WAIT = 60


class Client:
    """`mpc-client` in a directory where there is no configuration."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.url = url

    async def run(
        self, *args: str, stdin: bytes = b"", service: str | None = None
    ) -> subprocess.CompletedProcess:
        argv = command("mpc-client", "--service", service or self.url, *args)
        return await asyncio.to_thread(
            subprocess.run,
            argv,
            input=stdin,
            capture_output=True,
            cwd=self.directory,
            env=clean_environment(),
            timeout=WAIT,
            check=False,
        )

    async def json(self, *args: str, **kwargs: object) -> dict:
        """The one object of a run that succeeds and says nothing else."""
        done = await self.run(*args, "--json", **kwargs)
        assert (done.returncode, done.stderr) == (0, b""), done
        assert done.stdout.count(b"\n") == 1
        return json.loads(done.stdout)

    async def failure(self, *args: str, **kwargs: object) -> tuple[int, dict]:
        """Exit code and error object of a run that fails."""
        done = await self.run(*args, "--json", **kwargs)
        assert done.stdout == b"", done
        assert done.stderr.count(b"\n") == 1, done
        return done.returncode, json.loads(done.stderr)["error"]


@pytest.fixture
async def wallet():
    service = KeyedWallet()
    async with serving(service) as service.url:
        yield service


@pytest.fixture
def client(tmp_path: Path, wallet: KeyedWallet) -> Client:
    return Client(tmp_path, wallet.url)


def expected(wallet: KeyedWallet, path: tuple[int, ...], digest: str, signers: list[int]) -> dict:
    signature = wallet.key.sign(path, bytes.fromhex(digest[2:]))
    return {
        "account_id": "main",
        "path": f"m/{'/'.join(map(str, path))}" if path else None,
        "digest": digest,
        "r": f"0x{signature.r:064x}",
        "s": f"0x{signature.s:064x}",
        "v": signature.v,
        "public_key": "0x" + wallet.key.public_key(path).hex(),
        "address": Account.from_key(wallet.key.private_key(path)).address,
        "signers": signers,
    }


async def test_sign_prints_one_object(client: Client, wallet: KeyedWallet):
    content = await client.json("sign", "main", DIGEST)
    assert list(content.items()) == list(expected(wallet, (), DIGEST, [0, 2]).items())


async def test_sign_with_everything_chosen(client: Client, wallet: KeyedWallet):
    identifier = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
    content = await client.json(
        *("sign", "main", "--digest", DIGEST.upper().replace("0X", "0x"), "--path", "m/0/5"),
        *("--signers", "2,1", "--request-id", identifier),
    )
    assert content == expected(wallet, (0, 5), DIGEST, [1, 2])
    assert wallet.requests[0].request_id.hex() == identifier.replace("-", "")


async def test_sign_for_people(client: Client, wallet: KeyedWallet):
    done = await client.run("sign", "main", DIGEST)
    due = expected(wallet, (), DIGEST, [0, 2])
    assert done.returncode == 0
    assert done.stdout.decode() == (
        "account     main\n"
        "path        m\n"
        "signers     0, 2\n"
        f"digest      {DIGEST}\n"
        f"r           {due['r']}\n"
        f"s           {due['s']}\n"
        f"v           {due['v']}\n"
        f"public key  {due['public_key']}\n"
        f"address     {due['address']}\n"
    )


@pytest.mark.parametrize("way", ["file", "standard input"])
async def test_a_transaction_is_printed_signed(client: Client, tmp_path: Path, way: str):
    content = json.dumps(EIP1559).encode()
    (tmp_path / "tx.json").write_bytes(content)
    where = "tx.json" if way == "file" else "-"
    found = await client.json("sign", "main", "--transaction", where, stdin=content)
    assert list(found)[-1] == "raw_transaction"
    assert Account.recover_transaction(found["raw_transaction"]) == found["address"]
    assert found["raw_transaction"] == found["raw_transaction"].lower()


async def test_a_psbt_is_printed_signed(client: Client, wallet: KeyedWallet, tmp_path: Path):
    unsigned = payment(wallet.key)
    (tmp_path / "payment.psbt").write_bytes(unsigned.serialize())
    found = await client.json("sign", "main", "--transaction", "payment.psbt")
    assert [one["path"] for one in found["inputs"]] == ["m/0/1", "m/0/2"]
    assert PSBT.from_string(found["psbt"]).tx.txid() == unsigned.tx.txid()
    assert found["address"] == all_addresses(wallet.key.public_key((0, 1)))["bitcoin"]
    assert found["raw_transaction"].startswith("0x02")


def test_a_psbt_is_told_from_a_transaction_by_its_content():
    raw = payment(KeyedWallet().key).serialize()
    for content in (
        raw,
        b64encode(raw),
        b"\n" + b64encode(raw) + b"\n",
        raw.hex().encode(),
        raw.hex().upper().encode(),
    ):
        assert is_psbt(content)
    for content in (b"", b"{}", json.dumps(EIP1559).encode(), b"\x02\xf0", b"0x02f0"):
        assert not is_psbt(content)


async def test_a_message_from_a_file(client: Client, tmp_path: Path):
    (tmp_path / "message").write_bytes(b"hello")
    found = await client.json("sign", "main", "--message-file", "message", "--hash", "sha256")
    assert found["digest"] == "0x2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


async def test_pubkey(client: Client, wallet: KeyedWallet):
    assert await client.json("pubkey", "main", "--path", "m/1") == {
        "account_id": "main",
        "path": "m/1",
        "curve": "secp256k1",
        "public_key": "0x" + wallet.key.public_key((1,)).hex(),
        "addresses": all_addresses(wallet.key.public_key((1,))),
    }
    done = await client.run("pubkey", "main")
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    assert ["public", "key", f"0x{wallet.key.public_key(()).hex()}"] in lines


async def test_accounts(client: Client, wallet: KeyedWallet):
    found = (await client.json("accounts"))["accounts"]
    assert [account["account_id"] for account in found] == ["main", "m/44'/60'/0'/0/0"]
    public_key = wallet.key.public_key(())
    assert found[0] == {
        "account_id": "main",
        "status": "active",
        "curve": "secp256k1",
        "threshold": 2,
        "parties": 3,
        "index": 0,
        "public_key": "0x" + public_key.hex(),
        "addresses": all_addresses(public_key),
        "committee_id": "0x" + "00" * 32,
        "key_id": "0x" + "01" * 32,
        "created_at": 1_700_000_000,
    }
    address = Account.from_key(wallet.key.private_key()).address
    done = await client.run("accounts")
    assert done.stdout.decode().splitlines()[0] == f"main  active  2 of 3  index 0  {address}"


async def test_stock(client: Client):
    (entry,) = (await client.json("stock", "main"))["stock"]
    assert (entry["signers"], entry["owner"], entry["fresh"], entry["target"]) == ([0, 1], 0, 3, 4)
    done = await client.run("stock")
    assert done.stdout == b"main  signers 0, 1  owner 0  3 fresh of 4, 1 promised\n"


@pytest.mark.parametrize(
    ("args", "code", "reason"),
    [
        (("sign", "main", "0x12"), 3, "BAD_DIGEST"),
        (("sign", "main", DIGEST, "--signers", "0;1"), 3, "INVALID_REQUEST"),
        (("sign", "main", DIGEST, "--request-id", "7"), 3, "INVALID_REQUEST"),
        (("sign", "main", DIGEST, "--digest", DIGEST), 3, "INVALID_REQUEST"),
        (("sign", "main"), 3, "INVALID_REQUEST"),
        (("sign", "main", DIGEST, "--message", "m"), 3, "INVALID_REQUEST"),
        (("sign", "main", "--message", "m", "--message-file", "-"), 3, "INVALID_REQUEST"),
        (("sign", "main", "--solana", "-"), 3, "INVALID_REQUEST"),
        (("sign", "main", DIGEST, "--ssh-namespace", "git"), 3, "INVALID_REQUEST"),
        (("sign", "main", "--message", "m", "--ssh-namespace", "n" * 21), 3, "INVALID_REQUEST"),
    ],
)
async def test_what_cannot_be_meant_is_said_though_no_service_is_there(
    client: Client, args: tuple[str, ...], code: int, reason: str
):
    found, error = await client.failure(*args, service="http://127.0.0.1:1")
    assert (found, error["reason"], error["exit_code"]) == (code, reason, code)


async def test_typed_data_from_a_file(client: Client, tmp_path: Path):
    """What eth-account makes of it has the same hash, and the signer is who it recovers."""
    document = {
        "types": {"EIP712Domain": [{"name": "name", "type": "string"}], "Mail": [{"name": "text", "type": "string"}]},
        "primaryType": "Mail", "domain": {"name": "test"}, "message": {"text": "hello"},
    }  # fmt: skip
    (tmp_path / "mail.json").write_text(json.dumps(document))
    found = await client.json("sign", "main", "--typed-data", "mail.json")
    r, s = (int(found[name], 16) for name in ("r", "s"))
    message = encode_typed_data(full_message=document)
    assert Account.recover_message(message, vrs=(27 + found["v"], r, s)) == found["address"]


async def test_the_version(client: Client):
    done = await client.run("--version")
    assert (done.returncode, done.stdout.decode().split()[0]) == (0, "mpc-client,")


# -- accounts of Ed25519 -----------------------------------------------------------------------------------------


@pytest.fixture
async def edwards(tmp_path: Path):
    service = KeyedWallet(EdwardsKey(b"\5" * 32))
    async with serving(service) as service.url:
        yield Client(tmp_path, service.url), service.key.public_key(())


def need_signed(found: dict, key: bytes, message: bytes) -> None:
    Ed25519PublicKey.from_public_bytes(key).verify(bytes.fromhex(found["signature"][2:]), message)
    assert found["public_key"] == "0x" + key.hex()
    assert found["address"] == SolAddrEncoder.EncodeKey(key)


async def test_a_message_is_signed_by_ed25519_as_it_is(edwards: tuple[Client, bytes]):
    client, key = edwards
    need_signed(await client.json("sign", "main", "--message", "hello", "--hash", "none"), key, b"hello")


async def test_a_solana_message_from_a_file(edwards: tuple[Client, bytes], tmp_path: Path):
    client, key = edwards
    message = b"\x01\x00\x01\x02" + key + bytes(32) + b"\x0b" * 32 + b"\x01\x01\x01\x00\x00"
    (tmp_path / "message").write_bytes(message)
    for where in ("message", "-"):
        found = await client.json("sign", "main", "--solana", where, stdin=message)
        need_signed(found, key, message)
        assert found["raw_transaction"] == "0x01" + found["signature"][2:] + message.hex()


async def test_a_file_is_signed_as_openssh_does(edwards: tuple[Client, bytes], tmp_path: Path):
    client, key = edwards
    (tmp_path / "release").write_bytes(b"a release")
    options = ("--message-file", "release", "--ssh-namespace", "file")
    found = await client.json("sign", "main", *options)
    need_signed(found, key, ssh.signed_data("file", b"a release"))
    assert found["ssh_signature"] == ssh.armored("file", key, bytes.fromhex(found["signature"][2:]))
    done = await client.run("sign", "main", *options)
    assert done.returncode == 0
    shown = done.stdout.decode()
    assert shown.endswith(found["ssh_signature"])
    assert f"signature   {found['signature']}\n" in shown


async def test_what_is_public_of_an_ed25519_account(edwards: tuple[Client, bytes]):
    client, key = edwards
    address = {"solana": SolAddrEncoder.EncodeKey(key)}
    found = await client.json("pubkey", "main")
    assert (found["curve"], found["public_key"], found["addresses"]) == ("ed25519", "0x" + key.hex(), address)
    first = (await client.json("accounts"))["accounts"][0]
    assert (first["curve"], first["addresses"]) == ("ed25519", address)
    done = await client.run("accounts")
    assert address["solana"] in done.stdout.decode().splitlines()[0]


async def test_nobody_there(client: Client):
    done = await client.run("accounts", service="http://127.0.0.1:1")
    assert done.returncode == 6
    assert done.stderr.startswith(b"mpc-client: Connection refused: nobody listens at http://127.0.0.1:1")


async def test_a_services_reason_is_the_commands(client: Client, wallet: KeyedWallet):
    wallet.refuse = refusal(grpc.StatusCode.ABORTED, "PEER_FAULT", "what the service says", peer="2")
    code, error = await client.failure("accounts")
    assert (code, error["reason"], error["metadata"]) == (8, "PEER_FAULT", {"peer": "2"})
    assert error["text"].startswith("what the service says")


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("KEY_SHARE_NOT_FOUND", 4),
        ("THRESHOLD_NOT_MET", 5),
        ("CONNECTION_REFUSED", 6),
        ("GATEWAY_UNREACHABLE", 6),
        ("POLICY_REFUSED", 7),
        ("UNAUTHENTICATED", 7),
        ("PEER_FAULT", 8),
        ("A_NEW_ONE", 1),
    ],
)
def test_exit_codes_by_reason(reason: str, code: int):
    assert RequestFailed("", reason=reason).exit_code == code


async def test_wrong_settings(client: Client, tmp_path: Path):
    (tmp_path / "client.yaml").write_text("sevice: {}\n")
    code, error = await client.failure("accounts", "--config", "client.yaml")
    assert (code, error["reason"]) == (2, "SETTINGS")
    assert "client.yaml: unknown key sevice; did you mean service?" in error["text"]
    done = await client.run("accounts", "-c", "nothing.yaml")
    assert (done.returncode, done.stderr) == (
        2,
        b"mpc-client: nothing.yaml: there is no such settings file\n",
    )


async def test_options_stand_before_the_command_or_after_it(client: Client, wallet: KeyedWallet):
    done = await asyncio.to_thread(
        subprocess.run,
        command("mpc-client", "--json", "stock", "--service", wallet.url),
        capture_output=True,
        cwd=client.directory,
        env=clean_environment(),
        timeout=WAIT,
        check=False,
    )
    assert json.loads(done.stdout)["stock"][0]["fresh"] == 3


@pytest.mark.parametrize("name", [[], ["sign"]])
async def test_help_tells_exit_codes(client: Client, name: list[str]):
    done = await client.run(*name, "--help")
    assert done.returncode == 0
    assert b"Exit codes: 0 done" in done.stdout
    assert b"--json" in done.stdout


SCRIPT = f"""\
# a comment, and an empty line

sign main {DIGEST}
nonsense
sign main 0x12
sign main
signers 1,2
sign main {DIGEST} m/7
signers
message main 'two words'
pubkey main m/7
tx main tx.json
tx main nothing.json
stock
sign main "unclosed
accounts"""


async def test_a_session_reads_commands_until_they_end(client: Client, wallet: KeyedWallet, tmp_path: Path):
    (tmp_path / "tx.json").write_text(json.dumps(EIP1559))
    done = await client.run("--json", stdin=SCRIPT.encode())
    assert done.returncode == 0, done
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert results[0] == expected(wallet, (), DIGEST, [0, 2])
    assert results[1] == expected(wallet, (7,), DIGEST, [1, 2])
    assert results[2]["signers"] == [0, 2]
    assert results[3]["path"] == "m/7"
    assert Account.recover_transaction(results[4]["raw_transaction"]) == results[4]["address"]
    assert list(results[5]) == ["stock"]
    assert list(results[6]) == ["accounts"]
    assert len(results) == 7
    errors = [json.loads(line)["error"] for line in done.stderr.splitlines()]
    assert [re.split("[:,]", error["text"])[0] for error in errors] == [
        "unknown command 'nonsense'",
        "the digest has 1 bytes",
        "usage",
        "nothing.json",
        "No closing quotation in 'sign main \"unclosed'",
    ]


async def test_quit_ends_a_session(client: Client):
    done = await client.run(stdin=b"quit\naccounts\n")
    assert done.returncode == 0
    assert done.stdout.decode().count("active") == 2
    assert b"`help` lists the commands" in done.stderr


class Terminal:
    """A session on a terminal."""

    def __init__(self, client: Client) -> None:
        self.ours, theirs = pty.openpty()
        self.child = subprocess.Popen(
            command("mpc-client", "--service", client.url),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=client.directory,
            env=clean_environment({"TERM": "dumb"}),
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = b""

    def until(self, text: bytes) -> None:
        while text not in self.seen:
            try:
                data = os.read(self.ours, 65536)
            except OSError:
                data = b""
            assert data, f"ended before {text!r}: {self.seen!r}"
            self.seen += data

    def end(self) -> int:
        try:
            return self.child.wait(WAIT)
        finally:
            self.child.kill()
            os.close(self.ours)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_ends_a_session_at_its_prompt(client: Client, number: signal.Signals, code: int):
    terminal = await asyncio.to_thread(Terminal, client)
    await asyncio.to_thread(terminal.until, b"mpc> ")
    os.write(terminal.ours, b"stock\n")
    await asyncio.to_thread(terminal.until, b"3 fresh of 4")
    terminal.child.send_signal(number)
    assert await asyncio.to_thread(terminal.end) == code


async def test_the_end_of_input_ends_a_session_on_a_terminal(client: Client):
    terminal = await asyncio.to_thread(Terminal, client)
    await asyncio.to_thread(terminal.until, b"mpc> ")
    os.write(terminal.ours, b"\x04")
    assert await asyncio.to_thread(terminal.end) == 0
