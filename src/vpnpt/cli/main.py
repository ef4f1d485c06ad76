# SPDX-License-Identifier: GPL-2.0-or-later
"""vpnpt: the command for people. Talks to the daemon's control socket, or compiles by itself (`render`, `check`)."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from .. import TOOLS_MISSING, __version__
from ..daemon import control
from ..model import PROTOCOLS
from . import show
from .help import COMMANDS, VALUES, help_text, usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..model import Config, Devices, Diagnostic
    from .show import Paint

RUN_DIR = "/var/run/vpnpt"
WATCH_INTERVAL = 2.0
FOLLOW_INTERVAL = 1.0


class UsageError(Exception):
    """The command line is wrong; the message says what."""


class Call:
    """A parsed command line: command, operands, flags, options with a value."""

    __slots__ = ("command", "operands", "flags", "values")

    def __init__(self, command: str, operands: list[str], flags: set[str], values: dict[str, str]) -> None:
        self.command, self.operands, self.flags, self.values = command, operands, flags, values

    def ask(self, request: dict[str, str], complain: bool = True) -> dict[str, Any] | None:
        """The daemon's answer. None if there is none, or if it is an error: that is said."""
        run_dir = self.values.get("--run-dir", RUN_DIR)
        try:
            answer = control.call(run_dir, request)
        except (OSError, ValueError) as error:
            if complain:
                print(f"vpnpt: no daemon answers in {run_dir} ({error}): is vpnptd running?", file=sys.stderr)
            return None
        if "error" in answer and complain:
            print(f"vpnpt: {answer['error']}", file=sys.stderr)
            return None
        return answer

    def number(self, option: str, default: float) -> float:
        """The value of an option that is a number of at least 0. Raises UsageError."""
        text = self.values.get(option)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value < 1e6:
            raise UsageError(f"{option} needs a number, not {text!r}")
        return value


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


def _compile(values: dict[str, str], *, look: bool = True) -> tuple[Config | None, Devices | None, list[Diagnostic], str]:
    """Config, devices, what is wrong with them, and why there is no text at all ('' if there is). look: whether the devices exist."""
    from ..config.compile import compile_config
    from ..router import uci
    from ..router.devices import resolve_devices

    config_dir = values.get("--config-dir")
    try:
        text, source = uci.read_config(config_dir)
    except (uci.ConfigMissing, OSError) as error:
        return None, None, [], str(error)
    config, diagnostics = compile_config(text, source)
    if config is None:
        return None, None, diagnostics, ""
    devices, found = resolve_devices(config, config_dir=config_dir, existing=None if look else ())
    return config, devices, diagnostics + found, ""


def cmd_render(call: Call) -> int:
    """Prints the ruleset, warnings to standard error. Where devices are not known (no router), those of a stock one stand in."""
    from ..ruleset import compile_ruleset, forward_rules

    config, devices, diagnostics, missing = _compile(call.values, look=False)
    if missing:
        print(f"error: {missing}", file=sys.stderr)
    if config is not None and devices is not None and not (devices.lan and devices.wan):
        # What the configuration itself says of devices has a file, and stays.
        diagnostics = [item for item in diagnostics if item.file or item.option not in ("lan_device", "wan_device")]
        devices = devices.replace(lan=devices.lan or ("br-lan",), wan=devices.wan or ("wan",))
    for item in diagnostics:
        print(item, file=sys.stderr)
    if config is None or devices is None:
        return 1
    print(forward_rules(config, devices) if "--fw4" in call.flags else compile_ruleset(config, devices).render(), end="")
    return 1 if any(item.severity == "error" for item in diagnostics) else 0


def cmd_check(call: Call) -> int:
    """Says what is wrong; 0, 1 for warnings, 2 for errors."""
    from ..kernel import nft
    from ..ruleset import compile_ruleset

    config, devices, diagnostics, missing = _compile(call.values)
    lines = [str(item) for item in diagnostics]
    worst = max([2 if item.severity == "error" else 1 for item in diagnostics], default=0)
    if missing:
        lines, worst = [f"error: {missing}"], 2
    if config is not None and devices is not None and worst < 2:
        helper = config.behaviour("pptp") != "help" or nft.helper_available("pptp")
        if not helper:
            lines.append("warning: the kernel has no PPTP helper: install kmod-nf-nathelper-pptp "
                         "(before OpenWrt 25.12.5: kmod-nf-nathelper-extra)")
            worst = 1
        try:
            nft.check(nft.replacement(compile_ruleset(config, devices, helper=helper)))
        except nft.NftError as error:
            lines.append(f"error: the kernel refuses the ruleset: {error}")
            worst = 2
    lines += [str(zone) for zone in devices.found] if devices is not None else []
    width = _width(0)
    for line in lines:
        print(show.folded(line, width) if width else line)
    if not worst:
        print("the configuration is right")
    return worst


def cmd_version(_call: Call) -> int:
    """Prints the version."""
    print(f"vpnpt {__version__}")
    return 0


def cmd_help(call: Call) -> int:
    """Prints the help of a command, of an option or a section of the configuration, or of all commands."""
    word = call.operands[0] if call.operands else ""
    if not word or word in COMMANDS:
        print(help_text(word) if word else usage(), end="")
        return 0
    from ..config.texts import help_text as about

    text = about(word)
    if not text:
        raise UsageError(f"{word!r} is no command, and no option or section of the configuration; commands: {', '.join(COMMANDS)}")
    width = _width(show.WIDTH)
    print("\n".join(show.folded(line, width) for line in text.splitlines()))
    return 0


# --- what the daemon says --------------------------------------------------------------------------------------------------


def _paint() -> Paint:
    """Colours on a terminal alone, and not where NO_COLOR is set (no-color.org)."""
    wanted = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") not in ("", "dumb")
    return show.coloured if wanted else show.plain


def _width(default: int) -> int:
    """The screen's columns; `default` where there is none."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or default
    except (OSError, ValueError):
        return default


def _show(call: Call, request: dict[str, str], text: Callable[[dict[str, Any]], str]) -> int:
    """Asks and prints: JSON with --json, else text; 1 without an answer."""
    answer = call.ask(request)
    if answer is None:
        return 1
    print(json.dumps(answer, indent=2) if "--json" in call.flags else text(answer))
    return 0


def cmd_status(call: Call) -> int:
    """Prints what the daemon says of itself. Exit status 0: what the file says is in force; 1: no answer, or something else is."""
    good = False

    def text(answer: dict[str, Any]) -> str:
        nonlocal good
        good = answer.get("in_force", "file") == "file" and not answer.get("problem") and (
            bool(answer.get("in_place")) or not answer.get("enabled"))
        return json.dumps(answer, indent=2) if "--json" in call.flags else show.status(answer, time.time(), _paint(), _width(show.WIDTH))

    answer = call.ask({"method": "status"})
    if answer is None:
        return 1
    print(text(answer))
    return 0 if good else 1


def _until_interrupted() -> None:
    """ctrl-C ends what runs until then. A shell without job control starts what it puts in the background with SIGINT ignored;
    Python then raises no KeyboardInterrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def cmd_sessions(call: Call) -> int:
    """Prints the sessions, once or again and again: over the last ones where there is a screen, else one below the other."""
    watch = "--watch" in call.flags
    screen = watch and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")

    def text(answer: dict[str, Any]) -> str:
        found = show.sessions(answer, ended="--ended" in call.flags, width=_width(show.WIDTH), paint=_paint())
        return f"\033[H\033[2J{found}" if screen else f"{found}\n" if watch else found

    if watch:
        _until_interrupted()
    while True:
        status = _show(call, {"method": "sessions"}, text)
        if status or not watch:
            return status
        sys.stdout.flush()
        time.sleep(WATCH_INTERVAL)


def cmd_top(call: Call) -> int:
    """The sessions, live."""
    from .top import run
    _until_interrupted()  # where there is no terminal; on one, top has handlers of its own
    return run(call.ask, max(0.2, call.number("--interval", WATCH_INTERVAL)), int(call.number("--count", 0)), _paint())


def cmd_doctor(call: Call) -> int:
    """Prints the findings; 0, 1 for warnings, 2 for errors."""
    from .findings import doctor
    answer = call.ask({"method": "doctor"})
    if answer is None:
        return 2
    print(json.dumps(answer, indent=2) if "--json" in call.flags else doctor(answer, _width(show.WIDTH), _paint()))
    return max([{"error": 2, "warning": 1}.get(item["severity"], 0) for item in answer["findings"]], default=0)


def cmd_why(call: Call) -> int:
    """Watches while somebody tries, and says why it does not connect; 0 if it works, 1 if not, 2 if that can't be said."""
    from .why import request, run
    wanted = request(call.operands, int(call.number("--seconds", 60)))
    if wanted is None:
        raise UsageError(f"the server's name {call.operands[1]!r} can't be found: give its address")
    return run(call.ask, wanted, as_json="--json" in call.flags, paint=_paint(), width=_width(show.WIDTH))


def cmd_events(call: Call) -> int:
    """Prints the last lines of the log, and with --follow those that come."""
    def lines(found: list[dict[str, Any]]) -> str:
        if "--json" in call.flags:
            return "\n".join(json.dumps(item) for item in found)
        return show.events(found, _width(0), _paint())

    if "--follow" not in call.flags:
        return _show(call, {"method": "events"}, lambda answer: lines(answer["events"]))
    last: list[dict[str, Any]] = []
    answering = True
    _until_interrupted()
    while True:
        answer = call.ask({"method": "events"}, complain=answering)
        if answer is None and not last and answering:
            return 1
        answering = answer is not None
        if answer is not None:
            new = show.appended(last, answer["events"])
            last = answer["events"]
            if new:
                print(lines(new), flush=True)
        time.sleep(FOLLOW_INTERVAL)


def cmd_changes(call: Call) -> int:
    """Prints what changed."""
    return _show(call, {"method": "changes"}, lambda answer: show.changes(answer, _width(0), _paint()))


def cmd_metrics(call: Call) -> int:
    """Prints figures for Prometheus."""
    answer = call.ask({"method": "metrics"})
    if answer is None:
        return 1
    print(answer["text"], end="")
    return 0


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


def cmd_kill(call: Call) -> int:
    """Ends a session, all of a client's, or those of one protocol."""
    which, protocol = call.operands[0], _protocol(call.operands[1:])
    answer = call.ask({"method": "sessions"})
    if answer is None:
        return 1
    meant = [item for item in answer["sessions"] if which == item["id"] or item["id"].endswith(f"-{which}")]
    if meant and not protocol:
        requests = [{"method": "kill", "session": item["id"]} for item in meant]
    else:
        requests = [{"method": "kill", "client": client, **({"protocol": protocol} if protocol else {})}
                    for client in _addresses(answer["sessions"], which)]
    ended = 0
    for request in requests:
        done = call.ask(request)
        if done is None:
            return 1
        ended += int(done["ended"])
    if not ended:
        print(f"vpnpt: no {protocol or 'VPN'} session of {which!r}: see `vpnpt sessions`", file=sys.stderr)
        return 1
    print(f"{show.counted(ended, 'session')} ended")
    return 0


def cmd_block(call: Call) -> int:
    """Refuses a protocol to a client, or (unblock) takes that back."""
    which, protocol = call.operands[0], _protocol(call.operands[1:])
    clients = [which]
    if not _is_address(which):  # a name: the session knows its address
        answer = call.ask({"method": "sessions"})
        if answer is None:
            return 1
        clients = _addresses([*answer["sessions"], *answer["ended"]], which)
    if not clients:
        print(f"vpnpt: no session is of {which!r}: give its address or MAC", file=sys.stderr)
        return 1
    for client in clients:
        if call.ask({"method": call.command, "client": client, "protocol": protocol}) is None:
            return 1
        print(f"{client}: {protocol} is refused" if call.command == "block" else f"{client}: {protocol} is not refused any more")
    return 0


def _protocol(operands: list[str]) -> str:
    """Raises UsageError."""
    if operands and operands[0] not in PROTOCOLS:
        raise UsageError(f"unknown protocol {operands[0]!r}; known: {', '.join(PROTOCOLS)}")
    return operands[0] if operands else ""


def _addresses(sessions: list[dict[str, Any]], which: str) -> list[str]:
    """The addresses of a client that is given by address, MAC or name; an address that no session knows is taken as it is."""
    found = [item["client"] for item in sessions if which.lower() in (item["client"], item["mac"], item["client_name"].lower())]
    return list(dict.fromkeys(found)) or ([which] if _is_address(which) else [])


def _is_address(text: str) -> bool:
    return "." in text or ":" in text


HANDLERS: dict[str, Callable[[Call], int]] = {
    "status": cmd_status, "sessions": cmd_sessions, "top": cmd_top, "doctor": cmd_doctor, "why": cmd_why,
    "kill": cmd_kill, "block": cmd_block, "unblock": cmd_block, "events": cmd_events, "changes": cmd_changes, "metrics": cmd_metrics,
    "check": cmd_check, "render": cmd_render, "reload": cmd_reload, "version": cmd_version, "help": cmd_help}


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    try:
        call = parse(sys.argv[1:] if argv is None else argv)
        if "--version" in call.flags:
            return cmd_version(call)
        if call.flags & {"-h", "--help"}:
            print(help_text(call.command) if call.command else usage(), end="")
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
