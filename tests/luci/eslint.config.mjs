/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LuCI's own rules (eslint.config.mjs of openwrt-25.12), for the files of an app; here undefined names are errors. */
import globals from 'globals';
import js from '@eslint/js';

const names = [ '_', 'N_', 'L', 'E', 'TR', 'baseclass', 'dom', 'firewall', 'form', 'fs', 'network', 'poll', 'request', 'rpc', 'session', 'uci', 'ui',
	'validation', 'view', 'widgets' ];

export default [ {
	...js.configs.recommended,
	files: [ '**/*.js' ],
	languageOptions: {
		sourceType: 'script',
		ecmaVersion: 2022,
		globals: { ...globals.browser, ...Object.fromEntries(names.map(name => [ name, 'readonly' ])) },
		parserOptions: { ecmaFeatures: { globalReturn: true } }
	},
	rules: {
		...js.configs.recommended.rules,
		'strict': 0,
		'no-prototype-builtins': 0,
		'no-empty': 0,
		'no-undef': 'error',
		'no-unused-vars': [ 'error', { args: 'none', vars: 'local', varsIgnorePattern: '^_' } ],
		'no-regex-spaces': 0,
		'no-control-regex': 0
	}
} ];
