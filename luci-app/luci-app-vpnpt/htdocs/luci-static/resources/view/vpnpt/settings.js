/* SPDX-License-Identifier: GPL-2.0-or-later */
/* globals api, mend, parts, refused, table */
'use strict';
'require dom';
'require form';
'require tools.widgets as widgets';
'require uci';
'require view';
'require vpnpt.api as api';
'require vpnpt.mend as mend';
'require vpnpt.options as table';
'require vpnpt.parts as parts';
'require vpnpt.refused as refused';

/* Has an option write only what was changed: a value that is shown because nothing is written stays unwritten.
 *
 * On the option itself, not in a class of our own: LuCI's widgets call super when they have waited for something, and in a class
 * of theirs that somebody extended they would find themselves again, for ever. */
function careful(option, unwritten) {
	const { write } = option;

	option.write = function(section, value) {
		return this.cfgvalue(section) == null && String(value) == String(unwritten) ? null : write.call(this, section, value);
	};

	return option;
}

/* The same for lists. `option x 'a b'` is shown as a list too. */
function carefulList(option, unwritten) {
	option.cfgvalue = function(section, ...value) {
		if (value.length)
			(this.data ??= {})[section] = value[0] == null ? null : L.toArray(value[0]);

		return this.data?.[section];
	};

	return careful(option, unwritten);
}

/* A boolean word in any of the forms that UCI knows. */
const Bool = form.Flag.extend({
	load(section) {
		const value = api.bool(uci.get('vpnpt', section, this.option));

		return value == null ? null : value ? '1' : '0';
	},

	/* Flag would write it each time, and would write 1 for yes. */
	parse(section) {
		const value = this.formvalue(section);

		return !this.isActive(section) || value == (this.cfgvalue(section) ?? this.default) ? Promise.resolve()
			: Promise.resolve(this.write(section, value));
	}
});

/* The switch of a section: its type (`config 1 'ipsec'`), or option `enabled` where the type is no boolean word. */
const Switch = Bool.extend({
	load(section) {
		const value = api.bool(uci.get('vpnpt', section, '.type')) ?? api.bool(uci.get('vpnpt', section, 'enabled'));

		return value == null ? null : value ? '1' : '0';
	},

	write(section, value) {
		if (api.bool(uci.get('vpnpt', section, '.type')) == null)
			return uci.set('vpnpt', section, 'enabled', value);

		/* The type wins: an option that says something else would only be complained about. */
		uci.unset('vpnpt', section, 'enabled');
		this.map.types[section] = value;
	}
});

const Settings = form.Map.extend({
	types: {},

	parse() {
		this.types = {};

		return this.super('parse', []).then(done => Promise.all(Object.keys(this.types).map(section => api.setType(section, this.types[section]))).then(() => done));
	}
});

/* One below the other, each to be folded away, and what is rarely needed in a fold of its own: the pages have a row of tabs already. */
const Fold = form.NamedSection.extend({
	/* In place of a row of tabs. nodes: the options of `general`, then of `advanced`. */
	renderTabContainers(_section, [ general, advanced ]) {
		return E('div', {}, [ general, E('details', { 'class': 'vp-advanced' }, [ E('summary', {}, [ _('Advanced Settings') ]), E('div', {}, [ advanced ]) ]) ]);
	},

	renderContents([ data, nodes ]) {
		const section = E('details', { 'class': 'cbi-section vp-fold', 'data-name': this.sectiontype, 'open': this.opened ? '' : null,
			'toggle': ev => this.opened = ev.currentTarget.open }, [
			E('summary', {}, [ E('h3', {}, [ this.title ]), ...(this.badge ? [ ' ', E('span', { 'class': 'vpnpt' }, [ parts.badge(this.badge) ]) ] : []) ]),
			E('div', { 'class': 'cbi-section-descr' }, [ this.description ?? '' ]),
			E('div', { 'id': `cbi-vpnpt-${this.section}`, 'class': 'cbi-section-node', 'data-section-id': this.section }, data ? [ nodes ] : [])
		]);

		dom.bindClassInstance(section, this);

		return section;
	}
});

const INTRO = {
	ipsec: _('Company VPNs, FRITZ!Box, iPhone and Android\'s own VPN.'),
	l2tp: _('Older company VPNs; with IPsec around it (“L2TP/IPsec”) the switch of IPsec counts.'),
	pptp: _('Very old VPNs.'),
	openvpn: _('Needs no help.'),
	wireguard: _('Needs no help.')
};

/* The sections that count: by name; the global one may have none. What is missing is made, with what counts without it. */
function sections() {
	const found = {};

	for (const section of uci.sections('vpnpt'))
		if (table.OPTIONS[section['.name']])
			found[section['.name']] = section['.name'];

	found.global ??= uci.sections('vpnpt', 'vpnpt')[0]?.['.name'] ?? uci.add('vpnpt', 'vpnpt', 'global');

	for (const name of api.PROTOCOLS)
		found[name] ??= uci.add('vpnpt', 'protocol', name);

	return found;
}

return view.extend({
	load() {
		parts.style();

		return Promise.all([ uci.load('vpnpt').then(() => null, error => error), api.hints(), api.status() ]);
	},

	render([ missing, hints, status ]) {
		/* LuCI draws these buttons if there is anything to call. */
		if (missing) {
			this.handleSaveApply = this.handleSave = this.handleReset = null;

			return mend.render(missing, status).then(node => E('div', { 'class': 'vpnpt' }, [
				E('h2', { 'name': 'content' }, [ _('VPN Passthrough') ]), ...this.renderDown(status), node, parts.help(), ...parts.docs('reference/options.md')
			]));
		}

		const names = sections();
		const map = new Settings('vpnpt', _('VPN Passthrough'), _('Which VPN protocols pass, for whom. What you save and apply is in force at once; tunnels of what stays switched on are not interrupted.'));

		this.hosts = this.listHosts(hints);
		this.addSection(map, status, 'global', names.global, _('General'));

		for (const name of api.PROTOCOLS)
			this.addSection(map, status, name, names[name], api.name(name), INTRO[name]);

		return map.render().then(node => {
			const chosen = window.location.hash.slice(1);

			/* From a card of the overview: its protocol. */
			if (api.PROTOCOLS.includes(chosen))
				window.requestAnimationFrame(() => node.querySelector(`.vp-fold[data-name="${chosen}"]`)?.scrollIntoView());

			return E('div', {}, [ E('div', { 'class': 'vpnpt', 'id': 'vpnpt-problems' }, [ ...this.renderDown(status), ...this.renderProblems(status) ]), node,
				E('div', { 'class': 'vpnpt' }, [ refused.render(map), parts.help(), ...parts.docs('reference/options.md') ]) ]);
		});
	},

	renderDown(status) {
		return status.error ? [ parts.unreachable(status, parts.starter(() => window.location.reload())) ] : [];
	},

	renderProblems(status) {
		const said = api.inForce(status)[2];

		return (status.problem ? parts.problem(status) : parts.diagnostics(status)).map((text, i) =>
			parts.panel(status.problem ? 'bad' : 'warn', status.problem ? _('The configuration can\'t be put in force') : _('In the configuration'),
				[ E('p', {}, [ text ]), ...(said && !i ? [ E('p', {}, [ said ]) ] : []) ], 'alert'));
	},

	/* What could not be saved is not left hidden in a fold. */
	handleSave(ev) {
		return this.super('handleSave', [ ev ]).catch(error => {
			document.querySelectorAll('.cbi-input-invalid').forEach(node => {
				for (let fold = node.closest('details'); fold; fold = fold.parentNode.closest('details'))
					fold.open = true;
			});

			throw error;
		});
	},

	/* [ address, label ] of the hosts that the router knows. */
	listHosts(hints) {
		const hosts = [];

		for (const mac of Object.keys(hints).sort()) {
			const { name, ipaddrs, ip6addrs } = hints[mac];

			for (const address of L.toArray(ipaddrs))
				hosts.push([ address, name ? `${address} (${name})` : address ]);

			if (name || ipaddrs || ip6addrs)
				hosts.push([ mac.toLowerCase(), `${mac.toLowerCase()} (${name || L.toArray(ipaddrs)[0] || L.toArray(ip6addrs)[0]})` ]);
		}

		return hosts;
	},

	addSection(map, status, kind, name, title, description) {
		const section = map.section(Fold, name, kind, title, description);

		section.addremove = false;
		section.badge = status.error || kind == 'global' ? null : api.behaviour(name, status);
		section.opened = kind == 'global' || kind == window.location.hash.slice(1);
		section.tab('general', _('General Settings'));
		section.tab('advanced', _('Advanced Settings'));

		for (const spec of table.OPTIONS[kind])
			this.addOption(section, spec);
	},

	addOption(section, spec) {
		const make = widget => section.taboption(spec.tab, widget, spec.name, spec.title, spec.help);
		let option;

		switch (spec.kind) {
		case 'switch':
		case 'bool':
			option = make(spec.kind == 'switch' ? Switch : Bool);
			option.default = spec.def ? '1' : '0';
			option.rmempty = false;
			break;

		case 'choice':
			option = careful(make(form.ListValue), spec.def);
			Object.keys(spec.choices).forEach(key => option.value(key, spec.choices[key]));
			option.default = spec.def;
			option.optional = spec.def === '';

			if (spec.off) {
				option.depends('enabled', '0');
				option.retain = true;
			}

			break;

		case 'int':
			option = careful(make(form.Value), spec.def);
			option.datatype = `range(${spec.low},${spec.high})`;
			option.placeholder = String(spec.def);
			break;

		case 'path':
			option = careful(make(form.Value), spec.def);
			option.placeholder = spec.placeholder;
			option.validate = (_section, value) => value === '' || (/^\/[^\s\x22\x27\\]*[^\s\x22\x27\\\x2f]$/.test(value) && value.endsWith(spec.ending ?? ''))
				|| (spec.ending ? _('An absolute path that ends in %s').format(spec.ending) : _('An absolute path'));
			break;

		case 'zone':
			option = carefulList(make(widgets.ZoneSelect), spec.def);
			option.multiple = true;
			option.nocreate = true;
			break;

		case 'device':
			option = carefulList(make(widgets.DeviceSelect), spec.def);
			option.multiple = true;
			break;

		case 'port':
			option = carefulList(make(form.DynamicList), spec.def);
			option.datatype = 'port';
			option.placeholder = spec.def.join(' ');
			break;

		case 'source':
			option = carefulList(make(form.DynamicList), spec.def);
			option.datatype = 'or(ipmask,macaddr)';
			option.placeholder = spec.placeholder;
			this.hosts.forEach(([ value, label ]) => option.value(value, label));
			break;
		}

		return option;
	}
});
