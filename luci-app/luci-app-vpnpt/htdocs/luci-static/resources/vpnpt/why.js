/* SPDX-License-Identifier: GPL-2.0-or-later */
/* globals api, change, messages, parts */
'use strict';
'require baseclass';
'require dom';
'require ui';
'require vpnpt.api as api';
'require vpnpt.change as change';
'require vpnpt.messages as messages';
'require vpnpt.parts as parts';

/* "My VPN does not connect": asks who, watches while somebody tries, and says what stops it. */

const PERIOD = 1000; /* ms between two looks */

const STATES = {
	works: [ _('Passes both ways'), 'good' ],
	answered: [ _('Answered'), 'good' ],
	here: [ _('Stops in this router'), 'bad' ],
	back: [ _('Its answer stops in this router'), 'bad' ],
	away: [ _('Nothing comes back'), 'warn' ],
	waiting: [ _('Waiting'), 'quiet' ]
};

const PLACES = {
	fine: [ _('It works'), 'good' ],
	here: [ _('It stops at this router'), 'bad' ],
	way: [ _('It is lost on the way'), 'warn' ],
	server: [ _('It is up to the server'), 'warn' ],
	client: [ _('It is up to the device'), 'warn' ]
};

function failed(error) {
	ui.addNotification(_('That did not work'), E('p', {}, [ String(error?.message ?? error) ]), 'danger');
}

return baseclass.extend({
	/* client, server: addresses, or nothing. known: { address: name } of clients that may be meant. done: called when something was changed. */
	open({ client, server, known, done }) {
		this.known = known ?? {};
		this.done = done ?? (() => {});
		this.body = E('div', { 'class': 'vpnpt', 'id': 'vpnpt-why' });
		ui.showModal(_('My VPN does not connect'), [ this.body ]);

		if (client)
			this.begin(client, server);
		else
			this.ask('', '');
	},

	ask(client, server) {
		const names = this.known;
		const who = E('input', { 'type': 'text', 'id': 'vpnpt-why-client', 'list': 'vpnpt-why-known', 'value': client, 'autocomplete': 'off' });
		const where = E('input', { 'type': 'text', 'id': 'vpnpt-why-server', 'value': server, 'autocomplete': 'off' });

		dom.content(this.body, [
			E('p', {}, [ _('Which device does not connect? Give its address or name. Then start the VPN on it while this page watches.') ]),
			E('p', {}, [ E('label', { 'for': 'vpnpt-why-client' }, [ _('Device') ]), ' ', who ]),
			E('datalist', { 'id': 'vpnpt-why-known' }, Object.keys(names).map(address => E('option', { 'value': address }, [ names[address] ]))),
			E('p', {}, [ E('label', { 'for': 'vpnpt-why-server' }, [ _('Address of the VPN server, if you know it') ]), ' ', where ]),
			E('div', { 'class': 'button-row right' }, [
				parts.button(_('Cancel'), () => ui.hideModal()), ' ',
				parts.button(_('Watch'), () => who.value.trim() && this.begin(who.value.trim(), where.value.trim()), 'positive')
			])
		]);
	},

	begin(client, server) {
		this.asked = [ client, server ];

		return api.why(client, server ?? '').then(answer => this.show(answer));
	},

	look(watch) {
		window.setTimeout(() => this.body.isConnected ? api.whyNow(watch).then(answer => this.show(answer)) : api.whyCancel(watch), PERIOD);
	},

	show(answer) {
		if (answer.error)
			return this.end([ parts.panel('bad', _('That did not work'), [ E('p', {}, [ messages.text(answer.said, answer.error) ]) ]) ]);

		switch (answer.state) {
		case 'watching':
		case 'judging':
			this.renderWatch(answer);

			return this.look(answer.watch);
		case 'done':
			return this.end(this.renderVerdict(answer));
		default:
			return this.end([ parts.panel('warn', _('It was ended before anything could be said'), [ E('p', {}, [ answer.problem ?? '' ]) ]) ]);
		}
	},

	renderWatch(answer) {
		const who = answer.client_name ? `${answer.client_name} (${answer.client})` : answer.client;

		/* Made once, so that the button keeps the focus. */
		if (this.watched != answer.watch) {
			this.watched = answer.watch;
			this.live = E('p', { 'role': 'status', 'aria-live': 'polite' });
			this.seen = E('div');
			dom.content(this.body, [
				E('p', {}, [ E('strong', {}, [ _('Start the VPN on %s now.').format(who) ]) ]),
				this.live, E('div', { 'class': 'vp-progress', 'role': 'progressbar', 'aria-label': _('Watching') }, [ E('div') ]), this.seen,
				E('div', { 'class': 'button-row right' }, [ parts.button(_('Cancel'), () => {
					api.whyCancel(answer.watch);
					ui.hideModal();
				}) ])
			]);
		}

		dom.content(this.live, [ answer.state == 'judging' ? _('Looking for the cause…') : _('Watching, %d s left.').format(answer.left) ]);
		dom.content(this.seen, answer.passages.length ? [ this.renderPassages(answer.passages) ] : [ E('p', { 'class': 'vp-dim' }, [ _('No VPN packet yet.') ]) ]);
	},

	renderPassages(passages) {
		const number = (title, value) => E('td', { 'class': 'vp-number', 'data-title': title }, [ value ]);
		const titles = [ _('Kind'), _('Server'), _('From the device'), _('Left the router'), _('Came back'), _('Delivered'), _('Status') ];

		return E('table', { 'class': 'vp-table', 'id': 'vpnpt-why-seen' }, [
			E('thead', {}, [ E('tr', {}, titles.map(title => E('th', { 'scope': 'col' }, [ title ]))) ]),
			E('tbody', {}, passages.map(one => E('tr', {}, [
				E('td', { 'data-title': titles[0] }, [ one.name ]), E('td', { 'data-title': titles[1] }, [ one.server ]),
				number(titles[2], one.asked), number(titles[3], one.left), number(titles[4], Math.max(one.came, one.delivered)),
				number(titles[5], one.delivered), E('td', { 'data-title': titles[6] }, [ parts.badge(STATES[one.state] ?? [ String(one.state), 'quiet' ]) ])
			])))
		]);
	},

	renderVerdict(answer) {
		const verdict = answer.verdict;
		const said = verdict.said ?? {};
		const [ title, tone ] = PLACES[verdict.place] ?? [ _('Unknown'), 'quiet' ];
		const remedy = messages.text(said.remedy, verdict.remedy);
		const link = /^admin\/[\w\x2f-]+$/.test(verdict.link ?? '') ? [ E('p', {}, [ E('a', { 'href': L.url(verdict.link) }, [ _('Open the page where it is mended') ]) ]) ] : [];

		return [
			parts.panel(tone, title, [
				E('p', { 'id': 'vpnpt-why-text' }, [ messages.text(said.text, verdict.text) ]),
				...(remedy ? [ E('p', {}, [ E('strong', {}, [ _('What to do:') ]), ' ', remedy ]) ] : []),
				...this.renderAction(verdict.action ?? {}), ...link
			], 'status'),
			E('ul', { 'class': 'vp-list', 'aria-label': _('Evidence') }, (verdict.evidence ?? []).map((text, i) =>
				E('li', {}, [ E('span', { 'class': 'vp-text' }, [ messages.text(said.evidence?.[i], text) ]) ]))),
			...(verdict.more ?? []).map(finding => E('p', { 'class': 'vp-dim' }, [ parts.badge(api.severity(finding.severity)), ' ', parts.said(finding, 'text') ])),
			...parts.docs('LIMITS.md')
		];
	},

	/* A button for what can be done here. */
	renderAction({ do: what, protocol, client }) {
		const made = {
			enable: [ _('Switch %s on').format(api.name(protocol)), () => change.behaviour(protocol, 'help') ],
			trust: [ _('Let this client use %s').format(api.name(protocol)), () => change.trust(protocol, client) ],
			unblock: [ _('Let in again'), () => api.unblock(client, protocol).then(answer => {
				if (answer.error)
					throw new Error(answer.error);

				ui.hideModal();
				this.done();
			}) ]
		}[what];

		return made && L.hasViewPermission() ? [ E('p', {}, [ parts.button(made[0], () => made[1]().catch(failed), 'positive', { 'id': 'vpnpt-why-act' }) ]) ] : [];
	},

	end(children) {
		dom.content(this.body, [
			...children,
			E('div', { 'class': 'button-row right' }, [
				parts.button(_('Try again'), () => this.ask(...this.asked.map(word => word ?? ''))), ' ',
				parts.button(_('Close'), () => ui.hideModal())
			])
		]);
	}
});
