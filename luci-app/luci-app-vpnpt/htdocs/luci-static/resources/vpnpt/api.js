/* SPDX-License-Identifier: GPL-2.0-or-later */
'use strict';
'require baseclass';
'require fs';
'require rpc';

/* Everything that is asked of the router, and the words for what it answers. Nothing here touches the page. */

const declare = (method, params) => rpc.declare({ object: 'vpnpt', method, params, reject: true });

const callStatus = declare('status');
const callSessions = declare('sessions', [ 'since' ]);
const callDoctor = declare('doctor');
const callWhy = declare('why', [ 'client', 'server', 'watch', 'cancel' ]);
const callChanges = declare('changes', [ 'since' ]);
const callEvents = declare('events', [ 'since' ]);
const callKill = declare('kill', [ 'session' ]);
const callBlock = declare('block', [ 'client', 'protocol' ]);
const callUnblock = declare('unblock', [ 'client', 'protocol' ]);
const callThroughput = declare('throughput');
const callReload = declare('reload');

const callServices = rpc.declare({ object: 'rc', method: 'list', params: [ 'name' ], expect: { '': {} } });
const callHints = rpc.declare({ object: 'luci-rpc', method: 'getHostHints', expect: { '': {} } });
/* uci.js can't change the type of a section that exists; this is the call it uses for a new one. */
const callAdd = rpc.declare({ object: 'uci', method: 'add', params: [ 'config', 'type', 'name' ], reject: true });

const SERVICE = '/etc/init.d/vpnpt';
const CONFIG = '/etc/config/vpnpt';
const TRUE = [ '1', 'on', 'true', 'yes', 'enabled' ];
const FALSE = [ '0', 'off', 'false', 'no', 'disabled' ];

/* In the order in which they are shown everywhere. */
const PROTOCOLS = [ 'ipsec', 'l2tp', 'pptp', 'openvpn', 'wireguard' ];
const NAMES = { ipsec: 'IPsec', l2tp: 'L2TP', pptp: 'PPTP', openvpn: 'OpenVPN', wireguard: 'WireGuard' };

const HELPED = {
	ipsec: _('IPsec clients (IKE, ESP, NAT traversal) get through, any number of them to the same server.'),
	l2tp: _('L2TP clients get through, several of them to the same server, also where it answers from another port.'),
	pptp: _('PPTP clients get through, several of them to the same server.'),
	openvpn: _('Crosses the router by itself. It is recognised and shown here, and never touched.'),
	wireguard: _('Crosses the router by itself. It is recognised and shown here, and never touched.')
};

const STATES = {
	negotiating: [ _('Negotiating'), 'notice' ],
	up: [ _('Connected'), 'good' ],
	idle: [ _('Idle'), 'quiet' ],
	rekeying: [ _('Renewing keys'), 'notice' ],
	failing: [ _('No answer'), 'bad' ],
	blocked: [ _('Blocked'), 'bad' ]
};

const REASONS = {
	closed: _('Closed by client or server'),
	timeout: _('No packet for a long time'),
	killed: _('Disconnected by hand'),
	blocked: _('Blocked'),
	deleted: _('Removed by the firewall or another program'),
	'client gone': _('The client has gone')
};

const SEVERITIES = {
	error: [ _('Error'), 'bad' ],
	warning: [ _('Warning'), 'warn' ],
	info: [ _('Note'), 'notice' ],
	debug: [ _('Detail'), 'quiet' ]
};

/* Of an alert with this code: is its cause still there, by the answer to `status`? Others tell of something that happened. */
const CAUSES = {
	CONFIG: status => status.problem || status.diagnostics?.length,
	RULESET: status => status.problem,
	RESTORE: status => status.problem,
	DRIFT: status => status.drift || status.problem,
	HELPER: status => status.helper_missing
};
const REMEMBERED = 86400; /* seconds for which what happened is an alert */

const CHANGES = {
	configuration: _('Configuration'),
	rules: _('Rules in the kernel'),
	firewall: _('Firewall'),
	network: _('Network'),
	service: _('Service')
};

/* Why a call failed: 'down' (nobody is on ubus by that name), 'denied', 'lost' (login or router gone), 'long' or 'error'. */
function cause(error) {
	const text = String(error?.message ?? error);

	if (/-32000|ubus code 4\b/.test(text))
		return 'down';

	if (/-32002|ubus code 6\b/.test(text))
		return 'denied';

	if (/HTTP error|XHR|network|abort|timed? ?out|ubus code 7\b/i.test(text))
		return 'lost';

	return /ubus code 9\b/.test(text) ? 'long' : 'error';
}

/* What a call answers, or { error, cause }: never rejects. */
function settled(promise) {
	return Promise.resolve(promise).then(
		answer => L.isObject(answer)
			? (typeof(answer.error) == 'string' ? { error: answer.error, said: answer.said, cause: 'error' } : answer)
			: { error: _('The answer can\'t be understood.'), cause: 'error' },
		error => ({ error: String(error?.message ?? error), cause: cause(error) }));
}

/* The table as of the last answer: a poll brings only what is new (src/vpnpt/sessions/revisions.py). */
const COUNTERS = [ 'bytes_in', 'bytes_out', 'packets_in', 'packets_out', 'last' ];
const ENDED = 100;
let table = null;

function merged(answer) {
	if (answer.error)
		return answer;

	/* A service of before knows no revisions. */
	if (answer.full !== false || !table) {
		table = { revision: answer.revision ?? '', rows: new Map((answer.sessions ?? []).map(row => [ row.id, row ])), ended: answer.ended ?? [] };

		return answer;
	}

	answer.gone.forEach(id => table.rows.delete(id));
	answer.sessions.forEach(row => table.rows.set(row.id, row));

	for (const [ id, ...counters ] of answer.counters) {
		const row = Object.assign({}, table.rows.get(id));

		COUNTERS.forEach((name, i) => row[name] = counters[i]);
		table.rows.set(id, row);
	}

	table.revision = answer.revision;
	table.ended = [ ...answer.ended.slice().reverse(), ...table.ended ].slice(0, ENDED);

	return { now: answer.now, sessions: [ ...table.rows.values() ], ended: table.ended, capped: answer.capped, more: answer.more };
}

/* Asks for what came since the last answer, for a list that only grows. grown(known, news): both as one. */
function growing(call, key, grown) {
	let last = null;

	return () => {
		const before = last;

		return settled(call(before?.revision ?? '')).then(answer => {
			if (answer.error)
				return answer;

			last = answer.full === false && before ? { ...answer, [key]: grown(before[key], answer[key]) } : answer;

			return last;
		});
	};
}

const LINES = 200; /* that the service keeps */

function pad(number) {
	return String(number).padStart(2, '0');
}

return baseclass.extend({
	/* Of these pages; the service's own is in `status`. */
	VERSION: '0.1.0',

	PROTOCOLS,
	CHANGES,
	cause,

	status: () => settled(callStatus()),
	sessions: () => settled(callSessions(table?.revision ?? '')).then(merged),
	doctor: () => settled(callDoctor()),

	/* Begins to watch a client, and perhaps a server; asks how far a watch is; ends it. */
	why: (client, server) => settled(callWhy(client, server, '', '')),
	whyNow: watch => settled(callWhy('', '', watch, '')),
	whyCancel: watch => settled(callWhy('', '', watch, '1')),

	changes: growing(callChanges, 'changes', (known, news) => [ ...news, ...known ].slice(0, LINES)), /* newest first */
	events: growing(callEvents, 'events', (known, news) => [ ...known, ...news ].slice(-LINES)),
	throughput: () => settled(callThroughput()),
	kill: session => settled(callKill(session)),
	block: (client, protocol) => settled(callBlock(client, protocol)),
	unblock: (client, protocol) => settled(callUnblock(client, protocol)),

	/* Names and addresses of hosts, by MAC; empty where they can't be had. */
	hints: () => L.resolveDefault(callHints(), {}),

	/* { enabled, running } of the service; null where it can't be told. */
	service() {
		return L.resolveDefault(callServices('vpnpt'), {}).then(list => list.vpnpt ?? null);
	},

	/* The first answer of a service that was just started, which takes a moment; after ten seconds, whatever there is. */
	awaited(tries = 20) {
		return this.status().then(answer => answer.error && tries
			? new Promise(resolve => window.setTimeout(resolve, 500)).then(() => this.awaited(tries - 1)) : answer);
	},

	/* start, stop, restart, enable or disable. Rejects with what went wrong. */
	control(action) {
		return fs.exec(SERVICE, [ action ]).then(done => {
			if (done.code)
				throw new Error((done.stderr || done.stdout || '').trim() || _('Exit status %d').format(done.code));
		});
	},

	/* The text of the configuration; null where there is no such file. Rejects where it may not be read. */
	configText: () => fs.read(CONFIG).catch(error => {
		if (error.name == 'NotFoundError')
			return null;

		throw error;
	}),

	/* Writes it, and has the service read it. */
	putConfig: text => fs.write(CONFIG, text).then(() => settled(callReload())),

	/* What is wrong in that file (src/vpnpt/model.py: Diagnostic): by `vpnpt check`, which needs no service that runs. Rejects where it may not
	 * be asked, or does not answer so. */
	checkConfig: () => fs.exec('/usr/bin/vpnpt', [ 'check', '--json' ]).then(done => JSON.parse(done.stdout)),

	/* Gives a section that exists another type, with the next change that is saved. */
	setType: (section, type) => callAdd('vpnpt', type, section),

	/* What a boolean word of the configuration means; null for any other word. */
	bool(word) {
		const lower = String(word ?? '').toLowerCase();

		return TRUE.includes(lower) ? true : FALSE.includes(lower) ? false : null;
	},

	name: protocol => NAMES[protocol] ?? String(protocol),

	/* Label, tone and sentence of what happens to a protocol now, of an answer to `status`: rules that are not there help nobody. */
	behaviour(protocol, status) {
		if (status.in_force == 'none')
			return [ _('No rules'), 'bad', _('No configuration is in force: it is neither helped nor blocked.') ];

		const behaviour = status.enabled === false ? 'ignore' : status.protocols?.[protocol]?.behaviour;

		if (status.in_place === false && [ 'help', 'block' ].includes(behaviour))
			return [ _('No rules'), 'bad', _('The rules are not in the kernel: it is neither helped nor blocked.') ];

		switch (behaviour) {
		case 'help': return [ _('On'), 'good', HELPED[protocol] ?? '' ];
		case 'block': return [ _('Blocked'), 'bad', _('New connections are refused, live ones are ended.') ];
		case 'ignore': return [ _('Off'), 'quiet', _('Left alone, as if VPN passthrough were not installed.') ];
		default: return [ _('Unknown'), 'quiet', '' ];
		}
	},

	/* Label and tone of a service that runs, and what of its configuration is in force, where that is not all that the file says. */
	inForce(status) {
		if (status.in_force == 'none')
			return [ _('Runs without rules'), 'bad', _('It was started with a configuration that can\'t be used, and knows no earlier one. VPN clients are on their own, and nothing is blocked.') ];

		if (status.enabled === false && !status.problem)
			return [ _('Switched off'), 'quiet', '' ];

		if (status.in_place === false)
			return [ _('Runs without rules'), 'bad', _('Its rules are not in the kernel: VPN clients are on their own, and nothing is blocked.') ];

		switch (status.in_force) {
		case 'last': return [ _('Runs with an earlier configuration'), 'warn',
			_('It was started with a configuration that can\'t be used. In force is the last one without an error, of %s.').format(this.moment(status.in_force_since)) ];
		case 'earlier': return [ _('Runs with an earlier configuration'), 'warn', _('In force is what was in force before the change.') ];
		case 'partly': return [ _('Runs with a part of the configuration'), 'warn', _('What is wrong in it is left out, the rest is in force.') ];
		default: return [ _('Running'), 'good', '' ];
		}
	},

	state: state => STATES[state] ?? [ String(state), 'quiet' ],
	reason: reason => REASONS[reason] ?? String(reason || _('Unknown')),
	severity: severity => SEVERITIES[severity] ?? [ String(severity), 'quiet' ],

	/* The alerts of `status` that still matter, the last one first, each text once. now: the router's time. */
	alerts(status, now) {
		const found = new Map();

		for (const alert of status.alerts ?? []) {
			found.delete(alert.text);

			if (CAUSES[alert.code] ? CAUSES[alert.code](status) : now - alert.time < REMEMBERED)
				found.set(alert.text, alert);
		}

		return [ ...found.values() ].reverse();
	},

	/* Packets refused, of a protocol's entry in `status`. */
	refused(entry) {
		if (entry?.blocked != null)
			return +entry.blocked;

		return Object.values(entry?.counters ?? {}).reduce((sum, count) => sum + (+count || 0), 0);
	},

	packets: count => count == 1 ? _('1 packet') : _('%d packets').format(count),

	/* A number of bytes in at most five characters and a unit. */
	bytes(count) {
		const units = [ 'B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB' ];
		let value = Math.max(0, +count || 0);
		let unit = 0;

		while (value >= 1000 && unit < units.length - 1) {
			value /= 1024;
			unit++;
		}

		return `${unit && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
	},

	/* Bits a second, of bytes a second. */
	rate(bytes) {
		const units = [ 'bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s' ];
		let value = Math.max(0, +bytes || 0) * 8;
		let unit = 0;

		while (value >= 1000 && unit < units.length - 1) {
			value /= 1000;
			unit++;
		}

		return `${unit && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
	},

	/* Seconds, in the two largest units. */
	duration(seconds) {
		const s = Math.max(0, Math.floor(+seconds || 0));

		if (s < 60)
			return _('%d s').format(s);

		if (s < 3600)
			return _('%d min').format(Math.floor(s / 60));

		if (s < 86400)
			return _('%d h %d min').format(Math.floor(s / 3600), Math.floor(s % 3600 / 60));

		return _('%d d %d h').format(Math.floor(s / 86400), Math.floor(s % 86400 / 3600));
	},

	/* A moment, in the browser's time zone: date and time, or the time alone on the same day. */
	moment(seconds) {
		const date = new Date(+seconds * 1000);
		const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
		const time = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;

		return date.toDateString() == new Date().toDateString() ? time : `${day} ${time}`;
	},

	/* A text without addresses: each gets a label, the same one wherever it stands. */
	masked(text) {
		const labels = {};
		const counts = {};
		const label = (kind, address) => {
			const key = address.toLowerCase();

			if (labels[key] == null)
				labels[key] = `[${kind}-${counts[kind] = (counts[kind] ?? 0) + 1}]`;

			return labels[key];
		};

		return String(text)
			.replace(/\b[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}\b/gi, mac => label('MAC', mac))
			.replace(/(?<![\w:.])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:]|\.\d)/gi, found =>
				(found.includes('::') && found.length > 2) || found.split(':').length == 8 ? label('IPv6', found) : found)
			.replace(/(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)/g, found => {
				const parts = found.split('.').map(Number);

				if (parts.some(part => part > 255) || parts[0] == 127 || parts[0] == 0)
					return found;

				const own = parts[0] == 10 || (parts[0] == 192 && parts[1] == 168) || (parts[0] == 172 && (parts[1] & 240) == 16)
					|| (parts[0] == 100 && (parts[1] & 192) == 64) || (parts[0] == 169 && parts[1] == 254);

				return label(own ? 'LAN' : 'WAN', found);
			});
	}
});
