/* SPDX-License-Identifier: GPL-2.0-or-later */
/* globals api, parts */
'use strict';
'require baseclass';
'require dom';
'require vpnpt.api as api';
'require vpnpt.parts as parts';

/* What passed, by the hour and by the day, of a protocol or of a client: asked for only while it is unfolded. */

const SPANS = {
	hours: { slots: 48, length: 3600, every: 12, title: _('By the hour'), said: _('In the last 48 hours: %s received, %s sent') },
	days: { slots: 31, length: 86400, every: 7, title: _('By the day'), said: _('In the last 31 days: %s received, %s sent') }
};
const AGAIN = 300; /* seconds: as often as the service counts */

/* The next larger 1, 2 or 5 of a power of ten, of the unit in which it is shown. */
function ceiling(value) {
	let unit = 1;

	while (value / unit >= 1000)
		unit *= 1024;

	const power = 10 ** Math.floor(Math.log10(Math.max(1, value / unit)));

	return [ 1, 2, 5, 10 ].find(step => step * power * unit >= value) * power * unit;
}

function both(list) {
	return list.reduce((sum, one) => [ sum[0] + one[0], sum[1] + one[1] ], [ 0, 0 ]);
}

const Throughput = baseclass.extend({
	/* name(client): what a client is called; now(): the router's time. */
	__init__(options) {
		Object.assign(this, options);
		this.answer = null;
		this.asked = 0;
		this.span = E('select', { 'aria-label': _('Period'), 'change': () => this.draw() }, Object.keys(SPANS).map(key => E('option', { 'value': key }, [ SPANS[key].title ])));
		this.what = E('select', { 'aria-label': _('Of what'), 'change': () => this.draw() });
		this.body = E('div');
		this.node = E('details', { 'id': 'vpnpt-throughput', 'toggle': () => this.refresh() }, [
			E('summary', {}, [ _('Throughput by the hour and day') ]),
			E('div', {}, [ E('div', { 'class': 'vp-tools' }, [ this.span, this.what ]), this.body ])
		]);
	},

	/* Asks, if it is unfolded and the last answer is old. */
	refresh() {
		if (!this.node.open || Date.now() - this.asked < AGAIN * 1000)
			return null;

		this.asked = Date.now();

		return api.throughput().then(answer => {
			if (answer.error)
				this.asked = 0;

			this.answer = answer;
			this.draw();
		});
	},

	/* Shows one client. */
	choose(client) {
		this.chosen = `clients ${client}`;
		this.node.open = true;
		this.node.scrollIntoView({ block: 'nearest' });
		this.draw();
	},

	/* What there is to choose from. */
	fillChoices() {
		const spans = [ ...this.answer.hours, ...this.answer.days ];
		const names = kind => [ ...new Set(spans.flatMap(span => Object.keys(span[kind]))) ];
		const chosen = this.chosen ?? (this.what.value || 'all');
		const choices = [ [ 'all', _('All protocols') ], ...api.PROTOCOLS.filter(name => names('protocols').includes(name)).map(name => [ `protocols ${name}`, api.name(name) ]),
			...names('clients').map(client => [ `clients ${client}`, client ? this.name(client) : _('Other clients') ]).sort((one, other) => L.naturalCompare(one[1], other[1])) ];

		if (!choices.some(choice => choice[0] == chosen) && chosen.startsWith('clients '))
			choices.push([ chosen, this.name(chosen.slice(8)) ]);

		this.chosen = null;
		this.what.replaceChildren(...choices.map(([ value, label ]) => E('option', { value, 'selected': value == chosen ? '' : null }, [ label ])));
	},

	draw() {
		if (!this.answer)
			return;

		if (this.answer.error)
			return dom.content(this.body, [ E('p', { 'class': 'vp-dim' }, [ this.answer.error ]) ]);

		this.fillChoices();

		const { slots, length, every, said } = SPANS[this.span.value];
		const found = this.answer[this.span.value];
		const now = this.now();
		let last = found.length ? found[found.length - 1].time : Math.floor(now / length) * length;

		/* Days begin when the router's do. */
		while (last + length <= now)
			last += length;

		const [ kind, name ] = this.what.value.split(' ');
		const bars = Array.from({ length: slots }, (_none, i) => ({ time: last - (slots - 1 - i) * length, sums: [ 0, 0 ] }));

		for (const span of found) {
			const bar = bars[slots - 1 - Math.round((last - span.time) / length)];
			const sums = kind == 'all' ? both(Object.values(span.protocols)) : span[kind][name ?? ''];

			if (bar && sums)
				bar.sums = both([ bar.sums, sums ]);
		}

		dom.content(this.body, [ this.renderChart(bars, every, length, said) ]);
	},

	renderChart(bars, every, length, said) {
		const top = ceiling(Math.max(1, ...bars.flatMap(bar => bar.sums)));
		const total = both(bars.map(bar => bar.sums));
		const words = said.format(api.bytes(total[0]), api.bytes(total[1]));
		const label = time => {
			const date = new Date(time * 1000);
			const day = date.toLocaleDateString(document.documentElement.lang || undefined, { day: 'numeric', month: 'short' });

			return length < 86400 ? `${day}, ${String(date.getHours()).padStart(2, '0')}:00` : day;
		};
		const rects = bars.flatMap((bar, i) => bar.sums.map((value, way) => parts.svg('rect', { class: way ? 'vp-out' : 'vp-in', x: i * 10 + 1 + way * 4,
			y: 100 - 100 * value / top, width: 4, height: 100 * value / top }, [ parts.svg('title', {}, [ `${label(bar.time)}: ↓ ${api.bytes(bar.sums[0])} ↑ ${api.bytes(bar.sums[1])}` ]) ])));

		if (!total[0] && !total[1])
			return E('p', { 'class': 'vp-dim' }, [ _('Nothing was counted in this time. What passes is counted every five minutes.') ]);

		return E('div', {}, [
			E('p', { 'class': 'vp-dim' }, [ words ]),
			E('div', { 'class': 'vp-chart' }, [
				E('div', { 'class': 'vp-axis-y', 'aria-hidden': 'true' }, [ top, top / 2, 0 ].map(value => E('span', {}, [ api.bytes(value) ]))),
				parts.svg('svg', { viewBox: `0 0 ${bars.length * 10} 100`, preserveAspectRatio: 'none', role: 'img', 'aria-label': words }, [
					...[ 0, 50, 100 ].map(y => parts.svg('line', { x1: 0, x2: bars.length * 10, y1: y, y2: y })), ...rects ]),
				E('div', { 'class': 'vp-axis-x', 'aria-hidden': 'true' }, bars.map((bar, i) => [ bar, i ]).filter(([ , i ]) => (bars.length - 1 - i) % every == 0).map(([ bar, i ]) =>
					E('span', { 'style': `left:${((i + 0.5) * 100 / bars.length).toFixed(2)}%` }, [ label(bar.time) ])))
			]),
			E('p', { 'class': 'vp-dim' }, parts.bothWays(_('received'), _('sent')))
		]);
	}
});

return baseclass.extend({ Throughput });
