"""Opens a page that `infer trace`, `train --trace-step` or an example wrote, and checks it, in headless Chromium at
desktop and phone width, light and dark:

    pip install selenium                      (and Chromium with its chromedriver, as Debian packages them)
    cargo run --release --example 07_tiny_bert
    python tests/browser/explorer.py target/07_tiny_bert.html OUT
    cargo run -p gradus-autograd --example every_operation every.html
    python tests/browser/explorer.py every.html OUT --formulas          (only these, of every operation)

The script unpacks the page's data by itself, and compares with it what the page shows: the numbers of values and
gradients, of time and memory, of attention. It computes elements of every operation again by the page's own formulas and
compares them with the trace. It goes through all panels and the tour by keyboard, and looks for what does not fit. It prints
what is wrong and then exits with 1. OUT gets a screenshot of each panel: look at them.
"""

import base64
import json
import os
import re
import struct
import sys
import time
import zlib

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from chromium import SIZES, browser, picture

failures = []


def check(what, true):
    print(("ok    " if true else "WRONG ") + what)
    if not true:
        failures.append(what)


class Data:
    """The data of a page, unpacked as autograd/src/trace/page/data.rs says."""

    def __init__(self, path):
        html = open(path, encoding="utf-8").read()
        self.bytes = len(html.encode())
        self.html = html
        packed = re.search(r'<script type="text/plain" id="data">([^<]*)</script>', html).group(1)
        raw = zlib.decompress(base64.b64decode(packed))
        length, singles, doubles = struct.unpack("<3I", raw[:12])
        self.json = json.loads(raw[12 : 12 + length])
        planes = raw[12 + length :]
        rows = [planes[i * singles : (i + 1) * singles] for i in range(4)]
        self.single = struct.unpack(f"<{singles}f", bytes(b for four in zip(*rows) for b in four))
        self.double = struct.unpack(f"<{doubles}d", planes[4 * singles : 4 * singles + 8 * doubles])

    def numbers(self, of):
        if isinstance(of, dict):
            all = self.single if of["bytes"] == 4 else self.double
            return list(all[of["at"] : of["at"] + of["n"]])
        return [float(x) for x in of or []]


# Computes elements of every operation again, and what consumers send back: [operation, element, page's, trace's].
AGAIN = """
const wrong = [], counts = {};
const close = (a, b, size) => Math.abs(a - b) <= 2e-5 * size + 2e-5 * Math.abs(b) || (Number.isNaN(a) && Number.isNaN(b));
for (const step of page.steps) for (const node of step.nodes) {
  if (!node.leaf) {
    const summary = node.value, size = Math.max(Math.abs(summary.min), Math.abs(summary.max), 1e-6);
    const n = node.value_of.size;
    const tried = node.value_of.whole ? [...new Set([0, 1, n - 1, Math.floor(n / 2), Math.floor(n / 3)])].filter((i) => i < n && i >= 0) : explained(node).slice(0, 6);
    for (const flat of tried) {
      const filled = filled_at(node, flat);
      counts[node.op] ??= [0, 0];
      if (filled.missing) { counts[node.op][1]++; continue; }
      counts[node.op][0]++;
      if (!close(filled.value, filled.result, size)) wrong.push([node.op, node.id, flat, filled.value, filled.result]);
    }
  }
  if (node.value_of.size && node.gradient_of && node.gradient_of.whole && node.consumers.length) {
    const summary = node.gradient, size = Math.max(Math.abs(summary.min), Math.abs(summary.max), 1e-9);
    for (const flat of new Set([0, node.value_of.size - 1])) {
      const back = node.consumers.map(({ node: other, place }) => [other.op, sent_back(other, place, flat)]);
      if (back.some(([, filled]) => filled.missing)) continue;
      const sum = back.reduce((total, [, filled]) => total + filled.value, 0);
      const name = "back of " + back.map(([op]) => op).join(" and ");
      (counts[name] ??= [0, 0])[0]++;
      // Sums that cancel: what is left is rounding.
      const terms = Math.max(...node.consumers.map(({ node: other }) => Math.max(Math.abs(other.gradient.min), Math.abs(other.gradient.max))));
      if (!close(sum, node.gradient_of.at(flat), 10 * size + 0.01 * terms)) wrong.push([name, node.id, flat, sum, node.gradient_of.at(flat)]);
    }
  }
}
return [counts, wrong];
"""


def same(shown, number):
    """Whether a text in full digits (a title, an attribute) is the number, in f32 or in f64."""
    text = shown.replace("−", "-")
    if text in ("NaN", "∞", "-∞"):
        return text == {True: "NaN"}.get(number != number, "∞" if number > 0 else "-∞")
    single = struct.unpack("<f", struct.pack("<f", float(text)))[0]
    return float(text) == number or single == number


def values(driver, name, data, get, every):
    """Compares what the panel of values shows of some nodes with the data."""
    step = data.json["steps"][0]
    with_gradient = [node["id"] for node in step["nodes"] if node["gradient"]]
    some = with_gradient[:: max(1, len(with_gradient) // 4)][:5] + [len(step["nodes"]) - 1]
    compared = 0
    for node in some:
        driver.execute_script("act.choose(page.steps[0].nodes[arguments[0]]); act.panel('values')", node)
        traced = step["nodes"][node]
        sides = [traced["value"]] + ([traced["gradient"]] if traced["gradient"] else [])
        shown = [float(x.get_attribute("data-x")) for x in every("#panel .pair table [data-x]")]
        expected = [side[key] for side in sides for key in ("min", "max", "mean", "std")]
        shown = [x for i, x in enumerate(shown) if i % 5 != 4]  # the fifth is the norm, which follows
        check(f"{name}: node {node} ({traced['op']}) has the trace's extremes, mean and spread", shown == expected)
        for side, table in zip(sides, every("#panel table.numbers")):
            if side["stride"] != 1:
                continue
            all = data.numbers(side["values"])
            for cell in table.find_elements(By.CSS_SELECTOR, "td"):
                compared += 1
                if not same(cell.get_attribute("title"), all[int(cell.get_attribute("data-flat"))]):
                    check(f"{name}: node {node}: {cell.get_attribute('title')}", False)
    check(f"{name}: {compared} numbers of tables are the trace's", compared > 0)


def attention(driver, name, data, get, every):
    """Compares the probability and the gradient of some pairs with the data."""
    nodes = [node for node in data.json["steps"][0]["nodes"] if node["attention"]]
    if not nodes:
        return
    kept = nodes[-1]["attention"]
    n, heads = kept["tokens"], kept["heads"][0]
    p, gradient = data.numbers(kept["probabilities"]), data.numbers(kept["gradient"])
    wrong = 0
    for head, query, key in {(0, 0, 0), (heads - 1, n - 1, 0), (heads // 2, n // 2, n - 1)}:
        driver.execute_script(
            "Object.assign(state.attention, {layer: page.steps[0].nodes[arguments[0]], head: arguments[1], query: arguments[2], "
            "key: arguments[3]}); act.panel('attention')", nodes[-1]["id"], head, query, key)
        at = (head * n + query) * n + key
        shown = [float(x.get_attribute("data-x")) for x in every("#panel .pair [data-x]")]
        wrong += shown != [p[at]] + ([gradient[at]] if gradient else [])
        wrong += float(every("#score [data-x]")[-1].get_attribute("data-x")) != p[at]
    rows = [sum(p[i * n : (i + 1) * n]) for i in range(heads * n)]
    check(f"{name}: probabilities and their gradients are the trace's", not wrong)
    check(f"{name}: and the probabilities of a query sum to 1", all(abs(row - 1) < 1e-5 for row in rows))


def drive(path, out, name, width, height, dark):
    data = Data(path)
    driver = browser(width, height, dark)
    get = lambda css: driver.find_element(By.CSS_SELECTOR, css)
    every = lambda css: driver.find_elements(By.CSS_SELECTOR, css)
    wait = lambda what: WebDriverWait(driver, 60, 0.1).until(lambda _: what())
    fits = lambda: driver.execute_script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    try:
        start = time.time()
        driver.get("file://" + os.path.abspath(path))
        wait(lambda: get("html").get_attribute("data-ready") == "yes")
        check(f"{name}: {data.bytes / 1e6:.2f} MB, ready after {time.time() - start:.1f} s", data.bytes <= 5_000_000 * len(data.json["steps"]))
        check(f"{name}: nothing asks a network", driver.execute_script("return performance.getEntriesByType('resource').length") == 0)
        check(f"{name}: the title is a text", get("#title").text == data.json["title"] and not every("#title *"))
        check(f"{name}: nothing of a text runs", driver.execute_script("return window.hacked") is None)
        check(f"{name}: every field has a label", driver.execute_script(
            "return [...document.querySelectorAll('input, select')].filter(e => !e.labels.length && !e.ariaLabel).length") == 0)

        # The graph: open a module, walk, choose.
        items = len(every("#graph .item"))
        modules = every("#graph .item.module")
        if modules:
            modules[0].click()
            wait(lambda: every("#graph .frame"))
            check(f"{name}: a module opens", len(every("#graph .item")) != items or every("#graph .frame"))
        first = driver.execute_script("const i = document.querySelector('#graph .item[tabindex=\"0\"]') || document.querySelector('#graph .item'); i.focus(); return i.dataset.key")
        driver.switch_to.active_element.send_keys(Keys.HOME)
        driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
        driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
        at = driver.switch_to.active_element.get_attribute("data-key")
        check(f"{name}: arrow keys walk the graph from {first} to {at}", bool(at))
        get("#open-all").click()
        operations = sum(1 for node in data.json["steps"][0]["nodes"] if node["family"])
        check(f"{name}: all {operations} operations are there", len(every("#graph .item.operation")) == operations)
        check(f"{name}: the graph scrolls in itself", fits())
        picture(driver, width, out, f"{name}-all-open")
        get("#close-all").click()
        get("#close-all").send_keys("")

        counts, wrong = driver.execute_script(AGAIN)
        for operation, (done, missing) in sorted(counts.items()):
            print(f"      {operation}: {done} elements again{f', {missing} not on the page' if missing else ''}")
        check(f"{name}: elements of {len(counts)} kinds, computed again, are the trace's {wrong[:3] or ''}", not wrong)
        values(driver, name, data, get, every)
        attention(driver, name, data, get, every)

        # Every panel, of an operation in the middle.
        middle = driver.execute_script("const all = page.steps[0].nodes.filter(n => !n.leaf); act.choose(all.find(n => n.op === 'linear_gelu') || all[all.length >> 1]); return state.node.id")
        for tab in [t.get_attribute("id") for t in every("[role=tab]")]:
            get(f"#{tab}").click()
            wait(lambda: get(f"#{tab}").get_attribute("aria-selected") == "true")
            check(f"{name}: {tab} of node {middle} is there, and fits", bool(get("#panel").text) and fits())
            picture(driver, width, out, f"{name}-{tab.removeprefix('tab-')}")
        get("[role=tab][aria-selected=true]").send_keys(Keys.ARROW_LEFT)
        check(f"{name}: arrow keys change tabs", driver.switch_to.active_element.get_attribute("role") == "tab")

        # An element by keyboard, and by its index.
        driver.execute_script("act.panel('operation')")
        canvas = every("#panel canvas[tabindex]")
        if canvas:
            before = driver.current_url
            canvas[0].send_keys(Keys.ARROW_RIGHT)
            check(f"{name}: an arrow key chooses the next element", driver.current_url != before and "element=" in driver.current_url)
            canvas = get("#panel canvas[tabindex]")
            check(f"{name}: and the picture keeps the focus", driver.switch_to.active_element == canvas)
        address = driver.current_url
        driver.get("about:blank")
        driver.get(address)
        wait(lambda: get("html").get_attribute("data-ready") == "yes")
        check(f"{name}: the address brings the state back", driver.current_url == address)

        # Time and memory.
        driver.execute_script("act.panel('cost')")
        slider = get("#panel svg[role=slider]")
        slider.send_keys(Keys.HOME)
        first_live = next(node["live_bytes"] for node in data.json["steps"][0]["nodes"] if node["family"])
        said = get("#moment").text
        check(f"{name}: {said}", driver.execute_script("return in_bytes(arguments[0])", first_live) in said)
        costs = [side["ns"] for node in data.json["steps"][0]["nodes"] if node["family"] for side in (node["forward"], node["backward"]) if side["calls"]]
        shown = [int(x.get_attribute("data-x")) for x in every("#panel table [data-x]")]
        check(f"{name}: the slowest operations, in the trace's nanoseconds", shown == sorted(costs, reverse=True)[: len(shown)] and shown)

        tour(driver, name, out, width, get, every, wait, fits)
        said = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
        check(f"{name}: no errors in the console {said or ''}", not said)
    finally:
        driver.quit()


def tour(driver, name, out, width, get, every, wait, fits):
    """Goes through all cards by keyboard."""
    get("#start-tour").send_keys(Keys.ENTER)
    wait(lambda: get("#tour").is_displayed())
    cards = int(get("#tour-title").text.split(":")[0].split(" of ")[1])
    for card in range(1, cards + 1):
        title = get("#tour-title").text
        check(f"{name}: {title}", title.startswith(f"{card} of {cards}") and "NaN" not in get("#tour").text and fits())
        picture(driver, width, out, f"{name}-tour-{card:02}")
        driver.switch_to.active_element.send_keys(Keys.ENTER)
    check(f"{name}: the tour ends", not get("#tour").is_displayed())


def formulas(path):
    """Computes elements of every operation again, and looks at nothing else."""
    driver = browser(1280, 900, False)
    try:
        driver.get("file://" + os.path.abspath(path))
        WebDriverWait(driver, 60, 0.1).until(lambda _: driver.find_element(By.CSS_SELECTOR, "html").get_attribute("data-ready") == "yes")
        counts, wrong = driver.execute_script(AGAIN)
        without = sorted(operation for operation, (done, _) in counts.items() if not done)
        check(f"{sum(done for done, _ in counts.values())} elements of {len(counts)} kinds are the trace's {wrong[:5] or ''}", not wrong)
        check(f"the page computes all but {without}", without == ["checkpoint", "rotary_embedding", "scatter_add"])
    finally:
        driver.quit()


if __name__ == "__main__":
    path, out = sys.argv[1], sys.argv[2]
    os.makedirs(out, exist_ok=True)
    if "--formulas" in sys.argv:
        formulas(path)
        sys.exit(1 if failures else 0)
    for name, (width, height) in SIZES.items():
        for dark in [False, True]:
            drive(path, out, f"{name}-dark" if dark else name, width, height, dark)
    print(f"{len(failures)} wrong" if failures else "all well")
    sys.exit(1 if failures else 0)
