/* SPDX-License-Identifier: GPL-2.0-or-later */
'use strict';
'require baseclass';

/* What errors and warnings of the log mean, by code (docs/reference/log-codes.md has all codes). */

const MEANINGS = {
	'TROUBLE': _('The system refuses what the service needs, such as memory or space; it goes on and asks again.'),
	'CONFIG': _('Something in the configuration is wrong.'),
	'RULESET': _('The kernel refused the rules; what ran goes on. Perhaps a kernel module is missing.'),
	'RESTORED': _('Somebody deleted our tables; they are back, with what they had learned.'),
	'RESTORE': _('Our tables were lost, and not all of it could be put back.'),
	'DRIFT': _('Others have changed our rules, or nobody can watch over them.'),
	'HISTORY': _('The file for the history can\'t be used; what changes is kept in memory.'),
	'METRICS': _('The file for the metrics can\'t be written.'),
	'STATE': _('What is to outlive a restart can\'t be written: perhaps there is no space.'),
	'READY': _('A file of the service can\'t be written; everything else works.'),
	'CUT': _('Live sessions could not be ended.'),
	'FULL': _('A client was refused: as many as are allowed are being served.'),
	'HELPER': _('The kernel\'s helper for PPTP is missing.'),
	'AH': _('A client uses AH, which can\'t cross NAT: use ESP or NAT traversal.'),
	'SAME-SPI': _('Two clients chose the same SPI with one server: both get its packets.'),
	'SAME-TUNNEL': _('Two clients chose the same L2TP tunnel ID with one server: their packets can\'t be told apart.'),
	'UBUS': _('The message bus (ubus) refused something, or an answer was too long for it.'),
	'NFLOG': _('The kernel\'s notices can\'t be had; perhaps a package is missing.'),
	'OVERRUN': _('More notices came than could be read; what the kernel knows was read again.'),
	'SESSIONS': _('Not all sessions can be seen: perhaps a package is missing, or too many begin and end.'),
	'KERNEL': _('Something could not be put into the kernel; it is tried again.'),
	'FW4': _('The firewall could not be reloaded.'),
	'LOG-FULL': _('The system log did not take all lines; the event log has them.')
};

return baseclass.extend({ meaning: code => MEANINGS[code] ?? '' });
