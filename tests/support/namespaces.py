"""A node in a network of its own, behind a router that can stop forwarding: what a cut cable looks like. Needs root.

with network_of_its_own() as net:
    node = net.put(committee, 2, gateway_port)
    net.cut()      # nothing comes through in either direction, and nobody is told
    net.mend()
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from committee_processes import CommitteeProcesses, NodeProcess
from programs import needed


def ip(*words: str) -> None:
    needed("ip", root=True)
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass
class NamespacedNode(NodeProcess):
    """A sign-service that runs in a network namespace; its health and metrics are reached from outside, its callers not."""

    namespace: str = ""

    @property
    def argv(self) -> list[str]:
        return ["ip", "netns", "exec", self.namespace, *super().argv]


@dataclass(frozen=True)
class Net:
    """This machine - router - node, each link with addresses of its own."""

    router: str
    node: str
    prefix: str

    @property
    def outside(self) -> str:
        """This machine's address, as the node sees it."""
        return f"{self.prefix}.1"

    @property
    def inside(self) -> str:
        """The node's."""
        return f"{self.prefix}.6"

    def put(self, committee: CommitteeProcesses, index: int, gateway_port: int) -> NamespacedNode:
        """A node that does not run yet moves into the namespace; its gateway is on a port of this machine."""
        node = committee.nodes[index]
        moved = NamespacedNode(node.directory, index, node.identity, node.settings, namespace=self.node)
        url = f"http://{self.outside}:{gateway_port}"
        moved.write_settings({"gateway": {"url": url}, "metrics": {"host": self.inside}})
        committee.nodes[index] = moved
        return moved

    def cut(self) -> None:
        """The router drops everything, and tells nobody."""
        self._forward(0)

    def mend(self) -> None:
        self._forward(1)

    def _forward(self, on: int) -> None:
        ip("netns", "exec", self.router, "sysctl", "-q", "-w", f"net.ipv4.ip_forward={on}")


@contextlib.contextmanager
def network_of_its_own() -> Iterator[Net]:
    """Names and addresses are this process's: several may run at a time."""
    pid = os.getpid()
    net = Net(f"wmpc-r{pid}", f"wmpc-n{pid}", f"10.{192 + (pid >> 8) % 64}.{pid % 256}")
    outer, near, far, inner = (f"wm{end}{pid}" for end in "onfi")
    with contextlib.ExitStack() as stack:
        for name in (net.router, net.node):
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", outer, "type", "veth", "peer", "name", near, "netns", net.router)
        # A namespace goes when its last process has; the link, and with it the route, at once.
        stack.callback(ip, "link", "del", outer)
        ip("-n", net.router, "link", "add", far, "type", "veth", "peer", "name", inner, "netns", net.node)
        ip("addr", "add", f"{net.outside}/30", "dev", outer)
        ip("-n", net.router, "addr", "add", f"{net.prefix}.2/30", "dev", near)
        ip("-n", net.router, "addr", "add", f"{net.prefix}.5/30", "dev", far)
        ip("-n", net.node, "addr", "add", f"{net.inside}/30", "dev", inner)
        ip("link", "set", outer, "up")
        ip("-n", net.router, "link", "set", near, "up")
        ip("-n", net.router, "link", "set", far, "up")
        ip("-n", net.node, "link", "set", inner, "up")
        ip("route", "add", f"{net.prefix}.4/30", "via", f"{net.prefix}.2")
        ip("-n", net.node, "route", "add", "default", "via", f"{net.prefix}.5")
        net.mend()
        yield net
