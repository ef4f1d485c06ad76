# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures: a browser, a router that answers, and a page between them."""
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.luci import browser as browsers
from tests.luci.views.stand import Router

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    try:
        with browsers.browser() as found:
            yield found
    except LookupError as reason:
        pytest.skip(f"no page was drawn: {reason}")


@pytest.fixture
def router() -> Router:
    return Router()


@pytest.fixture
def page(chromium: Browser, router: Router) -> Iterator[Page]:
    with browsers.answered(chromium, router.handle) as page:
        yield page
