# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.sim`: runs the simulation and prints its figures. Exit status 1 if a packet was lost or went to a wrong client only."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import quantiles
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from .run import Router
from .world import World


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sim", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--servers", type=int, default=100)
    parser.add_argument("--concentrator", type=int, default=260, help="clients of the largest server, at least")
    parser.add_argument("--seconds", type=float, default=2400)
    parser.add_argument("--burst", type=int, default=250, help="clients of the largest server that start within one second")
    parser.add_argument("--peers", type=float, default=0.002, help="hosts that ask another host through the server")
    parser.add_argument("--pace", type=float, default=1.0, help="questions a second of the busiest hosts")
    parser.add_argument("--bulk-at-once", action="store_true", help="the first answers are as long as the later ones")
    parser.add_argument("--idle", type=float, default=60, help="mean pause between bouts, seconds")
    parser.add_argument("--rekey", type=float, default=3600, help="longest life of an SA, seconds")
    parser.add_argument("--same", type=float, default=0.0002, help="chance that a new SPI is another client's already")
    parser.add_argument("--churn", type=float, default=0.1, help="hosts that vanish")
    parser.add_argument("--loss", type=float, default=0.005, help="packets lost beyond the router, each way")
    parser.add_argument("--computes", type=float, default=0.0, help="mean of what a server takes to answer an IKE exchange, seconds")
    parser.add_argument("--jitter", type=float, default=0.002, help="mean of what is added to each way, seconds")
    parser.add_argument("--reorder", type=float, default=0.01, help="packets that come 30 ms late")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds that a notice takes the daemon, where the router is slow")
    parser.add_argument("--notice-loss", type=float, default=0.0, help="notices lost between kernel and daemon, beyond the rate limits")
    parser.add_argument("--shared-rate", type=float, default=500, help="notices a second about shared SPIs, new ones and fanned ones each")
    parser.add_argument("--shared-burst", type=float, default=1000, help="notices at once about new ones")
    parser.add_argument("--out-rate", type=float, default=500, help="notices a second about outbound SPIs")
    return parser.parse_args(arguments)


def report(router: Router, world: World, seconds: float) -> list[str]:
    missing = router.missing.values()
    wrong, lost = sum(entry[4] > 0 for entry in missing), sum(entry[4] == 0 for entry in missing)
    dark = router.dark().values()
    times = sorted(router.decisions) or [0.0]
    cuts = quantiles(times, n=100) if len(times) > 1 else times * 99
    open_spis = sum(len(server.open) for server in router.engine.servers.values())
    longest = max((last - first for first, last, _ in dark), default=0.0)
    spoken = ", ".join(f"{name} {count}" for name, count in sorted(router.events.items()) if name != "all")
    acted = ", ".join(f"{name} {count}" for name, count in sorted(router.actions.items()))
    return [
        f"seed                 {world.options.seed}",
        f"hosts, SAs           {len(world.hosts)}, {world.sas} ({world.equal} with another's SPI)",
        f"packets              {router.packets} ({router.inbound} inbound)",
        f"wrong client only    {wrong}",
        f"lost by us           {lost}",
        f"SPIs that missed any {len(dark)}, dark for at most {longest:.1f} s",
        f"foreign copies       {router.copies} = {100 * router.copies / max(1, router.packets):.2f} % of the packets",
        f"decided              {router.taken} by the kernel, {len(router.decisions)} by the engine:"
        f" median {cuts[49] * 1000:.0f} ms, 99th percentile {cuts[98]:.2f} s",
        f"open at the end      {open_spis}",
        f"engine               {router.state_size() / 1e6:.1f} MB, {router.events['all'] / max(router.busy, 1e-9):.0f} events/s,"
        f" the slowest took {router.highest * 1000:.1f} ms",
        f"events               {spoken}",
        f"actions              {acted}",
        f"took                 {seconds:.0f} s",
    ]


def main() -> int:
    chosen = options()
    router = Router(chosen)
    world = World(chosen, router)
    began = perf_counter()
    world.run()
    print("\n".join(report(router, world, perf_counter() - began)))
    return 1 if router.missing else 0


if __name__ == "__main__":
    sys.exit(main())
