# SPDX-License-Identifier: GPL-2.0-or-later
"""One golden file: what it is about, then sections, each from its `-- NAME --` line to `-- End --`.

    -- Configuration --      /etc/config/vpnpt; `-- File NAME --`: another UCI file beside it
    -- Kernel --             `no pptp helper`, where that is the case
    -- Expect status --      the exit status of `vpnpt render`
    -- Expect messages --    what it prints to standard error
    -- Expect fw4 rules --   what `vpnpt render --fw4` prints
    -- Expect ruleset --     what `vpnpt render` prints

`tests/golden/update [NAME ...]` writes the expectations anew; what changed is then for `git diff` to show and for you to judge.
"""
from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from vpnpt.config.compile import compile_config
from vpnpt.model import Devices
from vpnpt.process import MISSING, Result
from vpnpt.router.devices import resolve_devices
from vpnpt.ruleset import Ruleset, compile_ruleset

DIRECTORY = Path(__file__).parent / "cases"
SOURCE = Path(__file__).resolve().parents[2] / "src"
EXPECTATIONS = ("status", "messages", "fw4 rules", "ruleset")
_HASH = re.compile(r"jhash ip saddr mod \d+ seed 0x[0-9a-f]+ offset \d+")
STOCK = {"lan": ("br-lan",), "wan": ("wan",)}


class Case:
    """A golden file, read. about: its first lines; files: UCI files by name; helper: is there a PPTP helper; expected: by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.stem
        self.about, sections = _sections(path.read_text())
        self.files = {name.removeprefix("File "): text for name, text in sections.items() if name.startswith("File ")}
        self.files["vpnpt"] = sections["Configuration"]
        self.helper = "no pptp helper" not in sections.get("Kernel", "")
        self.kernel = sections.get("Kernel", "")
        self.expected = {name: sections.get(f"Expect {name}", "") for name in EXPECTATIONS}

    def render(self, directory: Path, *options: str, seed: str = "0") -> subprocess.CompletedProcess[str]:
        """Runs `vpnpt render` with the case's files in `directory` and no other program in reach. seed: PYTHONHASHSEED."""
        for name, text in self.files.items():
            (directory / name).write_text(text)
        command = [sys.executable, "-m", "vpnpt.cli", "render", "--config-dir", ".", *options]
        environment = {"PYTHONPATH": str(SOURCE), "PYTHONHASHSEED": seed, "PATH": str(directory)}
        return subprocess.run(command, cwd=directory, env={**os.environ, **environment}, capture_output=True, text=True, check=False)

    def compile(self, byteorder: str = sys.byteorder) -> Ruleset:
        """The ruleset as the daemon would compile it; an empty one for a configuration with errors."""
        config, _ = compile_config(self.files["vpnpt"])
        if config is None:
            return Ruleset({})
        with tempfile.TemporaryDirectory() as directory:
            for name, text in self.files.items():
                Path(directory, name).write_text(text)
            found, _ = resolve_devices(config, run=_no_program, config_dir=directory)
        devices = Devices(lan=found.lan or STOCK["lan"], wan=found.wan or STOCK["wan"])
        return compile_ruleset(config, devices, helper=self.helper, byteorder=byteorder)

    def produce(self, directory: Path, seed: str = "0") -> dict[str, str]:
        """What comes out now, by the names of EXPECTATIONS."""
        ruleset = self.render(directory, seed=seed)
        # The command asks no kernel and always shows the helper: without it, what the daemon loads stands here.
        text = ruleset.stdout if self.helper else self.compile().render()
        return {"status": f"{ruleset.returncode}\n", "messages": ruleset.stderr, "ruleset": text,
                "fw4 rules": self.render(directory, "--fw4", seed=seed).stdout}

    def expected_in(self, byteorder: str = sys.byteorder) -> dict[str, str]:
        """What is expected on a router of this byte order; the files hold what a little-endian one has.

        A hash fills 32 bits, of which a zone is the first 16: on a big-endian router it must be shifted there (ruleset/zones.py).
        """
        return {name: _HASH.sub(r"\g<0> << 16", text) if byteorder == "big" and name == "ruleset" else text
                for name, text in self.expected.items()}

    def text(self, expected: dict[str, str]) -> str:
        """The whole file with these expectations."""
        sections = {"Configuration": self.files["vpnpt"]}
        sections |= {f"File {name}": text for name, text in self.files.items() if name != "vpnpt"}
        sections |= {"Kernel": self.kernel} if self.kernel else {}
        sections |= {f"Expect {name}": expected[name] for name in EXPECTATIONS}
        return "\n".join([self.about, *(f"-- {name} --\n{text}-- End --\n" for name, text in sections.items())])


def _no_program(*_: object, **__: object) -> Result:
    return Result(status=MISSING, stdout=b"", stderr=b"")


def _sections(text: str) -> tuple[str, dict[str, str]]:
    about: list[str] = []
    sections: dict[str, list[str]] = {}
    lines = about
    for line in text.splitlines(keepends=True):
        if line == "-- End --\n":
            lines = []
        elif line.startswith("-- ") and line.endswith(" --\n"):
            lines = sections.setdefault(line[3:-4], [])
        else:
            lines.append(line)
    return "".join(about).strip() + "\n", {name: "".join(lines) for name, lines in sections.items()}


def cases() -> list[Case]:
    """All of them, in the order of their names."""
    return [Case(path) for path in sorted(DIRECTORY.glob("*.txt"))]


def main(names: list[str]) -> None:
    """Writes the expectations of the named cases, or of all, anew; says which have changed."""
    for case in cases():
        if names and case.name not in names:
            continue
        with tempfile.TemporaryDirectory() as directory:
            text = case.text(case.produce(Path(directory)))
        if text != case.path.read_text():
            case.path.write_text(text)
            print(f"changed: {case.name}")


if __name__ == "__main__":
    main(sys.argv[1:])
