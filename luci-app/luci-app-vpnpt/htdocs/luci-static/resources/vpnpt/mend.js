/* SPDX-License-Identifier: GPL-2.0-or-later */
/* globals api, parts */
'use strict';
'require baseclass';
'require dom';
'require ui';
'require uci';
'require vpnpt.api as api';
'require vpnpt.parts as parts';

/* A configuration that LuCI can't read, because one line of it is none: that line, to be mended here. */

const MOST = 3; /* of what is said of one line: the rest follows from it */

/* { line, texts } of what the service or `vpnpt check` says of the file. Each line once. */
function complaints(diagnostics) {
	const found = new Map();

	for (const { line, text } of diagnostics.map(one => parts.complaint(one)).filter(Boolean))
		found.set(line, (found.get(line) ?? new Set()).add(text));

	return [ ...found ].map(([ line, said ]) => ({ line, texts: [ ...said ] }));
}

return baseclass.extend({
	/* What stands in place of the form. error: why uci.load() failed. status: the service's, perhaps an error. */
	render(error, status) {
		this.node = E('div', { 'id': 'vpnpt-mend' });

		return this.load(error, status).then(() => this.node);
	},

	load(error, status) {
		const known = status?.diagnostics_said?.length ? status.diagnostics_said : [ status?.problem, ...(status?.diagnostics ?? []) ].filter(Boolean);
		const words = [ ...new Set([ ...(status?.problem ? parts.problem(status) : []), ...parts.diagnostics(status ?? {}) ]) ];

		return api.configText().then(
			text => text == null ? this.renderMissing() : api.checkConfig().then(found => [ ...found, ...known ], () => known)
				.then(found => this.renderText(text, complaints(found), words, status)),
			failed => this.renderUnreadable(error, failed));
	},

	renderMissing() {
		dom.content(this.node, [ parts.panel('bad', _('The configuration can\'t be read'), [
			E('p', {}, [ _('There should be a file /etc/config/vpnpt. Reinstalling the package vpnpt brings it back.') ])
		], 'alert') ]);
	},

	renderUnreadable(error, failed) {
		dom.content(this.node, [ parts.unreachable({ error: String(error?.message ?? error),
			cause: failed.name == 'PermissionError' ? 'denied' : api.cause(error) }) ]);
	},

	renderText(text, found, words, status) {
		const readonly = L.hasViewPermission() ? null : '';
		const area = E('textarea', { 'class': 'vp-report', 'id': 'vpnpt-mend-text', 'spellcheck': 'false', 'rows': 20, 'readonly': readonly,
			'aria-label': _('The whole file') });
		const fold = E('details', { 'open': found.length ? null : '' }, [ E('summary', {}, [ _('The whole file') ]), E('div', {}, [ area ]) ]);

		area.value = text;
		dom.content(this.node, [
			parts.panel('bad', _('The configuration can\'t be read'), [
				E('p', {}, [ found.length
					? _('This can\'t be understood in /etc/config/vpnpt. Until it is corrected, nothing else can be set here.')
					: _('Something can\'t be understood in /etc/config/vpnpt. Until it is corrected, nothing else can be set here.') ]),
				...(found.length ? [] : words.map(line => E('p', {}, [ line ]))),
				...(status.error || !api.inForce(status)[2] ? [] : [ E('p', {}, [ api.inForce(status)[2] ]) ])
			], 'alert'),
			...found.map(one => this.renderLine(area, one, readonly)),
			fold,
			...(readonly == null ? [ E('p', { 'class': 'vp-tools' }, [
				parts.button(_('Save and put in force'), ev => this.save(area.value, ev.currentTarget), 'apply important', { 'id': 'vpnpt-mend-save' })
			]) ] : [])
		]);
	},

	/* The line itself. The text of the whole file is what counts: this changes it there. */
	renderLine(area, { line, texts }, readonly) {
		const put = value => {
			const lines = area.value.split('\n');

			lines[line - 1] = value;
			area.value = lines.join('\n');
		};
		const input = E('input', { 'type': 'text', 'class': 'vp-mono', 'data-line': line, 'value': area.value.split('\n')[line - 1] ?? '', 'spellcheck': 'false',
			'readonly': readonly, 'aria-label': _('Line %d').format(line), 'input': () => put(input.value) });

		return E('div', { 'class': 'vp-mend' }, [
			E('p', {}, [ E('strong', {}, [ _('Line %d').format(line) ]), ': ', texts[0] ]),
			...texts.slice(1, MOST).map(text => E('p', {}, [ text ])),
			...(texts.length > MOST ? [ E('p', {}, [ '…' ]) ] : []),
			E('div', { 'class': 'vp-tools' }, [
				input,
				...(readonly == null ? [ parts.button(_('Take it out'), () => {
					input.value = `# ${input.value}`;
					put(input.value);
				}, 'neutral', { 'title': _('Makes a comment of it: # at the beginning') }) ] : [])
			])
		]);
	},

	save(text, button) {
		button.disabled = true;

		return api.putConfig(text.endsWith('\n') ? text : `${text}\n`).then(answer => {
			uci.unload('vpnpt'); /* that it failed is remembered */

			return uci.load('vpnpt').then(() => window.location.reload(), error => api.status().then(status => this.load(error, status)));
		}).catch(error => {
			button.disabled = false;
			ui.addNotification(_('That did not work'), E('p', {}, [ String(error?.message ?? error) ]), 'danger');
		});
	}
});
