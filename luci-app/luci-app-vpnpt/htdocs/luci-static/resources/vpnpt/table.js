/* SPDX-License-Identifier: GPL-2.0-or-later */
'use strict';
'require baseclass';
'require dom';

/* A table that is brought up to date in place: what has the focus keeps it, what is open stays open.
 *
 * columns: { title, value(row) to sort by, cell(row) -> children, class, fixed: made once per row, says(row): all that the cell depends on,
 * as text: while that is the same, the cell is left as it is }; key(row) tells rows apart;
 * detail(row) -> node, shown under the row when `opened` holds its key. sort: [ index, descending ].
 */
const Table = baseclass.extend({
	__init__(options) {
		this.options = options;
		this.sort = options.sort ?? [ 0, false ];
		this.rows = [];
		this.made = new Map();
		this.opened = new Set();
		this.body = E('tbody');
		this.headings = options.columns.map((column, index) => E('th', { 'scope': 'col', 'class': column.class ?? '' },
			column.value
				? [ E('button', { 'class': 'vp-sort', 'type': 'button', 'click': () => this.sortBy(index) }, [ column.title ]) ]
				: [ E('span', { 'class': 'vp-hidden' }, [ column.title ]) ]));
		this.node = E('table', { 'class': 'vp-table', 'id': options.id }, [
			E('caption', { 'class': 'vp-hidden' }, [ options.caption ]),
			E('thead', {}, [ E('tr', {}, this.headings) ]),
			this.body
		]);
	},

	sortBy(index) {
		this.sort = [ index, this.sort[0] == index ? !this.sort[1] : false ];
		this.update(this.rows);
	},

	toggle(key) {
		if (!this.opened.delete(key))
			this.opened.add(key);

		this.update(this.rows);
	},

	update(rows) {
		const [ index, descending ] = this.sort;
		const value = this.options.columns[index].value;
		const first = !this.made.size;
		const seen = new Set();

		this.rows = rows;
		this.headings.forEach((heading, i) => this.options.columns[i].value &&
			heading.setAttribute('aria-sort', i != index ? 'none' : descending ? 'descending' : 'ascending'));

		let place = this.body.firstChild;

		/* Numbers as numbers, text as people count: .9 before .10. */
		const compare = (one, other) => typeof(one) == 'number' ? one - other : L.naturalCompare(one, other);
		const sorted = rows.slice().sort((one, other) =>
			(compare(value(one), value(other)) || compare(this.options.key(one), this.options.key(other))) * (descending ? -1 : 1));

		/* All are sorted, as many as bear it are shown. */
		for (const row of sorted.slice(0, this.options.most ?? sorted.length)) {
			const key = this.options.key(row);

			seen.add(key);

			for (const node of this.refresh(key, row, first)) {
				if (node === place)
					place = place.nextSibling;
				else
					this.body.insertBefore(node, place);
			}
		}

		for (const [ key, made ] of this.made) {
			if (!seen.has(key)) {
				made.row.remove();
				made.detail?.remove();
				this.made.delete(key);
				this.opened.delete(key);
			}
		}

		return this.node;
	},

	/* The nodes of a row, up to date. */
	refresh(key, row, first) {
		const { columns, detail } = this.options;
		let made = this.made.get(key);

		if (!made) {
			made = { says: [], cells: columns.map(column => E('td', { 'class': column.class ?? '', 'data-title': column.fixed ? null : column.title })) };
			made.row = E('tr', { 'data-key': key, 'class': first ? '' : 'vp-new' }, made.cells);
			columns.forEach((column, i) => column.fixed && dom.append(made.cells[i], column.cell(row)));
			this.made.set(key, made);
		}

		columns.forEach((column, i) => {
			const says = column.says?.(row);

			if (column.fixed || (says != null && says === made.says[i]))
				return;

			made.says[i] = says;

			const next = E('div', {}, column.cell(row));

			if (!made.cells[i].firstChild?.isEqualNode(next))
				made.cells[i].replaceChildren(next);
		});

		const open = detail != null && this.opened.has(key);

		made.row.classList.toggle('vp-opened', open);
		made.row.querySelector('[aria-expanded]')?.setAttribute('aria-expanded', String(open));

		if (!open) {
			made.detail?.remove();
			made.detail = null;

			return [ made.row ];
		}

		const next = E('td', { 'colspan': columns.length }, [ detail(row) ]);

		made.detail ??= E('tr', { 'class': 'vp-detail' });

		if (!made.detail.firstChild?.isEqualNode(next))
			made.detail.replaceChildren(next);

		return [ made.row, made.detail ];
	}
});

return baseclass.extend({ Table });
