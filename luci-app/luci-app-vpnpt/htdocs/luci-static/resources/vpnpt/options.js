/* SPDX-License-Identifier: GPL-2.0-or-later */
'use strict';
'require baseclass';

/* Every option there is, as src/vpnpt/config/options.py has it; a test compares the two.
 *
 * kind: switch, bool, int, choice, zone, device, port (a list), source (a list) or path. tab: general, or advanced: tucked away.
 */
const number = (name, def, low, high, title, help) => ({ name, kind: 'int', def, low, high, tab: 'advanced', title, help });

const common = (def, help) => [
	{ name: 'enabled', kind: 'switch', def, tab: 'general', title: _('Passthrough'), help },
	{ name: 'when_disabled', kind: 'choice', def: '', choices: { '': _('as set under General'), block: _('block it'), ignore: _('leave it alone') },
		tab: 'general', title: _('When switched off'), off: true,
		help: _('What happens to this protocol while it is off: blocked between LAN and WAN, or left alone as if VPN passthrough were not installed.') },
	{ name: 'allow_src', kind: 'source', def: [], tab: 'general', title: _('Allowed clients'), placeholder: _('everybody'),
		help: _('These alone may use it: addresses, subnets or MAC addresses of the LAN. Empty: everybody.') },
	{ name: 'deny_src', kind: 'source', def: [], tab: 'general', title: _('Refused clients'), placeholder: _('nobody'),
		help: _('These may not use it, whatever the list above says.') }
];

const ports = (name, def, help) => ({ name, kind: 'port', def: [ def ], tab: 'advanced', title: _('Ports of servers'), help });

const OPTIONS = {
	global: [
		{ name: 'enabled', kind: 'switch', def: true, tab: 'general', title: _('VPN passthrough'),
			help: _('Whether it runs at all. Off: every protocol is left alone.') },
		{ name: 'when_disabled', kind: 'choice', def: 'block', choices: { block: _('block it'), ignore: _('leave it alone') }, tab: 'general',
			title: _('A protocol that is off'),
			help: _('What happens to protocols that are switched off below: blocked between LAN and WAN, or left alone as if VPN passthrough were not installed.') },
		{ name: 'lan_zone', kind: 'zone', def: [], tab: 'general', title: _('LAN zones'), help: _('Only the VPN clients of these firewall zones. Empty: of every zone that is forwarded to a WAN zone.') },
		{ name: 'wan_zone', kind: 'zone', def: [], tab: 'general', title: _('WAN zones'), help: _('Only the VPN servers behind these firewall zones. Empty: behind every zone that masquerades for others.') },
		{ name: 'log_level', kind: 'choice', def: 'info', choices: { error: _('errors only'), warning: _('warnings'), info: _('what happens'), debug: _('every detail') },
			tab: 'general', title: _('Logged messages'), help: _('The least important messages that go to the system log.') },
		{ name: 'lan_device', kind: 'device', def: [], tab: 'advanced', title: _('LAN devices'), help: _('Network devices instead of the LAN zones above. Empty: the zones count.') },
		{ name: 'wan_device', kind: 'device', def: [], tab: 'advanced', title: _('WAN devices'), help: _('Network devices instead of the WAN zones above. Empty: the zones count.') },
		number('max_clients', 4096, 1, 65535, _('Clients at once'), _('How many LAN clients are known at once, at most as many as there are conntrack zones.')),
		number('max_keys', 65536, 64, 1048576, _('Keys'), _('How many SPIs, cookies and tunnel IDs each table of the kernel may hold.')),
		number('client_timeout', 86400, 2, 2592000, _('Client is remembered (s)'), _('For so many seconds after its last packet; not shorter than its keys.')),
		number('key_timeout', 28800, 2, 2592000, _('Key is remembered (s)'), _('A tunnel that has been silent for longer is learned anew.')),
		number('pending_timeout', 10, 1, 120, _('First answer (s)'), _('How long a new tunnel may wait for the server\'s first packet.')),
		number('fast_timeout', 300, 1, 86400, _('Fast path (s)'), _('How long an entry of the fast path lives before it is renewed; at most half of the time that keys are remembered.')),
		number('zone_base', 20480, 1, 65535, _('First conntrack zone'), _('Change it only if other software uses conntrack zones in this range.')),
		number('zone_count', 40960, 1, 65535, _('Conntrack zones'), _('How many are set aside, one for each client.')),
		number('unused_days', 30, 0, 3650, _('Unused for (days)'), _('After so many days without use the doctor names a protocol that is on. 0: never.')),
		{ name: 'on_drift', kind: 'choice', def: 'repair', choices: { repair: _('put them back'), alert: _('only say so') }, tab: 'advanced', title: _('Changed rules'),
			help: _('What to do when somebody changes the rules in our tables. Tables that were deleted come back in any case.') },
		{ name: 'history', kind: 'path', def: '', tab: 'advanced', title: _('File of changes'), placeholder: '/etc/vpnpt/history',
			help: _('Keeps the list of changes, and beside it the throughput, over a restart of the router. Empty: in memory only.') },
		{ name: 'metrics_file', kind: 'path', def: '', tab: 'advanced', title: _('File of metrics'), placeholder: '/var/prometheus/vpnpt.prom', ending: '.prom',
			help: _('For Prometheus\' textfile collector. Empty: none is written.') },
		number('metrics_interval', 60, 10, 86400, _('Metrics every (s)'), _('How often the file of metrics is written.'))
	],
	ipsec: [
		...common(true, _('Let IPsec clients (IKE, ESP, NAT traversal) through.')),
		{ name: 'multi_client', kind: 'bool', def: true, tab: 'general', title: _('Several clients to one server'), help: _('Let several clients use plain ESP to the same server at once.') },
		{ name: 'preserve_ike_port', kind: 'bool', def: true, tab: 'advanced', title: _('Keep source port 500'), help: _('Some servers refuse IKE from another source port.') },
		{ name: 'esp_offload', kind: 'choice', def: 'auto', choices: { auto: _('with flow offloading'), 1: _('always'), 0: _('never') }, tab: 'advanced', title: _('Short way for ESP'),
			help: _('Established tunnels pass without the firewall: faster, but its counters and traffic statistics (nlbwmon) see little of them, and a new drop rule may take some seconds. Wants the package vpnpt-offload.') },
		{ name: 'ipv6_inbound', kind: 'choice', def: 'open', choices: { open: _('let in'), closed: _('not let in') }, tab: 'advanced', title: _('IPv6 from outside'),
			help: _('Whether IPsec may come in from the WAN to IPv6 hosts of the LAN. RFC 6092 asks routers to let it in.') },
		ports('natt_port', 4500, _('UDP ports of NAT traversal. IKE itself is always UDP 500.'))
	],
	l2tp: [
		...common(true, _('Let L2TP clients through.')),
		ports('port', 1701, _('UDP ports of L2TP servers.'))
	],
	pptp: [
		...common(false, _('Let PPTP clients through. Its encryption has been broken since 2012: use it only where a server offers nothing else.')),
		ports('port', 1723, _('TCP ports of PPTP servers.'))
	],
	openvpn: [
		...common(true, _('It crosses the router by itself. On: it is recognised and shown. Off: it is blocked, if that is chosen.')),
		ports('port', 1194, _('TCP and UDP ports of OpenVPN servers.'))
	],
	wireguard: [
		...common(true, _('It crosses the router by itself. On: it is recognised and shown. Off: it is blocked, if that is chosen.')),
		ports('port', 51820, _('UDP ports of WireGuard servers.'))
	]
};

return baseclass.extend({
	OPTIONS
});
