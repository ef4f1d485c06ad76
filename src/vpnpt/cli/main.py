# SPDX-License-Identifier: GPL-2.0-or-later
"""vpnpt: the command for people. Talks to the daemon's control socket, or compiles by itself (`render`, `check`)."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from .. import TOOLS_MISSING, __version__
from . import show
from .call import WATCH_INTERVAL, Call, UsageError, columns, paint, show_answer, until_interrupted
from .help import COMMANDS, VALUES, synopsis, usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..model import Config, Devices, Diagnostic, Said, Severity


def parse(arguments: list[str]) -> Call:
    """Options may stand before or after the command. Raises UsageError."""
    command, operands, flags, values = "", [], set(), {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        word, equals, value = argument.partition("=")
        if word in VALUES:
            if not equals and not rest:
                raise UsageError(f"{word} needs a value: {VALUES[word][0]}")
            values[word] = value if equals else rest.pop(0)
        elif argument.startswith("-") and argument != "-":
            flags.add(argument)
        elif command:
            operands.append(argument)
        else:
            command = argument
    if command and command not in COMMANDS:
        raise UsageError(f"unknown command {command!r}; known: {', '.join(COMMANDS)}")
    if not flags & {"-h", "--help", "--version"}:
        _verify(command, operands, flags, values)
    return Call(command, operands, flags, values)


def _verify(command: str, operands: list[str], flags: set[str], values: dict[str, str]) -> None:
    known = COMMANDS[command] if command else None
    for flag in sorted(flags):
        if known is None or flag not in known.flags:
            raise UsageError(f"unknown option {flag!r}")
    for option in values:
        owners = VALUES[option][2]
        if owners and command not in owners:
            raise UsageError(f"unknown option {option!r}")
    wanted = known.operands if known else ()
    if len(operands) > len(wanted):
        raise UsageError(f"{operands[len(wanted)]!r} is one word too many")
    missing = [name for name, optional in wanted[len(operands):] if not optional]
    if missing:
        raise UsageError(f"{command} needs {' and '.join(missing)}")


# --- without the daemon: these alone import the compiler, which takes a third of the time that the others need -----------------


def _compile(values: dict[str, str], *, look: bool = True) -> tuple[Config | None, Devices | None, list[Diagnostic]]:
    """Config, devices, and what is wrong with them. look: whether the devices exist."""
    from ..config.compile import compile_config
    from ..model import Diagnostic, Said
    from ..router import uci
    from ..router.devices import resolve_devices

    config_dir = values.get("--config-dir")
    try:
        text, source = uci.read_config(config_dir)
    except (uci.ConfigMissing, OSError) as error:
        message = error.args[0] if isinstance(error, uci.ConfigMissing) else Said("{problem}", problem=str(error))
        return None, None, [Diagnostic(severity="error", message=message)]
    config, diagnostics = compile_config(text, source)
    if config is None:
        return None, None, diagnostics
    devices, found = resolve_devices(config, config_dir=config_dir, existing=None if look else ())
    return config, devices, diagnostics + found


def cmd_render(call: Call) -> int:
    """Prints the ruleset, warnings to standard error. Where devices are not known (no router), those of a stock one stand in."""
    from ..ruleset import compile_ruleset, forward_rules

    config, devices, diagnostics = _compile(call.values, look=False)
    if config is not None and devices is not None and not (devices.lan and devices.wan):
        # What the configuration itself says of devices has a file, and stays.
        diagnostics = [item for item in diagnostics if item.file or item.option not in ("lan_device", "wan_device")]
        devices = devices.replace(lan=devices.lan or ("br-lan",), wan=devices.wan or ("wan",))
    for item in diagnostics:
        print(item, file=sys.stderr)
    if config is None or devices is None:
        return 1
    print(forward_rules(config, devices) if "--fw4" in call.flags else compile_ruleset(config, devices).render(), end="")
    return int(_wrong(diagnostics))


def _wrong(diagnostics: list[Diagnostic]) -> bool:
    return any(item.severity == "error" for item in diagnostics)


def cmd_check(call: Call) -> int:
    """Says what is wrong; 0, 1 for warnings, 2 for errors."""
    from ..kernel import nft
    from ..model import Diagnostic, Said
    from ..ruleset import compile_ruleset

    def add(severity: Severity, message: Said) -> None:
        diagnostics.append(Diagnostic(severity=severity, message=message))

    config, devices, diagnostics = _compile(call.values)
    if config is not None and devices is not None and not _wrong(diagnostics):
        helper = config.behaviour("pptp") != "help" or nft.helper_available("pptp")
        if not helper:
            add("warning", Said("the kernel has no PPTP helper: install kmod-nf-nathelper-pptp (before OpenWrt 25.12.5: "
                                "kmod-nf-nathelper-extra)"))
        try:
            nft.check(nft.replacement(compile_ruleset(config, devices, helper=helper)))
        except nft.NftError as error:
            add("error", Said("the kernel refuses the ruleset: {problem}", problem=str(error)))
    worst = 2 if _wrong(diagnostics) else int(bool(diagnostics))
    if "--json" in call.flags:
        print(json.dumps([item.shown() for item in diagnostics], indent=2))
        return worst
    lines = [*map(str, diagnostics), *map(str, devices.found if devices is not None else ())]
    width = columns(0)
    for line in lines:
        print(show.folded(line, width) if width else line)
    if not worst:
        print("the configuration is right")
    return worst


def cmd_version(_call: Call) -> int:
    """Prints the version."""
    print(f"vpnpt {__version__}")
    return 0


def _about(command: str) -> str:
    """The help of a command, or of all."""
    if not command:
        return usage()
    try:
        from .help_texts import help_text
    except ImportError:  # without vpnpt-tools
        return f"usage: vpnpt {synopsis(command)}\n"
    return help_text(command)


def cmd_help(call: Call) -> int:
    """Prints the help of a command, of an option or a section of the configuration, or of all commands."""
    word = call.operands[0] if call.operands else ""
    if not word or word in COMMANDS:
        print(_about(word), end="")
        return 0
    from ..config.texts import help_text as about

    text = about(word)
    if not text:
        raise UsageError(f"{word!r} is no command, and no option or section of the configuration; commands: {', '.join(COMMANDS)}")
    width = columns(show.WIDTH)
    print("\n".join(show.folded(line, width) for line in text.splitlines()))
    return 0


# --- what the daemon says --------------------------------------------------------------------------------------------------


def cmd_status(call: Call) -> int:
    """Prints what the daemon says of itself. Exit status 0: what the file says is in force; 1: no answer, or something else is."""
    good = False

    def text(answer: dict[str, Any]) -> str:
        nonlocal good
        good = answer.get("in_force", "file") == "file" and not answer.get("problem") and (
            bool(answer.get("in_place")) or not answer.get("enabled"))
        return json.dumps(answer, indent=2) if "--json" in call.flags else show.status(answer, time.time(), paint(), columns(show.WIDTH))

    answer = call.ask({"method": "status"})
    if answer is None:
        return 1
    print(text(answer))
    return 0 if good else 1


def cmd_sessions(call: Call) -> int:
    """Prints the sessions, once or again and again: over the last ones where there is a screen, else one below the other."""
    watch = "--watch" in call.flags
    screen = watch and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")

    def text(answer: dict[str, Any]) -> str:
        found = show.sessions(answer, ended="--ended" in call.flags, width=columns(show.WIDTH), paint=paint())
        return f"\033[H\033[2J{found}" if screen else f"{found}\n" if watch else found

    if watch:
        until_interrupted()
    while True:
        status = show_answer(call, {"method": "sessions"}, text)
        if status or not watch:
            return status
        sys.stdout.flush()
        time.sleep(WATCH_INTERVAL)


# --- what the daemon does --------------------------------------------------------------------------------------------------


def cmd_reload(call: Call) -> int:
    """Has the daemon read its configuration again; 1 if it could not be put in force."""
    answer = call.ask({"method": "reload"})
    if answer is None:
        return 1
    for line in answer["diagnostics"]:
        print(line, file=sys.stderr)
    if not answer["applied"]:
        print(f"not applied, what ran goes on: {answer['problem']}", file=sys.stderr)
        return 1
    return 0


def cmd_tool(call: Call) -> int:
    """What vpnpt-tools does. Raises ImportError where it is missing."""
    from .tools import HANDLERS as tools
    return tools[call.command](call)


HANDLERS: dict[str, Callable[[Call], int]] = {
    "status": cmd_status, "sessions": cmd_sessions, "top": cmd_tool, "doctor": cmd_tool, "why": cmd_tool,
    "kill": cmd_tool, "block": cmd_tool, "unblock": cmd_tool, "events": cmd_tool, "changes": cmd_tool, "metrics": cmd_tool,
    "check": cmd_check, "render": cmd_render, "reload": cmd_reload, "version": cmd_version, "help": cmd_help}


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    try:
        call = parse(sys.argv[1:] if argv is None else argv)
        if "--version" in call.flags:
            return cmd_version(call)
        if call.flags & {"-h", "--help"}:
            print(_about(call.command), end="")
            return 0
        if not call.command:
            print(usage(), end="", file=sys.stderr)
            return 2
        status = HANDLERS[call.command](call)
        sys.stdout.flush()
        return status
    except UsageError as error:
        print(f"vpnpt: {error}\nSee `vpnpt help`.", file=sys.stderr)
        return 2
    except ImportError:  # a router without vpnpt-tools, or with those of another version
        print(f"vpnpt: {TOOLS_MISSING}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read has gone: `vpnpt events | head`
        return 128 + signal.SIGPIPE


if __name__ == "__main__":
    sys.exit(main())
