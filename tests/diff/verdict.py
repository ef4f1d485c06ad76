# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares what became of each packet on the two routers."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tests.diff import limits
from tests.diff.plan import is_inside

if TYPE_CHECKING:
    from tests.diff.plan import Flow, Plan, Step

Notes = dict[int, dict[str, Any]]


class Find(NamedTuple):
    """One packet with which ours differs. kind:

    lost     stock delivers it to the program that is meant, ours does not
    address  the other end sees another address than on stock
    port     the other end sees the sender's own port on stock, and another on ours
    opened   not IKE or ESP, sent from outside, delivered by ours although stock keeps it out
    stray    sent from outside, and a host inside has received it that does not on stock (IKE and ESP may be copied to hosts that talk IKE
             or ESP, or UDP 500, with that server, and reach hosts to which the user forwards them)

    limit: the kind of docs/LIMITS.md that it is one of, '' if none.
    """

    kind: str
    flow: str
    by: str
    number: int
    text: str
    limit: str = ""

    @property
    def sort(self) -> tuple[str, str, str]:
        """What must stay the same while a plan is made smaller."""
        return self.kind, self.flow, self.by


def finds(plan: Plan, stock: Notes, ours: Notes) -> list[Find]:
    """In order of the steps."""
    found = []
    for place, step in enumerate(plan["steps"]):
        number = int(step.get("n", place))
        if number in stock and number in ours:
            found += [find._replace(limit=limits.limit(plan, step, find, stock, ours))
                      for find in _compare(plan, step, number, stock[number], ours[number])]
    return found


def compared(stock: Notes, ours: Notes) -> int:
    """How many packets were sent on both."""
    return sum(note["sent"] and number in ours and ours[number]["sent"] for number, note in stock.items())


def _compare(plan: Plan, step: Step, number: int, stock: dict[str, Any], ours: dict[str, Any]) -> Any:
    if not (stock["sent"] and ours["sent"]):
        return
    flow: Flow = plan["flows"][step["flow"]] if step["do"] in ("send", "error") else {"kind": "knock", "a": step["from"], "b": "router"}
    sender, receiver = (flow["a"], flow["b"]) if step.get("by", "a") == "a" else (flow["b"], flow["a"])
    label = (flow["kind"], step.get("by", "a"), number)
    content = "ICMP error" if step["do"] == "error" else step.get("what", "data")
    what = f"{number}: {sender} to {receiver} ({content} of {step.get('flow', 'nothing')})"
    if stock["got"] and not ours["got"]:
        elsewhere = f", reached {', '.join(ours['hosts'])}" if ours["hosts"] else ""
        odd = "; ".join(f"{host} heard it from {address}:{port}" for host, address, port in ours["odd"])
        yield Find("lost", *label, f"{what}: lost{elsewhere}{'; ' if odd else ''}{odd}")
    elif stock["got"] and ours["got"] and step.get("by") == "a":
        if stock["source"][0] != ours["source"][0]:
            yield Find("address", *label, f"{what}: seen from {ours['source'][0]}, on stock from {stock['source'][0]}")
        elif flow["kind"] != "esp" and stock["source"][1] == flow["a_port"] != ours["source"][1]:
            yield Find("port", *label, f"{what}: port {flow['a_port']} became {ours['source'][1]}, on stock it stays")
    if is_inside(sender) or step["do"] == "error":
        return
    sealed = flow["kind"] == "esp" or (flow["kind"] == "ike" and ours["to"][1] == 500)
    # What an L2TP server sends from its port is its client's, whatever the packet is and to whichever of our addresses.
    l2tp = flow["kind"] == "l2tp" or step.get("from_port") == 1701
    more = set(ours["hosts"]) - set(stock["hosts"])
    own = receiver == "router" and ours["to"][1] in (500, 4500) and any(feature["kind"] == "open" for feature in plan["features"])
    if ours["got"] and not stock["got"] and not sealed and not l2tp and not own and (is_inside(receiver) or receiver == "router"):
        yield Find("opened", *label, f"{what}: delivered, on stock it is not")
    more -= {receiver, *(("c2",) if receiver.startswith("h") else ())}
    if l2tp:
        own_flows = {other["a"] for other in plan["flows"].values() if other["kind"] == "l2tp" and other["b"] == sender}
        more -= {*own_flows, *(("c2",) if any(name.startswith("h") for name in own_flows) else ())}
    if sealed:
        # Where the user forwards ESP or UDP 500 his door is open to everybody.
        more -= {feature["to"] for feature in plan["features"] if feature["kind"] == "forward"
                 and (feature["proto"] == "esp" if flow["kind"] == "esp" else feature.get("port") == 500)}
        more -= {name for name in more if any(_talks(other, name, sender) for other in plan["flows"].values())}
    # The two routers may have given a flow different ports: to this one the user forwards, and nobody else's packet goes there.
    if ours["to"][1:] != stock["to"][1:]:
        more -= {feature["to"] for feature in plan["features"] if feature["kind"] == "forward" and feature.get("port") == ours["to"][1]}
    if more:
        yield Find("stray", *label, f"{what}: reached {', '.join(sorted(more))}, on stock {', '.join(stock['hosts']) or 'nobody'}")


def _talks(flow: Flow, inside: str, outside: str) -> bool:
    kinds = flow["kind"] in ("ike", "esp") or flow.get("to_port") == 500
    return kinds and {inside, outside} <= {flow["a"], flow["b"], "c2" if flow["a"].startswith("h") else ""}
