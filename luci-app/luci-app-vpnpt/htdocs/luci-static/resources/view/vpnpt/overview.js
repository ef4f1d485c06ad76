/* SPDX-License-Identifier: GPL-2.0-or-later */
/* globals api, cards, parts, rates, sessions, throughput, why */
'use strict';
'require dom';
'require poll';
'require ui';
'require view';
'require vpnpt.api as api';
'require vpnpt.cards as cards';
'require vpnpt.parts as parts';
'require vpnpt.rates as rates';
'require vpnpt.sessions as sessions';
'require vpnpt.throughput as throughput';
'require vpnpt.why as why';

const INTERVAL = 5; /* seconds: each turn has the daemon read the flows of the kernel */

return view.extend({
	load() {
		parts.style();

		return Promise.all([ api.status(), api.sessions(), api.service() ]);
	},

	render(answers) {
		this.rates = new rates.Rates();
		this.service = E('section', { 'class': 'vp-service', 'aria-label': _('Service') });
		this.live = E('div', { 'class': 'vp-hidden', 'role': 'status', 'aria-live': 'polite' });
		this.panels = E('div');
		this.alerts = E('details', { 'id': 'vpnpt-alerts', 'hidden': '' });
		this.cards = new cards.Cards();
		this.sessions = new sessions.Sessions({ rates: this.rates, why: row => this.why(row), say: text => this.say(text), again: () => this.watch.now(),
			throughput: client => this.throughput.choose(client) });
		this.throughput = new throughput.Throughput({ name: client => this.sessions.named(client), now: () => this.now ?? Date.now() / 1000 });
		this.main = E('div', { 'class': 'vp-main' }, [ this.alerts, this.cards.node, this.sessions.live.node, this.sessions.past.node, this.throughput.node ]);

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
			this.panels, this.main, parts.help(), ...parts.docs('OPERATING.md')
		]);
	},

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
		const inForce = api.inForce(status)[2];

		this.main.hidden = false;

		/* Not of the configuration, if the rules were there and can't be put back. */
		const lost = status.in_place === false && status.in_force != 'none' && status.enabled !== false;

		if (lost)
			problems.push(parts.panel('bad', _('The rules are not in the kernel'), [
				...(status.problem ? parts.problem(status).map(text => E('p', {}, [ text ])) : []),
				parts.linked(_('They are put back within a second; if this stays, ask the %s.'), parts.page('doctor'), _('doctor')) ], 'alert'));
		else if (status.problem)
			problems.push(parts.panel('bad', _('The configuration can\'t be put in force'), [
				...parts.problem(status).map(text => E('p', {}, [ text ])),
				...(inForce ? [ E('p', {}, [ inForce ]) ] : []),
				parts.linked(_('Correct it in the %s.'), parts.page('settings'), _('settings')) ], 'alert'));
		else if (status.enabled === false)
			problems.push(parts.panel('warn', _('VPN passthrough is switched off'), [
				parts.linked(_('Every protocol is left alone. Switch it on in the %s.'), parts.page('settings'), _('settings')) ]));
		else if (status.in_force == 'partly')
			problems.push(parts.panel('warn', _('A part of the configuration is left out'), [
				E('p', {}, [ inForce ]), parts.linked(_('Correct it in the %s.'), parts.page('settings'), _('settings')) ], 'alert'));

		if (status.version && status.version != api.VERSION)
			problems.push(parts.panel('warn', _('Page and service are of different versions'), [
				E('p', {}, [ _('The service is version %s, this page is of version %s: install both of one version, then load the page anew.').format(status.version, api.VERSION) ]) ]));

		if (status.drift)
			problems.push(parts.panel('warn', _('Somebody changed our rules'), [ E('p', {}, [ parts.drift(status) ]) ]));

		for (const text of (status.problem ? [] : parts.diagnostics(status)))
			problems.push(parts.panel('warn', _('In the configuration'), [ E('p', {}, [ text ]) ]));

		if (answer.error)
			problems.push(parts.unreachable(answer));

		this.say(problems.length ? _('There are problems to look at.') : _('The service runs.'));
		parts.replace(this.panels, problems);

		const list = answer.error ? [] : answer.sessions ?? [];
		const totals = {};

		for (const name of api.PROTOCOLS) {
			const entry = status.protocols?.[name] ?? {};
			const own = list.filter(session => session.protocol == name);
			const sum = key => entry[key] ?? own.reduce((total, session) => total + session[key], 0);

			totals[name] = { in: sum('bytes_in'), out: sum('bytes_out'), sessions: entry.sessions ?? own.length };
		}

		if (!answer.error)
			this.rates.add({ now: answer.now, sessions: list, more: answer.more }, totals);

		this.refreshAlerts(api.alerts(status, this.now ?? Date.now() / 1000));
		this.cards.refresh(status, totals, this.rates.samples);
		this.throughput.refresh();
		this.sessions.refreshSessions(list, answer);
		this.sessions.refreshEnded(answer.ended ?? [], answer.now);

		return !answer.error;
	},

	/* For screen readers: only when it is another sentence. */
	say(text) {
		if (this.live.textContent != text)
			dom.content(this.live, [ text ]);
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
		const state = up ? api.inForce(status)
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

		parts.replace(this.service, [
			E('div', { 'class': 'vp-facts' }, [ parts.badge(state), ' ', E('span', { 'class': 'vp-dim' }, [ facts.join(' · ') ]) ]),
			E('div', { 'class': 'vp-tools' }, buttons)
		]);
	},

	refreshAlerts(alerts) {
		const recent = alerts.slice(0, 8);

		this.alerts.hidden = !recent.length;

		if (!recent.length)
			return;

		parts.replace(this.alerts, [
			E('summary', {}, [ _('Alerts'), ` (${alerts.length})` ]),
			E('ul', { 'class': parts.listClass(recent.map(alert => alert.time)) }, recent.map(alert => E('li', {}, [
				E('time', {}, [ api.moment(alert.time) ]),
				E('span', { 'class': 'vp-kind' }, [ parts.badge(api.severity(alert.severity)) ]),
				E('span', { 'class': 'vp-text' }, parts.logged(alert))
			]))),
			parts.linked(_('More in the %s.'), parts.page('changes'), _('log'))
		]);
	},

	control(action) {
		ui.showModal(null, [ E('p', { 'class': 'spinning' }, [ _('Please wait…') ]) ]);

		return api.control(action)
			.then(() => [ 'start', 'restart' ].includes(action) ? api.awaited() : null)
			.catch(error => ui.addNotification(_('That did not work'), E('p', {}, [ error.message ]), 'danger'))
			.then(() => api.service())
			.then(service => {
				this.known = service ?? this.known;

				return this.watch.now();
			})
			.then(() => ui.hideModal());
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

	/* For a session, or for whom the reader names. */
	why(row) {
		const known = {};

		for (const one of this.sessions.list)
			known[one.client] = one.client_name;

		const open = () => why.open({ client: row?.client, server: row?.server, known, done: () => this.watch.now() });

		return row ? open() : api.hints().then(hints => {
			for (const host of Object.values(hints))
				for (const address of L.toArray(host.ipaddrs ?? host.ipv4))
					known[address] ??= host.name ?? '';

			open();
		});
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
