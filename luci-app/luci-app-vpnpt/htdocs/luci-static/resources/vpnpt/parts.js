/* SPDX-License-Identifier: GPL-2.0-or-later */
/* globals api, meanings, messages */
'use strict';
'require baseclass';
'require vpnpt.api as api';
'require vpnpt.meanings as meanings';
'require vpnpt.messages as messages';

/* Pieces of pages. What comes from the router is put into text nodes only: children are always arrays or nodes. */

const SVG = 'http://www.w3.org/2000/svg';

/* Where docs/ can be read, with a slash at the end. Empty as long as nobody has published it, and no page links to it: docs/UPSTREAM.md. */
const DOCS = '';

function svg(name, attributes, children) {
	const node = document.createElementNS(SVG, name);

	for (const key in attributes)
		node.setAttribute(key, attributes[key]);

	node.append(...(children ?? []));

	return node;
}

/* A text in which %s stands for a link. */
function linked(text, href, label) {
	const [ before, after ] = text.split('%s');

	return E('p', {}, [ before, E('a', { href }, [ label ]), after ?? '' ]);
}

function page(name) {
	return L.url('admin/network/vpnpt', name);
}

return baseclass.extend({
	svg,
	linked,
	page,

	/* Our own rules of style, once a page. */
	style() {
		const href = L.resource('vpnpt/vpnpt.css');

		if (!document.querySelector(`link[href="${href}"]`))
			document.head.appendChild(E('link', { 'rel': 'stylesheet', href }));
	},

	/* Leaves the nodes as they are where nothing changed: a button keeps the focus. */
	replace(parent, children) {
		const next = parent.cloneNode(false);

		next.append(...children);

		if (!next.isEqualNode(parent))
			parent.replaceChildren(...children);
	},

	badge: ([ label, tone ]) => E('span', { 'class': `vp-badge vp-${tone}` }, [ label ]),

	/* tone: good, bad, warn, notice, quiet. children: nodes and text. */
	panel(tone, title, children, role) {
		return E('div', { 'class': `vp-panel vp-${tone}`, 'role': role ?? null }, [ E('h3', {}, [ title ]), ...children ]);
	},

	/* What came in and what went out. */
	bothWays: (inward, outward) => [
		E('span', { 'class': 'vp-nowrap' }, [ E('span', { 'class': 'vp-in', 'aria-hidden': 'true' }, [ '↓' ]),
			E('span', { 'class': 'vp-hidden' }, [ _('received') ]), ` ${inward}` ]), ' ',
		E('span', { 'class': 'vp-nowrap' }, [ E('span', { 'class': 'vp-out', 'aria-hidden': 'true' }, [ '↑' ]),
			E('span', { 'class': 'vp-hidden' }, [ _('sent') ]), ` ${outward}` ])
	],

	button(label, handler, tone, attributes) {
		return E('button', Object.assign({ 'type': 'button', 'class': `btn cbi-button cbi-button-${tone ?? 'neutral'}`, 'click': handler },
			attributes), [ label ]);
	},

	/* A part of a finding in the reader's language, as far as the router gives its code. */
	said: (finding, part) => messages.text(finding.said?.[part], finding[part]),

	/* What is wrong with the configuration. Without codes (of an older service): in its own words. */
	diagnostics: status => (status.diagnostics ?? []).map((text, i) => messages.text(status.diagnostics_said?.[i], text)),

	/* Why the configuration is not in force: often its errors. */
	problem(status) {
		const said = this.diagnostics(status);
		const errors = (status.diagnostics ?? []).map((text, i) => [ text, said[i] ]).filter(([ text ]) => text.startsWith('error: '));

		if (errors.length && status.problem.startsWith(errors.map(([ text ]) => text).join('; ')))
			return errors.map(error => error[1]);

		const alert = (status.alerts ?? []).find(line => line.text == status.problem);

		return [ alert ? this.detail(alert) : status.problem ];
	},

	/* Of a diagnostic with a line: that line, and what is wrong in it; null of any other. */
	complaint(one) {
		const [ , line, text ] = typeof(one) == 'string' ? one.match(/\/vpnpt:(\d+): (.*)$/) ?? []
			: one?.line && String(one.file).endsWith('/vpnpt') ? [ null, one.line, messages.diagnostic(one, true) ] : [];

		return line ? { line: Number(line), text } : null;
	},

	/* What an error or a warning of the log means, for who reads another language than its codes, which are English. */
	meaning: ({ code, severity }) => [ 'error', 'warning' ].includes(severity) && !(document.documentElement.lang || 'en').startsWith('en')
		? meanings.meaning(code) : '',

	/* The line itself. */
	detail: line => messages.text(line.said ?? { code: line.text }, line.text),

	logged(line) {
		const meaning = this.meaning(line);
		const detail = this.detail(line);

		return meaning ? [ meaning, E('br'), E('span', { 'class': 'vp-dim', 'lang': detail == line.text ? 'en' : null }, [ detail ]) ] : [ detail ];
	},

	/* How others have changed our rules. */
	drift: status => messages.text(status.drift_said, status.drift),

	/* Starts the service, then calls back, when it answers. */
	starter(done) {
		return L.hasViewPermission() ? [ this.button(_('Start'), ev => {
			ev.currentTarget.disabled = true;

			return api.control('start').catch(() => null).then(() => api.awaited()).then(done);
		}, 'positive') ] : null;
	},

	/* Of a list of lines with a time: wide enough for the date, in all of them or in none. */
	listClass: times => `vp-list${times.some(time => api.moment(time).length > 8) ? ' vp-dated' : ''}`,

	/* Pairs of a label and what it says; pairs without a value are left out. */
	pairs(entries) {
		return E('dl', { 'class': 'vp-pairs' }, entries.filter(entry => entry[1] !== '' && entry[1] != null).map(([ label, value, mono ]) =>
			E('div', {}, [ E('dt', {}, [ label ]), E('dd', { 'class': mono ? 'vp-mono' : '' }, [ value ]) ])));
	},

	/* What stands in place of a page's content when the daemon does not answer. */
	unreachable(answer, buttons) {
		switch (answer.cause) {
		case 'down':
			return this.panel('bad', _('The service does not run'), [
				E('p', {}, [ _('VPN clients are not helped now. Tunnels that were up go on only if it was killed: after a proper stop its rules are gone.') ]),
				E('p', {}, [ _('Start it here. If it ends again, the system log says why: look for lines of vpnptd.') ]),
				...(buttons ?? [])
			], 'alert');
		case 'denied':
			return this.panel('warn', _('You may not see this'), [
				E('p', {}, [ _('Your login lacks the right to read from VPN passthrough, or it has expired. Log in again, or ask for the access group luci-app-vpnpt.') ])
			], 'alert');
		case 'lost':
			return this.panel('warn', _('The router does not answer'), [
				E('p', {}, [ _('It may be restarting. This page tries again by itself.') ])
			], 'alert');
		case 'long':
			return this.panel('warn', _('Too much to show here'), [
				E('p', {}, [ _('The answer is longer than the router\'s message bus carries. On the command line there is no such limit:') ]),
				E('p', {}, [ E('code', {}, [ 'vpnpt sessions' ]) ])
			], 'alert');
		default:
			return this.panel('bad', _('The service reports an error'), [ E('pre', {}, [ answer.error ]) ], 'alert');
		}
	},

	/* Two lines, in and out, of { in, out } in bytes a second. */
	graph(samples, label) {
		const top = Math.max(1, ...samples.map(sample => Math.max(sample.in, sample.out)));
		const width = Math.max(1, samples.length - 1);
		const line = key => samples.map((sample, i) => `${i ? 'L' : 'M'}${i} ${(100 - 96 * sample[key] / top).toFixed(1)}`).join('');
		const drawn = samples.length > 1 ? [ 'in', 'out' ].flatMap(key => [
			svg('path', { class: `vp-area vp-${key}`, d: `${line(key)}L${width} 100L0 100Z` }),
			svg('path', { class: `vp-${key}`, d: line(key) })
		]) : [];

		return svg('svg', { class: 'vp-graph', viewBox: `0 0 ${width} 100`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label }, drawn);
	},

	/* Answers to what people ask before they switch anything. */
	help() {
		const entry = (title, lines) => E('details', {}, [
			E('summary', {}, [ title ]),
			E('ul', {}, lines.map(text => E('li', {}, [ text ])))
		]);

		return E('div', {}, [
			entry(_('Do I need this?'), [
				_('Yes, if devices behind this router use IPsec, L2TP or PPTP themselves (a company laptop, a phone, a VoIP or payment terminal), above all several of them with the same server. Without help one of them works, or none.'),
				_('No, if they use OpenVPN, WireGuard, SSTP or any VPN in TCP: those cross a router by themselves. They are shown here, and can be blocked.'),
				_('Maybe not, if IPsec clients use NAT traversal (UDP 4500), as most do today. They are let through as they are; it does no harm.')
			]),
			entry(_('Built-in VPN or passthrough?'), [
				_('Passthrough: each device dials its own tunnel, and the router only carries the packets. The router holds no key and sees no content.'),
				_('Built-in VPN: the router itself dials (Network → Interfaces, for instance WireGuard), and every device uses its tunnel without knowing.'),
				_('Both at once is possible: the router\'s own tunnels come first and are never disturbed.')
			])
		]);
	},

	/* A link to a page of the docs, where they can be read. */
	docs: name => DOCS ? [ E('p', { 'class': 'vp-docs' }, [ E('a', { 'href': DOCS + name, 'target': '_blank', 'rel': 'noreferrer' }, [ _('Documentation') ]) ]) ] : [],

	/* Rows of the sessions as a table for a spreadsheet (RFC 4180). What begins like a formula is kept from being one. */
	csv(rows) {
		const columns = [ 'id', 'protocol', 'variant', 'client', 'client_name', 'mac', 'server', 'server_name', 'state', 'since', 'last', 'bytes_in', 'bytes_out',
			'packets_in', 'packets_out' ];
		const cell = value => {
			const text = String(value ?? '');

			return '"' + ('=+-@\t\r'.includes(text.charAt(0)) && text ? '\'' : '') + text.split('"').join('""') + '"';
		};

		return [ columns.join(','), ...rows.map(row => columns.map(name => cell(row[name])).join(',')) ].join('\r\n') + '\r\n';
	},

	/* Offers a text as a file. */
	save(name, type, text) {
		const href = URL.createObjectURL(new Blob([ text ], { type }));
		const link = E('a', { href, 'download': name });

		link.click();
		window.setTimeout(() => URL.revokeObjectURL(href), 10000);
	},

	/* Puts text where it can be pasted from. Resolves to whether that worked: browsers refuse it on plain HTTP in the modern way. */
	copy(text, area) {
		if (window.isSecureContext && navigator.clipboard)
			return navigator.clipboard.writeText(text).then(() => true, () => false);

		area.focus();
		area.select();

		return Promise.resolve(document.execCommand('copy'));
	},

	/* Calls back now, every `seconds` seconds, and when the page is shown again; not while it is hidden, never twice at once.
	 * After failures (the callback resolves to false) it waits longer, up to four times as long; not at once after `now`, with which
	 * somebody did something that takes a while, such as a start. */
	watch(seconds, callback) {
		let due = 0;
		let patience = 1;
		let busy = false;
		const turn = () => {
			if (document.hidden || busy || Date.now() < due)
				return Promise.resolve();

			busy = true;

			return Promise.resolve(callback()).catch(() => false).then(fine => {
				patience = fine === false ? Math.min(4, patience * 2) : 1;
				due = Date.now() + (seconds * patience - 0.5) * 1000;
				busy = false;
			});
		};
		const now = () => {
			due = 0;
			patience = 1 / 4;

			return turn();
		};

		document.addEventListener('visibilitychange', () => document.hidden || now());

		return { turn, now };
	}
});
