"""vpnpt: the command for people. Talks to the daemon's control socket, or compiles by itself (`render`, `check`)."""

from __future__ import annotations

import json
import sys
import time

from . import __version__, control, facts, nft, uci
from .config import compile_config
from .nft import NftError
from .ruleset import compile_ruleset, forward_rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .model import Config, Devices, Diagnostic

RUN_DIR = "/var/run/vpnpt"
USAGE = """usage: vpnpt COMMAND [OPTION ...]

  status [--json]       what is in force, and how many clients use it
  reload                read the configuration again
  check                 is the configuration right? tries the ruleset in the kernel, changes nothing
  render [--fw4]        print the ruleset (or what fw4's forward chain includes)
  version               print the version

  --config-dir DIR      where the UCI file `vpnpt` is (default /etc/config)
  --run-dir DIR         where the daemon's control socket is (default /var/run/vpnpt)

check ends with 0 if all is well, 1 after warnings, 2 after errors; the others with 0, 1 if they failed, 2 for wrong usage.
"""
FLAGS = {"status": ("--json",), "reload": (), "check": (), "render": ("--fw4",), "version": ()}
VALUES = ("--config-dir", "--run-dir")


class UsageError(Exception):
    """The command line is wrong; the message says what."""


def parse(arguments: list[str]) -> tuple[str, set[str], dict[str, str]]:
    """Command, flags, options with a value; options may stand before or after the command. Raises UsageError."""
    command, flags, values = "", set(), {}
    rest = list(arguments)
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        if word in VALUES:
            if not equals and not rest:
                raise UsageError(f"{word} needs a directory")
            values[word] = value if equals else rest.pop(0)
        elif word.startswith("-"):
            flags.add(word)
        elif command:
            raise UsageError(f"{word!r} is one word too many")
        else:
            command = word
    if command and command not in FLAGS:
        raise UsageError(f"unknown command {command!r}; known: {', '.join(FLAGS)}")
    for flag in sorted(flags - {"-h", "--help"}):
        if flag not in FLAGS.get(command, ()):
            raise UsageError(f"unknown option {flag!r}")
    return command, flags, values


def _compile(values: dict[str, str]) -> tuple[Config | None, Devices | None, list[Diagnostic], str]:
    """Config, devices, what is wrong with them, and why there is no text at all ('' if there is)."""
    config_dir = values.get("--config-dir")
    try:
        text, source = uci.read_config(config_dir)
    except (uci.ConfigMissing, OSError) as error:
        return None, None, [], str(error)
    config, diagnostics = compile_config(text, source)
    if config is None:
        return None, None, diagnostics, ""
    devices, found = facts.resolve_devices(config, config_dir=config_dir)
    return config, devices, diagnostics + found, ""


def cmd_render(flags: set[str], values: dict[str, str]) -> int:
    """Prints the ruleset, warnings to standard error. Where devices are not known (no router), those of a stock one stand in."""
    config, devices, diagnostics, missing = _compile(values)
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
    print(forward_rules(config, devices) if "--fw4" in flags else compile_ruleset(config, devices).render(), end="")
    return 1 if any(item.severity == "error" for item in diagnostics) else 0


def cmd_check(_flags: set[str], values: dict[str, str]) -> int:
    """Says what is wrong; 0, 1 for warnings, 2 for errors."""
    config, devices, diagnostics, missing = _compile(values)
    lines = [str(item) for item in diagnostics]
    worst = max([2 if item.severity == "error" else 1 for item in diagnostics], default=0)
    if missing:
        lines, worst = [f"error: {missing}"], 2
    if config is not None and devices is not None and worst < 2:
        helper = config.behaviour("pptp") != "help" or nft.helper_available("pptp")
        if not helper:
            lines.append("warning: the kernel has no PPTP helper: install kmod-nf-nathelper-pptp "
                         "(before OpenWrt 25.12: kmod-nf-nathelper-extra)")
            worst = 1
        try:
            nft.check(nft.replacement(compile_ruleset(config, devices, helper=helper)))
        except NftError as error:
            lines.append(f"error: the kernel refuses the ruleset: {error}")
            worst = 2
    for line in lines:
        print(line)
    if not worst:
        print("the configuration is right")
    return worst


def cmd_status(flags: set[str], values: dict[str, str]) -> int:
    """Prints what the daemon says of itself; 1 if none answers."""
    shot = _ask(values, {"method": "status"})
    if shot is None:
        return 1
    print(json.dumps(shot, indent=2) if "--json" in flags else format_status(shot, time.time()))
    return 0


def cmd_reload(_flags: set[str], values: dict[str, str]) -> int:
    """Has the daemon read its configuration again; 1 if it could not be put in force."""
    answer = _ask(values, {"method": "reload"})
    if answer is None:
        return 1
    for line in answer["diagnostics"]:
        print(line, file=sys.stderr)
    if not answer["applied"]:
        print(f"not applied, what ran goes on: {answer['problem']}", file=sys.stderr)
        return 1
    return 0


def cmd_version(_flags: set[str], _values: dict[str, str]) -> int:
    """Prints the version."""
    print(f"vpnpt {__version__}")
    return 0


def _ask(values: dict[str, str], request: dict[str, Any]) -> dict[str, Any] | None:
    run_dir = values.get("--run-dir", RUN_DIR)
    try:
        return control.call(run_dir, request)
    except (OSError, ValueError) as error:
        print(f"vpnpt: no daemon answers in {run_dir} ({error}): is vpnptd running?", file=sys.stderr)
        return None


def format_status(shot: dict[str, Any], now: float) -> str:
    """A snapshot for people, at most 80 columns wide."""
    return "\n".join(folded(line) for line in _status_lines(shot, now))


def _status_lines(shot: dict[str, Any], now: float) -> list[str]:
    hours, minutes = divmod(int(now - shot["since"]) // 60, 60)
    lines = [f"vpnpt {shot['version']}, up {hours} h {minutes} min, "
             f"{'rules in place' if shot['in_place'] else 'NO RULES IN PLACE'}"]
    if shot["problem"]:
        lines.append(f"problem: {shot['problem']}")
    if not shot["protocols"]:
        return [*lines, "no configuration is in force"]
    if not shot["enabled"]:
        return [*lines, "switched off (vpnpt.global.enabled)"]
    lines += [f"LAN {' '.join(shot['lan'])}, WAN {' '.join(shot['wan'])}", ""]
    says = {"help": "passes", "block": "blocked", "ignore": "left alone"}
    for name, state in shot["protocols"].items():
        counted = ", ".join(f"{count} {what}" for what, count in state["counters"].items() if count)
        lines.append(f"  {name:10} {says[state['behaviour']]:11}{counted}".rstrip())
    if shot["helper_missing"]:
        lines.append("  PPTP does not pass yet: the kernel's helper is missing")
    lines += ["", f"{shot['clients']} clients, {shot['servers']} servers ({shot['contended']} with several clients), "
                  f"{shot['cookies']} IKE and {shot['spis']} ESP SAs"]
    return [*lines, *shot["diagnostics"]]


def folded(line: str, width: int = 80) -> str:
    """A line broken between words where it is longer than `width`, what follows indented by four; a longer word is cut."""
    parts = []
    while len(line) > width:
        cut = line.rfind(" ", 5, width + 1)
        parts.append(line[:cut if cut > 0 else width])
        line = "    " + line[cut + 1 if cut > 0 else width:]
    return "\n".join([*parts, line])


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    commands: dict[str, Callable[[set[str], dict[str, str]], int]] = {
        "status": cmd_status, "reload": cmd_reload, "check": cmd_check, "render": cmd_render, "version": cmd_version}
    try:
        command, flags, values = parse(sys.argv[1:] if argv is None else argv)
    except UsageError as error:
        print(f"vpnpt: {error}\n\n{USAGE}", end="", file=sys.stderr)
        return 2
    if flags & {"-h", "--help"}:
        print(USAGE, end="")
        return 0
    if not command:
        print(USAGE, end="", file=sys.stderr)
        return 2
    return commands[command](flags, values)


if __name__ == "__main__":
    sys.exit(main())
