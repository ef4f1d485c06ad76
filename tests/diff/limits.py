# SPDX-License-Identifier: GPL-2.0-or-later
"""Which differences are of a kind that docs/LIMITS.md tells of: each kind a function that says whether this is one of it.

They are counted apart, not left out: `python -m tests.diff` says how many there were of each.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.diff.plan import b_port, is_inside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.diff.plan import Flow, Plan, Step
    from tests.diff.verdict import Find, Notes


def limit(plan: Plan, step: Step, find: Find, stock: Notes, ours: Notes) -> str:
    """The name of the kind, '' if it is none of them."""
    for judge in (server_first, another_waits, program_listens, no_ike, forwarded_500, just_parted, two_addresses, forwarded_esp,
                  who_has_500, router_behind, called_at_a_port, through_beside, goes_on, drawn_port, drawn_anew, rerouted,
                  two_of_one, one_cookie):
        if judge(plan, step, find, stock, ours):
            return judge.__name__.replace("_", " ")
    return ""


def server_first(plan: Plan, step: Step, find: Find, stock: Notes, ours: Notes) -> bool:
    """The flow is older on ours, where an earlier packet was delivered that stock drops, and keeps the address that it began with.

    That packet may have been meant for another host, which the server knows and we do not: the client that waits got it. So with the port,
    where it is still the one that the server knows of this flow; and ESP goes to the address from which the server heard its IKE.
    """
    if step["do"] != "send":
        return False
    flow = plan["flows"][step["flow"]]
    if find.kind == "port":
        same = [(number, before) for number, before, other in _earlier(plan, step) if other is flow and number in ours]
        first = next((before for number, before in same if _reached(ours, number) and not _reached(stock, number)), None)
        # Who has got another address since leaves the port to the old one, as on stock.
        return first is not None and (_moved(plan, first, step, flow) or any(
            ours[number]["source"] == ours[find.number]["source"] for number, _ in same))
    if find.kind != "address":
        return False
    flows = [flow]
    if "of" in flow and any(before["flow"] == step["flow"] and before["by"] == "b" and number in ours and number in stock
                            and ours[number]["to"][0] == ours[find.number]["source"][0] != stock[number]["to"][0]
                            for number, before, _ in _earlier(plan, step)):
        flows += [plan["flows"][flow["of"]]]
    return any(_reached(ours, number) and not _reached(stock, number) or (before.get("start") == "b" and before["by"] == "b")
               for one in flows for number, before in _before(plan, step, one)) or _other_s(plan, step, flow, stock, ours)


def _other_s(plan: Plan, step: Step, flow: Flow, stock: Notes, ours: Notes) -> bool:
    """Has this flow's host got, on ours alone, an earlier packet of this kind that the same server sent to somebody else?"""
    inside, outside = ("a", "b") if is_inside(flow["a"]) else ("b", "a")
    host = "c2" if flow[inside].startswith("h") else flow[inside]
    return any(other["kind"] == flow["kind"] and other[before["by"]] == flow[outside] and number in ours and host in ours[number]["hosts"]
               and host not in stock.get(number, {"hosts": []})["hosts"] for number, before, other in _earlier(plan, step))


def program_listens(plan: Plan, step: Step, find: Find, stock: Notes, ours: Notes) -> bool:
    """ESP for a program of the router that has never spoken IPsec with that server, and has no SA in the kernel."""
    if find.kind != "lost" or step["do"] != "send":
        return False
    flow = plan["flows"][step["flow"]]
    return flow["kind"] == "esp" and "router" in (flow["a"], flow["b"]) and not any(
        before["by"] == ("a" if plan["flows"][before["flow"]]["a"] == "router" else "b") and ours[number]["sent"]
        for number, before in (*_before(plan, step, flow), *_before(plan, step, {**flow, "kind": "ike"})))


def no_ike(plan: Plan, step: Step, find: Find, stock: Notes, ours: Notes) -> bool:
    """What is no IKE, from a server's port 500 to port 500: stock gives it to its client's IKE, ours to whose own flow has these ports. Or
    IKE for the router, which that host's flow takes in the same way."""
    if find.kind not in ("lost", "stray", "opened"):
        return False
    if step["do"] == "knock":
        sender, ports = step["from"], (step["from_port"], step["port"])
    else:
        flow = plan["flows"][step["flow"]]
        sender, ports = flow[step["by"]], (flow.get("a_port"), flow.get("to_port"))
        if flow["kind"] == "ike":
            return (find.kind, flow["b"]) == ("lost", "router") and any(
                other["kind"] != "ike" and (other["b"], other.get("a_port"), other.get("to_port")) == (flow["a"], 500, 500)
                for _, _, other in _earlier(plan, step))
    return ports == (500, 500) and any(flow["kind"] == "ike" and flow["b"] == sender and flow["a_port"] == 500
                                       for flow in plan["flows"].values())


def forwarded_500(plan: Plan, step: Step, find: Find, stock: Notes, ours: Notes) -> bool:
    """A new IKE SA that a server with clients begins goes where the user forwards UDP 500, and what answers it on stock answers nothing."""
    if (find.kind, step.get("by")) not in (("lost", "b"), ("port", "a")) or step.get("start") != "b":
        return False
    return any(feature["kind"] == "forward" and feature.get("port") == 500 for feature in plan["features"])


def another_waits(plan: Plan, step: Step, find: Find, stock: Notes, ours: Notes) -> bool:
    """ESP with an SPI that the server is the first to use goes to another of its clients, which waits for one at that time. So does what a
    client waits for that got such a packet before: it counts as served."""
    if find.kind != "lost" or step["do"] != "send" or step["by"] != "b" or plan["flows"][step["flow"]]["kind"] != "esp":
        return False
    flow = plan["flows"][step["flow"]]

    def server_first(of: Step) -> bool:
        return next(before["by"] for before in plan["steps"] if before["do"] == "send" and before["flow"] == of["flow"]
                    and before.get("gen", 0) == of.get("gen", 0)) == "b"

    if server_first(step):
        return any(other["b"] == flow["b"] and other["a"] != flow["a"] and other["kind"] in ("esp", "ike")
                   for other in plan["flows"].values())
    return any(other["kind"] == "esp" and other is not flow and other["b"] == flow["b"] and before["by"] == "b" and number in ours
               and server_first(before) and flow["a"] in ours[number]["hosts"] for number, before, other in _earlier(plan, step))


def just_parted(plan: Plan, step: Step, find: Find, stock: Notes, ours: Notes) -> bool:
    """A new IKE SA of a server, within a second after another of its clients has said something unasked about its own one."""
    if find.kind != "lost" or step["do"] != "send" or step.get("start") != "b" or step.get("what") != "init" or step["by"] != "b":
        return False
    flow = plan["flows"][step["flow"]]
    earlier = plan["steps"][:plan["steps"].index(step)]
    return any(before["do"] == "send" and before.get("what") == "info" and before["by"] == "a" and not before.get("answer")
               and plan["flows"][before["flow"]]["b"] == flow["b"] and plan["flows"][before["flow"]]["a"] != flow["a"]
               for before in earlier)


def two_addresses(plan: Plan, step: Step, find: Find, stock: Notes, ours: Notes) -> bool:
    """A client's ESP to a server that was the first to send it some at another address: it comes from there, and is not known. Or it has
    called a client at another address than that one's own IKE comes from."""
    if find.kind != "lost" or step["do"] != "send" or step["by"] != "b":
        return False
    flow = plan["flows"][step["flow"]]
    own = any((other["kind"], other["a"], other["b"]) == ("ike", flow["b"], flow["a"]) for _, _, other in _earlier(plan, step))
    return flow["kind"] == "esp" and is_inside(flow["b"]) and bool(ours[find.number]["odd"]) and (
        _other_s(plan, step, flow, stock, ours) or own)


def forwarded_esp(plan: Plan, step: Step, find: Find, stock: Notes, ours: Notes) -> bool:
    """ESP of the router itself, to a server that was the first to send some: that went where the user forwards ESP, and is in the way."""
    if find.kind != "lost" or step["do"] != "send":
        return False
    flow = plan["flows"][step["flow"]]
    to = {feature["to"] for feature in plan["features"] if feature["kind"] == "forward" and feature["proto"] == "esp"}
    return flow["kind"] == "esp" and "router" in (flow["a"], flow["b"]) and any(
        number in ours and to & set(ours[number]["hosts"]) for number, _ in _before(plan, step, flow))


def who_has_500(plan: Plan, step: Step, find: Find, stock: Notes, ours: Notes) -> bool:
    """The sender has port 500 on stock, and another on ours: conntrack was emptied, and the server's packet went where 500 is forwarded,
    or to the router, which lets it in. Or on stock alone it went where 500 (or ESP) is forwarded, and that host sends from there; on ours
    it got a copy at most."""
    steps, emptied = plan["steps"], _emptied(plan)
    if find.kind not in ("port", "address") or step["do"] != "send" or steps.index(step) < emptied:
        return False
    flow = plan["flows"][step["flow"]]
    to = {feature["to"] for feature in plan["features"] if feature["kind"] == "forward" and feature.get("port") == 500}
    if find.kind == "address":
        to |= {feature["to"] for feature in plan["features"] if feature["kind"] == "forward" and feature["proto"] == flow["kind"]}  # ESP
        return flow["kind"] in ("ike", "esp") and step["by"] == "a" and flow["a"] in to and any(
            before["by"] == "b" and (other["kind"], other["b"]) == (flow["kind"], flow["b"]) and number in stock and number in ours
            and flow["a"] in stock[number]["hosts"] and (other["a"] != flow["a"] or len(ours[number]["hosts"]) > 1)
            for number, before, other in _earlier(plan, step))
    router = any(feature["kind"] == "open" for feature in plan["features"])

    def router_s(number: int, before: Step) -> bool:
        return router and before["by"] == "b" and steps.index(before) > emptied and not ours[number]["got"] and (
            ours[number]["to"][1] == 500 != stock[number]["to"][1])

    return any(to & set(ours[number]["hosts"]) or router_s(number, before)
               for number, before in _before(plan, step, flow) if number in ours)


def router_behind(plan: Plan, step: Step, find: Find, stock: Notes, ours: Notes) -> bool:
    """IKE that the user forwards to a client reaches the host behind it: that client is a NAT router, and both have port 500. Or ESP that
    the server is the first to send is that router's own, and that of the host behind it finds no place."""
    if find.kind not in ("lost", "stray") or step["do"] != "send":
        return False
    flow = plan["flows"][step["flow"]]
    if flow["kind"] == "esp":
        return flow["a"].startswith("h") and any(
            before["by"] == "b" and number in ours and "c2" in ours[number]["hosts"] and not _reached(stock, number)
            for number, before in _before(plan, step, flow))
    return (flow["kind"], step["by"]) == ("ike", "a") and any(host.startswith("h") for host in ours[find.number]["hosts"]) and any(
        feature["kind"] == "nat" and feature["who"] == flow["b"] for feature in plan["features"])


def called_at_a_port(plan: Plan, step: Step, find: Find, stock: Notes, ours: Notes) -> bool:
    """A client begins an IKE SA with a server that has called it at another port than 500: it comes by the client's own flow with it
    (where a policy has moved it since, NAT drops that). Or it answers one that we don't know: by the flow in which it was called. Or NAT
    changes the server's port once conntrack was emptied, as both flows are one."""
    if find.kind == "port" and step["do"] == "send" and not is_inside(plan["flows"][step["flow"]]["a"]) and (
            plan["steps"].index(step) > _emptied(plan)):
        flow = plan["flows"][step["flow"]]
        return flow["kind"] == "ike" and is_inside(flow["b"]) and b_port(flow) == 500 != flow["to_port"] and any(
            (other["kind"], other["a"], other["b"], other.get("a_port")) == ("ike", flow["b"], flow["a"], 500)
            for other in plan["flows"].values())
    if find.kind == "port" and step.get("answer") and step.get("start") == "b":
        flow, port = plan["flows"][step["flow"]], ours[find.number]["source"][1]
        return any(other["kind"] == "ike" and (other["a"], other["b"], other["to_port"], b_port(other)) == (flow["b"], flow["a"], port, 500)
                   for _, before, other in _earlier(plan, step) if before["by"] == "a")
    if _called_at_an_address(plan, step, find, stock, ours):
        return True
    if find.kind != "lost" or step["do"] != "send" or step["by"] != "b" or not (step.get("start") == "b" or step.get("gen")):
        return False
    flow = plan["flows"][step["flow"]]
    since = [before for _, before, other in _earlier(plan, step) if other is flow and before.get("start") == "b"]
    return flow["kind"] == "ike" and is_inside(flow["b"]) and b_port(flow) == 500 != flow["to_port"] and (
        bool(since) or _heard(ours, find.number, flow) or any(other.get("who") == flow["b"] for other in plan["steps"])) and any(
        before["by"] == "a" and (other["a"], other["b"], other.get("a_port")) == (flow["b"], flow["a"], 500)
        for _, before, other in _earlier(plan, step) if other["kind"] == "ike")


def _called_at_an_address(plan: Plan, step: Step, find: Find, stock: Notes, ours: Notes) -> bool:
    """The same at another address, for which NAT has changed the server's port on stock: what answers the copy here, which has its own
    port, goes by the client's own flow; and an IKE SA that the client begins at that port goes nowhere."""
    if (find.kind, step.get("by")) != ("lost", "b"):
        return False
    flow = plan["flows"][step["flow"]]
    changed = [ours[number]["source"][1] != flow["a_port"] for number, before in _before(plan, step, flow)
               if before["by"] == "a" and number in stock and number in ours and stock[number]["got"] and ours[number]["got"]
               and stock[number]["source"][1] != flow["a_port"]] if flow["kind"] == "ike" and is_inside(flow["b"]) else []
    begins = (step.get("start"), step.get("what"), step.get("answer", False)) == ("b", "init", False)
    return (False in changed and _heard(ours, find.number, flow)) or (True in changed and begins)


def through_beside(plan: Plan, step: Step, find: Find, stock: Notes, ours: Notes) -> bool:
    """ESP of a host that is called at another address, too: its first packet got through on ours alone, and the rest goes the same way."""
    if find.kind != "lost" or step["do"] != "send" or step["by"] != "b":
        return False
    flow = plan["flows"][step["flow"]]
    return flow["kind"] == "esp" and is_inside(flow["b"]) and _heard(ours, find.number, flow) and any(
        before["by"] == "b" and _heard(ours, number, flow) and not (_heard(stock, number, flow) or stock[number]["got"])
        for number, before in _before(plan, step, flow) if number in ours and number in stock)


def goes_on(plan: Plan, step: Step, find: Find, stock: Notes, ours: Notes) -> bool:
    """ESP of a host that is called at another address, too: it sent from the router's, on stock as well, until conntrack was emptied."""
    if find.kind != "lost" or step["do"] != "send" or step["by"] != "b":
        return False
    flow, steps = plan["flows"][step["flow"]], plan["steps"]
    return flow["kind"] == "esp" and is_inside(flow["b"]) and _heard(ours, find.number, flow) and any(
        before["by"] == "b" and steps.index(before) < _emptied(plan) < steps.index(step) and _heard(stock, number, flow)
        for number, before in _before(plan, step, flow) if number in stock)


def drawn_port(plan: Plan, step: Step, find: Find, stock: Notes, ours: Notes) -> bool:
    """A server begins an IKE SA at a port that NAT has drawn for its client, and at which nothing of it has arrived yet; or answers there
    with a cookie that the client has used from another port, too. Or the router begins one itself with who has called it in a client's
    zone: for conntrack that is another flow, and NAT draws it a port."""
    if (find.kind, step.get("start"), step.get("answer")) == ("port", "b", True) and plan["flows"][step["flow"]]["b"] == "router":
        return any(feature["kind"] == "masquerade" for feature in plan["features"])
    if find.kind != "lost" or step["do"] != "send" or step["by"] != "b":
        return False
    flow, port = plan["flows"][step["flow"]], ours[find.number]["to"][1]
    if (flow["kind"], flow["b"], step.get("start")) == ("ike", "router", "b"):
        return _heard(ours, find.number, flow) and any(feature["kind"] == "masquerade" for feature in plan["features"])
    moved = flow.get("cookie") == "same" and any(
        before["by"] == "a" and other.get("cookie") == "same" and (other["a_port"] != 500 or other["a"].startswith("h"))
        for _, before, other in _earlier(plan, step) if other["kind"] == "ike" and other["b"] == flow["b"])
    if not (moved if step.get("answer") else step.get("start") == "b"):
        return False
    return flow["kind"] == "ike" and flow["a_port"] == 500 and port not in (500, 4500) and not any(
        ours[number]["got"] and ours[number]["to"][1] == port for number, before in _before(plan, step, flow)
        if before["by"] == "b" and number in ours)


def drawn_anew(plan: Plan, step: Step, find: Find, stock: Notes, ours: Notes) -> bool:
    """An answer in a forwarded IKE SA, from a port drawn at random, or where stock has drawn one for the server: conntrack was emptied
    in the middle of it."""
    if (find.kind, step.get("by"), step.get("start", "a"), step.get("answer")) != ("lost", "b", "a", True):
        return False
    flow, steps = plan["flows"][step["flow"]], plan["steps"]
    forwarded = "start" in step and any(feature["kind"] == "forward" and feature.get("port") == 500 for feature in plan["features"])
    random = any(feature["kind"] == "masquerade" for feature in plan["features"])
    drawn = any(before["by"] == "a" and number in stock and stock[number]["got"] and stock[number]["source"][1] != flow.get("a_port")
                for number, before in _before(plan, step, flow))
    return ((forwarded and random) or drawn) and flow["kind"] == "ike" and is_inside(flow["b"]) and steps.index(step) > _emptied(
        plan) and _heard(ours, find.number, flow)


def rerouted(plan: Plan, step: Step, find: Find, stock: Notes, ours: Notes) -> bool:
    """The first packet of a flow after a policy has moved its host to another uplink, which NAT drops: stock has dropped all before it, or
    another one since."""
    if find.kind != "lost" or step["do"] != "send" or not is_inside(plan["flows"][step["flow"]][step["by"]]):
        return False
    flow, steps = plan["flows"][step["flow"]], plan["steps"]
    host = flow[step["by"]]
    policies = [place for place, other in enumerate(steps[:steps.index(step)]) if other["do"] == "policy" and other["who"] == host]
    before = [(steps.index(other), number) for number, other in _before(plan, step, flow)
              if plan["flows"][other["flow"]][other["by"]] == host and number in ours and number in stock]
    if not policies or not before:
        return False
    since = [number for place, number in before if place > policies[-1]] or [before[-1][1]]
    return any(ours[number]["got"] and not stock[number]["got"] for number in since) and not any(
        stock[number]["got"] and not ours[number]["got"] for number in since)


def two_of_one(plan: Plan, step: Step, find: Find, stock: Notes, ours: Notes) -> bool:
    """ESP with an SPI that the server was the first to use, of a client whose address has changed: the old and the new one are two."""
    if find.kind != "lost" or step["do"] != "send" or step["by"] != "b" or plan["flows"][step["flow"]]["kind"] != "esp":
        return False
    flow = plan["flows"][step["flow"]]
    same = next(before for before in plan["steps"] if before["do"] == "send" and before["flow"] == step["flow"]
                and before.get("gen", 0) == step.get("gen", 0))
    return same["by"] == "b" and _moved(plan, plan["steps"][0], step, flow)


def one_cookie(plan: Plan, step: Step, find: Find, stock: Notes, ours: Notes) -> bool:
    """Two hosts have the same cookie: an ICMP error names none of them, and who is left out gets nothing beside a client."""
    cookie = plan["flows"][step["flow"]].get("cookie") if "flow" in step else None
    return find.kind == "lost" and cookie == "same" and (step["do"] == "error" or bool(plan["config"].get("global")))


def _moved(plan: Plan, since: Step, step: Step, flow: Flow) -> bool:
    """Has the client of this flow got another address between the two steps?"""
    steps, host = plan["steps"], next((flow[side] for side in "ab" if is_inside(flow[side])), "")
    return any(other["do"] == "readdress" and other["who"] == ("c2" if host.startswith("h") else host)
               for other in steps[steps.index(since):steps.index(step)])


def _emptied(plan: Plan) -> int:
    """The first step with which conntrack forgets something."""
    return next((place for place, before in enumerate(plan["steps"]) if before["do"] == "forget"), len(plan["steps"]))


def _heard(notes: Notes, number: int, flow: Flow) -> bool:
    """Did the caller hear this, from another address or port than it had called?"""
    return any(host == flow["a"] for host, _, _ in notes[number]["odd"])


def _reached(notes: Notes, number: int) -> bool:
    return number in notes and bool(notes[number]["got"] or notes[number]["hosts"])


def _before(plan: Plan, step: Step, flow: Flow) -> Iterator[tuple[int, Step]]:
    """The earlier steps, with their numbers, of flows of this kind between the same two."""
    return ((number, before) for number, before, other in _earlier(plan, step)
            if other["kind"] == flow["kind"] and {other["a"], other["b"]} == {flow["a"], flow["b"]})


def _earlier(plan: Plan, step: Step) -> Iterator[tuple[int, Step, dict[str, Any]]]:
    """The packets that were sent before, with their numbers and flows."""
    for place, before in enumerate(plan["steps"]):
        if before is step:
            return
        if before["do"] == "send":
            yield int(before.get("n", place)), before, plan["flows"][before["flow"]]
