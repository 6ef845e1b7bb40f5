"""The commands that make nodes and committees: identity, committee, init."""

from __future__ import annotations

from pathlib import Path

import click

from keygen.console import grouped, json_option, output
from keygen.development import CLIENT_DIRECTORY, Development, Ports, write_development
from keygen.errors import EXIT_CODES_HELP, Misuse
from keygen.node_files import CARD, COMMITTEE, NodeFiles, password_option
from participant.committee import Committee, read_committee, write_committee
from participant.identity import MAX_CARD_BYTES, BadCard, Card
from participant.policy import PERMISSIVE_NOTE
from participant.replacement import keys_for_place, with_member

PORT = click.IntRange(1, 65535)


@click.command(epilog=EXIT_CODES_HELP, short_help="Make a node's identity and print its public card.")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--in-place-of",
    "lost",
    type=(click.Path(path_type=Path, dir_okay=False), click.IntRange(0, 15)),
    metavar="COMMITTEE INDEX",
    help="For a member that was lost with its identity: one that takes its index. Writes DIR/committee.yaml, too.",
)
@password_option
@json_option
def identity(directory: Path, store_password_file: Path | None, lost: tuple[Path, int] | None) -> None:
    """Make a node's identity, or show the one that DIR has.

    Makes DIR/store.db (the sealed store, with the identity's secret keys inside), DIR/seal.key (what opens it; keep a copy
    elsewhere, the store is lost without it) and DIR/identity (the public card). Run it on the node's own machine.

    The card goes to standard output. Send it to whoever puts the committee together, and compare the committee's id
    afterwards. A node that has its identity already shows it again; nothing is ever replaced.
    """
    files = NodeFiles.of(directory, password_file=store_password_file)
    if lost is None:
        card = files.make()
    else:
        former, index = read_committee(lost[0]), lost[1]
        card = files.make(keys_for_place(former, index))
        made = with_member(former, index, card)
        if not (directory / COMMITTEE).exists():
            write_committee(directory / COMMITTEE, made)
        output().say(f"index {index} of committee {grouped(made.committee_id)}: {directory / COMMITTEE}")
    output().say(f"identity {grouped(card.identity)}; card in {files.card}")
    output().result(card.as_dict(), [card.to_json()])


@click.command(epilog=EXIT_CODES_HELP, short_help="Put a committee together from its members' cards.")
@click.argument("cards", metavar="CARD...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-t", "--threshold", type=click.IntRange(2, 16), required=True, help="How many must sign.")
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path(COMMITTEE),
    show_default=True,
    help="File to write; - for standard output.",
)
@json_option
def committee(cards: tuple[Path, ...], threshold: int, path: Path) -> None:
    """Put a committee together from its members' cards.

    Each CARD is a file that `mpc-keygen identity` made (or a node's directory). The committee file is public and the same for
    all members; a member's index is its rank among the sorted identities, whatever the order given here.

    Prints the committee's id. Every member's operator reads it out to the others before the first key is made: whoever sees
    the same id has the same members, in the same order, with the same threshold.
    """
    made = Committee.of([_read_card(card) for card in cards], threshold)
    on_stdout = str(path) == "-"
    if on_stdout:
        if output().as_json:
            raise Misuse("--json and -o - would both write to standard output")
        click.echo(made.to_yaml(), nl=False)
        output().say(f"committee {grouped(made.committee_id)}")
        return
    write_committee(path, made)
    members = [f"  index {index}  {card.identity.hex()}" for index, card in enumerate(made.members)]
    output().result(
        {
            "committee_id": made.committee_id.hex(),
            "threshold": made.threshold,
            "members": [card.identity.hex() for card in made.members],
            "file": str(path),
        },
        [
            f"committee {grouped(made.committee_id)}",
            f"{made.threshold} of {made.n} must sign",
            *members,
            f"written to {path}",
        ],
    )


def _read_card(path: Path) -> Card:
    file = path / CARD if path.is_dir() else path
    try:
        with file.open("rb") as content:
            data = content.read(MAX_CARD_BYTES + 1)
        return Card.from_json(data)
    except OSError as error:
        raise BadCard(f"cannot read the card {file}: {error.strerror}") from None
    except BadCard as error:
        raise BadCard(f"{file}: {error}") from None


INIT_HELP = """Make a whole development setting in the new directory DIR.

\b
DIR/sign-gateway.yaml     the gateway: 8080 (HTTP), 50050 (gRPC)
DIR/gateway-keys.json     the nodes' keys for the gateway, public; in use with --tls
DIR/committee.yaml        the committee, public
DIR/node-0 ... node-2     sign-service.yaml, identity, seal.key, store.db, tls/
                          gRPC on 50051, 50061, 50071; health and metrics on 9451, 9461, 9471
DIR/client.yaml           a client that asks them

\b
Start it, each in a terminal of its own:
  sign-gateway DIR/sign-gateway.yaml
  sign-service DIR/node-0/sign-service.yaml       (and node-1, node-2)
  mpc-keygen create main --node DIR/node-0
  mpc-client --config DIR/client.yaml

With --client the client's participant (DIR/client) runs as long as mpc-client does. All members have to run while a key is
made: keep an mpc-client session open, or run `sign-service DIR/client/sign-service.yaml` for that time.

FOR DEVELOPMENT: this process makes the identities of all nodes, and the policy that it writes allows everything. In
production each node runs `mpc-keygen identity` on its own machine, and gets a policy of its own.

The files in tls/ are for one year, from an authority whose key is not kept; without --tls they lie ready and are not used.
"""


@click.command(
    help=INIT_HELP, epilog=EXIT_CODES_HELP, short_help="Make a whole development setting in a new directory."
)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "-n", "--nodes", type=click.IntRange(2, 16), default=3, show_default=True, help="Size of the committee."
)
@click.option(
    "-t", "--threshold", type=click.IntRange(2, 16), default=2, show_default=True, help="How many must sign."
)
@click.option(
    "--client", is_flag=True, help="Index 1 is the client's own share-holding participant (DIR/client)."
)
@click.option(
    "--base-port", type=PORT, help="All ports in one block: gateway N and N+1, client N+2, nodes from N+10."
)
@click.option("--gateway-port", type=PORT, help="Gateway, HTTP [default: 8080]")
@click.option("--gateway-grpc-port", type=PORT, help="Gateway, gRPC [default: 50050]")
@click.option("--grpc-port", type=PORT, help="Node 0, gRPC; each further node 10 higher [default: 50051]")
@click.option(
    "--metrics-port",
    type=PORT,
    help="Node 0, health and metrics; each further node 10 higher [default: 9451]",
)
@click.option("--client-port", type=PORT, help="The client's own participant, with --client [default: 50052]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address that everything listens on.")
@click.option(
    "--gateway-name", help="Name under which nodes and callers reach the gateway [default: the host]"
)
@click.option(
    "--node-name",
    help="Name under which callers reach a node; {index} stands for its index [default: the host]",
)
@click.option(
    "--tls",
    is_flag=True,
    help="TLS everywhere, a token that callers need, and rooms for these nodes alone. Required beyond loopback.",
)
@json_option
def init(
    directory: Path,
    *,
    nodes: int,
    threshold: int,
    client: bool,
    host: str,
    tls: bool,
    **given: str | int | None,
) -> None:
    """See INIT_HELP."""
    setting = Development(
        n=nodes, threshold=threshold, client=client, host=host, tls=tls,
        gateway_name=_text(given["gateway_name"]), node_name=_text(given["node_name"]), ports=_ports(given),
    )  # fmt: skip
    made, left_out = write_development(setting, directory)
    out = output()
    out.warn(PERMISSIVE_NOTE)
    out.warn("this process made the secret identities of all nodes: for development only")
    if left_out:
        out.warn(f"{directory} is too long a path for unix sockets: the nodes have no operator socket")
    places = [(index, setting.directory_of(index), setting.node_address(index)) for index in range(nodes)]
    out.result(
        {
            "directory": str(directory),
            "committee_id": made.committee_id.hex(),
            "threshold": threshold,
            "gateway": setting.gateway_url,
            "nodes": [
                {"index": index, "settings": f"{place}/sign-service.yaml", "grpc": address}
                for index, place, address in places
            ],
            "client": "client.yaml",
        },
        [
            f"made {directory}: {threshold} of {nodes}, committee {grouped(made.committee_id)}",
            f"  sign-gateway {directory}/sign-gateway.yaml",
            *(
                f"  sign-service {directory}/{place}/sign-service.yaml"
                + ("   (while a key is made; else mpc-client runs it)" if place == CLIENT_DIRECTORY else "")
                for _, place, _ in places
            ),
            f"  mpc-keygen create main --node {directory}/node-0",
            f"  mpc-client --config {directory}/client.yaml",
        ],
    )


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _ports(given: dict[str, str | int | None]) -> Ports:
    base = given["base_port"]
    ports = Ports() if base is None else Ports.block(int(base))
    names = {
        "gateway_port": "gateway", "gateway_grpc_port": "gateway_grpc", "grpc_port": "grpc",
        "metrics_port": "metrics", "client_port": "client",
    }  # fmt: skip
    chosen = {field: int(value) for name, field in names.items() if (value := given[name]) is not None}
    return Ports(**{**vars(ports), **chosen})


COMMANDS = (identity, committee, init)
