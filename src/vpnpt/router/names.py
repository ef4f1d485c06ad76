# SPDX-License-Identifier: GPL-2.0-or-later
"""What hosts are called, from what the router has at hand: DHCP leases and its own lists of hosts. Nobody is asked, inside or outside."""
from __future__ import annotations

import contextlib
import os
import socket

from ..config import ucitext
from . import uci
from .addresses import neighbours

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LEASES = ("/tmp/dhcp.leases",)
HOSTS = ("/etc/hosts", "/tmp/hosts")
ETHERS = "/etc/ethers"
SIZE_MAX = 1 << 18
"""Bytes of a file that are read: a list of hosts that blocks advertisements may have megabytes."""
FILES_MAX = 64
"""Files of a directory that are read."""
NAME_MAX = 64


class Hosts:
    """Names and Ethernet addresses, as of the last `read`. root: where the files are, '' for the system's own."""

    def __init__(self, config_dir: str | None = None, root: str = "") -> None:
        self._config_dir, self._root = config_dir, root
        self._configured: object = ""
        self._stamp: object = None
        self._leases, self._hosts = list(LEASES), list(HOSTS)
        self._static: dict[str, str] = {}
        self._names: dict[bytes, str] = {}
        self._by_mac: dict[str, str] = {}
        self._macs: dict[bytes, str] = {}

    def read(self) -> None:
        """Files that have not changed are not read again; neighbours always are."""
        dhcp = os.path.join(self._config_dir or self._root + uci.CONFIG_DIR, "dhcp")
        if _stamp(dhcp) != self._configured:
            self._configured, self._stamp = _stamp(dhcp), None
            self._configure(dhcp)
        files = [*self._leases, *_flat(self._root, self._hosts), ETHERS]
        stamp = [(name, _stamp(self._root + name)) for name in files]
        if stamp != self._stamp:
            self._stamp = stamp
            self._names, self._by_mac = {}, dict(self._static)
            for name in files:
                lines = _lines(self._root + name)
                if name in self._leases:
                    self._read_leases(lines)
                elif name == ETHERS:
                    self._read_ethers(lines)
                else:
                    self._read_hosts(lines)
        self._macs = neighbours()

    def name(self, address: bytes) -> str:
        """The host's name, '' if none is known. An address that has no name of its own has that of its Ethernet address."""
        return self._names.get(address) or self._by_mac.get(self._macs.get(address, ""), "")

    def mac(self, address: bytes) -> str:
        """Its Ethernet address, '' if it is not known."""
        return self._macs.get(address, "")

    def find(self, text: str) -> list[bytes]:
        """The addresses of a host that is given by address, by Ethernet address or by name; of those that are neighbours first."""
        packed = _packed(text)
        if packed is not None:
            return [packed]
        wanted = text.lower()
        if not wanted:  # neighbours without a name are nobody's
            return []
        near = [address for address, mac in self._macs.items() if wanted in (mac, self.name(address).lower())]
        far = [address for address, name in self._names.items() if name.lower() == wanted]
        return sorted(dict.fromkeys([*near, *far]), key=lambda address: (len(address), address not in near))

    def _configure(self, path: str) -> None:
        """UCI package dhcp: other places of leases and lists of hosts (files or directories), and hosts that have a section."""
        self._leases, self._hosts, self._static = list(LEASES), list(HOSTS), {}
        with contextlib.suppress(OSError):
            for section in ucitext.parse(uci.read_regular(path, SIZE_MAX).decode("utf-8", "surrogateescape")).sections:
                options = {name: option.values for name, option in section.options.items()}
                if section.type == "host":
                    for name in filter(_valid, options.get("name", ())):
                        self._static |= dict.fromkeys(" ".join(options.get("mac", ())).lower().split(), name)
                elif section.type in ("dnsmasq", "odhcpd"):
                    paths = self._leases if section.type == "dnsmasq" else self._hosts
                    paths += [value for value in options.get("leasefile", ()) if value.startswith("/") and value not in paths]
                    self._hosts += [value for value in options.get("addnhosts", ()) if value.startswith("/")]

    def _read_leases(self, lines: Iterator[list[str]]) -> None:
        """dnsmasq: expiry, Ethernet address (or IAID), address, name or *, client ID."""
        for words in lines:
            if len(words) >= 4:
                self._add(words[2], words[3], words[1])

    def _read_hosts(self, lines: Iterator[list[str]]) -> None:
        """hosts(5): an address, then names; the first one without a domain is the shortest to read."""
        for words in lines:
            if len(words) >= 2:
                self._add(words[0], words[1])

    def _read_ethers(self, lines: Iterator[list[str]]) -> None:
        """ethers(5): an Ethernet address, then a name or an address."""
        for words in lines:
            if len(words) >= 2 and _packed(words[1]) is None and _valid(words[1]):
                self._by_mac.setdefault(words[0].lower(), words[1])

    def _add(self, address: str, name: str, mac: str = "") -> None:
        packed = _packed(address)
        if packed is None or not _valid(name) or name.startswith(("localhost", "ip6-")):
            return
        self._names.setdefault(packed, name)
        if len(mac) == 17:
            self._by_mac.setdefault(mac.lower(), name)


def _flat(root: str, paths: list[str]) -> list[str]:
    """Files, and the files in directories."""
    found = []
    for path in paths:
        try:
            found += [f"{path}/{name}" for name in sorted(os.listdir(root + path))[:FILES_MAX]]
        except OSError:
            found.append(path)
    return found


def _stamp(path: str) -> object:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _lines(path: str) -> Iterator[list[str]]:
    with contextlib.suppress(OSError):
        for line in uci.read_regular(path, SIZE_MAX).decode("utf-8", "replace").splitlines():
            words = line.partition("#")[0].split()
            if words:
                yield words


def _packed(address: str) -> bytes | None:
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, ValueError):
            return socket.inet_pton(family, address)
    return None


def _valid(name: str) -> bool:
    """A name out of a lease is the client's own word: only what a host name may be made of is shown."""
    return 0 < len(name) <= NAME_MAX and all(char.isascii() and (char.isalnum() or char in "-_.") for char in name)
