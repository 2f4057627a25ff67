"""The page of a drift report: what it says, and that it is well-formed and loads nothing."""

import html.parser
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from sknn.monitoring import DriftMonitor, html_report

RNG = np.random.default_rng(0)
TRAIN = {"age": RNG.normal(40, 10, 1000), "city": RNG.choice(["Oslo", "Rome"], 1000), "calls": RNG.poisson(1, 1000)}
LABELS = RNG.choice(["stays", "leaves"], 1000)
VOID = {"meta", "br", "wbr"}


def page(live, predictions=None):
    monitor = DriftMonitor.from_reference(TRAIN, None if predictions is None else LABELS)
    return html_report(monitor.update(live, predictions).report(), "train.csv", "live.csv")


def text_of(page):
    """Return the visible text of a page, after checking that its elements are nested correctly."""
    parser = Parser()
    parser.feed(page)
    assert parser.open == []
    return " ".join("".join(parser.texts).split())


class Parser(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.texts = [], []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        assert not {"src", "href", "onclick"} & {name for name, _ in attributes}

    def handle_startendtag(self, tag, attributes):
        pass  # shapes of SVG

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "title"} & set(self.open):
            self.texts.append(f" {data} ")


def test_the_verdict_on_a_drift():
    text = text_of(page({**TRAIN, "age": TRAIN["age"] + 10}, np.array(["leaves"] * 900 + ["stays"] * 100)))

    assert "The data have changed: 1 of 3 columns no longer looks like the reference." in text
    assert "Most of all: age (higher by 0.9 standard deviations)." in text
    assert re.search(r"The model's predictions have changed: (leaves|stays) \d+ % → \d+ %\.", text)
    assert "live.csv, 1,000 rows" in text
    assert "train.csv, 1,000 rows" in text


def test_the_verdict_on_no_drift():
    text = text_of(page(TRAIN, LABELS))

    assert "The data still look like the reference." in text
    assert "The model's predictions are distributed as before." in text
    assert "only large changes" not in text
    assert "drifted much" not in text


def test_the_verdict_on_predictions_alone():
    text = text_of(page(TRAIN, np.array(["leaves"] * 1000)))

    assert "The data look like the reference, but the model's predictions have changed." in text


def test_few_rows_are_no_proof():
    few = {name: values[:50] for name, values in TRAIN.items()}
    assert "With 50 rows, only large changes can be told from chance." in text_of(page(few))
    none = {name: values[:0] for name, values in TRAIN.items()}
    assert "There are no rows to compare yet." in text_of(page(none))


def test_the_columns_are_sorted_by_effect_and_each_has_a_picture():
    text = page({**TRAIN, "city": ["Kiev"] * 1000, "age": TRAIN["age"] + 4}, LABELS)
    names = re.findall(r'<span class="name">(\w+)</span>', text)
    pictures = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]

    assert names == ["prediction", "city", "age", "calls"]
    assert [picture.attrib["aria-label"].split(":")[0] for picture in pictures] == names


def test_the_bars_have_the_sizes_of_the_shares():
    """Of the age: ten bins of the reference are equally high, and the live rows are all in the last one."""
    text = page({**TRAIN, "age": np.full(1000, 90)})
    (svg,) = (ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL) if "age:" in svg)
    heights = {
        kind: [float(bar.attrib["height"]) for bar in svg.iter("rect") if bar.attrib["class"] == kind]
        for kind in ("reference", "live")
    }

    assert heights["reference"] == pytest.approx([6.4] * 10)
    assert heights["live"] == [0.0] * 9 + [64.0]
    assert "90 %" not in text
    assert "10 % in the reference, 100 % now" in "".join(svg.itertext())


def test_many_levels_are_summarised():
    train = {"x": [f"level {i}" for i in range(40)] * 10 + ["often"] * 100}
    text = text_of(html_report(DriftMonitor.from_reference(train).update(train).report()))

    assert "35 rarer levels" in text


def test_names_and_levels_are_escaped():
    evil = "<script>alert(1)</script>"
    monitor = DriftMonitor.from_reference({evil: [evil, "&"] * 50, "b&c": np.arange(100.0)})
    text = html_report(monitor.update({evil: ["&"] * 100, "b&c": np.arange(100.0)}).report(), evil, evil)

    assert "<script" not in text
    assert evil in text_of(text)


def test_the_page_loads_nothing_and_suits_light_and_dark_screens():
    text = page(TRAIN)

    assert not re.search(r"https?:|url\(|@import|<script|<link|<img", text)
    assert "prefers-color-scheme: dark" in text
