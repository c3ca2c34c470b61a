"""Pages to look at, and a browser to look with."""

import shutil

import numpy as np
import pytest
from PIL import Image

from sktl.model_selection import compare
from sktl.report import write_comparison_report

# What a class folder may be called by somebody who means harm.
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def stripe_folder(tmp_path_factory):
    """Return paths and classes of 48 noisy images of three patterns, with a copy."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    paths, y = [], []
    for label in ("across", "down", EVIL):
        (folder / label).mkdir()
        for i in range(16):
            pixels = rng.integers(0, 140, (40, 40, 3), dtype=np.uint8)
            offset = rng.integers(6)
            if label == "down":
                pixels[:, offset::6] += 60
            elif label == "across":
                pixels[offset::6] += 60
            path = folder / label / f'{i:02} "><script>alert(2)<b>.png'
            Image.fromarray(pixels).save(path)
            paths.append(str(path))
            y.append(label)
    paths, y = np.array(paths, dtype=object), np.array(y)
    shutil.copy(paths[0], paths[1])
    return paths, y


@pytest.fixture(scope="session")
def comparison(stripe_folder):
    """Return a comparison of both strategies on these images."""
    paths, y = stripe_folder
    with pytest.warns(UserWarning, match="copies"):
        return compare(
            paths,
            y,
            backbones=["pocket"],
            heads=["logistic"],
            fine_tuning={"max_epochs": 1},
            cv=3,
        )


@pytest.fixture(scope="session")
def page(comparison, stripe_folder, tmp_path_factory):
    """Return the path of the page about it."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    paths, y = stripe_folder
    write_comparison_report(
        path,
        comparison,
        paths,
        source="stripes & <noise>",
        test=(paths[:6], y[:6]),
        skipped=["notes <1>.txt"],
        unreadable=["broken <2>.jpg"],
        code="print('<hello>')\nmodel = 'a' \"b\"",
    )
    return path


@pytest.fixture(scope="session")
def open_browser(tmp_path_factory):
    """Return a function that starts Chromium; skip where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("there is no chromium with chromedriver")
    browsers = []

    def open_browser(*flags):
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update"),
            *("--disable-sync", "--hide-scrollbars"),
            f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
            *flags,
        ):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        browsers.append(webdriver.Chrome(options=options, service=Service(driver)))
        return browsers[-1]

    yield open_browser
    for browser in browsers:
        browser.quit()


@pytest.fixture(scope="session")
def browser(open_browser, page):
    """Return a browser that has opened the page."""
    browser = open_browser("--window-size=1100,900")
    browser.get(page.as_uri())
    return browser
