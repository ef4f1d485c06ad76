# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.lab.storm SECONDS SOURCE TARGET SEED`: ESP packets with random SPIs, as fast as one process can. Prints how many."""
from __future__ import annotations

import random
import socket
import struct
import sys
import time

BATCH = 256


def main(seconds: float, source: str, target: str, seed: int) -> int:
    """Sends from a source that is not ours; only inside the lab's namespaces."""
    rng = random.Random(seed)
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 92, 0, 0, 64, 50, 0, socket.inet_aton(source), socket.inet_aton(target))
    sent, end = 0, time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        while time.monotonic() < end:
            for _ in range(BATCH):
                sock.sendto(header + rng.randbytes(4) + struct.pack(">I", rng.randrange(1, 1 << 20)) + bytes(64), (target, 0))
            sent += BATCH
    return sent


if __name__ == "__main__":
    print(main(float(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
