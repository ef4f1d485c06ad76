# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of `vpnpt`: what each takes, and what `vpnpt help COMMAND` says. Pure; the table is the whole truth about them."""
from __future__ import annotations

from ..record import Record


class Command(Record):
    """One command. operands: (name, whether it may be left out), in order. flags: to what they mean. text: the rest of its help."""

    __slots__ = ("summary", "operands", "flags", "text", "status")
    DEFAULTS = {"operands": (), "flags": {}, "text": "", "status": "0, or 1 if no daemon answers"}
    summary: str
    operands: tuple[tuple[str, bool], ...]
    flags: dict[str, str]
    text: str
    status: str

    def __hash__(self) -> int:
        return hash(self.summary)


JSON = {"--json": "print what the daemon answers, as JSON"}
CLIENT = ("CLIENT is an address, MAC or name of the LAN, as `vpnpt sessions` shows it;\n"
          "PROTOCOL is pptp, l2tp, ipsec, openvpn or wireguard.\n")

COMMANDS: dict[str, Command] = {
    "status": Command(summary="what is in force, and how much it is used", flags=JSON),
    "sessions": Command(
        summary="VPN sessions through this router",
        flags={**JSON, "--watch": "show it again every two seconds, until ctrl-C", "--ended": "those that have ended, the last 100"},
        text="OUT is what the client sent, IN what the server sent. STATE:\n"
             "  negotiating  no data yet             up        data passes\n"
             "  rekeying     new keys are agreed     idle      silent, but remembered\n"
             "  failing      nothing comes back      blocked   refused by this router\n"
             "The last column is what `vpnpt kill` takes.\n"),
    "top": Command(
        summary="the same live, the busiest first",
        text="Keys: q ends, s sorts by another column, p pauses, the arrows choose a session,\n"
             "k ends it, h helps. Where the terminal can't do that, it prints one table after\n"
             "another.\n"
             "  --interval SECONDS  between two looks (default 2)\n"
             "  --count N           end after so many tables\n"),
    "doctor": Command(
        summary="what is wrong, on what evidence, and what to do", flags=JSON,
        status="0 if nothing is to be done, 1 after warnings, 2 after errors or if no\ndaemon answers"),
    "why": Command(
        summary="why a client's VPN does not connect: watches while it tries",
        operands=(("CLIENT", False), ("SERVER", True)), flags=JSON,
        text="CLIENT is an address, MAC or name of the LAN, SERVER an address or a name.\n"
             "Start the VPN on the client while this runs. It counts what comes from the\n"
             "client (ASKED), leaves the router (LEFT), comes back (BACK) and reaches the\n"
             "client (DELIVERED), and ends with the cause and what to do.\n"
             "  --seconds N  how long to wait for the client (default 60, at most 300)\n",
        status="0 if it works, 1 if it does not, 2 if nothing can be said"),
    "kill": Command(
        summary="end a session, or all of a client", operands=(("SESSION|CLIENT", False), ("PROTOCOL", True)),
        text="SESSION is the last column of `vpnpt sessions`.\n" + CLIENT +
             "Its connections are forgotten by the router. A client that goes on sending is\nserved again: `vpnpt block` keeps it out.\n",
        status="0, or 1 if there is no such session or no daemon answers"),
    "block": Command(
        summary="refuse a protocol to a client", operands=(("CLIENT", False), ("PROTOCOL", False)),
        text=CLIENT + "It is written to the configuration (list deny_src), and survives a reboot.\n",
        status="0, or 1 if that failed or no daemon answers"),
    "unblock": Command(
        summary="take that back", operands=(("CLIENT", False), ("PROTOCOL", False)), text=CLIENT,
        status="0, or 1 if that failed or no daemon answers"),
    "events": Command(
        summary="the last lines of the daemon's log",
        flags={**JSON, "--follow": "and those that come, until ctrl-C"}),
    "changes": Command(
        summary="what changed in configuration, rules and network",
        flags=JSON, text="Newest first; by what means, where that is known.\n"),
    "metrics": Command(summary="figures, in the text format of Prometheus"),
    "check": Command(
        summary="is the configuration right? changes nothing",
        text="Tries the ruleset in the kernel as well. Needs no daemon.\n",
        status="0 if all is well, 1 after warnings, 2 after errors; it is an error\nif there is no LAN or no WAN device"),
    "render": Command(
        summary="print the ruleset", flags={"--fw4": "what fw4's forward chain includes instead"},
        text="Needs no daemon. Where devices are not known (no router), those of a stock one\nstand in.\n",
        status="0, or 1 after errors"),
    "reload": Command(
        summary="read the configuration again", status="0, or 1 if it could not be put in force or no daemon answers"),
    "version": Command(summary="print the version", status="0"),
    "help": Command(summary="this, or what a command or an option does", operands=(("COMMAND|OPTION|SECTION", True),),
                    text="OPTION and SECTION are those of the configuration, /etc/config/vpnpt.\n", status="0"),
}
VALUES = {
    "--config-dir": ("DIR", "where the UCI file `vpnpt` is (default /etc/config)", ()),
    "--run-dir": ("DIR", "the daemon's control socket is there (default /var/run/vpnpt)", ()),
    "--interval": ("SECONDS", "", ("top",)),
    "--count": ("N", "", ("top",)),
    "--seconds": ("N", "", ("why",)),
}
"""Options with a value: what it is called, what it means, and the commands that take it (none named: all)."""


def synopsis(name: str) -> str:
    """`sessions [--watch] [--json]`: a command with all that it takes."""
    command = COMMANDS[name]
    words = [f"[{operand}]" if optional else operand for operand, optional in command.operands]
    words += [f"[{option} {value}]" for option, (value, _, owners) in VALUES.items() if name in owners]
    return " ".join([name, *words, *(f"[{flag}]" for flag in command.flags)])


def usage() -> str:
    """All commands."""
    lines = ["usage: vpnpt COMMAND [OPTION ...]", ""]
    lines += [f"  {name:9} {command.summary}" for name, command in COMMANDS.items()]
    lines.append("")
    lines += [f"  {f'{option} {value}':16} {text}" for option, (value, text, owners) in VALUES.items() if not owners]
    return "\n".join([*lines, "", "`vpnpt help COMMAND` says more, also how it ends. 2 means wrong usage.", ""])


def help_text(name: str) -> str:
    """One command."""
    command = COMMANDS[name]
    lines = [f"usage: vpnpt {synopsis(name)}", "", f"{command.summary[0].upper()}{command.summary[1:]}.", ""]
    if command.flags:
        lines += [f"  {flag:10} {text}" for flag, text in command.flags.items()]
        lines.append("")
    if command.text:
        lines += [command.text]
    return "\n".join([*lines, f"Ends with {command.status}.", ""])
