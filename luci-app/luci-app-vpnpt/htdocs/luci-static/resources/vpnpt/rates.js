/* SPDX-License-Identifier: GPL-2.0-or-later */
'use strict';
'require baseclass';

const SAMPLES = 72; /* of a graph: six minutes */

/* Bytes a second, in and out, of sessions and of protocols: what two answers differ by. */
const Rates = baseclass.extend({
	__init__() {
		this.before = null;
		this.sessions = {};
		this.samples = {};
	},

	/* totals: { name: { in, out } } of bytes. */
	add(answer, totals) {
		const last = this.before;
		const seconds = last ? answer.now - last.now : 0;
		const per = (one, other) => seconds > 0 && one >= other ? (one - other) / seconds : 0;
		const now = { now: answer.now, sessions: {}, totals };

		if (last && seconds <= 0)
			return;

		this.sessions = {};

		for (const s of answer.sessions) {
			const old = last?.sessions[s.id];

			now.sessions[s.id] = s;

			if (old)
				this.sessions[s.id] = { in: per(s.bytes_in, old.bytes_in), out: per(s.bytes_out, old.bytes_out) };
		}

		for (const name in totals) {
			const list = this.samples[name] ??= [];

			if (last?.totals[name])
				list.push({ in: per(totals[name].in, last.totals[name].in), out: per(totals[name].out, last.totals[name].out) });

			if (list.length > SAMPLES)
				list.shift();
		}

		this.before = now;
	}
});

return baseclass.extend({ Rates });
