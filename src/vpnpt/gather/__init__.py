# SPDX-License-Identifier: GPL-2.0-or-later
"""Gathering facts for the doctor, only when asked: files under /proc and /etc, netlink, `nft`. Nothing is sent to anybody outside.

A fact that can't be read keeps its default, and a default never makes a finding.
"""
from __future__ import annotations

import time

from ..doctor import judge, why
from ..doctor.facts import Facts
from ..doctor.passage import passage
from ..sessions.table import text_of
from . import kernel, past, short_way, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..daemon.apply import Service
    from ..daemon.sessions_feed import SessionsFeed


def examine(service: Service, feed: SessionsFeed) -> dict[str, Any]:
    """The doctor's whole answer. To be called in a process of its own: it takes seconds and memory, and changes nothing here."""
    return judge(facts(service, feed))


def explain(service: Service, feed: SessionsFeed, client: bytes, server: bytes, since: int,
            passages: list[dict[str, Any]]) -> dict[str, Any]:
    """Why this client's VPN does not connect. passages: what passed where, as `passing.watch` told it. In a process of its own, too."""
    who = text_of(client)
    known = feed.sessions.snapshot(time.time(), lambda _: "", lambda _: "")["sessions"]
    attempts = {item["protocol"]: item["packets_out"] for item in known if item["state"] == "blocked" and item["client"] == who}
    case = why.Case(client=client, server=server, mac=feed.hosts.mac(client), since=since, passages=tuple(map(passage, passages)),
                    attempts=attempts)
    return why.judge(facts(service, feed), case)


def facts(service: Service, feed: SessionsFeed) -> Facts:
    """Every fact that can be read now."""
    config, devices, now = service.config, service.devices, int(time.time())
    known = Facts(
        now=now, config=config, devices=devices, problem=service.problem, diagnostics=tuple(service.diagnostics), notices=service.notices,
        helper_missing=service.helper_missing, drift=service.watch.drift, attempts=past.attempts(feed, now),
        refused=past.refused(feed),
        ike1=past.ike1(feed), usage=service.usage.times() if service.usage is not None else {},
        release=system.release(), kernel=system.kernel_version())
    if config is None or devices is None or not config.general.enabled:
        return known
    firewall = system.firewall(service.config_dir)
    (flows, tracking), neighbours = kernel.flows(config), system.neighbours()
    return known.replace(
        in_place=kernel.in_place(service), counters=kernel.counters(), fill=kernel.fill(service), rules=kernel.rules(), firewall=firewall,
        missing=kernel.missing(config, devices, firewall, tracking=tracking), uplinks=tuple(map(system.uplink, devices.wan)),
        default_devices=system.default_devices(), default_route6=system.default_route6(), lan6=system.public_addresses6(devices.lan),
        listeners=system.listeners(), hosts=sum(device in devices.lan for device in neighbours.values()),
        flows=kernel.only_ipsec(service, flows + past.unanswered(feed, now)), heard=kernel.esp_heard(service),
        left_out=kernel.left_out(service, flows, neighbours), errors=kernel.icmp_errors(), conntrack=system.conntrack_room(),
        syn_timeout=system.syn_timeout(),
        absent=frozenset(device for device in (*devices.lan, *devices.wan) if not system.uplink(device).mtu),
        short_way=short_way.short_way(service, devices))
