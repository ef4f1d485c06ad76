# SPDX-License-Identifier: GPL-2.0-or-later
"""The options in words, for `vpnpt help OPTION` and the documentation. Pure; in the package vpnpt-tools, the daemon does not need it."""
from __future__ import annotations

from .options import OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .options import Option

MEANINGS: dict[str, dict[str, str]] = {
    "global": {
        "enabled": "Whether VPN passthrough runs at all.",
        "lan_zone": "Firewall zones that alone are the inside; without it, every zone that is forwarded to a WAN zone.",
        "wan_zone": "Firewall zones that alone are the WAN side; without it, every zone that masquerades for one that is forwarded to "
                    "it.",
        "lan_device": "Network devices of the inside, instead of zones.",
        "wan_device": "Network devices of the WAN side, instead of zones.",
        "when_disabled": "What becomes of a protocol that is not enabled: block drops it between LAN and WAN, ignore lets it be.",
        "zone_base": "The first conntrack zone that may be given to a LAN client.",
        "zone_count": "How many conntrack zones are set aside for LAN clients.",
        "max_clients": "How many LAN clients are known at once, at most zone_count.",
        "max_keys": "How many keys (SPIs, cookies, tunnel IDs) each map of the kernel may hold.",
        "client_timeout": "How long a silent LAN client keeps its zone, at least key_timeout.",
        "key_timeout": "How long a silent tunnel's key is remembered.",
        "pending_timeout": "How long an announced tunnel may wait for its first answer.",
        "fast_timeout": "How long an entry of the kernel's fast path lives before it is renewed, at most half of key_timeout.",
        "log_level": "The least important messages that go to the system log.",
        "unused_days": "After how many days without use the doctor names a protocol that is on; 0: never.",
        "on_drift": "What to do when others change the rules in our tables: repair puts them back, alert only says so. Tables that "
                    "were deleted come back in any case.",
        "history": "A file that keeps the history of changes over a reboot; without it the history is in RAM.",
        "metrics_file": "A file for Prometheus' textfile collector, on OpenWrt `/var/prometheus/vpnpt.prom`; without it none is written.",
        "metrics_interval": "How often metrics_file is written.",
    },
    "pptp": {
        "enabled": "Let PPTP clients through. Its encryption is broken (MS-CHAPv2): use it where nothing else is left.",
        "port": "TCP ports of PPTP's control connection.",
    },
    "l2tp": {
        "enabled": "Let L2TP clients through, several of them to one server.",
        "port": "UDP ports of L2TP servers.",
    },
    "ipsec": {
        "enabled": "Let IPsec clients (IKE, ESP, NAT-T) through, several of them to one server.",
        "natt_port": "UDP ports of NAT traversal; IKE itself is always UDP 500.",
        "multi_client": "Let several clients use ESP to the same server at once.",
        "preserve_ike_port": "Keep source port 500 of IKE for every client; some servers refuse another one.",
        "esp_offload": "Established ESP past the firewall, faster; auto: where flow_offloading is on.",
        "ipv6_inbound": "Whether IPsec may come in from the WAN to IPv6 hosts of the LAN; RFC 6092, REC-22 to 24, asks for open.",
    },
    "openvpn": {
        "enabled": "Recognise OpenVPN. It crosses NAT by itself and is never touched unless it is blocked.",
        "port": "TCP and UDP ports of OpenVPN servers.",
    },
    "wireguard": {
        "enabled": "Recognise WireGuard. It crosses NAT by itself and is never touched unless it is blocked.",
        "port": "UDP ports of WireGuard servers.",
    },
}
"""A sentence for the user on each option, by section and name."""
SHARED = {
    "when_disabled": "What happens to this protocol when it is not enabled; without it the global when_disabled counts.",
    "allow_src": "LAN addresses, subnets or MACs that alone may use this protocol; without it, all.",
    "deny_src": "LAN addresses, subnets or MACs that may not use this protocol, whatever allow_src says.",
}
"""Of every protocol."""


def meaning(section: str, name: str) -> str:
    """The sentence about an option. Raises KeyError where there is none."""
    found = MEANINGS[section]
    return found[name] if name in found or section == "global" else SHARED[name]


def help_text(word: str) -> str:
    """A section with its options, or an option in all its sections; '' if it is neither."""
    return "\n".join(_about(section, option) for section, options in OPTIONS.items() for option in options
                     if word in (section, option.name))


def _about(section: str, option: Option) -> str:
    kind = "list" if option.many else "option"
    return f"{kind} vpnpt.{section}.{option.name}\n  {meaning(section, option.name)}\n  {_values(option)}; without it {_default(option)}\n"


def _values(option: Option) -> str:
    if option.kind in ("int", "port"):
        return f"{option.low} to {option.high} {option.unit}".rstrip()
    kinds = {"bool": "1 or 0", "zone": "a firewall zone", "device": "a network device", "source": "an address, a subnet or a MAC"}
    if option.kind == "path":
        return " ".join(["an absolute path", *(f"that ends in {ending}" for ending in option.choices)])
    return kinds.get(option.kind) or " or ".join(option.choices)


def _default(option: Option) -> str:
    if isinstance(option.default, tuple):
        return " ".join(map(str, option.default)) or "none"
    if isinstance(option.default, bool):
        return str(int(option.default))
    if option.default == "" and option.kind == "choice":
        return f"vpnpt.global.{option.name}"
    return str(option.default) or "none"
