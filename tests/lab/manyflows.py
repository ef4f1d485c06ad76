# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.lab.manyflows ADDRESS COUNT`: sends COUNT datagrams, each from a port or to a port of its own."""
from __future__ import annotations

import socket
import sys


def main() -> None:
    """A socket for each 40,000 destination ports."""
    address, count = sys.argv[1], int(sys.argv[2])
    while count > 0:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for port in range(10000, min(50000, 10000 + count)):
                sock.sendto(b"x", (address, port))
        count -= 40000


if __name__ == "__main__":
    main()
