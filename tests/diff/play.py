# SPDX-License-Identifier: GPL-2.0-or-later
"""Plays a plan on one router, one step at a time, and notes who received each packet.

Steps, each {do: ..., ...}:
    send      flow, by (a or b), what, ...: one packet; b answers to where it last heard a from (in that IKE SA, if it did), and is silent
              if it never heard it
    error     flow, by: who got a packet of this flow last says that it was on the way for too long (an ICMP error that quotes it)
    knock     from, from_port, at, port: an outsider's datagram to a port of the router
    forget    what (all, udp, esp or a client): conntrack entries are gone, as if they had expired
    readdress who, to: a client has another address from now on
    policy    who, on: a client's packets leave by wan2, or no longer
    fw4       what (reload, restart)
    reload    the daemon reads its configuration again
    kill      the daemon is killed; start: it is started again
    pause     seconds
"""
from __future__ import annotations

import signal
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.attack.forge import ICMP, checksum, ip
from tests.diff import payloads
from tests.diff.plan import b_port, is_inside
from tests.lab.host import Datagrams, Host
from tests.lab.packets import PROTO_ESP, PROTO_UDP, Captured

if TYPE_CHECKING:
    from tests.diff.plan import Flow, Plan, Step
    from tests.diff.world import World

TIME_EXCEEDED = 11
"""What has a word that nobody reads: it holds the step's number."""
LINGER, HURRY = 0.01, 0.1
SETTLE = 0.06
"""Seconds: how long we wait for what stock does not deliver either, for what is missed after the first loss, and at most for the daemon to
have nothing to do."""


class DaemonEnded(RuntimeError):
    """The daemon is gone, and no step has ended it; the text is the end of its log."""


class Note:
    """What became of one packet. got: the program that was meant could use it; source: from where it seemed to come."""

    def __init__(self) -> None:
        self.sent = False
        self.data = b""
        self.to: tuple[str, int] = ("", 0)
        self.got = False
        self.source: tuple[str, int] = ("", 0)
        self.hosts: set[str] = set()
        self.errors: set[str] = set()
        self.odd: list[tuple[str, str, int]] = []

    def export(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {"sent": self.sent, "to": self.to, "got": self.got, "source": self.source, "hosts": sorted(self.hosts),
                "errors": sorted(self.errors), "odd": self.odd}


class Player:
    """One plan in one world. expected: the numbers of the packets that are waited for, up to `patience` seconds each."""

    def __init__(self, world: World, plan: Plan, expected: set[int], patience: float) -> None:
        self.world, self.plan, self.expected, self.patience = world, plan, expected, patience
        self.flows: dict[str, Flow] = plan["flows"]
        self.notes: dict[int, Note] = {}
        self.heard: dict[str, tuple[str, int]] = {}
        self.partners: dict[tuple[str, int], tuple[str, int]] = {}  # of each IKE SA, as programs remember them (RFC 7296 section 2.11)
        self.sequences: dict[tuple[str, str, int], int] = {}
        self.sockets: dict[tuple[str, int, str], Datagrams] = {}
        self.esp: set[str] = set()
        for host in world.hosts:
            if is_inside(host.name) or host.name.startswith("s"):
                host.on_packet.append(lambda packet, host=host: self._seen(host, packet))
        for flow in self.flows.values():
            for side in "ab":
                self._program(flow, side)

    def play(self) -> dict[int, dict[str, Any]]:
        """All steps; what became of each packet, by the number of its step."""
        for number, step in enumerate(self.plan["steps"]):
            getattr(self, f"_{step['do']}")(step, int(step.get("n", number)))
        self.world.pump.run_for(LINGER if not self.world.router.daemon else 3 * LINGER)
        self._sound()
        return {number: note.export() for number, note in self.notes.items()}

    def _sound(self) -> None:
        """The stand-in for fw4 must not fail: without our rules in its chain ours delivers less than it can."""
        failed = [line for line in self.world.router.log_text().splitlines() if "FW4: " in line] if self.world.mode == "vpnpt" else []
        if failed:
            raise RuntimeError(failed[0])

    # programs

    def _host(self, flow: Flow, side: str) -> Host:
        return self.world.host(flow[side])

    def _at(self, flow: Flow) -> str:
        return str(flow.get("at") or self._host(flow, "b").address)

    def _program(self, flow: Flow, side: str) -> Datagrams:
        host = self._host(flow, side)
        if flow["kind"] == "esp":
            endpoint = host.protocol(PROTO_ESP)
            if host.name not in self.esp:
                self.esp.add(host.name)
                endpoint.on_receive = lambda data, address, port: self._received(host, "esp", 0, data, address, port)
            return endpoint
        port = int(flow["a_port"]) if side == "a" else b_port(flow)
        # Who answers for several addresses has a socket for each, as IKE daemons do.
        bound = str(flow["at"]) if side == "b" and host is self.world.router else ""
        key = (host.name, port, bound)
        if key not in self.sockets:
            sock = host.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((bound, port))
            made = self.sockets[key] = Datagrams(host, sock)
            made.on_receive = lambda data, address, source: self._received(host, "udp", port, data, address, source)
        return self.sockets[key]

    def _received(self, host: Host, proto: str, port: int, data: bytes, address: str, source: int) -> None:
        found = payloads.MARK.search(data)
        note = self.notes.get(int(found[1])) if found else None
        if not found or not note or note.got:
            return
        step = self._step(int(found[1]))
        if step["do"] == "knock":
            note.got, note.source = True, (address, source)
            return
        name = step["flow"]
        flow = self.flows[name]
        side = "b" if step["by"] == "a" else "a"
        meant = flow[side] == host.name and (proto == "esp") == (flow["kind"] == "esp") and (
            proto == "esp" or port == (flow["a_port"] if side == "a" else b_port(flow)))
        asked = (self._at(flow), 0 if proto == "esp" else int(flow["to_port"]))
        if meant and (side == "b" or (address, source) == asked):
            note.got, note.source = True, (address, source)
            if side == "b":
                self.heard[name] = self.partners[name, int(step.get("gen", 0))] = (address, source)
        else:
            note.odd.append((host.name, address, source))

    def _seen(self, host: Host, packet: Captured) -> None:
        found = payloads.MARK.search(packet.data)
        note = self.notes.get(int(found[1])) if found else None
        if packet.proto == ICMP and packet.payload[0] == TIME_EXCEEDED:
            told = self.notes.get(int.from_bytes(packet.payload[4:8], "big"))
            if told and told.to[0] == host.name:
                told.got = True
        elif note and packet.proto == ICMP:
            note.errors.add(host.name)
        elif note and packet.proto in (PROTO_UDP, PROTO_ESP) and is_inside(host.name):
            note.hosts.add(host.name)

    def _step(self, number: int) -> Step:
        if not hasattr(self, "_numbered"):
            self._numbered: dict[int, Step] = {int(step.get("n", place)): step for place, step in enumerate(self.plan["steps"])}
        return self._numbered[number]

    # steps

    def _send(self, step: Step, number: int) -> None:
        note = self.notes[number] = Note()
        name, by = step["flow"], step["by"]
        flow = self.flows[name]
        target = self._target(name, flow, by, int(step.get("gen", 0)))
        if target is None:
            return
        if flow["kind"] == "esp":
            key = (name, by, step.get("gen", 0))
            self.sequences[key] = self.sequences.get(key, 0) + 1
            data = payloads.esp(self.plan["seed"], name, flow, step, number, self.sequences[key])
        else:
            data = payloads.udp_payload(self.plan["seed"], name, flow, step, number)
        note.sent, note.to, note.data = True, target, data
        self._out(self._program(flow, by), data, target, note)
        self._wait(note, number)

    def _target(self, name: str, flow: Flow, by: str, gen: int) -> tuple[str, int] | None:
        if by == "a":
            return self._at(flow), int(flow.get("to_port", 0))
        if name in self.heard:
            return self.partners.get((name, gen), self.heard[name]) if flow["kind"] == "ike" else self.heard[name]
        if flow["kind"] != "esp":
            return None
        if "of" not in flow:
            return str(flow.get("peer", self.world.router.wan_address)), 0
        return (self.heard[flow["of"]][0], 0) if flow["of"] in self.heard else None

    def _out(self, program: Datagrams, data: bytes, target: tuple[str, int], note: Note) -> None:
        try:
            program.send(data, *target)
        except OSError as error:
            note.odd.append(("sender", error.strerror or "", 0))

    def _error(self, step: Step, number: int) -> None:
        note = self.notes[number] = Note()
        flow, by = self.flows[step["flow"]], step["by"]
        about = next((self.notes[before] for before in reversed(self.notes) if before != number and self.notes[before].data
                      and self._step(before)["flow"] == step["flow"] and self._step(before)["by"] != by and self.notes[before].got), None)
        if about is None:
            return
        teller, told = self._host(flow, by), self._host(flow, "b" if by == "a" else "a")
        source, port = about.source
        own = int(flow.get("a_port", 0)) if by == "a" else b_port(flow)
        segment = about.data if flow["kind"] == "esp" else struct.pack(">HHHH", port, own, 8 + len(about.data), 0) + about.data
        quoted = ip(source, teller.address, PROTO_ESP if flow["kind"] == "esp" else PROTO_UDP, segment)
        body = struct.pack(">BBHI", TIME_EXCEEDED, 0, 0, number) + quoted[:548]
        note.sent, note.to = True, (told.name, 0)
        teller.send_raw(ip(teller.address, source, ICMP, body[:2] + struct.pack(">H", checksum(body)) + body[4:]))
        self._wait(note, number)

    def _knock(self, step: Step, number: int) -> None:
        note = self.notes[number] = Note()
        host, port = self.world.host(step["from"]), int(step["from_port"])
        key = (host.name, port, "")
        if key not in self.sockets:
            sock = host.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("", port))
            self.sockets[key] = Datagrams(host, sock)
        note.sent, note.to = True, (step["at"], int(step["port"]))
        self._out(self.sockets[key], payloads.token(self.plan["seed"], number, size=24) + payloads.mark(number), note.to, note)
        self._wait(note, number)

    def _wait(self, note: Note, number: int) -> None:
        """Until the packet is there, or never will be; then until the daemon has nothing to do."""
        self.world.pump.drain()
        expected = number in self.expected
        # The first loss is what counts; what follows from it is not waited for as long.
        if not self.world.pump.run(lambda: note.got, self.patience if expected else LINGER) and expected:
            self.patience = min(self.patience, HURRY)
        self._settle()

    def _settle(self) -> None:
        daemon = self.world.router.daemon
        if daemon is None:
            return
        over, before = time.monotonic() + SETTLE, ("", "")
        while time.monotonic() < over:
            now = _activity(daemon.pid)
            if now[0] in "ZX":
                raise DaemonEnded(self.world.router.log_text()[-2000:])
            if now == before and now[0] == "S":
                return
            before = now
            self.world.pump.run_for(0.002)

    def _forget(self, step: Step, number: int) -> None:
        what = step["what"]
        if what == "all":
            self.world.router.conntrack_flush()
        elif what in ("udp", "esp"):
            self.world.router.conntrack_delete("-p", {"udp": "udp", "esp": "50"}[what])
        else:
            self.world.router.conntrack_delete("-s", self.world.host(what).address)
        self._settle()

    def _readdress(self, step: Step, number: int) -> None:
        self.world.readdress(step["who"], step["to"])

    def _policy(self, step: Step, number: int) -> None:
        self.world.mark(step["who"], step["on"])

    def _fw4(self, step: Step, number: int) -> None:
        getattr(self.world.router, f"fw4_{step['what']}")()
        self._settle()

    def _reload(self, step: Step, number: int) -> None:
        if self.world.router.daemon:
            self.world.router.ask(method="reload")
            self._settle()

    def _kill(self, step: Step, number: int) -> None:
        if self.world.router.daemon:
            self.world.router.kill_vpnpt(signal.SIGKILL)

    def _start(self, step: Step, number: int) -> None:
        if self.world.mode == "vpnpt" and not self.world.router.daemon:
            self.world.router.start_vpnpt(self.world.config)

    def _pause(self, step: Step, number: int) -> None:
        self.world.pump.run_for(float(step["seconds"]))


def _activity(pid: int) -> tuple[str, str]:
    """The state of a process, and how often it has slept so far."""
    fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    return fields["State"][0], fields["voluntary_ctxt_switches"]
