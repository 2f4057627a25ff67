"""The page in a real browser: a form, a prediction with its bars and members, a label, and what goes wrong."""

import shutil

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from tests.serving.common import serving

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(shutil.which("chromedriver") is None, reason="needs Debian's chromium and chromium-driver"),
]
SIZES = {"wide": (1280, 900), "narrow": (390, 844)}


@pytest.fixture(scope="module")
def server(churn_file, tmp_path_factory):
    with serving(churn_file, folder=tmp_path_factory.mktemp("page")) as server:
        yield server


@pytest.fixture(params=["light", "dark"])
def scheme(request):
    return request.param


@pytest.fixture
def browser():
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    log = [line["message"] for line in driver.get_log("browser") if line["level"] == "SEVERE"]
    driver.quit()
    assert [line for line in log if "status of 422" not in line] == []


def open_page(browser, address):
    browser.get(address)
    wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#fields .field") and text(browser, "#numbers"))


def wait(browser, condition):
    return WebDriverWait(browser, 30).until(lambda _: condition())


def text(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector).text


def field(browser, name):
    label = next(label for label in browser.find_elements(By.CSS_SELECTOR, "#fields label") if label.text == name)
    return browser.find_element(By.ID, label.get_attribute("for"))


def predict(browser):
    browser.execute_script("document.getElementById('prediction').replaceChildren()")
    browser.find_element(By.CSS_SELECTOR, "#row [type=submit]").click()
    wait(browser, lambda: text(browser, "#prediction"))


def test_a_person_gets_a_prediction_and_reports_the_truth(server, browser):
    open_page(browser, server.address)
    assert browser.title == "Predictions of churn"
    assert [option.text for option in Select(field(browser, "city")).options] == [
        "Oslo",
        "Rome",
        "Bern",
        "missing",
        "another value",
    ]
    assert field(browser, "age").get_attribute("value")
    age = field(browser, "age")
    age.clear()
    age.send_keys("70")
    predict(browser)
    assert text(browser, ".answer") in ("left", "stayed")
    shares = [float(share.text.removesuffix(" %")) for share in browser.find_elements(By.CSS_SELECTOR, ".bars .share")]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    opacities = [
        float(dot.value_of_css_property("opacity"))
        for dot in browser.find_elements(By.CSS_SELECTOR, ".bar.top .member")
    ]
    weights = server.client.get("/model").json()["member_weights"]
    assert np.argsort(opacities).tolist() == np.argsort(weights).tolist()
    assert max(opacities) == pytest.approx(0.75)
    Select(browser.find_element(By.ID, "true-label")).select_by_visible_text(text(browser, ".answer"))
    browser.find_element(By.CSS_SELECTOR, "#label [type=submit]").click()
    wait(browser, lambda: "it counts" in text(browser, "#label-answer"))
    wait(browser, lambda: "live accuracy" in text(browser, "#numbers"))


def test_missing_and_new_categories_can_be_chosen(server, browser):
    open_page(browser, server.address)
    city = Select(field(browser, "city"))
    city.select_by_visible_text("missing")
    field(browser, "income").clear()
    predict(browser)
    assert text(browser, ".answer")
    city.select_by_visible_text("another value")
    typed = browser.find_element(By.CSS_SELECTOR, "#fields select + input")
    assert typed.is_displayed()
    typed.send_keys("<b>Paris</b>")
    predict(browser)
    assert text(browser, ".answer")


def test_a_wrong_value_is_named_at_its_field(server, browser):
    open_page(browser, server.address)
    age = field(browser, "age")
    age.clear()
    age.send_keys("old")
    predict(browser)
    assert "Field 'age' of row 0: expected a number" in text(browser, "#prediction .error")
    assert age.get_attribute("aria-invalid") == "true"


def test_a_value_outside_of_the_training_data_is_marked(server, browser):
    open_page(browser, server.address)
    age = field(browser, "age")
    age.clear()
    age.send_keys("1000")
    assert browser.find_elements(By.CSS_SELECTOR, ".field small.outside")


@pytest.mark.parametrize("size", SIZES)
def test_the_page_fits_and_can_be_read(server, browser, scheme, size):
    width, height = SIZES[size]
    emulate = browser.execute_cdp_cmd
    emulate(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "narrow"},
    )
    emulate("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    open_page(browser, server.address)
    predict(browser)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    colours = browser.execute_script(
        "return [...document.querySelectorAll('h2, dd, label, .hint, .answer, .share')]"
        ".map(e => [getComputedStyle(e).color, getComputedStyle(e.closest('section')).backgroundColor])"
    )
    assert colours
    assert min(contrast(*pair) for pair in colours) >= 4.5  # the limit of WCAG 2.2, AA


def contrast(one, other):
    """The ratio of luminances of two colours, as WCAG 2.2 defines it."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour):
    channels = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
