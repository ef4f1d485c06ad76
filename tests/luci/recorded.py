# SPDX-License-Identifier: GPL-2.0-or-later
"""What a busy router answers, in the shape that the daemon's answers have: for views to be drawn without a router.

`Recorded.answer` takes what a browser posts to /ubus (one call or a list of calls) and answers those of the object vpnpt.
Time goes on: each call of `sessions` is three seconds after the one before, and traffic has flowed meanwhile.
"""
from __future__ import annotations

import copy
import json
import math
import time
from typing import Any

from vpnpt.daemon.log import Log
from vpnpt.doctor.codes import CODES
from vpnpt.sessions.revisions import Revisions

HOUR, DAY = 3600, 86400


def session(number: int, now: int, **fields: Any) -> dict[str, Any]:
    """One, with what most have in common. rate: bytes a second, in and out. age: seconds."""
    name, address, mac = HOSTS[fields.pop("host")]
    server, server_name = SERVERS[fields.pop("server")]
    rate_in, rate_out = fields.pop("rate", (0, 0))
    age = fields.pop("age")
    found = {"id": f"{fields['protocol']}-{number:08x}", "family": 4, "client": address, "client_name": name, "mac": mac,
             "server": server, "server_name": server_name, "state": "up", "since": now - age, "last": now, "nat_port": 0,
             "bytes_in": int(rate_in * age * 0.7), "bytes_out": int(rate_out * age * 0.7), "details": {}, "rate": (rate_in, rate_out),
             **fields}
    found["packets_in"], found["packets_out"] = found["bytes_in"] // 940, found["bytes_out"] // 610
    return found


HOSTS = {"work": ("anna-laptop", "192.168.1.113", "00:00:5e:00:53:13"), "mac": ("MacBook-Pro", "192.168.1.131", "00:00:5e:00:53:31"),
         "phone": ("Pixel-8", "192.168.1.142", "00:00:5e:00:53:42"), "voip": ("desk-phone", "192.168.1.20", "00:00:5e:00:53:20"),
         "till": ("payment-terminal", "192.168.1.30", "00:00:5e:00:53:30"), "nas": ("", "192.168.1.5", "00:00:5e:00:53:05"),
         "old": ("plc-gateway", "192.168.1.77", "00:00:5e:00:53:77"), "tv": ("living-room", "192.168.1.88", "00:00:5e:00:53:88")}
SERVERS = {"firm": ("198.51.100.10", "vpn.example.com"), "firm2": ("198.51.100.24", ""), "pay": ("203.0.113.40", "tunnel.example.net"),
           "wg": ("203.0.113.99", ""), "plant": ("198.51.100.77", "")}


def sessions(now: int) -> list[dict[str, Any]]:
    return [
        session(0x1f2a, now, protocol="ipsec", variant="ESP", host="work", server="firm", age=5 * HOUR + 700, rate=(912_000, 61_000),
                details={"cookies": ["8f1c2ab07d3355e1"], "spis_out": ["c0ffee01"], "spis_in": ["0a41f9d2"], "ports": [500]}),
        session(0x1f2b, now, protocol="ipsec", variant="ESP", host="mac", server="firm", age=2 * HOUR + 1500, rate=(187_000, 22_000),
                details={"cookies": ["3d0b77aa19e2c4f0"], "spis_out": ["c7710b4e"], "spis_in": ["04d1377c", "5e19aa02"],
                         "ports": [500, 500]}, state="rekeying"),
        session(0x1f2c, now, protocol="ipsec", variant="NAT-T", host="phone", server="firm", age=1260, rate=(4_100, 2_900), nat_port=4500,
                details={"cookies": ["51aa0907de118236"], "ports": [4500]}),
        session(0x1f31, now, protocol="ipsec", variant="IKEv2", host="nas", server="firm2", age=14, rate=(0, 60), state="failing",
                details={"cookies": ["e07c3b5590aa6d12"], "ports": [500]}),
        session(0x2200, now, protocol="l2tp", variant="L2TPv2", host="voip", server="pay", age=3 * DAY + 4 * HOUR, rate=(11_000, 10_400),
                details={"tunnel_ids": ["4711"], "ports": [1701]}),
        session(0x2201, now, protocol="l2tp", variant="L2TPv2", host="till", server="pay", age=3 * DAY + 2 * HOUR, rate=(120, 90),
                state="idle", last=now - 95, details={"tunnel_ids": ["12", "13"], "ports": [1701]}),
        session(0x3001, now, protocol="pptp", variant="PPTP", host="old", server="plant", age=9 * HOUR, rate=(2_600, 3_900),
                details={"call_ids": ["128", "49152"], "ports": [1723]}),
        session(0x4001, now, protocol="wireguard", variant="WireGuard", host="tv", server="wg", age=55 * 60, rate=(1_450_000, 38_000),
                details={"ports": [51820]}),
    ]


ENDED = [
    (340, {"protocol": "ipsec", "variant": "NAT-T", "host": "phone", "server": "firm", "age": 2 * HOUR,
     "rate": (9_000, 4_000)}, "closed"),
    (2 * HOUR, {"protocol": "l2tp", "variant": "L2TPv2", "host": "till", "server": "pay", "age": 5 * HOUR,
     "rate": (200, 180)}, "timeout"),
    (5 * HOUR, {"protocol": "openvpn", "variant": "OpenVPN", "host": "mac", "server": "firm2", "age": 1900,
     "rate": (50_000, 7_000)}, "blocked"),
    (7 * HOUR, {"protocol": "ipsec", "variant": "ESP", "host": "work", "server": "firm", "age": 8 * HOUR,
     "rate": (700_000, 40_000)}, "killed"),
]
FINDINGS = [
    {"code": "DOUBLE_NAT", "severity": "warning", "text": "This router is itself behind a NAT router: its WAN address is a private one.",
     "evidence": "wan: 192.168.178.20/24, the address of interface wan; the default route is via 192.168.178.1",
     "remedy": "Switch the modem to bridge mode, or switch on its own VPN passthrough: what it does to IPsec cannot be mended from here.",
     "link": "admin/network/network"},
    {"code": "PPTP_HELPER_MISSING", "severity": "error", "text": "PPTP is on, and the kernel has no helper for it: no tunnel comes up.",
     "evidence": "/sys/module/nf_conntrack_pptp is not there", "remedy": "Install kmod-nf-nathelper-pptp, then restart the service.",
     "link": ""},
    {"code": "FLOW_OFFLOAD", "severity": "info",
     "text": "Software flow offloading is on. IPsec is kept out of it; nothing has to be done.",
     "evidence": "firewall.@defaults[0].flow_offloading='1'", "remedy": "", "link": "admin/network/firewall"},
]
CHECKED = list(CODES)
EVENTS = [
    (6 * HOUR, "info", "APPLIED", "pptp help, l2tp help, ipsec help, openvpn block, wireguard help; LAN br-lan; WAN wan"),
    (5 * HOUR, "warning", "REFUSED", "openvpn from 192.168.1.131 to 198.51.100.24 refused: switched off"),
    (5 * HOUR - 4, "info", "CUT", "2 live flows of openvpn ended"),
    (4 * HOUR, "debug", "ASSIGNED", "SPI 04d1377c of 198.51.100.10 is 192.168.1.131's: the only candidate"),
    (2400, "warning", "SAME-SPI", "192.168.1.113 and 192.168.1.131 chose the same SPI 0a41f9d2 with 198.51.100.10: both get its packets"),
    (1200, "debug", "FANNED", "SPI 5e19aa02 of 198.51.100.10 may be of 192.168.1.113, 192.168.1.131"),
]
CHANGES = [
    (340, "network", "ifup wan", "the WAN address changed from 203.0.113.7 to 203.0.113.9"),
    (5 * HOUR, "configuration", "uci", "openvpn.enabled: 1 → 0; openvpn is blocked now"),
    (6 * HOUR, "rules", "fw4 flush", "somebody deleted our tables; they were back after 0.2 s"),
    (6 * HOUR + 3, "service", "procd", "vpnpt 0.1.0 started"),
]


PASSAGE = {"protocol": "ipsec", "kind": "IKE", "name": "IKE (UDP 500)", "server": "198.51.100.10", "proto": 17, "port": 500, "asked": 4,
           "left": 4, "came": 4, "delivered": 4, "state": "answered"}
SEEN = {"kind": "ESP", "server": "198.51.100.10", "asked": 6, "left": 6, "came": 0, "delivered": 0}
# As tests/lab/test_why.py has it, word for word.
VERDICT = {
    "code": "ESP_UNANSWERED", "place": "way", "action": {}, "link": "", "more": [],
    "text": "198.51.100.10 answers IKE (UDP 500), and ESP does not come back: something on the way drops ESP.",
    "evidence": ["ESP to 198.51.100.10, packets: 6 from the client, 6 out of the router; 0 back, 0 delivered"],
    "remedy": "Use NAT traversal (UDP 4500) or another protocol, or ask the provider to let ESP pass.",
    "said": {"text": {"code": "why-data", "values": {"server": "198.51.100.10", "control": "IKE (UDP 500)", "kind": "ESP"}},
             "evidence": [{"code": "why-seen", "values": SEEN}], "remedy": {"code": "why-do-data", "values": {"kind": "ESP"}}}}


def throughput(now: int) -> dict[str, Any]:
    """Two days and a month in which people work by day."""
    def span(start: int, scale: float) -> dict[str, Any]:
        busy = scale * (0.15 + max(0.0, math.sin((start % DAY) / DAY * 2 * math.pi - 1.6)))
        one, other = [int(9e8 * busy), int(1.1e8 * busy)], [int(3e8 * busy), int(2e7 * busy)]
        return {"time": start, "protocols": {"ipsec": one, "wireguard": other}, "clients": {"192.168.1.113": one, "192.168.1.88": other}}

    hour, day = now // HOUR * HOUR, now // DAY * DAY
    return {"hours": [span(hour - ago * HOUR, 1) for ago in range(40, -1, -1)],
            "days": [span(day - ago * DAY + 12 * HOUR, 9 + ago % 7) for ago in range(20, -1, -1)]}


class Recorded:
    """A router. Its fields may be changed between two calls. down: nobody answers; denied: nobody may ask."""

    def __init__(self) -> None:
        self.now = int(time.time())
        self.sessions = sessions(self.now)
        self.ended = [{**session(0x100 + index, self.now - ago, **fields), "ended": self.now - ago, "reason": reason}
                      for index, (ago, fields, reason) in enumerate(copy.deepcopy(ENDED))]
        self.findings = copy.deepcopy(FINDINGS)
        self.behaviour = {"pptp": "help", "l2tp": "help", "ipsec": "help", "openvpn": "block", "wireguard": "help"}
        self.status: dict[str, Any] = {
            "version": "0.1.0", "pid": 812, "since": self.now - 6 * HOUR - 240, "in_place": True, "problem": "", "diagnostics": [],
            "diagnostics_said": [], "in_force": "file", "in_force_since": 0,
            "enabled": True, "lan": ["br-lan"], "wan": ["wan"], "helper_missing": False, "clients": 7, "servers": 5, "contended": 1,
            "spis": 5, "cookies": 4, "l2tp_tunnels": 3, "copies": 2, "clients_full": 0, "release": "OpenWrt 25.12.1", "drift": ""}
        self.down = self.denied = self.unblocks = False
        self.watch: dict[str, Any] = {}
        self.looks = 0
        self.revisions, self.capped, self.log = Revisions("812"), False, Log()
        self.changes, self.events = list(CHANGES), list(EVENTS)
        self.said: dict[str, Any] = {}  # by text: the codes of a line or a change
        self.bytes: list[int] = []
        self.verdict: dict[str, Any] = VERDICT
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def pass_time(self, seconds: int = 3) -> None:
        """Traffic flows."""
        self.now += seconds
        for index, item in enumerate(self.sessions):
            wave = 0.6 + 0.4 * math.sin(self.now / 7 + index) + 0.3 * math.sin(self.now / 2.3 + 2 * index)
            for way, rate in zip(("in", "out"), item["rate"], strict=True):
                item[f"bytes_{way}"] += int(rate * seconds * max(0.02, wave))
                item[f"packets_{way}"] += int(rate * seconds / 800)
            if item["state"] == "up":
                item["last"] = self.now

    def totals(self) -> dict[str, Any]:
        found = {}
        for name, behaviour in self.behaviour.items():
            own = [item for item in self.sessions if item["protocol"] == name]
            past = [item for item in self.ended if item["protocol"] == name]
            found[name] = {"behaviour": behaviour, "counters": {}, "sessions": len(own), "blocked": 14 if behaviour == "block" else 0,
                           **{f"bytes_{way}": sum(item[f"bytes_{way}"] for item in own + past) for way in ("in", "out")}}
        return found

    def call(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """One answer."""
        self.calls.append((method, arguments))
        if method == "status":
            alerts = [self.line(*event) for event in self.events if event[1] in ("warning", "error")]
            return {**self.status, "protocols": self.totals(), "alerts": alerts}
        if method == "sessions":
            self.pass_time()
            shot = {"now": self.now, "sessions": [{key: value for key, value in item.items() if key != "rate"} for item in self.sessions],
                    "ended": [{key: value for key, value in item.items() if key != "rate"} for item in self.ended]}
            found = self.revisions.answer(shot, arguments.get("since", "")) | {"capped": self.capped}
            self.bytes.append(len(json.dumps(found)))
            return found
        if method == "kill":
            gone = [item for item in self.sessions if item["id"] == arguments.get("session")]
            for item in gone:
                self.sessions.remove(item)
                self.ended.insert(0, {**item, "ended": self.now, "reason": "killed"})
            return {"ended": len(gone)}
        if method == "unblock" and self.unblocks:
            return {"blocked": False, **arguments, "changed": True}
        if method == "reload":
            return {"applied": True, "problem": "", "diagnostics": []}
        if method == "doctor":
            return {"time": self.now, "checked": CHECKED, "findings": self.findings}
        if method == "throughput":
            return throughput(self.now)
        if method == "why":
            return self.why(arguments)
        if method == "changes":
            return self.since("changes", [{"time": self.now - ago, "what": what, "how": how, "text": text, **self.codes(text)}
                                          for ago, what, how, text in self.changes], arguments)
        if method == "events":
            return self.since("events", [self.line(*event) for event in self.events], arguments)
        return {"error": f"unknown method {method!r}"}

    def line(self, ago: int, severity: str, code: str, text: str) -> dict[str, Any]:
        """Of the log."""
        return {"time": self.now - ago, "severity": severity, "code": code, "text": text, **self.codes(text)}

    def codes(self, text: str) -> dict[str, Any]:
        return {"said": self.said[text]} if text in self.said else {}

    def since(self, key: str, lines: list[dict[str, Any]], arguments: dict[str, Any]) -> dict[str, Any]:
        """As the daemon answers, by its own code; the newest change comes first, the newest event last."""
        newest_last = lines if key == "events" else lines[::-1]
        found = self.log.since(key, newest_last, len(lines), arguments)
        if key == "changes":
            found[key].reverse()
        self.bytes.append(len(json.dumps(found)))
        return found

    def why(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """A watch that sees two looks long how IKE is answered and ESP is not, and ends with `verdict`."""
        if arguments.get("cancel") == "1":
            return {**self.watch, "state": "cancelled"}
        if not arguments.get("watch"):
            self.looks = 0
            self.watch = {"watch": "812-1", "state": "watching", "client": arguments["client"], "client_name": "anna-laptop",
                          "server": arguments.get("server", ""), "left": 60, "passages": []}
            return self.watch
        self.looks += 1
        self.watch = {**self.watch, "left": 60 - self.looks, "passages": [PASSAGE, {**PASSAGE, "kind": "ESP", "name": "ESP", "proto": 50,
                      "port": 0, "asked": 3 + self.looks, "left": 3 + self.looks, "came": 0, "delivered": 0, "state": "away"}]}
        return self.watch if self.looks < 3 else {**self.watch, "state": "done", "verdict": self.verdict}

    def answer(self, call: dict[str, Any]) -> dict[str, Any]:
        """One JSON-RPC answer, as uhttpd's ubus plugin gives it."""
        frame = {"jsonrpc": "2.0", "id": call.get("id")}
        if self.down:
            return {**frame, "error": {"code": -32000, "message": "Object not found"}}
        if self.denied:
            return {**frame, "error": {"code": -32002, "message": "Access denied"}}
        _, _, method, arguments = call["params"]
        return {**frame, "result": [0, self.call(method, arguments)]}
