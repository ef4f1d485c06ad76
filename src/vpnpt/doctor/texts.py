# SPDX-License-Identifier: GPL-2.0-or-later
"""Every sentence of the doctor, by its code, in English; {name} stands for a value. messages.js has the same table for LuCI: a test holds
the two together. Pure."""
from __future__ import annotations

TEXTS: dict[str, str] = {
    "and-more": "{names} and {count} more",
    # `vpnpt why`: one sentence on the cause
    "why-works": "It works: data of {client} passes in both directions with {server} ({kind}).",
    "why-agree": "Nothing on this router stops it: {server} answers {client} ({kind}). The tunnel does not come up because the two do not "
                 "agree on something.",
    "why-nothing": "No VPN packet of {client} came to this router while it was watched.",
    "why-nothing-to": "No packet of {client} to {server} came to this router while it was watched.",
    "why-off": "This router refuses {protocol}: it is switched off.",
    "why-denied": "This router refuses {protocol} to {client}: the client is on its list of refused clients.",
    "why-untrusted": "This router refuses {protocol} to {client}: only listed clients may use it, and this one is not listed.",
    "why-rule": "{rule} stops {kind} of {client} on this router.",
    "why-rule-maybe": "{rule} may be what stops {kind} of {client} on this router.",
    "why-no-forward": "The firewall of this router lets nothing pass from {device} to {out}: no rule accepts it.",
    "why-lost": "{kind} of {client} comes to this router and does not leave it.",
    "why-lost-back": "The answers of {server} ({kind}) come to this router and do not reach {client}.",
    "why-wan": "This router has no way to the internet.",
    "why-helper": "PPTP does not pass: the kernel of this router lacks its helper.",
    "why-refuses": "{server} refuses {kind}: {who} says '{reason}'.",
    "why-reset": "{server} refuses {kind}: it answers with a TCP reset.",
    "why-silent": "{server} does not answer ({kind}): the fault is at that server, or on the way to it.",
    "why-data": "{server} answers {control}, and {kind} does not come back: something on the way drops {kind}.",
    "why-data-nat": "{server} answers {control}, and {kind} does not come back: the router before this one does not pass {kind}.",
    "why-data-cgnat": "{server} answers {control}, and {kind} does not come back: the provider's address translation does not pass {kind}.",
    "why-conflict": "{client} sends ESP to {server} both plain and in UDP: the two ends disagree about NAT traversal.",
    "why-mtu": "Packets are too long for the way to {server}: it carries {mtu} bytes at most.",
    "why-mtu-unknown": "Packets are too long for the way to {server}.",
    "why-fragments": "Long IKE messages to {server} are lost on the way, short ones are answered: their fragments are dropped.",
    # what was seen
    "why-seen": "{kind} to {server}: {asked} packets came from the client, {left} left the router; {came} came back, {delivered} were "
                "delivered",
    "why-seen-nothing": "watched for {seconds} seconds",
    "why-seen-refused": "{attempts} packets refused lately (vpnpt.{protocol})",
    "why-seen-rule": "{where}; it has met {packets} packets",
    "why-seen-address": "{device} has the address {address}",
    "why-seen-icmp": "ICMP from {sender}, code {code}",
    "why-seen-too-big": "{sender} says: fragmentation needed (ICMP)",
    "why-seen-others": "the same server answers other clients of this router",
    # what to do
    "why-do-agree": "Compare name and password, certificate or pre-shared key, and the kind of VPN with what the server's owner says.",
    "why-do-nothing": "Start the VPN on the device while this watches. See that the device uses this router, and not mobile data; a VPN on "
                      "an unusual port is seen only if the server is named.",
    "why-do-on": "Switch {protocol} on in the settings (section vpnpt.{section}).",
    "why-do-unblock": "Let the client in again.",
    "why-do-sources": "Change deny_src of vpnpt.{protocol}, which refuses {source}.",
    "why-do-trust": "Add the client to those who may use {protocol}.",
    "why-do-rule": "Change or remove this rule, if it is not meant.",
    "why-do-forward": "Allow forwarding between these zones.",
    "why-do-lost": "See the firewall's rules and the routing of this client.",
    "why-do-silent": "Check the server's address, and ask who runs it whether it is up; then ask the provider whether {kind} passes.",
    "why-do-silent-nat": "Check the server's address, and ask who runs it whether it is up; then see whether the router before this one "
                         "(this router's WAN address {address} is private) lets {kind} pass.",
    "why-do-data": "Use NAT traversal (UDP 4500) or another protocol, or ask the provider to let {kind} pass.",
    "why-do-data-nat": "Bridge the router before this one (modem mode), have it pass VPNs, or use a VPN that needs UDP or TCP alone.",
    "why-do-gre": "Use another protocol, or ask the provider to let GRE (IP protocol 47) pass.",
    "why-do-helper": "Install kmod-nf-nathelper-pptp, before OpenWrt 25.12 kmod-nf-nathelper-extra.",
    "why-do-refuses": "Check that the address is right and that this server runs this VPN.",
    "why-do-mtu": "Set the MTU of the VPN to {mtu} or less on the client.",
    "why-do-conflict": "Set NAT traversal to the same on both ends: forced, or automatic.",
    "why-do-fragments": "Use IKEv2 fragmentation (RFC 7383), elliptic-curve certificates or a pre-shared key.",
    "why-do-wan": "See the WAN interface's state.",
}
