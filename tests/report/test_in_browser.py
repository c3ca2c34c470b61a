"""The page in a real browser: no errors, tables sort, pictures load, names exist."""

import pytest

pytestmark = pytest.mark.slow


def errors(browser):
    return [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def find(browser, selector):
    return browser.find_elements("css selector", selector)


def test_console_has_no_errors_and_no_script_of_a_name_runs(browser):
    from selenium.common.exceptions import NoAlertPresentException

    assert errors(browser) == []
    with pytest.raises(NoAlertPresentException):
        browser.switch_to.alert.accept()


def test_all_pictures_load(browser):
    states = browser.execute_script(
        "return [...document.images].map(i => i.complete && i.naturalWidth > 0)"
    )
    assert len(states) > 20
    assert all(states)


def test_ranking_sorts_by_click_and_by_keyboard(browser):
    from selenium.webdriver.common.keys import Keys

    def column(n):
        cells = find(browser, f"#ranking tbody tr > :nth-child({n})")
        return [cell.text for cell in cells]

    before = column(1)
    heading = find(browser, "#ranking thead th")[0]
    button = heading.find_element("css selector", "button")
    assert heading.get_attribute("aria-sort") == "none"
    button.click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(1) == sorted(before, key=str.lower)
    button.send_keys(Keys.ENTER)
    assert heading.get_attribute("aria-sort") == "descending"
    assert column(1) == sorted(before, key=str.lower, reverse=True)
    score = find(browser, "#ranking thead th")[2]
    score.find_element("css selector", "button").send_keys(Keys.SPACE)
    assert heading.get_attribute("aria-sort") == "none"
    assert score.get_attribute("aria-sort") == "descending"
    scores = [float(text) for text in column(3)]
    assert scores == sorted(scores, reverse=True)
    assert "Sorted by Score, descending" in find(browser, "#said")[0].get_attribute(
        "textContent"
    )
    # Numbers sort as numbers: 9 before 10, and not as text.
    fit = find(browser, "#ranking thead th")[7]
    fit.find_element("css selector", "button").click()
    values = [
        float(cell.get_attribute("data-value"))
        for cell in find(browser, "#ranking tbody tr > :nth-child(8)")
    ]
    assert values == sorted(values, reverse=True)
    assert errors(browser) == []


def test_everything_has_a_name_for_those_who_listen(browser):
    for selector in ("img", "button", "nav", "svg[role=img]", "[role=region]", "a"):
        found = find(browser, selector)
        assert found, selector
        assert all(element.accessible_name.strip() for element in found), selector
    for role, n in (("banner", 1), ("main", 1), ("navigation", 1), ("contentinfo", 1)):
        tags = {
            "banner": "header", "main": "main", "navigation": "nav",
            "contentinfo": "footer",
        }  # fmt: skip
        found = [e for e in find(browser, tags[role]) if e.aria_role == role]
        assert len(found) == n
    assert all(table.accessible_name for table in find(browser, "table"))
    assert len(find(browser, "h1")) == 1
    levels = [int(e.tag_name[1]) for e in find(browser, "h1, h2, h3")]
    steps = zip(levels[1:], levels, strict=False)
    assert all(later <= earlier + 1 for later, earlier in steps)


def test_header_cells_say_what_they_head(browser):
    headings = find(browser, "th")
    assert {e.get_attribute("scope") for e in headings} == {"col", "row"}
    assert not [
        e for e in find(browser, "thead th") if e.get_attribute("scope") != "col"
    ]


def test_skip_link_is_first_and_leads_to_the_answer(browser, page):
    from selenium.webdriver.common.keys import Keys

    browser.get(page.as_uri())
    find(browser, "body")[0].send_keys(Keys.TAB)
    focused = browser.switch_to.active_element
    assert focused.text == "Skip to the answer"
    focused.send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.tag_name == "main"


@pytest.mark.parametrize("width", [390, 1100])
def test_no_page_is_wider_than_the_window(browser, page, width):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.get(page.as_uri())
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(browser, page, scheme):
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    browser.get(page.as_uri())
    worst = browser.execute_script(CONTRAST)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert worst["ratio"] >= 4.5, worst


# The contrast of text with what is behind it, as WCAG 2 defines it.
CONTRAST = """
const rgb = (c) => c.match(/[\\d.]+/g).map(Number);
const over = (top, below) => {
  const a = top.length > 3 ? top[3] : 1;
  return [0, 1, 2].map((i) => a * top[i] + (1 - a) * below[i]);
};
const light = (c) => {
  const [r, g, b] = c.map((v) => v / 255).map(
    (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (e) => {
  if (!e) return [255, 255, 255];
  return over(rgb(getComputedStyle(e).backgroundColor), ground(e.parentElement));
};
let worst = { ratio: 99 };
for (const e of document.querySelectorAll("main *, header *, footer *")) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  if (!own || e.closest("svg, script")) continue;
  const below = ground(e);
  const [x, y] = [light(over(rgb(getComputedStyle(e).color), below)), light(below)];
  const ratio = (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
  if (ratio < worst.ratio) worst = { ratio, text: e.textContent, tag: e.outerHTML };
}
return worst;
"""


def test_pages_print(browser, page):
    import base64

    browser.get(page.as_uri())
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert pdf.startswith(b"%PDF")


def test_without_scripts_all_is_readable(open_browser, page):
    browser = open_browser("--blink-settings=scriptEnabled=false")
    browser.get(page.as_uri())
    assert find(browser, "#ranking tbody tr")
    assert not find(browser, "th button")
