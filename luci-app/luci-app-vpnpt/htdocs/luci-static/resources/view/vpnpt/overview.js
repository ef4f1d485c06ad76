/* SPDX-License-Identifier: GPL-2.0-or-later */
/* globals api, change, parts, why */
'use strict';
'require dom';
'require poll';
'require ui';
'require view';
'require vpnpt.api as api';
'require vpnpt.change as change';
'require vpnpt.parts as parts';
'require vpnpt.why as why';

const INTERVAL = 5; /* seconds: each turn has the daemon read the flows of the kernel */
const SAMPLES = 72; /* of a graph: six minutes */
const SHOWN = 200; /* rows of a table, at most */

/* Bytes a second, in and out, of sessions and of protocols: what two answers differ by. */
class Rates {
	constructor() {
		this.before = null;
		this.sessions = {};
		this.samples = {};
	}

	/* totals: { name: { in, out } } of bytes. */
	add(answer, totals) {
		const last = this.before;
		const seconds = last ? answer.now - last.now : 0;
		const per = (one, other) => seconds > 0 && one >= other ? (one - other) / seconds : 0;
		const now = { now: answer.now, sessions: {}, totals };

		if (last && seconds <= 0)
			return;

		this.sessions = {};

		for (const s of answer.sessions) {
			const old = last?.sessions[s.id];

			now.sessions[s.id] = s;

			if (old)
				this.sessions[s.id] = { in: per(s.bytes_in, old.bytes_in), out: per(s.bytes_out, old.bytes_out) };
		}

		for (const name in totals) {
			const list = this.samples[name] ??= [];

			if (last?.totals[name])
				list.push({ in: per(totals[name].in, last.totals[name].in), out: per(totals[name].out, last.totals[name].out) });

			if (list.length > SAMPLES)
				list.shift();
		}

		this.before = now;
	}
}

function address(name, text) {
	return name ? [ name, E('br'), E('span', { 'class': 'vp-dim vp-mono' }, [ text ]) ] : [ E('span', { 'class': 'vp-mono' }, [ text ]) ];
}

function bytesOf(row) {
	return row.bytes_in + row.bytes_out;
}

function bothWays(inward, outward) {
	return [
		E('span', { 'class': 'vp-nowrap' }, [ E('span', { 'class': 'vp-in', 'aria-hidden': 'true' }, [ '↓' ]),
			E('span', { 'class': 'vp-hidden' }, [ _('received') ]), ` ${inward}` ]), ' ',
		E('span', { 'class': 'vp-nowrap' }, [ E('span', { 'class': 'vp-out', 'aria-hidden': 'true' }, [ '↑' ]),
			E('span', { 'class': 'vp-hidden' }, [ _('sent') ]), ` ${outward}` ])
	];
}

function listed(words) {
	return Array.isArray(words) ? [ ...new Set(words) ].join(', ') : '';
}

/* What is known of a session, on demand. */
function detail(row) {
	const details = row.details ?? {};

	return parts.pairs([
		[ _('Client'), [ row.client_name, row.client ].filter(Boolean).join(' · ') ],
		[ _('Client\'s MAC address'), row.mac, true ],
		[ _('Server'), [ row.server_name, row.server ].filter(Boolean).join(' · ') ],
		[ _('Variant'), `${api.name(row.protocol)} ${row.variant ?? ''} · IPv${row.family}` ],
		[ _('Since'), api.moment(row.since) ],
		[ row.ended ? _('Ended') : _('Last packet'), api.moment(row.ended ?? row.last) ],
		[ _('From the server'), `${api.bytes(row.bytes_in)} · ${api.packets(row.packets_in)}` ],
		[ _('To the server'), `${api.bytes(row.bytes_out)} · ${api.packets(row.packets_out)}` ],
		[ _('Port on the router'), row.nat_port || '', true ],
		[ _('SPIs to the server'), listed(details.spis_out), true ],
		[ _('SPIs to the client'), listed(details.spis_in), true ],
		[ _('IKE cookies'), listed(details.cookies), true ],
		[ _('Tunnel IDs'), listed(details.tunnel_ids), true ],
		[ _('Session IDs'), listed(details.session_ids), true ],
		[ _('Call IDs'), listed(details.call_ids), true ],
		[ _('Server\'s ports'), listed(details.ports), true ]
	]);
}

return view.extend({
	load() {
		parts.style();

		return Promise.all([ api.status(), api.sessions(), api.service() ]);
	},

	render(answers) {
		this.rates = new Rates();
		this.filter = '';
		this.service = E('section', { 'class': 'vp-service', 'aria-label': _('Service') });
		this.live = E('div', { 'class': 'vp-hidden', 'role': 'status', 'aria-live': 'polite' });
		this.panels = E('div');
		this.alerts = E('details', { 'id': 'vpnpt-alerts', 'hidden': '' });
		this.cards = E('section', { 'class': 'vp-cards', 'aria-label': _('Protocols') });
		this.sessions = this.renderSessions();
		this.ended = this.renderEnded();
		this.main = E('div', { 'class': 'vp-main' }, [ this.alerts, this.cards, this.sessions.node, this.ended.node ]);

		this.watch = parts.watch(INTERVAL, () => Promise.all([ api.status(), api.sessions() ]).then(([ status, sessions ]) =>
			(status.error ? api.service() : Promise.resolve(null)).then(service => this.refresh(status, sessions, service))));
		this.refresh(...answers);
		poll.add(this.watch.turn, INTERVAL);

		return E('div', { 'class': 'vpnpt', 'id': 'vpnpt-overview' }, [
			E('h2', { 'name': 'content' }, [ _('VPN Passthrough') ]),
			E('div', { 'class': 'cbi-map-descr' }, [
				_('Lets VPN clients in your network reach VPN servers beyond this router, any number of them at once.')
			]),
			this.live, this.service,
			E('p', { 'class': 'vp-tools' }, [ parts.button(_('My VPN does not connect'), () => this.why(), 'action important', { 'id': 'vpnpt-why-open' }) ]),
			this.panels, this.main, parts.help()
		]);
	},

	/* --- what is new ------------------------------------------------------------------------------------------------ */

	/* Resolves to false when the daemon could not be asked. */
	refresh(status, answer, service) {
		if (service)
			this.known = service;

		this.now = answer.now ?? this.now;
		this.refreshService(status);

		if (status.error) {
			this.main.hidden = true;
			this.say(_('The service does not answer.'));
			dom.content(this.panels, [ parts.unreachable(status,
				status.cause == 'down' && L.hasViewPermission() ? [ parts.button(_('Start'), () => this.control('start'), 'positive') ] : null) ]);

			return false;
		}

		const problems = [];

		this.main.hidden = false;

		if (status.problem)
			problems.push(parts.panel('bad', _('The configuration can\'t be put in force'), [
				E('p', {}, [ status.problem ]),
				E('p', {}, [ _('What ran before goes on.') ]),
				parts.linked(_('Correct it in the %s.'), parts.page('settings'), _('settings')) ], 'alert'));
		else if (status.enabled === false)
			problems.push(parts.panel('warn', _('VPN passthrough is switched off'), [
				parts.linked(_('Every protocol is left alone. Switch it on in the %s.'), parts.page('settings'), _('settings')) ]));
		else if (status.in_place === false)
			problems.push(parts.panel('bad', _('The rules are not in the kernel'), [
				parts.linked(_('They are put back within a second; if this stays, ask the %s.'), parts.page('doctor'), _('doctor')) ], 'alert'));

		if (status.version && status.version != api.VERSION)
			problems.push(parts.panel('warn', _('Page and service are of different versions'), [
				E('p', {}, [ _('The service is version %s, this page is of version %s: install both of one version, then load the page anew.').format(status.version, api.VERSION) ]) ]));

		if (status.drift)
			problems.push(parts.panel('warn', _('Somebody changed our rules'), [ E('p', {}, [ status.drift ]) ]));

		for (const text of (status.problem ? [] : status.diagnostics ?? []))
			problems.push(parts.panel('warn', _('In the configuration'), [ E('p', {}, [ text ]) ]));

		if (answer.error)
			problems.push(parts.unreachable(answer));

		this.say(problems.length ? _('There are problems to look at.') : _('The service runs.'));
		this.replace(this.panels, problems);

		const list = answer.error ? [] : answer.sessions ?? [];
		const totals = {};

		for (const name of api.PROTOCOLS) {
			const entry = status.protocols?.[name] ?? {};
			const own = list.filter(session => session.protocol == name);
			const sum = key => entry[key] ?? own.reduce((total, session) => total + session[key], 0);

			totals[name] = { in: sum('bytes_in'), out: sum('bytes_out'), sessions: entry.sessions ?? own.length };
		}

		if (!answer.error)
			this.rates.add({ now: answer.now, sessions: list }, totals);

		this.refreshAlerts(status.alerts ?? []);
		this.refreshCards(status, totals);
		this.refreshSessions(list, answer);
		this.refreshEnded(answer.ended ?? [], answer.now);

		return !answer.error;
	},

	/* For screen readers: only when it is another sentence. */
	say(text) {
		if (this.live.textContent != text)
			dom.content(this.live, [ text ]);
	},

	/* Leaves the nodes as they are where nothing changed: a button keeps the focus. */
	replace(parent, children) {
		const next = parent.cloneNode(false);

		next.append(...children);

		if (!next.isEqualNode(parent))
			parent.replaceChildren(...children);
	},

	refreshService(status) {
		const up = !status.error;
		const enabled = this.known?.enabled;
		/* By the router's clock, which may be far from the browser's. */
		const now = this.now ?? Date.now() / 1000;
		const facts = up ? [
			_('Version %s').format(status.version), _('for %s').format(api.duration(now - status.since)),
			status.lan?.length && status.wan?.length ? `${status.lan.join(', ')} → ${status.wan.join(', ')}` : _('no LAN or WAN device')
		] : [];
		const state = up ? (status.problem ? [ _('Runs with an old configuration'), 'bad' ] : [ _('Running'), 'good' ])
			: status.cause == 'down' ? [ this.known?.running ? _('Starting') : _('Stopped'), this.known?.running ? 'notice' : 'bad' ] : [ _('Unknown'), 'quiet' ];
		const buttons = !L.hasViewPermission() || (status.cause && status.cause != 'down') ? [] : [
			up ? parts.button(_('Restart'), () => this.control('restart'), 'action') : parts.button(_('Start'), () => this.control('start'), 'positive'),
			up ? parts.button(_('Stop'), () => this.confirmStop(), 'negative') : null,
			enabled == null ? null : E('label', {}, [
				E('input', { 'type': 'checkbox', 'id': 'vpnpt-autostart', 'checked': enabled ? '' : null,
					'change': ev => this.control(ev.target.checked ? 'enable' : 'disable') }),
				_('Start with the router')
			])
		].filter(Boolean);

		this.replace(this.service, [
			E('div', { 'class': 'vp-facts' }, [ parts.badge(state), ' ', E('span', { 'class': 'vp-dim' }, [ facts.join(' · ') ]) ]),
			E('div', { 'class': 'vp-tools' }, buttons)
		]);
	},

	refreshAlerts(alerts) {
		const recent = alerts.slice(-8).reverse();

		this.alerts.hidden = !recent.length;

		if (!recent.length)
			return;

		this.replace(this.alerts, [
			E('summary', {}, [ _('Alerts'), ` (${alerts.length})` ]),
			E('ul', { 'class': 'vp-list' }, recent.map(alert => E('li', {}, [
				E('time', {}, [ api.moment(alert.time) ]),
				E('span', { 'class': 'vp-kind' }, [ parts.badge(api.severity(alert.severity)) ]),
				E('span', { 'class': 'vp-text' }, [ alert.text ])
			]))),
			parts.linked(_('More in the %s.'), parts.page('changes'), _('log'))
		]);
	},

	refreshCards(status, totals) {
		this.replace(this.cards, api.PROTOCOLS.map(name => {
			const entry = status.protocols?.[name] ?? {};
			const behaviour = status.enabled === false ? 'ignore' : entry.behaviour;
			const [ label, tone, sentence ] = api.behaviour(name, behaviour);
			const total = totals[name];
			const samples = this.rates.samples[name] ?? [];
			const last = samples[samples.length - 1] ?? { in: 0, out: 0 };
			const refused = api.refused(entry);
			const cautions = [];

			if (name == 'pptp' && behaviour == 'help')
				cautions.push(_('Weak: its encryption has been broken since 2012 and protects nothing. Use it only where a server offers nothing else.'));

			if (name == 'pptp' && behaviour == 'help' && status.helper_missing)
				cautions.push(_('Does not work: the kernel lacks its helper. The doctor names the package.'));

			return E('article', { 'class': `vp-card vp-${tone}`, 'data-protocol': name, 'aria-label': api.name(name) }, [
				E('div', { 'class': 'vp-title' }, [ E('h3', {}, [ api.name(name) ]), parts.badge([ label, tone ]) ]),
				E('div', { 'class': 'vp-figures' }, [
					E('span', { 'class': 'vp-count' }, [ total.sessions ]),
					E('span', {}, [ total.sessions == 1 ? _('session now') : _('sessions now') ])
				]),
				parts.graph(samples, _('Throughput in the last minutes; now %s in, %s out').format(api.rate(last.in), api.rate(last.out))),
				E('p', {}, [ sentence ]),
				...cautions.map(text => E('p', { 'class': 'vp-caution' }, [ '⚠ ', text ])),
				E('div', { 'class': 'vp-foot' }, [
					E('span', {}, bothWays(api.bytes(total.in), api.bytes(total.out))),
					refused ? E('span', {}, [ refused == 1 ? _('1 packet refused') : _('%d packets refused').format(refused) ]) : '',
					...(L.hasViewPermission() && entry.behaviour ? [ this.renderSwitch(name, entry.behaviour) ] : []),
					E('a', { 'href': `${parts.page('settings')}#${name}`, 'aria-label': _('Change %s').format(api.name(name)) }, [ _('Change') ])
				])
			]);
		}));
	},

	/* What happens to a protocol, to be changed: it counts after Save & Apply. */
	renderSwitch(name, behaviour) {
		const choices = { help: _('Let through'), block: _('Block'), ignore: _('Leave alone') };
		const select = E('select', { 'class': 'cbi-input-select', 'aria-label': _('Change %s').format(api.name(name)), 'change': () => {
			const chosen = select.value;

			/* Until it is applied, what is in force is shown. */
			select.value = behaviour;

			return change.behaviour(name, chosen).catch(error => ui.addNotification(_('That did not work'), E('p', {}, [ error.message ]), 'danger'));
		} }, Object.keys(choices).map(key => E('option', { 'value': key, 'selected': key == behaviour ? '' : null }, [ choices[key] ])));

		return select;
	},

	/* --- sessions --------------------------------------------------------------------------------------------------- */

	columns() {
		const rate = row => this.rates.sessions[row.id] ?? { in: 0, out: 0 };

		return [
			{ title: _('Client'), value: row => row.client_name || row.client, cell: row => address(row.client_name, row.client) },
			{ title: _('Server'), value: row => row.server_name || row.server, cell: row => address(row.server_name, row.server) },
			{ title: _('Protocol'), value: row => `${row.protocol} ${row.variant}`, cell: row =>
				[ api.name(row.protocol), ' ', row.variant && row.variant != api.name(row.protocol) ? E('span', { 'class': 'vp-chip' }, [ row.variant ]) : '' ] },
			{ title: _('State'), value: row => row.state, cell: row => [ parts.badge(api.state(row.state)), ...([ 'failing', 'blocked' ].includes(row.state)
				? [ ' ', parts.button(_('Why?'), () => this.why(row), 'neutral', { 'aria-label': `${_('Why?')} ${row.client_name || row.client} → ${row.server_name || row.server}` }) ] : []) ] },
			{ title: _('Age'), class: 'vp-number', value: row => -row.since, cell: row => [ E('span', { 'class': 'vp-nowrap' }, [ api.duration(this.now - row.since) ]) ] },
			{ title: _('Data'), class: 'vp-number', value: bytesOf, cell: row => bothWays(api.bytes(row.bytes_in), api.bytes(row.bytes_out)) },
			{ title: _('Rate'), class: 'vp-number', value: row => rate(row).in + rate(row).out, cell: row => bothWays(api.rate(rate(row).in), api.rate(rate(row).out)) },
			{ title: _('Actions'), class: 'vp-act', fixed: true, cell: row => {
				const who = `${row.client_name || row.client} → ${row.server_name || row.server}`;

				return [
					parts.button(_('Details'), () => this.sessions.table.toggle(row.id), 'neutral',
						{ 'aria-expanded': 'false', 'aria-label': `${_('Details')}: ${who}` }),
					...(!L.hasViewPermission() || row.state == 'blocked' ? [] : [ parts.button(_('Disconnect'), ev => this.disconnect(row, ev.currentTarget), 'negative',
						{ 'aria-label': `${_('Disconnect')}: ${who}` }) ])
				];
			} }
		];
	},

	renderSessions() {
		const table = new parts.Table({ id: 'vpnpt-sessions', caption: _('Sessions'), columns: this.columns(), key: row => row.id, most: SHOWN,
			detail: row => L.hasViewPermission() ? E('div', {}, [ detail(row), E('p', { 'class': 'vp-tools' }, [
				row.state == 'blocked' ? parts.button(_('Let in again'), () => this.unblock(row), 'positive')
					: parts.button(_('Refuse this client'), () => this.confirmBlock(row), 'negative') ]) ]) : detail(row) });
		const search = E('input', { 'type': 'search', 'placeholder': _('Client, server, protocol…'), 'aria-label': _('Show only sessions with'),
			'input': ev => {
				this.filter = ev.target.value.trim().toLowerCase();
				this.refreshSessions(this.list, { now: this.now });
			} });
		const tools = E('div', { 'class': 'vp-tools' }, [ search ]);
		const count = E('span', { 'class': 'vp-dim' });
		const empty = E('div', { 'class': 'vp-empty' });
		const more = E('p', { 'class': 'vp-dim' });

		const save = E('p', { 'class': 'vp-tools' }, [
			parts.button(_('Save as CSV'), () => parts.save('vpnpt-sessions.csv', 'text/csv', parts.csv(this.list)), 'neutral', { 'id': 'vpnpt-csv' }),
			parts.button(_('Save as JSON'), () => parts.save('vpnpt-sessions.json', 'application/json', JSON.stringify(this.list, null, 2)), 'neutral')
		]);

		return { table, tools, count, empty, more, save, node: E('section', { 'aria-labelledby': 'vpnpt-sessions-title' }, [
			E('div', { 'class': 'vp-head' }, [ E('h3', { 'id': 'vpnpt-sessions-title' }, [ _('Sessions'), ' ', count ]), tools ]),
			empty, table.node, more, save
		]) };
	},

	refreshSessions(list, answer) {
		const { table, tools, count, empty, more, save } = this.sessions;
		const words = this.filter;
		const found = words ? list.filter(row => [ row.client, row.client_name, row.server, row.server_name, row.mac, api.name(row.protocol), row.variant,
			row.state ].some(text => String(text ?? '').toLowerCase().includes(words))) : list;

		this.list = list;
		this.now = answer.now ?? this.now;
		tools.hidden = list.length < 2 && !words;
		this.replace(count, [ list.length ? words ? `${found.length}/${list.length}` : String(list.length) : '' ]);
		table.update(found);
		table.node.hidden = !found.length;
		empty.hidden = found.length > 0 || answer.error != null;
		this.replace(empty, list.length ? [ E('p', {}, [ _('No session matches.') ]) ] : [
			E('p', {}, [ E('strong', {}, [ _('No VPN session at the moment') ]) ]),
			E('p', {}, [ _('Start the VPN on a device in your network: it appears here within seconds, and nothing has to be set up for it on the router.') ]),
			parts.linked(_('It does not connect, and does not appear? Ask the %s.'), parts.page('doctor'), _('doctor'))
		]);
		this.replace(more, [
			...(found.length > SHOWN ? [ _('%d more are not shown: search for what you need.').format(found.length - SHOWN), ' ' ] : []),
			...(answer.capped ? [ _('The service keeps no more sessions than these: further ones work, and are not listed.') ] : [])
		]);
		save.hidden = !list.length;
	},

	renderEnded() {
		const columns = this.columns();
		const table = new parts.Table({ id: 'vpnpt-ended', caption: _('Ended sessions'), key: row => `${row.id}-${row.ended}`, sort: [ 3, false ], columns: [
			columns[0], columns[1], columns[2],
			{ title: _('Ended'), value: row => -row.ended, cell: row => [ E('span', { 'class': 'vp-nowrap' }, [ _('%s ago').format(api.duration(this.now - row.ended)) ]) ] },
			{ title: _('Reason'), value: row => row.reason, cell: row => [ api.reason(row.reason) ] },
			{ title: _('Lasted'), class: 'vp-number', value: row => row.ended - row.since, cell: row => [ api.duration(row.ended - row.since) ] },
			columns[5]
		] });
		const summary = E('summary');

		return { table, summary, node: E('details', { 'id': 'vpnpt-ended-box', 'hidden': '' }, [ summary, E('div', {}, [ table.node ]) ]) };
	},

	refreshEnded(list, now) {
		this.now = now ?? this.now;
		this.ended.node.hidden = !list.length;
		this.replace(this.ended.summary, [ _('Ended sessions'), ` (${list.length})` ]);
		this.ended.table.update(list);
	},

	/* --- what can be done ------------------------------------------------------------------------------------------- */

	control(action) {
		ui.showModal(null, [ E('p', { 'class': 'spinning' }, [ _('Please wait…') ]) ]);

		return api.control(action)
			.catch(error => ui.addNotification(_('That did not work'), E('p', {}, [ error.message ]), 'danger'))
			.then(() => api.service())
			.then(service => {
				this.known = service ?? this.known;
				ui.hideModal();

				return this.watch.now();
			});
	},

	confirmStop() {
		ui.showModal(_('Stop VPN passthrough?'), [
			E('p', {}, [ _('Its rules are taken away: IPsec, L2TP and PPTP clients are on their own, as with a router that has no passthrough. Tunnels may break.') ]),
			E('div', { 'class': 'button-row right' }, [
				parts.button(_('Cancel'), ui.hideModal), ' ',
				parts.button(_('Stop'), () => this.control('stop'), 'negative')
			])
		]);
	},

	disconnect(row, button) {
		button.disabled = true;

		return api.kill(row.id).then(answer => {
			button.disabled = false;

			if (answer.error)
				ui.addNotification(_('That did not work'), E('p', {}, [ answer.error ]), 'danger');
			else
				this.say(_('Disconnected. A client that goes on comes back by itself.'));

			return this.watch.now();
		});
	},

	/* For a session, or for whom the reader names. */
	why(row) {
		const known = {};

		for (const one of this.list ?? [])
			known[one.client] = one.client_name;

		const open = () => why.open({ client: row?.client, server: row?.server, known, done: () => this.watch.now() });

		return row ? open() : api.hints().then(hints => {
			for (const host of Object.values(hints))
				for (const address of L.toArray(host.ipaddrs ?? host.ipv4))
					known[address] ??= host.name ?? '';

			open();
		});
	},

	unblock(row) {
		return api.unblock(row.client, row.protocol).then(answer => {
			if (answer.error)
				ui.addNotification(_('That did not work'), E('p', {}, [ answer.error ]), 'danger');
			else if (!answer.changed)
				ui.addNotification(_('Nothing was changed'), E('p', {}, [ _('This client is not refused by its address: see the settings of %s.').format(api.name(row.protocol)) ]), 'warning');

			return this.watch.now();
		});
	},

	confirmBlock(row) {
		const who = row.client_name ? `${row.client_name} (${row.client})` : row.client;

		ui.showModal(_('Refuse this client?'), [
			E('p', {}, [ _('%s may not use %s any more, and its sessions end. To undo it, take it off the list of refused clients in the settings.')
				.format(who, api.name(row.protocol)) ]),
			E('div', { 'class': 'button-row right' }, [
				parts.button(_('Cancel'), ui.hideModal), ' ',
				parts.button(_('Refuse'), () => this.block(row), 'negative')
			])
		]);
	},

	block(row) {
		ui.hideModal();

		return api.block(row.client, row.protocol).then(answer => {
			if (answer.error)
				ui.addNotification(_('That did not work'), E('p', {}, [ answer.error ]), 'danger');

			return this.watch.now();
		});
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
