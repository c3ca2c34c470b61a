"""Open the built site in headless Chromium and look for faults.

Checks that internal links work, that no page writes errors to the console, that no page
is wider than a phone, and that the search finds something. Needs selenium, Chromium and
chromedriver::

    python docs/check_site.py docs/_build/html
    python docs/check_site.py docs/_build/html --pictures FOLDER
"""

from __future__ import annotations

import argparse
import functools
import shutil
import sys
import tempfile
import threading
from contextlib import contextmanager
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

PHONE, DESK = (390, 844), (1280, 900)
PICTURED = (
    "index.html",
    "command.html",
    "guide/what_it_is.html",
    "guide/backbones.html",
    "guide/images.html",
    "guide/measured.html",
    "guide/troubleshooting.html",
    "api/generated/sktl.PretrainedFeatures.html",
    "auto_examples/plot_trunks.html",
    "auto_examples/plot_verification.html",
    "auto_examples/plot_which_layer.html",
    "auto_examples/index.html",
    "contributing.html",
    "model_cards/lenet5.html",
)


class _Links(HTMLParser):
    """The links of a page, and the anchors that links can point to."""

    def __init__(self, text: str):
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.anchors |= {found[key] for key in ("id", "name") if found.get(key)}
        for key in ("href", "src"):
            if found.get(key) and tag != "base":
                self.links.add(found[key])


def pages_of(site: Path) -> list[Path]:
    """Return the pages; those in _static are templates of the theme."""
    found = sorted(site.rglob("*.html"))
    return [path for path in found if path.relative_to(site).parts[0] != "_static"]


def broken_links(site: Path) -> list[str]:
    """Return the links within the site that do not work."""
    pages = {path: _Links(path.read_text()) for path in pages_of(site)}
    broken = []
    for page, content in pages.items():
        for link in sorted(content.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            address, anchor = urldefrag(link)
            path = unquote(urlsplit(address).path)
            target = (page.parent / path).resolve() if path else page
            if target.is_dir():
                target /= "index.html"
            known = pages.get(target)
            lost_anchor = known and anchor and unquote(anchor) not in known.anchors
            if not target.exists() or (lost_anchor and anchor != "top"):
                broken.append(f"{page.relative_to(site)} -> {link}")
    return broken


@contextmanager
def served(site: Path):
    """Serve a folder and yield its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(site))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def chromium():
    """Yield a browser with a new, empty profile."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
    profile = tempfile.mkdtemp()
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        yield browser
    finally:
        browser.quit()
        shutil.rmtree(profile, ignore_errors=True)


def set_width(browser, size: tuple[int, int]) -> None:
    """Give the page exactly this size; a window may not allow it."""
    width, height = size
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )


def faults_of(browser, base: str, page: str) -> list[str]:
    """Return the faults of one page, at the widths of a desktop and a phone."""
    faults = []
    set_width(browser, DESK)
    browser.get(f"{base}/{page}")
    for entry in browser.get_log("browser"):
        # Browsers request this file whatever the page says.
        if "/favicon.ico" in entry["message"]:
            continue
        if entry["level"] in ("SEVERE", "WARNING"):
            faults.append(f"{page}: console: {entry['message'][:200]}")
    set_width(browser, PHONE)
    wide = browser.execute_script(
        "return [document.documentElement.scrollWidth, window.innerWidth]"
    )
    if wide[0] > wide[1]:
        faults.append(f"{page}: {wide[0]} px wide on a phone of {wide[1]} px")
    return faults


def search_faults(browser, base: str) -> list[str]:
    """Return a fault if the search does not find the main estimator."""
    from selenium.common.exceptions import TimeoutException
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(f"{base}/search.html?q=PretrainedFeatures")
    try:
        WebDriverWait(browser, 20).until(
            lambda b: b.find_elements(By.CSS_SELECTOR, "#search-results li a")
        )
    except TimeoutException:
        return ["search: nothing found for PretrainedFeatures"]
    return []


def photograph(browser, base: str, folder: Path) -> None:
    """Write screenshots of some pages, wide and narrow."""
    folder.mkdir(parents=True, exist_ok=True)
    for page in PICTURED:
        for kind, size in (("desk", DESK), ("phone", PHONE)):
            set_width(browser, size)
            browser.get(f"{base}/{page}")
            name = page.removesuffix(".html").replace("/", "-")
            browser.save_screenshot(str(folder / f"{name}-{kind}.png"))


def main() -> int:
    """Check a site; return 1 if it has faults."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    site = arguments.site.resolve()
    pages = [str(path.relative_to(site)) for path in pages_of(site)]
    faults = broken_links(site)
    with served(site) as base, chromium() as browser:
        for page in pages:
            faults += faults_of(browser, base, page)
        faults += search_faults(browser, base)
        if arguments.pictures:
            photograph(browser, base, arguments.pictures)
    print("\n".join(faults) or f"{len(pages)} pages, nothing wrong")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
