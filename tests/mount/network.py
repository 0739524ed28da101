"""Hosts of a test: network namespaces on one bridge. Needs root and iproute2; nothing is left behind."""

import os
import random
import subprocess


class Network:
    """`prefixes`: what to put before a command to run it on each host. `address` is this side of the bridge.

    Only the network is a host's own: its mounts are seen from here.
    """

    def __init__(self, hosts: int) -> None:
        tag = f"{os.getpid():x}"  # interface names have at most 15 characters
        self._bridge = f"vb{tag}"
        self._names = [f"volfs-{tag}-{n}" for n in range(hosts)]
        self._links = [f"v{tag}-{n}" for n in range(hosts)]
        # 198.18.0.0/15 is set aside for tests of networks (RFC 2544).
        subnet = f"198.18.{_free_subnet()}"
        self.address = f"{subnet}.1"
        self.prefixes = [["nsenter", f"--net=/run/netns/{name}"] for name in self._names]
        try:
            _ip("link", "add", self._bridge, "type", "bridge")
            _ip("addr", "add", f"{self.address}/24", "dev", self._bridge)
            _ip("link", "set", self._bridge, "up")
            for n, (name, link) in enumerate(zip(self._names, self._links, strict=True)):
                _ip("netns", "add", name)
                _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
                _ip("link", "set", link, "master", self._bridge, "up")
                _ip("-n", name, "addr", "add", f"{subnet}.{n + 2}/24", "dev", "eth0")
                _ip("-n", name, "link", "set", "eth0", "up")
                _ip("-n", name, "link", "set", "lo", "up")
        except BaseException:
            self.remove()
            raise

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Their processes have to be gone."""
        for link in [*self._links, self._bridge]:
            subprocess.run(["ip", "link", "del", link], check=False, capture_output=True)
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _free_subnet() -> int:
    """The third number of an address that nobody has."""
    used = subprocess.run(["ip", "-o", "-4", "addr"], check=True, capture_output=True, text=True).stdout
    return random.choice([n for n in range(256) if f" 198.18.{n}." not in used])


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
