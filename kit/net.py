"""Listening sockets: bound before anything else starts, with errors that say what to do."""

from __future__ import annotations

import errno
import ipaddress
import resource
import socket

BACKLOG = 2048


class ListenError(Exception):
    """An address cannot be listened on; the text says why and which setting to change."""


def listen(host: str, port: int, setting: str) -> socket.socket:
    """A listening TCP socket, not shared with any other process.

    Args:
        host: name or address; a name is bound to its first address.
        port: 0 for any free one.
        setting: the key that sets the port, for error texts, such as "server.port".

    Raises:
        ListenError: the port is in use or not permitted, or the host is not an address of this machine.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        host_setting = setting.rsplit(".", 1)[0] + ".host"
        raise ListenError(f"{host!r} is not a host name or address: correct {host_setting}") from None
    sock = socket.socket(family, kind, proto)
    try:
        # Lets a restarted daemon take its port again while old connections linger; it does not allow two listeners.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ListenError(explain_bind(host, port, setting, error.errno)) from None
    return sock


def explain_bind(host: str, port: int, setting: str, number: int | None) -> str:
    """The text of a ListenError for errno `number`."""
    where = f"{bracketed(host)}:{port}"
    if number == errno.EADDRINUSE:
        return f"{where} is in use: stop the process that listens there, or set {setting} to another port"
    if number == errno.EACCES:
        return f"{where}: not permitted: ports below 1024 need privileges; set {setting} to another port"
    if number == errno.EADDRNOTAVAIL:
        host_setting = setting.rsplit(".", 1)[0] + ".host"
        return f"{where}: not an address of this machine: correct {host_setting}"
    name = errno.errorcode.get(number, str(number)) if number is not None else "unknown error"
    return f"{where}: cannot listen there ({name}): see {setting}"


def port_of(sock: socket.socket) -> int:
    """The port that a socket is bound to."""
    port: int = sock.getsockname()[1]
    return port


def bracketed(host: str) -> str:
    """The host as it stands in a URL."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. Unknown names count as reachable from elsewhere."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def allow_descriptors(wanted: int) -> int:
    """Raises the process's soft limit of open files towards `wanted`; returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted if soft == resource.RLIM_INFINITY else soft
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit
