# SPDX-License-Identifier: GPL-2.0-or-later
"""Every code of the doctor: how serious it is, what it means, what to do. docs/reference/doctor-codes.md is made from it."""
from __future__ import annotations

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Severity = Literal["error", "warning", "info"]

FIREWALL, SETTINGS = "admin/network/firewall", "admin/network/vpnpt/settings"
RULES, FORWARDS, ZONES = "admin/network/firewall/rules", "admin/network/firewall/forwards", "admin/network/firewall/zones"
INTERFACES, PACKAGES, UPGRADE = "admin/network/network", "admin/system/package-manager", "admin/system/flash"


class Code(Record):
    """means: for the documentation. remedy: what to do, unless a finding knows better. link: where in LuCI."""

    __slots__ = ("severity", "means", "remedy", "link")
    DEFAULTS = {"link": ""}
    severity: Severity
    means: str
    remedy: str
    link: str


def _code(severity: Severity, means: str, remedy: str, link: str = "") -> Code:
    return Code(severity=severity, means=means, remedy=remedy, link=link)


UNANSWERED = "Ask whoever runs the server whether it is up, and the provider (or the router before this one) whether it lets {what} pass."

CODES: dict[str, Code] = {
    # what the daemon itself knows
    "CONFIG": _code("error", "the last configuration could not be put in force; what ran before goes on",
                    "Correct what the message names, then run `vpnpt reload`.", SETTINGS),
    "CONFIG_WARNING": _code("warning", "something in the configuration was not understood and left out",
                            "Correct what the message names.", SETTINGS),
    "RULES_MISSING": _code("error", "vpnpt's tables are not in the kernel: nothing is helped or blocked",
                           "See `logread -e vpnptd` for why they could not be loaded; restart vpnpt."),
    "RULES_CHANGED": _code("warning", "somebody else has changed vpnpt's tables, and they were left so (option on_drift)",
                           "Run `vpnpt reload`, or find who changes them; with on_drift 'repair' they are put back by themselves."),
    "FW4_RULES_MISSING": _code("warning", "the firewall's forward chain lacks vpnpt's lines, so what a server starts is not let in",
                               "Run `fw4 reload`; see that /usr/share/nftables.d/chain-post/forward/50-vpnpt.nft is there."),
    "NOTICES_MISSING": _code("warning", "the kernel's notices do not reach the daemon, which decides less and shows less",
                             "Install kmod-nfnetlink-log; see that no other program uses NFLOG groups 9107 to 9109."),
    # the system
    "KERNEL_FEATURE": _code("error", "the kernel lacks something that is needed here; the finding names the package",
                            "Install the package it names: `opkg install NAME`, from 25.12 on `apk add NAME`.", PACKAGES),
    "KERNEL_OLD": _code("warning", "the kernel is older than 5.15, with which nobody has tried vpnpt",
                        "Upgrade the firmware.", UPGRADE),
    "RELEASE_EOL": _code("warning", "this OpenWrt release gets no security fixes any more",
                         "Upgrade to a release that does: https://openwrt.org/releases", UPGRADE),
    "CONNTRACK_FULL": _code("warning", "the table of connections is nearly full: new ones will be refused",
                            "Raise net.netfilter.nf_conntrack_max in /etc/sysctl.conf, or find who opens so many connections."),
    "CLIENTS_FULL": _code("error", "clients were refused because max_clients are being served",
                          "Raise vpnpt.global.max_clients.", SETTINGS),
    "HOSTS_LEFT_OUT": _code("info", "hosts use IPsec and vpnpt does not keep them apart: their device is left out, or there was no room",
                            "If they are to be helped, see lan_zone, lan_device and max_clients of vpnpt.global.", SETTINGS),
    "MAPS_FULL": _code("warning", "one of vpnpt's maps is nearly full: new tunnels will not be learned",
                       "Raise vpnpt.global.max_keys (or max_clients), or find who makes up keys.", SETTINGS),
    # PPTP's helper
    "PPTP_HELPER_MISSING": _code("error", "PPTP is on, and the kernel has no helper for it: it does not pass",
                                 "Install kmod-nf-nathelper-pptp, before OpenWrt 25.12.5 kmod-nf-nathelper-extra.", PACKAGES),
    "PPTP_HELPER_DOUBLED": _code("warning", "something else attaches the PPTP helper too (the firewall's option helper, or a rule)",
                                 "Take it out there: vpnpt attaches the helper by itself, and two that disagree are hard to find.",
                                 FIREWALL),
    "PPTP_HELPER_OVERRIDDEN": _code("error", "PPTP's control connections have another helper than PPTP's: its data does not pass",
                                    "Take out the rule that attaches the other helper.", FIREWALL),
    # the firewall
    "FIREWALL_BLOCKS": _code("warning", "a rule of the firewall, which stays in charge, stops a VPN that vpnpt is to let through",
                             "Change or remove the rule it names, if it is not meant; else switch the protocol off in vpnpt.", RULES),
    "ICMP_BLOCKED": _code("warning", "a rule drops the ICMP errors that tell how long packets may be: large packets vanish",
                          "Let ICMP destination-unreachable and IPv6 packet-too-big pass.", RULES),
    "NOTRACK": _code("warning", "a rule takes VPN packets out of connection tracking: they can't be translated, nor helped",
                     "Remove the notrack rule, or keep it away from VPN ports."),
    "PORT_FORWARD": _code("warning", "a port forward takes a VPN's port from outside for another host",
                          "Keep it if that host runs a VPN server; what servers start with LAN clients may end there.", FORWARDS),
    "ROUTER_VPN": _code("info", "the router itself runs a VPN on a port that clients use too",
                        "Nothing, if that is meant: the router's own VPN comes first, and vpnpt serves the clients beside it."),
    "FLOW_OFFLOAD": _code("info", "flow offloading is on: an L2TP server that always sends to port 1701 may reach a wrong client",
                          "If L2TP clients of one server disturb each other, switch flow offloading off.", FIREWALL),
    "ESP_OFFLOAD": _code("info", "established ESP is to take the short way (option esp_offload), and can't; it passes all the same, only "
                         "slower", "Remove what the finding names, if it is not meant; else switch esp_offload off.", SETTINGS),
    "PROTOCOL_BLOCKED": _code("info", "clients want a protocol that vpnpt is told to refuse",
                              "Switch it on, or add the client to allow_src, if it is to pass.", SETTINGS),
    # the way to the internet
    "WAN_DOWN": _code("error", "there is no way to the internet: a WAN device is missing or down, or there is no default route",
                      "See the WAN interface's state.", INTERFACES),
    "DOUBLE_NAT": _code("warning", "the WAN address is private: another router before this one translates once more",
                        "Bridge the router before this one (modem mode), or have it pass VPNs: its settings decide what works.",
                        INTERFACES),
    "CGNAT": _code("warning", "the provider translates addresses too (WAN address in 100.64.0.0/10 or 192.0.0.0/29)",
                   "Use VPNs over UDP or TCP (IPsec with NAT traversal, OpenVPN, WireGuard), or ask for a public address."),
    "MTU_LOW": _code("info", "the WAN carries packets of less than 1,400 bytes: many VPNs expect more",
                     "Lower the MTU of the VPN on the clients: WAN MTU less 80 bytes is safe for most.", INTERFACES),
    "PATH_MTU": _code("warning", "a router on the way says that VPN packets are too long",
                      "Lower the MTU in the client's VPN to what the finding says."),
    "FRAGMENTS_LOST": _code("warning", "long IKE messages go unanswered while short ones are answered: their fragments are lost on the way",
                            "Use IKEv2 fragmentation (RFC 7383), elliptic-curve certificates or a pre-shared key."),
    "IPV6_BROKEN": _code("warning", "LAN hosts have public IPv6 addresses, but the router has no IPv6 way out: VPNs try it and wait",
                         "Mend the IPv6 uplink (wan6), or stop announcing IPv6 in the LAN.", INTERFACES),
    "IPV6_NAT": _code("warning", "IPv6 is translated (masquerade): vpnpt helps with IPv4 NAT only",
                      "Get a delegated prefix and switch masq6 off.", FIREWALL),
    # what the traffic shows
    "IKE_UNANSWERED": _code("warning", "clients ask over IKE (UDP 500), and nothing comes back", UNANSWERED.format(what="UDP 500")),
    "NATT_UNANSWERED": _code("warning", "clients speak IPsec in UDP (port 4500), and nothing comes back",
                            UNANSWERED.format(what="UDP 4500")),
    "ESP_UNANSWERED": _code("warning", "clients send ESP, and none comes back", "Have the client use NAT traversal (UDP 4500), or ask the "
                            "provider, or the router before this one, to let IP protocol 50 pass."),
    "L2TP_UNANSWERED": _code("warning", "clients ask over L2TP (UDP 1701), and nothing comes back",
                             UNANSWERED.format(what="UDP 1701") + " Many servers answer L2TP within IPsec only."),
    "PPTP_UNANSWERED": _code("warning", "clients call a PPTP server (TCP 1723), and nothing comes back",
                             UNANSWERED.format(what="TCP 1723")),
    "GRE_UNANSWERED": _code("warning", "PPTP's control connection stands, but its data (GRE) does not come back",
                            "Ask the provider, or the router before this one, to let GRE (IP protocol 47) pass; use another protocol."),
    "OPENVPN_UNANSWERED": _code("warning", "clients call an OpenVPN server, and nothing comes back",
                                UNANSWERED.format(what="OpenVPN's port")),
    "WIREGUARD_UNANSWERED": _code("warning", "clients call a WireGuard server, and nothing comes back",
                                  UNANSWERED.format(what="WireGuard's port") + " WireGuard is also silent to a key that it does not know."),
    "SERVER_REFUSES": _code("warning", "an error comes back (ICMP, or a TCP reset): the way is open; the server or its firewall refuses",
                            "Is the address right, and does that server run this VPN? Nothing on this router stops it."),
    "NATT_CONFLICT": _code("warning", "a client speaks ESP and NAT traversal with one server at once: the two ends disagree about NAT",
                           "Set NAT traversal to the same on both ends: forced, or automatic, not off on one of them."),
    "PPTP_ONE_CALL": _code("warning", "a client makes a second call in one PPTP session, which the kernel's helper can't carry",
                           "One call per connection: have the client dial again instead."),
    "L2TP_IPSEC_SHARED": _code("info", "several clients use IKEv1 over NAT traversal with one server: if that is L2TP/IPsec in transport "
                               "mode, the server serves only one of them behind one address, and no router can mend that",
                               "Use IKEv2 or another VPN with this server, or one client at a time."),
    "AH_OVER_NAT": _code("warning", "a client uses AH, which can't pass NAT (RFC 3715 section 2.1)", "Use ESP, or NAT traversal."),
    "WEAK_PPTP": _code("warning", "PPTP is on: its encryption (MS-CHAPv2) can be broken by anybody who listens",
                       "Use IPsec, OpenVPN or WireGuard, and switch PPTP off.", SETTINGS),
    "WEAK_L2TP": _code("warning", "L2TP goes out without IPsec: everybody on the way can read it",
                       "Use L2TP over IPsec, or another VPN, unless what it carries is encrypted by itself."),
    "UNUSED": _code("info", "a protocol is on and nobody has used it for long (option unused_days)",
                    "Only enable what you use: switch it off.", SETTINGS),
    "USE_ROUTER_CLIENT": _code("info", "most of the LAN goes to the same VPN server, each host by itself",
                               "A VPN client on the router would carry them all: luci-proto-wireguard, openvpn or strongswan.", INTERFACES),
}
