# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may use which protocol: help for PPTP, refusal of what is blocked, delivery of what a server starts.

All of it stands in NAT chains, which see only the first packet of a flow: it costs established traffic nothing. That is enough,
because the daemon deletes the conntrack entries of what is refused from now on, so that their next packet is a first one again.
From the LAN a refusal is an answer (TCP reset, ICMP), so that the user's program says at once that it was refused; from the WAN it
is silence.
"""

from __future__ import annotations

from .ike import BEGINNING, looks_like_ike
from .maps import COOKIE, SERVER, SPI, declare, refused, refused_set
from .notices import AH, REFUSED, notice
from .sharing import IKE_BOTH
from .text import Table, names, numbers
from .zones import add_not_ours, zone_range

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..model import Config, Devices, Protocol, Source
    from .text import Chain

LOG_RATE = "1/second burst 5 packets"


def first_packets(protocol: Protocol) -> list[str]:
    """What the first packet of a flow of this protocol looks like, in either direction, as nft matches."""
    ports = numbers(protocol.ports) if protocol.ports else ""
    if protocol.name == "pptp":
        # GRE version 1 is PPTP (RFC 2637 4.1), version 0 is anybody's tunnel (RFC 2784): the three version bits tell.
        # The bits come first: nft 1.0.6 aborts when it lists "meta l4proto gre @th,...".
        return [f"tcp dport {ports}", "@th,13,3 1 meta l4proto gre"]
    if protocol.name == "l2tp":
        return [f"udp dport {ports}", f"udp sport {ports}", "meta l4proto 115"]
    if protocol.name == "ipsec":
        return [f"udp dport {numbers((500, *protocol.ports))}", "tcp dport 4500", "meta l4proto { esp, ah }"]
    if protocol.name == "openvpn":
        return [f"meta l4proto {{ tcp, udp }} th dport {ports}"]
    return [f"udp dport {ports}"]


def add_access(table: Table, config: Config, devices: Devices, *, helper: bool, offload: bool) -> None:
    """The NAT chains of `table` (family ip or ip6). `helper`: nf_conntrack_pptp is there. `offload`: there is a flow table."""
    lan, wan = names(devices.lan), names(devices.wan)
    start = table.chain("flow_start", "nat hook prerouting priority dstnat - 5; policy accept;")
    end = table.chain("flow_end", "nat hook postrouting priority srcnat - 6; policy accept;")
    out, inbound = table.chain("from_lan"), table.chain("to_lan")
    if table.family == "ip":
        _add_delivery(table, config, start, devices, offload=offload)
    for protocol in config.protocols.values():
        behaviour = config.behaviour(protocol.name)
        if behaviour != "ignore":
            # Also where nothing is refused yet: who is blocked must not cost a new table with all it has learned.
            declare(table, config, [refused(protocol.name, table.family)])
        if behaviour == "block":
            _block(table, protocol, out, inbound)
        elif behaviour == "help":
            if protocol.deny_src:
                _deny(table, protocol, out, inbound)
            if protocol.allow_src:
                _restrict(table, protocol, out)
            if protocol.name == "pptp" and table.family == "ip":
                _help_pptp(table, protocol, out, start, wan, helper)
            if protocol.name == "ipsec" and table.family == "ip":
                _report_ah(table, out)
            if protocol.name == "ipsec" and table.family == "ip6" and protocol.ipv6_inbound == "closed":
                _close_inbound(table, protocol, inbound)
    if out.rules:
        start.rule(f"iifname {lan} fib daddr . mark oifname {wan} jump from_lan", "from the LAN to the WAN")
    if inbound.rules:
        end.rule(f"iifname {wan} oifname {lan} jump to_lan", "from the WAN to the LAN")
    table.chains = [chain for chain in table.chains if chain.rules]


def _add_delivery(table: Table, config: Config, start: Chain, devices: Devices, *, offload: bool) -> None:
    lan = names(devices.lan)
    if config.shares_servers:
        if offload:
            # The flow table knows no zones: it would take two clients' UDP 500 for one flow. It takes no flow that has the extension of
            # helpers (nft_flow_offload_eval), which an expectation brings without any helper. Only where there is a flow table: a packet
            # whose expectation finds no room is dropped (nft_ct_expect_obj_eval), and small routers have room for 16.
            # Only after NAT: an extension that is added later may move the others (nf_ct_ext_add), and the expectation would go on to point
            # to where they were. That killed a kernel, once conntrack counted bytes.
            table.expectation("keep_out", "keeps a flow out of flow tables")
            late = table.chain("flow_kept", "filter hook postrouting priority srcnat + 50; policy accept;")
            late.rule(f'ct state new ct zone {zone_range(config)} meta l4proto udp ct expectation set "keep_out"', "never offloaded")
        zoned = f"iifname != {lan} ct zone {zone_range(config)}"
        start.rule(f"{zoned} ip protocol esp ip saddr . {SPI} != @spi_new dnat to ct zone map @zone_client", "by SPI: to its client")
        start.rule(f"{zoned} {IKE_BOTH} @th,128,64 != 0 ip saddr . {COOKIE} != @ike_begun update @ike_late {{ ip saddr }} "
                   "dnat to ct zone map @zone_client",
                   "by cookie: to its client")
        last = table.chain("flow_begin", "nat hook prerouting priority dstnat + 5; policy accept;")
        last.rule(f"{zoned} goto begin_zoned", "what a server begins, and the user does not forward")
        last.rule(f"iifname != {lan} {IKE_BOTH} ip saddr @slot1 goto begin_shared", "the same, of several clients")
        last.rule(f"iifname != {lan} {IKE_BOTH} ip saddr @ike_late goto begin_shared", "the same, not for its client alone")
        own = table.chain("begin_zoned")
        own.rule(f"{IKE_BOTH} socket transparent 0-1 goto begin_own", "the router itself listens: as without vpnpt")
        own.rule("dnat to ct zone map @zone_client", "the server speaks first: to the zone's client")
        own = table.chain("begin_own")
        own.rule(f"update @called_ike {{ {SERVER} . {COOKIE} : ct zone }}", "it answers in the zone in which it was called")
        shared = table.chain("begin_shared")
        shared.rule(f"{COOKIE} 0 return", "not IKE")
        looks_like_ike(shared)
        shared.rule("socket transparent 0-1 goto begin_router", "the router itself listens, and may not be meant")
        shared.rule(f"ip saddr . {COOKIE} @begun goto copies", "a repeated beginning: not answered yet")
        # Which address is ours nobody can tell here: SNAT may be to one that is on no device.
        shared.rule("fib daddr type != { local, unicast } return", "a broadcast, or to nowhere")
        add_not_ours(shared, devices)
        shared.rule("ip saddr @other_500 drop", "clients have copies of it")
        shared.rule("@th,128,64 != 0 goto copies", "a copy for each client")
        shared.rule(f"add @begun {{ ip saddr . {COOKIE} }}", "a new IKE SA of the server")
        shared.rule("ip daddr set ip saddr map @parted dup to ip daddr drop", "probably for who has just closed its SA")
        shared.rule("goto copies", "several clients could be meant")
        router = table.chain("begin_router")
        router.rule(f"{BEGINNING} update @begun {{ ip saddr . {COOKIE} }}", "the server begins an IKE SA: whose it is the answer tells")
        router.rule(f"add @left_out {{ {SERVER} timeout 60s }} goto copies", "the packet itself goes on, beside copies")


def _refusal(table: Table, protocol: Protocol, reason: str) -> str:
    """A chain that counts, logs and refuses; returns its name."""
    name = f"refuse_{protocol.name}_{reason.lower()}"
    table.counter(f"{protocol.name}_{reason.lower()}", f"flows of {protocol.name} refused: {reason.lower()}")
    chain = table.chain(name)
    chain.rule(f'counter name "{protocol.name}_{reason.lower()}"', "count")
    chain.rule(f"update @{refused_set(protocol.name)} {{ {table.family} saddr . {table.family} daddr counter }}", "by client and server")
    chain.rule(notice(f"{REFUSED} {protocol.name} {reason}", LOG_RATE), "the daemon logs it")
    chain.rule("meta l4proto tcp reject with tcp reset", "the client learns at once")
    chain.rule(f"reject with {'icmp' if table.family == 'ip' else 'icmpv6'} type admin-prohibited", "the client learns at once")
    return name


def _silence(table: Table, protocol: Protocol, reason: str) -> str:
    """The same for what comes from outside; returns the chain's name."""
    silent = table.chain(f"drop_{protocol.name}")
    silent.rule(f'counter name "{protocol.name}_{reason.lower()}"', "count")
    silent.rule(notice(f"{REFUSED} {protocol.name} {reason}", LOG_RATE), "the daemon logs it")
    silent.rule("drop", "silence towards the outside")
    return silent.name


def _block(table: Table, protocol: Protocol, out: Chain, inbound: Chain) -> None:
    refuse = _refusal(table, protocol, "BLOCKED")
    silent = _silence(table, protocol, "BLOCKED")
    for match in first_packets(protocol):
        out.rule(f"{match} goto {refuse}", f"{protocol.name} is blocked")
        inbound.rule(f"{match} goto {silent}", f"{protocol.name} is blocked")


def _sources(table: Table, sources: Iterable[Source], end: str) -> list[str]:
    """Matches for those of the sources that this family can have. end: 'saddr' or 'daddr', where no Ethernet address is known."""
    found = []
    for kind, match in (("ipv4", f"ip {end}"), ("ipv6", f"ip6 {end}"), ("mac", "ether saddr")):
        texts = [source.text for source in sources if source.kind == kind]
        if texts and (end == "saddr" if kind == "mac" else (kind == "ipv4") == (table.family == "ip")):
            found.append(f"{match} {{ {', '.join(texts)} }}")
    return found


def _deny(table: Table, protocol: Protocol, out: Chain, inbound: Chain) -> None:
    """The sources of `deny_src` may neither start flows of this protocol nor be reached by it."""
    matches, reached = _sources(table, protocol.deny_src, "saddr"), _sources(table, protocol.deny_src, "daddr")
    if matches:
        refuse = _refusal(table, protocol, "DENIED")
        check = table.chain(f"deny_{protocol.name}")
        for match in matches:
            check.rule(f"{match} goto {refuse}", "may not use it")
        for match in first_packets(protocol):
            out.rule(f"{match} jump {check.name}", f"{protocol.name} is not for some")
    if any(source.kind == "mac" for source in protocol.deny_src):
        # Nobody knows a host's Ethernet address here; but that it was refused with this server a while ago.
        reached.append(f"{table.family} daddr . {table.family} saddr @{refused_set(protocol.name)}")
    if reached:
        silent = _silence(table, protocol, "DENIED")
        check = table.chain(f"keep_{protocol.name}")
        for match in reached:
            check.rule(f"{match} goto {silent}", "may not use it")
        for match in first_packets(protocol):
            inbound.rule(f"{match} jump {check.name}", f"{protocol.name} is not for some")


def _restrict(table: Table, protocol: Protocol, out: Chain) -> None:
    """Only the sources of `allow_src` may start flows of this protocol."""
    refuse = _refusal(table, protocol, "SOURCE")
    check = table.chain(f"allow_{protocol.name}")
    for match in _sources(table, protocol.allow_src, "saddr"):
        check.rule(f"{match} return", "may use it")
    check.rule(f"goto {refuse}", "may not")
    for match in first_packets(protocol):
        out.rule(f"{match} jump {check.name}", f"{protocol.name} is for some only")


def _help_pptp(table: Table, protocol: Protocol, out: Chain, start: Chain, wan: str, helper: bool) -> None:
    if helper:
        table.helper("pptp", "pptp", "tcp")
        out.rule(f'tcp dport {numbers(protocol.ports)} ct helper set "pptp"', "call IDs, rewritten by the kernel")
    table.counter("pptp_stray", "GRE version 1 from outside that belongs to no call")
    start.rule(f'iifname {wan} @th,13,3 1 meta l4proto gre counter name "pptp_stray"', "expected calls do not come here; fw4 drops it")


def _report_ah(table: Table, out: Chain) -> None:
    """AH covers the addresses that NAT changes: it can't pass (RFC 3715 2.1). Where the LAN is routed it does, so it is let through."""
    table.counter("ipsec_ah", "AH from the LAN, which NAT breaks")
    out.rule('ip protocol ah counter name "ipsec_ah"', "count")
    out.rule(f"ip protocol ah {notice(AH, LOG_RATE)}", "the daemon logs it")


def _close_inbound(table: Table, protocol: Protocol, inbound: Chain) -> None:
    table.counter("ipsec_unsolicited", "IPsec that nobody inside asked for")
    for match in first_packets(protocol):
        inbound.rule(f'{match} counter name "ipsec_unsolicited" drop', "ipv6_inbound is closed")
