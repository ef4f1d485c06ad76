# SPDX-License-Identifier: GPL-2.0-or-later
"""The ruleset of a stock OpenWrt router as fw4 writes it: two zones, lan and wan, with the default policies.

Taken from what `fw4 print` shows for the default /etc/config/firewall; only what cannot matter here is left out (syn flood
limits, DHCP rules). The drop-in at the end of `forward`, after the zones' rules, is where fw4 includes
/usr/share/nftables.d/chain-post/forward/*.nft.
"""
from __future__ import annotations

BODY = """
	chain input {
		type filter hook input priority filter; policy drop;
		iif "lo" accept comment "!fw4: Accept traffic from loopback"
		ct state vmap { established : accept, related : accept } comment "!fw4: Handle inbound flows"
		iifname { LAN } accept comment "!fw4: Handle lan IPv4/IPv6 input traffic"
		iifname { WAN } jump input_wan comment "!fw4: Handle wan IPv4/IPv6 input traffic"
		jump handle_reject
	}

	chain forward {
		type filter hook forward priority filter; policy drop;
OFFLOAD		ct state vmap { established : accept, related : accept } comment "!fw4: Handle forwarded flows"
		iifname { LAN } jump forward_lan comment "!fw4: Handle lan IPv4/IPv6 forward traffic"
GUEST		iifname { WAN } jump forward_wan comment "!fw4: Handle wan IPv4/IPv6 forward traffic"
		include "DROPIN"
		jump handle_reject
	}

	chain output {
		type filter hook output priority filter; policy accept;
		oif "lo" accept comment "!fw4: Accept traffic towards loopback"
		ct state vmap { established : accept, related : accept } comment "!fw4: Handle outbound flows"
	}

	chain prerouting {
		type filter hook prerouting priority filter; policy accept;
	}

	chain handle_reject {
		meta l4proto tcp reject with tcp reset comment "!fw4: Reject TCP traffic"
		reject with icmpx type port-unreachable comment "!fw4: Reject any other traffic"
	}

	chain input_wan {
		icmp type echo-request counter accept comment "!fw4: Allow-Ping"
		icmpv6 type { ERRORS, NEIGHBOURS } counter accept comment "!fw4: Allow-ICMPv6-Input"
		jump handle_reject
	}

	chain forward_lan {
		oifname { WAN } accept comment "!fw4: Accept lan to wan forwarding"
		oifname { LAN } accept comment "!fw4: accept lan IPv4/IPv6 traffic"
	}

	chain forward_wan {
		icmpv6 type { ERRORS } limit rate 1000/second counter accept comment "!fw4: Allow-ICMPv6-Forward"
IPSEC		oifname { WAN } jump handle_reject comment "!fw4: reject wan IPv4/IPv6 traffic"
	}

	chain dstnat {
		type nat hook prerouting priority dstnat; policy accept;
	}

	chain srcnat {
		type nat hook postrouting priority srcnat; policy accept;
		oifname { WAN } jump srcnat_wan comment "!fw4: Handle wan IPv4/IPv6 srcnat traffic"
	}

	chain srcnat_wan {
		meta nfproto ipv4 masquerade comment "!fw4: Masquerade IPv4 wan traffic"
	}

	chain raw_prerouting {
		type filter hook prerouting priority raw; policy accept;
	}

	chain raw_output {
		type filter hook output priority raw; policy accept;
	}

	chain mangle_prerouting {
		type filter hook prerouting priority mangle; policy accept;
	}

	chain mangle_postrouting {
		type filter hook postrouting priority mangle; policy accept;
	}

	chain mangle_input {
		type filter hook input priority mangle; policy accept;
	}

	chain mangle_output {
		type route hook output priority mangle; policy accept;
	}

	chain mangle_forward {
		type filter hook forward priority mangle; policy accept;
		iifname { WAN } tcp flags & (fin | syn | rst) == syn tcp option maxseg size set rt mtu comment "!fw4: Zone wan ingress MTU fixing"
		oifname { WAN } tcp flags & (fin | syn | rst) == syn tcp option maxseg size set rt mtu comment "!fw4: Zone wan egress MTU fixing"
	}
"""

IPSEC_RULES = """		oifname { LAN } meta l4proto esp counter accept comment "!fw4: Allow-IPSec-ESP"
		oifname { LAN } udp dport 500 counter accept comment "!fw4: Allow-ISAKMP"
"""

GUEST_ZONE = """
	chain forward_guest {
		oifname { WAN } accept comment "!fw4: Accept guest to wan forwarding"
	}
"""

ICMP6 = "echo-request, echo-reply, destination-unreachable, packet-too-big, time-exceeded, parameter-problem"
NEIGHBOURS = "nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert"
OFFLOAD_RULE = """		meta l4proto { tcp, udp } flow offload @ft;
"""


def body(lan: tuple[str, ...], wan: tuple[str, ...], dropin: str, ipsec_rules: bool = False, offload: bool = False,
         guest: str = "") -> str:
    """The contents of `table inet fw4` for the devices of the two zones.

    dropin: the pattern to include at the end of `forward`. ipsec_rules: OpenWrt's Allow-IPSec-ESP and Allow-ISAKMP.
    offload: software flow offload, which the kernel must know. guest: the device of a third zone, which may only go to wan.
    """
    text = BODY.replace("OFFLOAD", OFFLOAD_RULE if offload else "").replace("IPSEC", IPSEC_RULES if ipsec_rules else "")
    text = text.replace("GUEST", f'\t\tiifname {{ "{guest}" }} jump forward_guest comment "!fw4: guest"\n' if guest else "")
    text += GUEST_ZONE if guest else ""
    text = text.replace("DROPIN", dropin).replace("ERRORS", ICMP6).replace("NEIGHBOURS", NEIGHBOURS)
    text = text.replace("LAN", _names(lan)).replace("WAN", _names(wan))
    if offload:
        table = f'\tflowtable ft {{\n\t\thook ingress priority 0;\n\t\tdevices = {{ {_names((*lan, *wan))} }};\n\t}}\n'
        text = table + text
    return text


def _names(devices: tuple[str, ...]) -> str:
    return ", ".join(f'"{device}"' for device in devices)


def transaction(contents: str, restart: bool) -> str:
    """What `fw4 reload` (flush, then add) or `fw4 restart` (delete, then add) hands to nft, as one transaction."""
    if restart:
        return f"table inet fw4\ndelete table inet fw4\ntable inet fw4 {{\n{contents}}}\n"
    return f"table inet fw4\nflush table inet fw4\ntable inet fw4 {{\n{contents}}}\n"


# `fw4 zone NAME` answers the devices of a zone; status 1 for an unknown one. `reload` keeps the table, `restart` replaces it.
SCRIPT = """#!/bin/sh
[ "$1" = -q ] && shift
case "$1" in
  zone)
    case "$2" in
      lan) echo "LAN" ;;
      wan) echo "WAN" ;;
GUEST      *) exit 1 ;;
    esac ;;
  reload) exec nft -f "DIR/reload.nft" ;;
  restart) exec nft -f "DIR/restart.nft" ;;
  flush) exec nft flush ruleset ;;
  *) exit 1 ;;
esac
"""


def script(lan: tuple[str, ...], wan: tuple[str, ...], directory: str, guest: str = "") -> str:
    """A stand-in for /sbin/fw4."""
    text = SCRIPT.replace("GUEST", f'      guest) echo "{guest}" ;;\n' if guest else "")
    return text.replace("LAN", "\n".join(lan)).replace("WAN", "\n".join(wan)).replace("DIR", directory)


def uci(lan: tuple[str, ...], wan: tuple[str, ...], guest: str = "") -> str:
    """The /etc/config/firewall that fw4 makes `body` of."""
    text = "config defaults\n\toption input 'REJECT'\n\toption output 'ACCEPT'\n\toption forward 'REJECT'\n"
    for name, devices, more in (("lan", lan, ""), ("wan", wan, "\toption masq '1'\n"), ("guest", (guest,) if guest else (), "")):
        if devices:
            text += f"\nconfig zone\n\toption name '{name}'\n" + "".join(f"\tlist device '{device}'\n" for device in devices) + more
            text += f"\nconfig forwarding\n\toption src '{name}'\n\toption dest 'wan'\n" if name != "wan" else ""
    return text
