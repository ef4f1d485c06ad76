/* SPDX-License-Identifier: GPL-2.0-or-later */
'use strict';
'require baseclass';

/* What the router says, by code. Made by `python -m buildroot.messages update` from src/vpnpt/doctor/texts.py: change it there. */

const TEXTS = {
	'and-more': _('{names} and {count} more'),
	'why-works': _('It works: data of {client} passes in both directions with {server} ({kind}).'),
	'why-agree': _('Nothing on this router stops it: {server} answers {client} ({kind}). The tunnel does not come up because the two do not agree on something.'),
	'why-nothing': _('No VPN packet of {client} came to this router while it was watched.'),
	'why-nothing-to': _('No packet of {client} to {server} came to this router while it was watched.'),
	'why-off': _('This router refuses {protocol}: it is switched off.'),
	'why-denied': _('This router refuses {protocol} to {client}: the client is on its list of refused clients.'),
	'why-untrusted': _('This router refuses {protocol} to {client}: only listed clients may use it, and this one is not listed.'),
	'why-rule': _('{rule} stops {kind} of {client} on this router.'),
	'why-rule-maybe': _('{rule} may be what stops {kind} of {client} on this router.'),
	'why-no-forward': _('The firewall of this router lets nothing pass from {device} to {out}: no rule accepts it.'),
	'why-lost': _('{kind} of {client} comes to this router and does not leave it.'),
	'why-lost-back': _('The answers of {server} ({kind}) come to this router and do not reach {client}.'),
	'why-wan': _('This router has no way to the internet.'),
	'why-helper': _('PPTP does not pass: the kernel of this router lacks its helper.'),
	'why-refuses': _('{server} refuses {kind}: {who} says \'{reason}\'.'),
	'why-reset': _('{server} refuses {kind}: it answers with a TCP reset.'),
	'why-silent': _('{server} does not answer ({kind}): the fault is at that server, or on the way to it.'),
	'why-data': _('{server} answers {control}, and {kind} does not come back: something on the way drops {kind}.'),
	'why-data-nat': _('{server} answers {control}, and {kind} does not come back: the router before this one does not pass {kind}.'),
	'why-data-cgnat': _('{server} answers {control}, and {kind} does not come back: the provider\'s address translation does not pass {kind}.'),
	'why-conflict': _('{client} sends ESP to {server} both plain and in UDP: the two ends disagree about NAT traversal.'),
	'why-mtu': _('Packets are too long for the way to {server}: it carries {mtu} bytes at most.'),
	'why-mtu-unknown': _('Packets are too long for the way to {server}.'),
	'why-fragments': _('Long IKE messages to {server} are lost on the way, short ones are answered: their fragments are dropped.'),
	'why-seen': _('{kind} to {server}: {asked} packets came from the client, {left} left the router; {came} came back, {delivered} were delivered'),
	'why-seen-nothing': _('watched for {seconds} seconds'),
	'why-seen-refused': _('{attempts} packets refused lately (vpnpt.{protocol})'),
	'why-seen-rule': _('{where}; it has met {packets} packets'),
	'why-seen-address': _('{device} has the address {address}'),
	'why-seen-icmp': _('ICMP from {sender}, code {code}'),
	'why-seen-too-big': _('{sender} says: fragmentation needed (ICMP)'),
	'why-seen-others': _('the same server answers other clients of this router'),
	'why-do-agree': _('Compare name and password, certificate or pre-shared key, and the kind of VPN with what the server\'s owner says.'),
	'why-do-nothing': _('Start the VPN on the device while this watches. See that the device uses this router, and not mobile data; a VPN on an unusual port is seen only if the server is named.'),
	'why-do-on': _('Switch {protocol} on in the settings (section vpnpt.{section}).'),
	'why-do-unblock': _('Let the client in again.'),
	'why-do-sources': _('Change deny_src of vpnpt.{protocol}, which refuses {source}.'),
	'why-do-trust': _('Add the client to those who may use {protocol}.'),
	'why-do-rule': _('Change or remove this rule, if it is not meant.'),
	'why-do-forward': _('Allow forwarding between these zones.'),
	'why-do-lost': _('See the firewall\'s rules and the routing of this client.'),
	'why-do-silent': _('Check the server\'s address, and ask who runs it whether it is up; then ask the provider whether {kind} passes.'),
	'why-do-silent-nat': _('Check the server\'s address, and ask who runs it whether it is up; then see whether the router before this one (this router\'s WAN address {address} is private) lets {kind} pass.'),
	'why-do-data': _('Use NAT traversal (UDP 4500) or another protocol, or ask the provider to let {kind} pass.'),
	'why-do-data-nat': _('Bridge the router before this one (modem mode), have it pass VPNs, or use a VPN that needs UDP or TCP alone.'),
	'why-do-gre': _('Use another protocol, or ask the provider to let GRE (IP protocol 47) pass.'),
	'why-do-helper': _('Install kmod-nf-nathelper-pptp, before OpenWrt 25.12 kmod-nf-nathelper-extra.'),
	'why-do-refuses': _('Check that the address is right and that this server runs this VPN.'),
	'why-do-mtu': _('Set the MTU of the VPN to {mtu} or less on the client.'),
	'why-do-conflict': _('Set NAT traversal to the same on both ends: forced, or automatic.'),
	'why-do-fragments': _('Use IKEv2 fragmentation (RFC 7383), elliptic-curve certificates or a pre-shared key.'),
	'why-do-wan': _('See the WAN interface\'s state.')
};

/* A sentence of the router ({ code, values }, text, a number or a list of these) in the reader's language.
 * other: what to say where this page does not know the code. */
function text(said, other) {
	if (Array.isArray(said))
		return said.map(one => text(one)).join(', ');

	if (said == null || typeof(said) != 'object')
		return String(said ?? other ?? '');

	const template = TEXTS[said.code];

	if (template == null)
		return other ?? String(said.code);

	return template.replace(/\{(\w+)\}/g, (all, name) => said.values?.[name] != null ? text(said.values[name]) : all);
}

return baseclass.extend({ text });
