/* SPDX-License-Identifier: GPL-2.0-or-later */
/* globals api, parts */
'use strict';
'require dom';
'require poll';
'require view';
'require vpnpt.api as api';
'require vpnpt.parts as parts';

const INTERVAL = 5; /* seconds */
const LEVELS = [ 'error', 'warning', 'info', 'debug' ];

return view.extend({
	load() {
		parts.style();

		return Promise.all([ api.changes(), api.events() ]);
	},

	render(answers) {
		this.changes = E('ul', { 'class': 'vp-list', 'id': 'vpnpt-changes-list' });
		this.events = E('ul', { 'class': 'vp-list', 'id': 'vpnpt-events-list' });
		this.level = E('select', { 'id': 'vpnpt-level', 'change': () => this.refresh(...this.answers) },
			LEVELS.map(level => E('option', { 'value': level, 'selected': level == 'debug' ? '' : null }, [ api.severity(level)[0] ])));
		this.words = E('input', { 'type': 'search', 'placeholder': _('Address, code, word…'), 'aria-label': _('Show only lines with'),
			'input': () => this.refresh(...this.answers) });
		this.panel = E('div');
		this.main = E('div', {}, [
			E('div', { 'class': 'vp-head' }, [ E('h3', {}, [ _('Changes') ]) ]),
			E('p', { 'class': 'vp-dim' }, [ _('What changed, and when: often the answer to “it worked yesterday”.') ]),
			this.changes,
			E('div', { 'class': 'vp-head' }, [
				E('h3', {}, [ _('Events') ]),
				E('div', { 'class': 'vp-tools' }, [
					E('label', { 'for': 'vpnpt-level' }, [ _('At least') ]), this.level, this.words
				])
			]),
			this.events
		]);

		this.watch = parts.watch(INTERVAL, () => Promise.all([ api.changes(), api.events() ]).then(found => this.refresh(...found)));

		this.refresh(...answers);
		poll.add(this.watch.turn, INTERVAL);

		return E('div', { 'class': 'vpnpt', 'id': 'vpnpt-changes' }, [
			E('h2', { 'name': 'content' }, [ _('Event log') ]),
			E('div', { 'class': 'cbi-map-descr' }, [
				_('What the service did since it started. The system log has the same lines, under the name vpnptd.')
			]),
			this.panel, this.main, ...parts.docs('reference/log-codes.md')
		]);
	},

	refresh(changes, events) {
		const failed = [ changes, events ].find(answer => answer.error);

		this.answers = [ changes, events ];
		this.main.hidden = failed != null;
		dom.content(this.panel, failed ? [ parts.unreachable(failed, parts.starter(() => this.watch.now())) ] : []);

		if (failed)
			return false;

		this.fill(this.changes, (changes.changes ?? []).map(change => [ change.time, [ api.CHANGES[change.what] ?? String(change.what) ],
			[ change.how ? `${parts.said(change, 'text')} (${parts.said(change, 'how')})` : parts.said(change, 'text') ] ]), _('Nothing has changed since the service started.'));

		const last = LEVELS.indexOf(this.level.value);
		const words = this.words.value.trim().toLowerCase();
		const found = (events.events ?? []).filter(event => LEVELS.indexOf(event.severity) <= last &&
			(!words || `${event.code} ${event.text} ${parts.meaning(event)} ${parts.detail(event)}`.toLowerCase().includes(words)));

		this.fill(this.events, found.slice().reverse().map(event => [ event.time,
			[ parts.badge(api.severity(event.severity)), ' ', E('span', { 'class': 'vp-mono vp-dim' }, [ event.code ]) ], parts.logged(event) ]),
			(events.events ?? []).length ? _('No line matches.') : _('Nothing has been logged yet.'));

		return true;
	},

	fill(list, lines, empty) {
		const next = lines.map(([ time, kind, text ]) => E('li', {}, [
			E('time', {}, [ api.moment(time) ]), E('span', { 'class': 'vp-kind' }, kind), E('span', { 'class': 'vp-text' }, text)
		]));
		list.className = parts.listClass(lines.map(line => line[0]));

		const made = E('ul', {}, next.length ? next : [ E('li', { 'class': 'vp-dim' }, [ empty ]) ]);

		if (made.innerHTML != list.innerHTML)
			list.replaceChildren(...made.childNodes);
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
