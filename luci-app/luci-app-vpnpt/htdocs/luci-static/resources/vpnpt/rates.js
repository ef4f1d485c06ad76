/* SPDX-License-Identifier: GPL-2.0-or-later */
'use strict';
'require baseclass';

const SAMPLES = 72; /* of a graph: six minutes */

/* Bytes a second, in and out, of sessions and of protocols: what two answers differ by. Of many busy sessions an answer has no room for all:
 * one that it left out keeps its rate, and the next answer that has it tells of all the time since. */
const Rates = baseclass.extend({
	__init__() {
		this.before = null;
		this.sessions = {};
		this.samples = {};
	},

	/* totals: { name: { in, out } } of bytes. A row that an answer left out is the very object of the answer before. */
	add(answer, totals) {
		const last = this.before;
		const per = (one, other, seconds) => seconds > 0 && one >= other ? (one - other) / seconds : 0;
		const now = { now: answer.now, sessions: {}, totals };
		const seconds = last ? answer.now - last.now : 0;
		const before = this.sessions;

		if (last && seconds <= 0)
			return;

		this.sessions = {};

		for (const s of answer.sessions) {
			const old = last?.sessions[s.id];
			const kept = old && old.row === s && answer.more;

			now.sessions[s.id] = kept ? old : { row: s, at: answer.now };

			if (kept && before[s.id])
				this.sessions[s.id] = before[s.id];
			else if (old)
				this.sessions[s.id] = { in: per(s.bytes_in, old.row.bytes_in, answer.now - old.at), out: per(s.bytes_out, old.row.bytes_out, answer.now - old.at) };
		}

		for (const name in totals) {
			const list = this.samples[name] ??= [];

			if (last?.totals[name])
				list.push({ in: per(totals[name].in, last.totals[name].in, seconds), out: per(totals[name].out, last.totals[name].out, seconds) });

			if (list.length > SAMPLES)
				list.shift();
		}

		this.before = now;
	}
});

return baseclass.extend({ Rates });
