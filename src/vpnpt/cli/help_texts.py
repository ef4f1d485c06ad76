# SPDX-License-Identifier: GPL-2.0-or-later
"""What `vpnpt help COMMAND` says beyond the table of commands. Pure."""
from __future__ import annotations

from .help import COMMANDS, synopsis

CLIENT = ("CLIENT is an address, MAC or name of the LAN, as `vpnpt sessions` shows it;\n"
          "PROTOCOL is pptp, l2tp, ipsec, openvpn or wireguard.\n")

TEXTS = {
    "sessions": (
        "OUT is what the client sent, IN what the server sent. STATE:\n"
        "  negotiating  no data yet             up        data passes\n"
        "  rekeying     new keys are agreed     idle      silent, but remembered\n"
        "  failing      nothing comes back      blocked   refused by this router\n"
        "The last column is what `vpnpt kill` takes.\n"),
    "top": (
        "Keys: q ends, s sorts by another column, p pauses, the arrows choose a session,\n"
        "k ends it, h helps. Where the terminal can't do that, it prints one table after\n"
        "another.\n"
        "  --interval SECONDS  between two looks (default 2)\n"
        "  --count N           end after so many tables\n"),
    "why": (
        "CLIENT is an address, MAC or name of the LAN, SERVER an address or a name.\n"
        "Start the VPN on the client while this runs. It counts what comes from the\n"
        "client (ASKED), leaves the router (LEFT), comes back (BACK) and reaches the\n"
        "client (DELIVERED), and ends with the cause and what to do.\n"
        "  --seconds N  how long to wait for the client (default 60, at most 300)\n"),
    "kill": (
        "SESSION is the last column of `vpnpt sessions`.\n" + CLIENT +
        "Its connections are forgotten by the router. A client that goes on sending is\nserved again: `vpnpt block` keeps it out.\n"),
    "block": CLIENT + "It is written to the configuration (list deny_src), and survives a reboot.\n",
    "unblock": CLIENT,
    "changes": "Newest first; by what means, where that is known.\n",
    "check": "Tries the ruleset in the kernel as well. Needs no daemon.\n",
    "render": "Needs no daemon. Where devices are not known (no router), those of a stock one\nstand in.\n",
    "help": "OPTION and SECTION are those of the configuration, /etc/config/vpnpt.\n",
}
NO_DAEMON = "0, or 1 if no daemon answers"
STATUS = {
    "doctor": "0 if nothing is to be done, 1 after warnings, 2 after errors or if no\ndaemon answers",
    "why": "0 if it works, 1 if it does not, 2 if nothing can be said",
    "kill": "0, or 1 if there is no such session or no daemon answers",
    "block": "0, or 1 if that failed or no daemon answers",
    "unblock": "0, or 1 if that failed or no daemon answers",
    "check": "0 if all is well, 1 after warnings, 2 after errors; it is an error\nif there is no LAN or no WAN device",
    "render": "0, or 1 after errors",
    "reload": "0, or 1 if it could not be put in force or no daemon answers",
    "version": "0",
    "help": "0",
}
"""How each ends, where that is not NO_DAEMON."""


def help_text(name: str) -> str:
    """One command."""
    command = COMMANDS[name]
    lines = [f"usage: vpnpt {synopsis(name)}", "", f"{command.summary[0].upper()}{command.summary[1:]}.", ""]
    if command.flags:
        lines += [f"  {flag:10} {text}" for flag, text in command.flags.items()]
        lines.append("")
    if name in TEXTS:
        lines += [TEXTS[name]]
    return "\n".join([*lines, f"Ends with {STATUS.get(name, NO_DAEMON)}.", ""])
