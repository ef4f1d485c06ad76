/* SPDX-License-Identifier: GPL-2.0-or-later */
/* globals api */
'use strict';
'require baseclass';
'require uci';
'require ui';
'require vpnpt.api as api';

/* Changes of the configuration outside the settings: they are staged as there, and LuCI's own list of them is shown, with Save & Apply. */

/* The section of a protocol, made if it is missing. */
function section(protocol) {
	return uci.get('vpnpt', protocol) ? protocol : uci.add('vpnpt', 'protocol', protocol);
}

function staged(change) {
	return uci.load('vpnpt').then(change).then(() => uci.save()).then(() => ui.changes.init()).then(() => ui.changes.displayChanges());
}

/* The type of a section wins where it is a boolean word: `config 1 'ipsec'`. */
function setEnabled(name, on) {
	if (api.bool(uci.get('vpnpt', name, '.type')) == null)
		return uci.set('vpnpt', name, 'enabled', on ? '1' : '0');

	uci.unset('vpnpt', name, 'enabled');

	return api.setType(name, on ? '1' : '0');
}

return baseclass.extend({
	/* behaviour: help, block or ignore. */
	behaviour(protocol, behaviour) {
		return staged(() => {
			const name = section(protocol);

			if (behaviour != 'help')
				uci.set('vpnpt', name, 'when_disabled', behaviour);

			return setEnabled(name, behaviour == 'help');
		});
	},

	/* Adds a client to those who may use a protocol. */
	trust(protocol, client) {
		return staged(() => {
			const name = section(protocol);

			uci.set('vpnpt', name, 'allow_src', [ ...L.toArray(uci.get('vpnpt', name, 'allow_src')), client ]);
		});
	}
});
