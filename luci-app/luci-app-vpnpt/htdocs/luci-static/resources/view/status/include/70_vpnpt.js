/* SPDX-License-Identifier: GPL-2.0-or-later */
/* globals api, parts */
'use strict';
'require baseclass';
'require vpnpt.api as api';
'require vpnpt.parts as parts';

/* Links only: the page keeps a copy of what is drawn here, without what listens to clicks. */
return baseclass.extend({
	title: _('VPN Passthrough'),

	load() {
		parts.style();

		return api.status();
	},

	render(status) {
		if (status.error)
			return status.cause == 'denied' ? null : E('div', { 'class': 'vpnpt' }, [
				E('p', {}, [ parts.badge([ _('The service does not run'), 'bad' ]), ' · ',
					E('a', { 'href': parts.page('overview') }, [ _('More') ]) ]) ]);

		const rows = api.PROTOCOLS.filter(name => status.protocols?.[name]).map(name => {
			const entry = status.protocols[name];

			return E('tr', { 'class': 'tr' }, [
				E('td', { 'class': 'td', 'data-title': _('Protocol') }, [ api.name(name) ]),
				E('td', { 'class': 'td', 'data-title': _('Status') }, [ parts.badge(api.behaviour(name, status)) ]),
				E('td', { 'class': 'td right', 'data-title': _('Sessions') }, [ entry.sessions ?? '–' ]),
				E('td', { 'class': 'td right', 'data-title': _('Data') },
					[ entry.bytes_in == null ? '–' : `↓ ${api.bytes(entry.bytes_in)} ↑ ${api.bytes(entry.bytes_out)}` ])
			]);
		});
		const worst = api.alerts(status, Date.now() / 1000).slice(0, 1);

		return E('div', { 'class': 'vpnpt' }, [
			E('table', { 'class': 'table', 'id': 'vpnpt-widget' }, [
				E('tr', { 'class': 'tr table-titles' }, [
					E('th', { 'class': 'th' }, [ _('Protocol') ]), E('th', { 'class': 'th' }, [ _('Status') ]),
					E('th', { 'class': 'th right' }, [ _('Sessions') ]), E('th', { 'class': 'th right' }, [ _('Data') ])
				]),
				...rows
			]),
			...(status.problem ? [ E('p', {}, [ parts.badge(api.inForce(status)), ' ', parts.problem(status).join(' ') ]) ] : []),
			...worst.map(alert => E('p', {}, [ parts.badge(api.severity(alert.severity)), ' ', ...parts.logged(alert) ])),
			E('p', {}, [ E('a', { 'href': parts.page('overview') }, [ _('Sessions and details') ]) ])
		]);
	}
});
