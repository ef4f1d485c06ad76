# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of `vpnpt` and what each takes. Pure; the table is the whole truth about them. help_texts.py has the rest of their help."""
from __future__ import annotations

from ..record import Record


class Command(Record):
    """One command. operands: (name, whether it may be left out), in order. flags: to what they mean."""

    __slots__ = ("summary", "operands", "flags")
    DEFAULTS = {"operands": (), "flags": {}}
    summary: str
    operands: tuple[tuple[str, bool], ...]
    flags: dict[str, str]

    def __hash__(self) -> int:
        return hash(self.summary)


JSON = {"--json": "print what the daemon answers, as JSON"}
COMMANDS: dict[str, Command] = {
    "status": Command(summary="what is in force, and how much it is used", flags=JSON),
    "sessions": Command(
        summary="VPN sessions through this router",
        flags={**JSON, "--watch": "show it again every two seconds, until ctrl-C", "--ended": "those that have ended, the last 100"}),
    "top": Command(summary="the same live, the busiest first"),
    "doctor": Command(summary="what is wrong, on what evidence, and what to do", flags=JSON),
    "why": Command(
        summary="why a client's VPN does not connect: watches while it tries", operands=(("CLIENT", False), ("SERVER", True)), flags=JSON),
    "kill": Command(summary="end a session, or all of a client", operands=(("SESSION|CLIENT", False), ("PROTOCOL", True))),
    "block": Command(summary="refuse a protocol to a client", operands=(("CLIENT", False), ("PROTOCOL", False))),
    "unblock": Command(summary="take that back", operands=(("CLIENT", False), ("PROTOCOL", False))),
    "events": Command(summary="the last lines of the daemon's log", flags={**JSON, "--follow": "and those that come, until ctrl-C"}),
    "changes": Command(summary="what changed in configuration, rules and network", flags=JSON),
    "metrics": Command(summary="figures, in the text format of Prometheus"),
    "check": Command(summary="is the configuration right? changes nothing", flags={"--json": "print what is wrong, as JSON"}),
    "render": Command(summary="print the ruleset", flags={"--fw4": "what fw4's forward chain includes instead"}),
    "reload": Command(summary="read the configuration again"),
    "version": Command(summary="print the version"),
    "help": Command(summary="this, or what a command or an option does", operands=(("COMMAND|OPTION|SECTION", True),)),
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
