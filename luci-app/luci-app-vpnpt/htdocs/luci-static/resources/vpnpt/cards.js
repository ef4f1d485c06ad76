/* SPDX-License-Identifier: GPL-2.0-or-later */
/* globals api, change, parts */
'use strict';
'require baseclass';
'require ui';
'require vpnpt.api as api';
'require vpnpt.change as change';
'require vpnpt.parts as parts';

/* The protocols' cards on the overview. */

const Cards = baseclass.extend({
	__init__() {
		this.node = E('section', { 'class': 'vp-cards', 'aria-label': _('Protocols') });
	},

	/* samples: throughput by protocol, of vpnpt.rates. */
	refresh(status, totals, samplesOf) {
		parts.replace(this.node, api.PROTOCOLS.map(name => {
			const entry = status.protocols?.[name] ?? {};
			const behaviour = status.enabled === false ? 'ignore' : entry.behaviour;
			const [ label, tone, sentence ] = api.behaviour(name, status);
			const total = totals[name];
			const samples = samplesOf[name] ?? [];
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
					E('span', {}, parts.bothWays(api.bytes(total.in), api.bytes(total.out))),
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
	}
});

return baseclass.extend({ Cards });
