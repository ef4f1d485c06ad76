/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A thin stand-in for LuCI's loader: what our files use of it, and no more. It looks like nothing; what is tested is what is there.
 * The page that includes it sets `window.readonly` and calls show(view). Calls go to /ubus as they do in LuCI. */
'use strict';

String.prototype.format = function(...values) {
	return this.replace(/%([sd%])/g, (_all, kind) => kind == '%' ? '%' : kind == 'd' ? String(Math.floor(values.shift())) : String(values.shift()));
};

/* window.words: translations, as LuCI has them of the catalogue. */
window._ = text => window.words?.[text] ?? text;

const dom = {
	elem: node => node != null && typeof(node) == 'object' && 'nodeType' in node,
	append(node, children) {
		if (Array.isArray(children))
			children.filter(child => child != null).forEach(child => node.appendChild(dom.elem(child) ? child : document.createTextNode(String(child))));
		else if (dom.elem(children))
			node.appendChild(children);
		else if (children != null)
			node.innerHTML = String(children); /* as LuCI does: whoever passes data like this is found out */
	},
	content(node, children) {
		node.replaceChildren();
		dom.append(node, children);
	}
};

window.E = (name, attributes, children) => {
	const plain = attributes == null || Array.isArray(attributes) || typeof(attributes) != 'object' || dom.elem(attributes);
	const node = document.createElement(name);

	for (const [ key, value ] of Object.entries(plain ? {} : attributes)) {
		if (typeof(value) == 'function')
			node.addEventListener(key, value);
		else if (value != null)
			node.setAttribute(key, value);
	}

	dom.append(node, plain ? attributes : children);

	return node;
};

const extend = (base, members) => {
	const derived = class extends base {};

	Object.assign(derived.prototype, members);
	derived.extend = more => extend(derived, more);

	return derived;
};

class Base {
	constructor(...values) {
		this.__init__?.(...values);
	}

	/* One level is enough for what is tested here. */
	super(key, values) {
		return Object.getPrototypeOf(Object.getPrototypeOf(this))[key].apply(this, values);
	}
}

const baseclass = { extend: members => extend(Base, members) };

let calls = 0;

function ubus(object, method, values) {
	return fetch('/ubus', { method: 'POST', body: JSON.stringify({ jsonrpc: '2.0', id: ++calls, method: 'call', params: [ '0', object, method, values ] }) })
		.then(answer => answer.json());
}

const rpc = {
	declare: ({ object, method, params, expect }) => (...values) =>
		ubus(object, method, Object.fromEntries((params ?? []).map((name, i) => [ name, values[i] ]))).then(({ error, result }) => {
			if (error)
				throw new Error(`RPC call to ${object}/${method} failed with error ${error.code}: ${error.message}`);

			if (result[0])
				throw new Error(`RPC call to ${object}/${method} failed with ubus code ${result[0]}: ?`);

			return result[1] ?? Object.values(expect ?? { '': {} })[0];
		})
};

const file = (method, values) => ubus('file', method, values).then(({ error, result }) => {
	if (error || result[0])
		throw Object.assign(new Error(error?.message ?? `ubus code ${result[0]}`), { name: result?.[0] == 4 ? 'NotFoundError' : 'PermissionError' });

	return result[1];
});
const fs = {
	exec: (command, values) => file('exec', { command, params: values }),
	read: path => file('read', { path }).then(answer => answer.data),
	write: (path, data) => file('write', { path, data })
};
const queue = [];
const poll = { add: (turn, seconds) => queue.push(setInterval(turn, seconds * 1000)) };

const ui = {
	changes: { init: () => Promise.resolve(), displayChanges: () => ui.showModal('Unsaved changes', [ JSON.stringify(uci.staged) ]) },
	showModal: (title, children) => {
		ui.hideModal();
		document.body.appendChild(E('div', { 'id': 'modal', 'class': 'modal', 'role': 'dialog' }, [ E('h4', {}, [ title ?? '' ]), ...children ]));
	},
	hideModal: () => document.querySelector('#modal')?.remove(),
	addNotification: (title, children) => document.body.prepend(E('div', { 'class': 'alert-message' }, [ E('h4', {}, [ title ]), children ]))
};

const uci = {
	values: null,
	load: config => ubus('uci', 'get', { config }).then(({ result }) => {
		if (result[0])
			throw new Error('uci/get failed');

		uci.values = result[1].values;
	}),
	staged: [],
	get: (_config, section, option) => option == null ? uci.values[section] : uci.values[section]?.[option],
	set: (_config, section, option, value) => uci.staged.push([ 'set', section, option, value ]),
	unset: (_config, section, option) => uci.staged.push([ 'unset', section, option ]),
	save: () => Promise.resolve(),
	unload() { uci.values = null; },
	sections: (_config, type) => Object.values(uci.values).filter(section => type == null || section['.type'] == type),
	add(_config, type, name) {
		uci.values[name] = { '.type': type, '.name': name };

		return name;
	}
};

const Value = baseclass.extend({
	__init__(section, name, title, help) {
		Object.assign(this, { section, name, option: name, title, help, choices: [], deps: [] });
	},
	value(key, label) { this.choices.push([ key, label ?? key ]); },
	depends(...condition) { this.deps.push(condition); },
	load(section) { return uci.get('vpnpt', section, this.name); },
	cfgvalue() { return this.loaded; },
	write() {},
	formvalue: section => document.getElementById(`${section}.deny_src`).value,
	getUIElement: section => ({ setValue: values => document.getElementById(`${section}.deny_src`).value = values.join(' ') }),
	renderWidget(section, _index, value) {
		return E('input', { 'id': `${section}.${this.name}`, 'value': L.toArray(value ?? this.default).join(' '), 'placeholder': this.placeholder ?? null });
	},
	render(section) {
		this.loaded = this.load(section);

		return E('div', { 'data-option': this.name }, [ E('label', { 'for': `${section}.${this.name}` }, [ this.title ]),
			this.renderWidget(section, 0, this.loaded), E('p', {}, [ this.help ?? '' ]) ]);
	}
});

const Flag = Value.extend({
	renderWidget(section, _index, value) {
		return E('input', { 'id': `${section}.${this.name}`, 'type': 'checkbox', 'checked': (value ?? this.default) == '1' ? '' : null });
	}
});

const ListValue = Value.extend({
	renderWidget(section, _index, value) {
		return E('select', { 'id': `${section}.${this.name}` }, this.choices.map(([ key, label ]) =>
			E('option', { 'value': key, 'selected': key == (value ?? this.default) ? '' : null }, [ label ])));
	}
});

const NamedSection = baseclass.extend({
	__init__(map, name, type, title, description) {
		Object.assign(this, { map, name, type, title, description, options: [] });
	},
	tab() {},
	taboption(_tab, widget, ...rest) {
		this.options.push(new widget(this, ...rest));

		return this.options[this.options.length - 1];
	},
	render() {
		return E('section', { 'data-section': this.name }, [ E('h3', {}, [ this.title ]), E('p', {}, [ this.description ?? '' ]),
			...this.options.map(option => option.render(this.name)) ]);
	}
});

const FormMap = baseclass.extend({
	__init__(config, title, description) {
		Object.assign(this, { config, title, description, children: [] });
	},
	section(type, ...rest) {
		this.children.push(new type(this, ...rest));

		return this.children[this.children.length - 1];
	},
	lookupOption(name, section) {
		const found = this.children.find(one => one.name == section)?.options.find(one => one.name == name);

		return found ? [ found, section ] : null;
	},
	render() {
		return Promise.resolve(E('div', { 'id': 'cbi-vpnpt' }, [ E('h2', {}, [ this.title ]), E('p', {}, [ this.description ]),
			...this.children.map(section => section.render()) ]));
	}
});

const modules = {
	baseclass, dom, fs, poll, rpc, ui, uci, view: baseclass,
	form: { Map: FormMap, NamedSection, Value, Flag, ListValue, DynamicList: Value },
	'tools.widgets': { ZoneSelect: Value, DeviceSelect: Value }
};

window.L = {
	dom,
	isObject: value => value != null && typeof(value) == 'object',
	toArray: value => value == null || value === '' ? [] : Array.isArray(value) ? value : String(value).trim().split(/\s+/),
	naturalCompare: new Intl.Collator(undefined, { numeric: true }).compare,
	resolveDefault: (promise, value) => Promise.resolve(promise).catch(() => value),
	hasViewPermission: () => !window.readonly,
	url: (...parts) => `/cgi-bin/luci/${parts.join('/')}`,
	resource: (...parts) => `/luci-static/resources/${parts.join('/')}`,

	async require(name) {
		if (modules[name])
			return modules[name];

		const source = await (await fetch(L.resource(`${name.replace(/\./g, '/')}.js`))).text();
		const needed = [ ...source.matchAll(/^'require (\S+?)(?: as (\w+))?';$/gm) ];
		const found = await Promise.all(needed.map(match => L.require(match[1])));
		const made = new Function('window', 'document', 'L', ...needed.map(match => match[2] ?? match[1]), source)(window, document, L, ...found);

		return (modules[name] = new made());
	}
};

window.show = async name => {
	const made = await L.require(name);
	const node = await made.render(await made.load());

	document.querySelector('#view').replaceChildren(node);
	document.body.dataset.shown = name;
};
