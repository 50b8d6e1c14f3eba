"""A person in front of a browser: what they open, and everything that goes wrong meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import django
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.test import Client
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Response

from .conftest import DESK, PHONE

ROOT = Path(__file__).parent.parent.parent
SCREENSHOTS = Path(os.environ.get("WORKFLOW_TEST_SCREENSHOTS", ROOT / ".screenshots"))
VERSION = "{}.{}".format(*django.VERSION)
Place = tuple[str, str]
# What the stock admin of this Django itself breaks on its own pages: a rule, and the place where. It is left
# out there and nowhere else, and never in an element of ours. A test sees each broken on a stock page.
STOCK: set[Place] = {("label-title-only", "#searchbar")}
if django.VERSION < (6, 0):
    STOCK |= {("link-in-text-block", ".breadcrumbs"), ("link-in-text-block", "#changelist-search")}
OURS = '[class^="workflow-"], [class*=" workflow-"], [id^="workflow-"]'
_NOTE_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP: ${event.violatedDirective} kept ${event.blockedURI || "inline"} out`);
});
"""


@dataclass(kw_only=True, eq=False)
class Visitor:
    """A browser's window on the site at ``address``, and what went wrong in it until now."""

    page: Page
    address: str
    scheme: str = "light"
    width: int = DESK
    problems: list[str] = field(default_factory=list)
    expected: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.turn()
        self.page.add_init_script(_NOTE_VIOLATIONS)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        self.page.on("response", self._receive)

    @property
    def context(self) -> BrowserContext:
        """The window's cookies and settings."""
        return self.page.context

    def turn(self, *, scheme: Literal["light", "dark"] = "light", width: int = DESK) -> None:
        """Look at it in these colours, in a window of that width; at all that is opened from now on, too."""
        self.scheme, self.width = scheme, width
        self.page.emulate_media(color_scheme=scheme)
        self.page.set_viewport_size({"width": width, "height": 844 if width == PHONE else 900})

    def log_in(self, user: AbstractBaseUser) -> None:
        """Be ``user``, by the cookie of a session."""
        client = Client()
        client.force_login(user)
        cookie = client.cookies[settings.SESSION_COOKIE_NAME]
        self.context.add_cookies(
            [{"name": settings.SESSION_COOKIE_NAME, "value": cookie.value, "url": self.address}]
        )

    def open(self, path: str) -> Response:
        """Go to a page of the site, or to a whole address."""
        response = self.page.goto(path if "://" in path else self.address + path)
        assert response is not None
        return response

    def examine(self, name: str) -> None:
        """See to it that the page as it is breaks no rule, and keep a picture of it as ``name``.

        No error in the console, nothing that the policy kept out, no rule of axe's broken, nothing to be
        scrolled sideways. Axe asks every rule that is on by default, which is WCAG 2.1 A and AA and the best
        practices; STOCK alone is left out. In dark only the rules on colours are asked: the others see no
        difference.
        """
        self.page.wait_for_load_state("load")
        self.take_picture(name)
        # The page has the time that axe takes to go wrong in.
        broken = self._broken_rules()
        found = [*self.problems, *broken]
        assert not found, "\n".join([f"{name}:", *found])
        wide = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{name} is {wide} px wider than the window"

    def take_picture(self, name: str) -> None:
        """Keep a picture of the whole page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        size = "-phone" if self.width < 600 else ""
        path = SCREENSHOTS / f"{name}-{self.scheme}{size}-django{VERSION}.png"
        self.page.screenshot(path=path, full_page=True)

    def find_stock(self) -> set[Place]:
        """Return what of STOCK this page really breaks."""
        return {place for rule, node in self._ask_axe() for place in self._places(rule["id"], node)}

    def _broken_rules(self) -> list[str]:
        return [
            f"{rule['id']} ({rule['help']}): {node['html'][:300]}"
            for rule, node in self._ask_axe()
            if not self._places(rule["id"], node)
        ]

    def _ask_axe(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        # The policy stays as strict as it is: what is evaluated from outside is not under it. A preload would
        # copy style sheets into styles, which it does keep out, and that would look like a fault of the page.
        options: dict[str, Any] = {"preload": False}
        if self.scheme == "dark":
            options["runOnly"] = ["color-contrast", "link-in-text-block"]
        for rule in Axe().run(self.page, options=options).response["violations"]:
            for node in rule["nodes"]:
                yield rule, node

    def _places(self, rule: str, node: dict[str, Any]) -> set[Place]:
        [target, *_] = node["target"]
        return {(name, place) for name, place in STOCK if name == rule and self._is_in(target, place)}

    def _is_in(self, target: str, place: str) -> bool:
        script = """([target, place, ours]) => {
          const element = document.querySelector(target);
          return !!element?.closest(place) && !element.closest(ours);
        }"""
        return bool(self.page.evaluate(script, [target, place, OURS]))

    def _hear(self, message: ConsoleMessage) -> None:
        # That a request failed is told by the response itself.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.problems.append(f"{message.type}: {message.text}")

    def _receive(self, response: Response) -> None:
        is_own = response.url.startswith(self.address) and not response.url.endswith("/favicon.ico")
        if is_own and response.status >= 400 and response.status not in self.expected:
            self.problems.append(f"{response.status}: {response.url}")
