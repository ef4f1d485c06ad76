# SPDX-License-Identifier: GPL-2.0-or-later
"""One list in the configuration changes, and not one other byte of it."""
from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

import pytest

from vpnpt.config.compile import compile_config
from vpnpt.router import uciedit
from vpnpt.router.uciedit import edit_list, edited

SHIPPED = (Path(__file__).resolve().parents[2] / "files/etc/config/vpnpt").read_text()
ADDRESS, MAC = "192.168.1.20", "02:00:5e:10:00:01"
TEXTS = {
    "as shipped": SHIPPED, "empty": "", "no end of line": "config 1 'ipsec'\n\toption multi_client '0'",
    "another's list": "config 1 ipsec\n\tlist deny_src 192.168.1.7\nconfig 1 l2tp\n\tlist deny_src '192.168.1.20'\n",
    "an option with words": "config 1 ipsec\n\toption deny_src '192.168.1.7 192.168.1.8'\n",
    "comments": "# one\nconfig 1 ipsec # two\n\n\toption multi_client 0\n# three\n\nconfig 1 l2tp\n",
    "quoted over lines": "config 1 ipsec\n\toption natt_port '4500\n4501'\nconfig 1 l2tp\n",
}


@pytest.mark.parametrize("value", [ADDRESS, MAC, "2001:db8::7"])
@pytest.mark.parametrize("name", TEXTS)
def test_in_and_out(name: str, value: str) -> None:
    text = TEXTS[name]
    before, _ = compile_config(text)
    blocked = edited(text, "ipsec", "deny_src", value, present=True)
    config, _ = compile_config(blocked)
    assert config is not None and before is not None
    assert [source.text for source in config.protocols["ipsec"].deny_src] == \
        [*(source.text for source in before.protocols["ipsec"].deny_src), value]
    without = config.protocols["ipsec"].replace(deny_src=before.protocols["ipsec"].deny_src)
    assert config.replace(protocols={**config.protocols, "ipsec": without}) == before, "nothing else is another"
    assert set(text.splitlines()) <= set(blocked.splitlines())
    assert edited(blocked, "ipsec", "deny_src", value, present=True) == blocked
    again = edited(blocked, "ipsec", "deny_src", value, present=False)
    assert compile_config(again)[0] == before
    if text.endswith("\n"):
        assert again == text
    assert edited(again, "ipsec", "deny_src", value, present=False) == again


def test_however_it_is_written() -> None:
    for line in ("\tlist deny_src '192.168.1.20'\n", "  list  deny_src \"192.168.1.20\" # him\n", "l deny_src 192.168.1.20/32\n"):
        assert edited(f"config 1 ipsec\n{line}\toption multi_client 0\n", "ipsec", "deny_src", ADDRESS, present=False) == \
            "config 1 ipsec\n\toption multi_client 0\n"
    assert edited("config 1 ipsec\n\tlist deny_src 02-00-5E-10-00-01\n", "ipsec", "deny_src", MAC, present=True).count("list") == 1


TWICE = "config 1 ipsec\n list deny_src 192.168.1.20\n"


@pytest.mark.parametrize("text", ["config 1 ipsec\n\toption deny_src '192.168.1.20 192.168.1.21'\n", "config 1 'ipsec\n",
                                  f"{TWICE}config 1 l2tp\n{TWICE}"])
def test_what_can_not_be_changed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="list|correct"):
        edited(text, "ipsec", "deny_src", ADDRESS, present=False)


def test_the_file(tmp_path: Path) -> None:
    path = tmp_path / "vpnpt"
    path.write_text(SHIPPED)
    path.chmod(0o600)
    assert edit_list(str(tmp_path), "l2tp", "deny_src", ADDRESS, present=True)
    assert path.read_text() == SHIPPED.replace("config 1 'l2tp'\n", f"config 1 'l2tp'\n\tlist deny_src '{ADDRESS}'\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and [one.name for one in tmp_path.iterdir()] == ["vpnpt"]
    assert not edit_list(str(tmp_path), "l2tp", "deny_src", ADDRESS, present=True)
    assert edit_list(str(tmp_path), "l2tp", "deny_src", ADDRESS, present=False) and path.read_text() == SHIPPED
    with pytest.raises(FileNotFoundError):
        edit_list(str(tmp_path / "nowhere"), "l2tp", "deny_src", ADDRESS, present=True)


def test_a_writer_that_keeps_the_lock_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uciedit, "PATIENCE", 0.1)
    path = tmp_path / "vpnpt"
    path.write_text("config protocol 'ipsec'\n")
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="another program has locked it"):
            uciedit.edit_list(str(tmp_path), "ipsec", "deny_src", "192.168.1.2", present=True)
    assert path.read_text() == "config protocol 'ipsec'\n" and os.listdir(tmp_path) == ["vpnpt"]
    assert uciedit.edit_list(str(tmp_path), "ipsec", "deny_src", "192.168.1.2", present=True)


@pytest.mark.parametrize("how", ["in place", "by another file"])
def test_who_writes_without_a_lock_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """An editor saves while we think: what it wrote is kept, and ours is added to it."""
    path, once = tmp_path / "vpnpt", [True]
    path.write_text("config protocol 'ipsec'\n")
    path.chmod(0o640)
    real = uciedit.edited

    def edited(text: str, *args: str, present: bool) -> str:
        if once and once.pop():
            if how == "in place":
                path.write_text("config protocol 'ipsec'\n\toption multi_client '0'\n")
            else:
                (tmp_path / "other").write_text("config protocol 'ipsec'\n\toption multi_client '0'\n")
                (tmp_path / "other").chmod(0o640)
                (tmp_path / "other").replace(path)
        return real(text, *args, present=present)

    monkeypatch.setattr(uciedit, "edited", edited)
    assert uciedit.edit_list(str(tmp_path), "ipsec", "deny_src", "192.168.1.2", present=True)
    text = path.read_text()
    assert "multi_client '0'" in text and "list deny_src '192.168.1.2'" in text
    assert path.stat().st_mode & 0o777 == 0o640 and os.listdir(tmp_path) == ["vpnpt"]
