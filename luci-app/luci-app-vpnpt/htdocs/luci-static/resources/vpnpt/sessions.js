/* SPDX-License-Identifier: GPL-2.0-or-later */
/* globals api, parts, tables */
'use strict';
'require baseclass';
'require dom';
'require ui';
'require vpnpt.api as api';
'require vpnpt.parts as parts';
'require vpnpt.table as tables';

/* The tables of sessions on the overview, and what can be done to one. */

const SHOWN = 200; /* rows of a table, at most */

function address(name, text, click) {
	const shown = click ? parts.button(name || text, click, 'link', { 'class': 'vp-link' }) : name;

	if (click && !name)
		return [ shown ];

	return name ? [ shown, E('br'), E('span', { 'class': 'vp-dim vp-mono' }, [ text ]) ] : [ E('span', { 'class': 'vp-mono' }, [ text ]) ];
}

function bytesOf(row) {
	return row.bytes_in + row.bytes_out;
}

function listed(words) {
	return Array.isArray(words) ? [ ...new Set(words) ].join(', ') : '';
}

/* What is known of a session, on demand. */
function detail(row) {
	const details = row.details ?? {};
	const shared = L.toArray(row.shared_with ?? details.shared_with);

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
		[ _('Server\'s ports'), listed(details.ports), true ],
		[ _('Packets of an SPI'), shared.length ? _('shared with %s until it is known whose it is').format(listed(shared)) : '' ]
	]);
}

const Sessions = baseclass.extend({
	/* rates: of vpnpt.rates. why(row), say(text), again(): the page's. */
	__init__(options) {
		Object.assign(this, options);
		this.filter = '';
		this.client = null; /* one whose sessions alone are shown */
		this.list = [];
		this.gone = [];
		this.device = E('div', { 'id': 'vpnpt-device', 'hidden': '' });
		this.live = this.renderSessions();
		this.past = this.renderEnded();
	},

	/* Shows one client alone, or all again. */
	choose(row) {
		this.client = row ? row.client : null;
		this.device.hidden = !row;
		dom.content(this.device, !row ? [] : [ parts.panel('notice', row.client_name || row.client, [
			E('p', { 'class': 'vp-mono' }, [ [ row.client, row.mac ].filter(Boolean).join(' · ') ]),
			E('p', { 'class': 'vp-tools' }, [
				parts.button(_('My VPN does not connect'), () => this.why({ client: row.client }), 'action important'),
				parts.button(_('Its throughput'), () => this.throughput(row.client), 'neutral'),
				parts.button(_('Show all clients'), () => this.choose(null), 'neutral')
			])
		]) ]);
		this.refreshSessions(this.list, { now: this.now });
		this.refreshEnded(this.gone, this.now);

		if (row)
			this.device.scrollIntoView({ block: 'nearest' });
	},

	/* What a client is called, with its address. */
	named(client) {
		const name = this.list.find(row => row.client == client && row.client_name)?.client_name;

		return name ? `${name} (${client})` : client;
	},

	columns() {
		const rate = row => this.rates.sessions[row.id] ?? { in: 0, out: 0 };

		return [
			{ title: _('Client'), value: row => row.client_name || row.client, says: row => `${row.client_name} ${row.client}`, cell: row => address(row.client_name, row.client, () => this.choose(row)) },
			{ title: _('Server'), value: row => row.server_name || row.server, says: row => `${row.server_name} ${row.server}`, cell: row => address(row.server_name, row.server) },
			{ title: _('Protocol'), value: row => `${row.protocol} ${row.variant}`, says: row => `${row.protocol} ${row.variant}`, cell: row =>
				[ api.name(row.protocol), ' ', row.variant && row.variant != api.name(row.protocol) ? E('span', { 'class': 'vp-chip' }, [ row.variant ]) : '' ] },
			{ title: _('Status'), value: row => row.state, says: row => String(row.state), cell: row => [ parts.badge(api.state(row.state)), ...([ 'failing', 'blocked' ].includes(row.state)
				? [ ' ', parts.button(_('Why?'), () => this.why(row), 'neutral', { 'aria-label': `${_('Why?')} ${row.client_name || row.client} → ${row.server_name || row.server}` }) ] : []) ] },
			{ title: _('Age'), class: 'vp-number', value: row => -row.since, says: row => api.duration(this.now - row.since), cell: row => [ E('span', { 'class': 'vp-nowrap' }, [ api.duration(this.now - row.since) ]) ] },
			{ title: _('Data'), class: 'vp-number', value: bytesOf, says: row => `${api.bytes(row.bytes_in)} ${api.bytes(row.bytes_out)}`, cell: row => parts.bothWays(api.bytes(row.bytes_in), api.bytes(row.bytes_out)) },
			{ title: _('Rate'), class: 'vp-number', value: row => rate(row).in + rate(row).out, says: row => `${api.rate(rate(row).in)} ${api.rate(rate(row).out)}`, cell: row => parts.bothWays(api.rate(rate(row).in), api.rate(rate(row).out)) },
			{ title: _('Actions'), class: 'vp-act', fixed: true, cell: row => {
				const who = `${row.client_name || row.client} → ${row.server_name || row.server}`;

				return [
					parts.button(_('Details'), () => this.live.table.toggle(row.id), 'neutral',
						{ 'aria-expanded': 'false', 'aria-label': `${_('Details')}: ${who}` }),
					...(!L.hasViewPermission() || row.state == 'blocked' ? [] : [ parts.button(_('Disconnect'), ev => this.disconnect(row, ev.currentTarget), 'negative',
						{ 'aria-label': `${_('Disconnect')}: ${who}` }) ])
				];
			} }
		];
	},

	renderSessions() {
		const table = new tables.Table({ id: 'vpnpt-sessions', caption: _('Sessions'), columns: this.columns(), key: row => row.id, most: SHOWN,
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
			this.device, empty, table.node, more, save
		]) };
	},

	refreshSessions(list, answer) {
		const { table, tools, count, empty, more, save } = this.live;
		const words = this.filter;
		const own = this.client ? list.filter(row => row.client == this.client) : list;
		const found = words ? own.filter(row => [ row.client, row.client_name, row.server, row.server_name, row.mac, api.name(row.protocol), row.variant,
			row.state, api.state(row.state)[0] ].some(text => String(text ?? '').toLowerCase().includes(words))) : own;

		this.list = list;
		this.now = answer.now ?? this.now;
		this.capped = answer.sessions ? answer.capped : this.capped; /* not asked anew where only another part is shown */
		tools.hidden = list.length < 2 && !words;
		parts.replace(count, [ list.length ? words || this.client ? `${found.length}/${list.length}` : String(list.length) : '' ]);
		table.update(found);
		table.node.hidden = !found.length;
		empty.hidden = found.length > 0 || answer.error != null;
		parts.replace(empty, list.length ? [ E('p', {}, [ _('No session matches.') ]) ] : [
			E('p', {}, [ E('strong', {}, [ _('No VPN session at the moment') ]) ]),
			E('p', {}, [ _('Start the VPN on a device in your network: it appears here within seconds, and nothing has to be set up for it on the router.') ]),
			parts.linked(_('It does not connect, and does not appear? Ask the %s.'), parts.page('doctor'), _('doctor'))
		]);
		parts.replace(more, [
			...(found.length > SHOWN ? [ _('%d more are not shown: search for what you need.').format(found.length - SHOWN), ' ' ] : []),
			...(this.capped ? [ _('The service keeps no more sessions than these: further ones work, and are not listed.') ] : [])
		]);
		save.hidden = !list.length;
	},

	renderEnded() {
		const columns = this.columns();
		const table = new tables.Table({ id: 'vpnpt-ended', caption: _('Ended sessions'), key: row => `${row.id}-${row.ended}`, sort: [ 3, false ], columns: [
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
		this.gone = list;
		list = this.client ? list.filter(row => row.client == this.client) : list;
		this.now = now ?? this.now;
		this.past.node.hidden = !list.length;
		parts.replace(this.past.summary, [ _('Ended sessions'), ` (${list.length})` ]);
		this.past.table.update(list);
	},

	disconnect(row, button) {
		button.disabled = true;

		return api.kill(row.id).then(answer => {
			button.disabled = false;

			if (answer.error)
				ui.addNotification(_('That did not work'), E('p', {}, [ answer.error ]), 'danger');
			else
				this.say(_('Disconnected. A client that goes on comes back by itself.'));

			return this.again();
		});
	},

	unblock(row) {
		return api.unblock(row.client, row.protocol).then(answer => {
			if (answer.error)
				ui.addNotification(_('That did not work'), E('p', {}, [ answer.error ]), 'danger');
			else if (!answer.changed)
				ui.addNotification(_('Nothing was changed'), E('p', {}, [ _('This client is not refused by its address: see the settings of %s.').format(api.name(row.protocol)) ]), 'warning');

			return this.again();
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

			return this.again();
		});
	}
});

return baseclass.extend({ Sessions });
