# SPDX-License-Identifier: GPL-2.0-or-later
"""Who owns an inbound SPI of a server with several clients. Pure: events in, actions out, no clock of its own.

messages.py has the events and actions, candidates.py who may own an SPI that is first seen, newcomers.py who may have owned one,
evidence.py what is known of whom, tally.py what speaks for whom: timing.py and answers.py packets that come alone, assignment.py the other
open SPIs, echoes.py, counts.py and blocks.py packets that follow each other closely (transfers); engine.py the one door:
`handle(event, now) -> [Action]`, `next_deadline()`.

The rules
 1. A server sends with a new SPI only after an exchange that made it: an IKE child exchange entitles its client to one new SPI, from
    its first message on, as the SPI may overtake the answer (how long that takes the server, nobody knows: it computes, or was busy
    before); an outbound SPI without an answer shows a client that waits for one (manual keys too).
 2. The candidates for an SPI are all clients that need one when it is first seen, however long they have waited. Who begins to need one
    later is none: the SPI was there before; nor does its need speak against others, as that SPI may have met it (manual keys that the
    server is the first to use); so while only such needs are known, all with manual keys that the server has answered are candidates of
    the next SPI, too. Where nobody is known to need one, every client of the server is a candidate, and who sends his first ESP later
    becomes one. A group of clients that needs just as many SPIs as are open among themselves needs no other, nor does a client
    whose own is proven (5); an exchange that was under way when the last of these came counts as a need, and its client is a candidate
    of what comes until it is answered. If it gets one, it has had one need more: its answer adds none.
 3. One candidate: it is the owner. Several: all get every packet, until only one is left. Nothing is lost meanwhile, and only
    the holder of the keys can use what it gets. The kernel copies to FAN of them, the likeliest; the rest get theirs from us.
 4. A client that got its SPI needs no other, and leaves the other SPIs' candidates: that may leave one there (elimination).
 5. Timing: a packet that comes alone on its SPI, a round trip after a candidate's question, is a hit for that candidate; so is one that
    it reacts to at once. How long that takes the first answer of an IKE SA tells: for others a server may compute. Proof is a number of
    hits that chance gives with a probability below e^-SURE, while no other candidate's are more than chance; who has waited for less time
    needs fewer of them. It ends the candidacy of those who asked as well and were not answered, of those whose own SPI is proven, and of
    those that may need nothing (an IKE SA is rekeyed by the same exchange as its children); below e^-CERTAIN that of the silent too,
    unless there is a hint that the winner owns another SPI, or it only has the rhythm of these packets. Nothing is proven against a
    candidate that has spoken whenever such a packet came: hosts that ask at the same intervals (pings) are always as far from each other,
    and an answer in ESP may be faster than one of IKE. Nor against one that the server knows, where the winner speaks so much at that
    time that every fourth packet would be a hit (TELLS): in a transfer it is in step with others by the line that they share. As silent
    counts a candidate when a packet came as long after none of its questions as the others did: then that is no answer to it (11).
 6. A decision can be challenged, once: by a candidate of then that began to ask when the SPI appeared, and starves (no SPI is open that
    could be its own, as its questions there have no answers, alone or in a row); or, where the kernel decided alone, by whoever needs one
    too. Challengers get its packets beside the incumbent until timing proves one of them right, or their questions go unanswered. So a
    wrong decision is mended, a right one kept. The same for an SPI that the kernel let pass to a server's only client, which had not asked
    for it, once there is another client; for those of a client whose outbound SPI comes from another address; and, with manual keys, for
    what a client got for its need alone within the last minute, once another one sends its first ESP, or begins to use another outbound
    SPI within seconds: the server may be the first to use new keys. Such a newcomer ends the older one's candidacy after a minute only;
    that of who was given it for its need, never, and is none itself for longer than ten seconds, if timing does not speak for it.
 7. Two clients may choose the same SPI. A known SPI that begins anew with sequence number 1, or whose number 1 comes twice, while others
    wait is shared by them for good, but for those that get another one; so it is where a second after it was first seen it begins anew
    among candidates, or a challenger (6), of whom more than one may need it.
 8. What is remembered is bounded: per client and server so many outbound SPIs, per server so many open ones, per client so many
    servers, and all of these together; beyond, the oldest of whoever has the most go. Rules 10 and 12 follow so many open ones at once.
 9. A neighbour that makes up ESP wins nothing. A client that the server has never answered, in IKE or with an SPI, does not end the
    candidacy of one that it has and that has just begun to need an SPI, for a minute. And while only such clients seem to need an SPI,
    those with manual keys that have been answered are candidates, too. Nor is it kept one, after some seconds, by speaking all the time
    beside a client whose timing is proof, nor may it challenge (6) that decision: it had those copies.
10. Transfers: packets that follow each other closely answer no question, but whoever gets them confirms them. A candidate that sends
    within some milliseconds after packets of this SPI, more often than its own habits explain (pauses as before, an even rhythm), gains
    the logarithm of that likelihood ratio each time; over a rival only while that one did not send as well, and only what is not explained
    by the two being in step: as long after that one's packets as before. It is proven over those from whom it has gained CERTAIN and the
    logarithm of how many candidates there are, if nothing speaks for them, or not a quarter as much: were its habits known exactly, the
    probability of a wrong proof, looked at after each packet, would be e^-CERTAIN (Ville), one in 440,000. Rhythms in step with each other
    (telephones, hosts that wait together) prove nothing, and stay copied; nor is anything proven over a rival whose own packets say as
    exactly how many come: they may only take turns.
11. How long answers take is learned while they come, of each candidate for itself: the owner has begun to speak as long before each
    packet that comes alone as before the others. IKE may not tell it (manual keys, a restart), or something else (its daemon computes;
    who answers is behind the server). Each time that a guess is right, the candidate gains the logarithm of how often its guesses are,
    over how probable that was by chance: by how often it begins to speak, how many others did then, and whether it does so after as long
    a pause as before: a rhythm proves nothing. Against a client that the server knows only those count before which it had been silent
    (NEAR): in an upload its packets wait in one row with others', whose answers come as long after these as its own. That proves like
    rule 5. What one SPI's packets have told so is the first guess for the others of this server, and for all the packets that they had
    before.
12. Counts: where transfers come together, packets of each come at any time, but between two that their owner sends always as many of its
    own. A candidate gains the logarithm of a likelihood ratio with each packet that it sends: how well its own count foretells how many
    came meanwhile, over what time, everybody else's packets and each rival's do together. That proves it like rule 10, if its own count
    is mostly exact, and more comes than it sends: what it sends to another client comes to that one packet for packet. A candidate that was
    given an SPI before may confirm what comes with that, unseen: then it is proven only over those that are seen to send, too.
13. Lost notices: for a minute it is not known who needs an SPI. Every client of the server that it has answered is a candidate, if the
    kernel can copy to all of its clients; elimination tells nothing, and one that was never answered ends nobody's candidacy.
14. Where a group of clients needs just as many SPIs as are open among themselves (2), who is the owner of one by timing, or by numbers
    (15), owns none of the others. If that were wrong, one of these were its own, and that one's owner wrong, too: what speaks for the one
    against it there counts here as well, the least of it. The clients for which most speaks must be others for each SPI, or they are no
    assignment. Here a client's first ESP is a need, though nothing told which SPI it used.
15. Blocks: of uploads no single packet tells anything, as what confirms them comes a round trip late and in step with what others send.
    But over some hundred packets their number stays in proportion to what their owner has sent, and to what no other client has. A
    candidate gains the logarithm of a likelihood ratio with each block: how well its own number foretells how many have come by now, over
    what time, everybody's packets and each rival's do together. That proves it like rule 10, if clearly fewer and smaller ones come than it
    sends, or more and larger ones: what it sends to another client (12), in a conference a part of it, is that one's. Of what it gains
    over time and everybody alone, a hint is enough for nobody to be proven over it by rules 10 and 12. Who was never answered by the
    server is no rival here of one that was, and nothing of what it confirms counts beside that (9): it had those copies. The same by the
    kernel's own counters (Counted), read now and then, where packets are too many to hear of each.
"""
