/* SPDX-License-Identifier: GPL-2.0-or-later */
/* globals api, change, parts */
'use strict';
'require dom';
'require ui';
'require view';
'require vpnpt.api as api';
'require vpnpt.change as change';
'require vpnpt.parts as parts';

const RANK = { error: 0, warning: 1, info: 2 };

/* What a forum post needs. */
function report(answer, status) {
	const lines = [
		'vpnpt doctor',
		[ `vpnpt ${status.version ?? '?'}`, status.release ].filter(Boolean).join(', '),
		`time: ${new Date(answer.time * 1000).toISOString()}`,
		`lan: ${(status.lan ?? []).join(' ') || '-'}   wan: ${(status.wan ?? []).join(' ') || '-'}`,
		'protocols: ' + api.PROTOCOLS.map(name => `${name} ${status.protocols?.[name]?.behaviour || '?'}`).join(', '),
		`checked: ${(answer.checked ?? []).length}   findings: ${answer.findings.length}`,
		''
	];

	for (const finding of answer.findings)
		lines.push(`[${finding.severity}] ${finding.code ?? ''} ${finding.text}`,
			...[ [ 'evidence', finding.evidence ], [ 'remedy', finding.remedy ] ].filter(entry => entry[1]).map(entry => `  ${entry[0]}: ${entry[1]}`));

	if (!answer.findings.length)
		lines.push('no findings');

	return lines.join('\n');
}

return view.extend({
	load() {
		parts.style();

		return api.status();
	},

	render(status) {
		this.result = E('div', { 'id': 'vpnpt-result' }, status.error ? [ parts.unreachable(status, parts.starter(() => this.check())) ] : []);
		this.live = E('p', { 'role': 'status', 'aria-live': 'polite' });
		this.progress = E('div', { 'class': 'vp-progress', 'role': 'progressbar', 'aria-label': _('The check runs'), 'hidden': '' }, [ E('div') ]);
		this.run = parts.button(_('Run the check'), () => this.check(), 'action important', { 'id': 'vpnpt-run' });

		return E('div', { 'class': 'vpnpt', 'id': 'vpnpt-doctor' }, [
			E('h2', { 'name': 'content' }, [ _('Doctor') ]),
			E('div', { 'class': 'cbi-map-descr' }, [
				_('Looks for whatever keeps VPNs from working through this router: settings, modules, the firewall, other software, the line itself. It changes nothing.')
			]),
			E('div', { 'class': 'vp-tools' }, [ this.run, this.live ]),
			this.progress, this.result, ...parts.docs('reference/doctor-codes.md')
		]);
	},

	check() {
		this.run.disabled = true;
		this.progress.hidden = false;
		dom.content(this.live, [ _('The check runs…') ]);
		dom.content(this.result, []);

		return Promise.all([ api.doctor(), api.status() ]).then(([ answer, status ]) => {
			this.run.disabled = false;
			this.run.textContent = _('Run it again');
			this.progress.hidden = true;

			if (answer.error) {
				dom.content(this.live, [ _('The check could not be run.') ]);
				dom.content(this.result, [ parts.unreachable(answer, parts.starter(() => this.check())) ]);

				return;
			}

			answer.findings = (answer.findings ?? []).slice().sort((one, other) => (RANK[one.severity] ?? 3) - (RANK[other.severity] ?? 3));
			answer.time ??= Math.floor(Date.now() / 1000);
			this.show(answer, status);
		});
	},

	show(answer, status) {
		const count = severity => answer.findings.filter(finding => finding.severity == severity).length;
		const checked = answer.checked ?? [];

		dom.content(this.live, [ answer.findings.length
			? _('Errors: %d, warnings: %d, notes: %d.').format(count('error'), count('warning'), count('info'))
			: _('Nothing is wrong.') ]);

		dom.content(this.result, [
			answer.findings.length ? '' : parts.panel('good', _('Nothing is wrong'), [
				E('p', {}, [ _('If a client does not connect all the same, start it while the overview is open: what appears there, or does not, is the next hint.') ]),
				parts.linked(_('Go to the %s.'), parts.page('overview'), _('overview'))
			]),
			...answer.findings.map(finding => this.renderFinding(finding)),
			checked.length ? E('details', {}, [
				E('summary', {}, [ _('What was checked'), ` (${checked.length})` ]),
				E('p', { 'class': 'vp-mono' }, [ checked.join(', ') ])
			]) : '',
			this.renderReport(answer, status)
		]);
	},

	renderFinding(finding) {
		const [ label, tone ] = api.severity(finding.severity);
		const said = parts.said(finding, 'remedy');
		const remedy = said ? [ E('p', {}, [ E('strong', {}, [ _('What to do:') ]), ' ', said ]) ] : [];
		const off = finding.said?.remedy?.code == 'blocked-off-do' ? finding.said.remedy.values : null;
		const act = off && L.hasViewPermission() ? [ E('p', {}, [ parts.button(_('Switch %s on').format(off.protocol), () =>
			change.behaviour(off.section, 'help').catch(error => ui.addNotification(_('That did not work'), E('p', {}, [ error.message ]), 'danger')), 'positive') ]) ] : [];
		const link = /^admin\/[\w\x2f-]+$/.test(finding.link ?? '') ? [ E('p', {}, [ E('a', { 'href': L.url(finding.link) }, [ _('Open the page where it is mended') ]) ]) ] : [];

		return E('article', { 'class': `vp-panel vp-finding vp-${tone}`, 'data-code': finding.code ?? '' }, [
			E('h3', {}, [ parts.badge([ label, tone ]), E('span', {}, [ parts.said(finding, 'text') ]) ]),
			...remedy, ...act, ...link,
			finding.evidence ? E('pre', { 'aria-label': _('Evidence') }, [ parts.said(finding, 'evidence') ]) : ''
		]);
	},

	renderReport(answer, status) {
		const text = report(answer, status);
		const area = E('textarea', { 'class': 'vp-report', 'readonly': '', 'spellcheck': 'false', 'aria-label': _('Report'), 'rows': 12 });
		const said = E('span', { 'role': 'status', 'aria-live': 'polite' });
		const mask = E('input', { 'type': 'checkbox', 'id': 'vpnpt-mask', 'checked': '', 'change': () => fill() });
		const fill = () => {
			area.value = mask.checked ? api.masked(text) : text;
			dom.content(said, []);
		};

		fill();

		return E('details', { 'id': 'vpnpt-report' }, [
			E('summary', {}, [ _('Report for a forum post') ]),
			E('div', {}, [
				E('div', { 'class': 'vp-tools' }, [
					parts.button(_('Copy'), () => parts.copy(area.value, area).then(done =>
						dom.content(said, [ done ? _('Copied.') : _('The browser refused: select the text and copy it by hand.') ])), 'action', { 'id': 'vpnpt-copy' }),
					E('label', {}, [ mask, _('Mask addresses') ]),
					said
				]),
				area
			])
		]);
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
