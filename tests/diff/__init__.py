# SPDX-License-Identifier: GPL-2.0-or-later
"""The differential test: the same made-up network and traffic on a stock router and on ours; what stock delivers, ours must deliver.

    generate.py   a seed → a plan (plan.py): a network, flows, steps
    world.py      the lab's network with what a plan adds to it: further LANs, forwards, SNAT, policies, a router behind the router
    play.py       plays a plan on one router and notes who received each packet
    verdict.py    compares the two notes
    shrink.py     the smallest plan that still shows a find
    worker.py     one process per router, each in namespaces of its own
    __main__.py   the command line: python -m tests.diff --help
"""
