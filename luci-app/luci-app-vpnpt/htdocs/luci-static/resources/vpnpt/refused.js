/* SPDX-License-Identifier: GPL-2.0-or-later */
/* globals api, parts */
'use strict';
'require baseclass';
'require dom';
'require ui';
'require uci';
'require vpnpt.api as api';
'require vpnpt.parts as parts';

/* All clients that are refused, of every protocol, below the settings. */

function list() {
	return api.PROTOCOLS.flatMap(protocol => L.toArray(uci.get('vpnpt', protocol, 'deny_src')).map(client => ({ protocol, client })));
}

return baseclass.extend({
	/* map: the form, which has these clients in its lists as well. */
	render(map) {
		const node = E('section', { 'id': 'vpnpt-refused', 'aria-labelledby': 'vpnpt-refused-title' });

		this.fill(node, map, list());

		return node;
	},

	fill(node, map, found) {
		dom.content(node, [
			E('div', { 'class': 'vp-head' }, [ E('h3', { 'id': 'vpnpt-refused-title' }, [ _('Refused clients') ]) ]),
			found.length ? E('ul', { 'class': 'vp-list' }, found.map(one => E('li', {}, [
				E('span', { 'class': 'vp-kind' }, [ api.name(one.protocol) ]),
				E('span', { 'class': 'vp-text vp-mono' }, [ one.client ]),
				...(L.hasViewPermission() && !one.client.includes('/') ? [ parts.button(_('Let in again'), ev => this.unblock(node, map, found, one, ev.currentTarget), 'positive',
					{ 'aria-label': `${_('Let in again')}: ${one.client}, ${api.name(one.protocol)}` }) ] : [])
			]))) : E('p', { 'class': 'vp-dim' }, [ _('No client is refused by its address.') ])
		]);
	},

	/* At once, as where it was refused; the form forgets it too, or it would be saved anew. */
	unblock(node, map, found, one, button) {
		button.disabled = true;

		return api.unblock(one.client, one.protocol).then(answer => {
			button.disabled = false;

			if (answer.error)
				return ui.addNotification(_('That did not work'), E('p', {}, [ answer.error ]), 'danger');

			const without = values => L.toArray(values).filter(value => value != one.client);
			const [ option, section ] = map.lookupOption('deny_src', one.protocol) ?? [];

			if (option) {
				const shown = without(option.formvalue(section));

				option.cfgvalue(section, without(option.cfgvalue(section)));
				option.getUIElement(section)?.setValue(shown);
			}

			return this.fill(node, map, found.filter(other => other != one));
		});
	}
});
