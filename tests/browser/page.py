"""Drives the page of a running server in headless Chromium, at desktop and phone widths, light and dark.

    pip install selenium                      (and Chromium with its chromedriver, as Debian packages them)
    cargo run --release --bin serve -- --model intents=runs/banking77 --model embed=MODEL --model ranker=MODEL --port 8080 &
    python tests/browser/page.py http://127.0.0.1:8080 OUT

The script asks, chooses a head, moves over tokens with the keyboard, compares sentences, ranks texts where a model can,
follows a link to a state, copies a command, watches the load, tries texts that a careless page would run as HTML, and
sends a request from /docs. It prints what is wrong and then exits with 1. OUT gets a screenshot of each state: look at
them. Where the server wants a key, set GRADUS_KEY.
"""

import os
import sys
import time

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from chromium import SIZES, browser, picture

HOSTILE = "<img src=x onerror=window.hacked=1> & </textarea><script>window.hacked=1</script> \u202e ü 🙂"
failures = []


def check(what, true):
    print(("ok    " if true else "WRONG ") + what)
    if not true:
        failures.append(what)


def drive(url, out, name, width, height, dark):
    driver = browser(width, height, dark)
    get = lambda css: driver.find_element(By.CSS_SELECTOR, css)
    every = lambda css: driver.find_elements(By.CSS_SELECTOR, css)
    # The page may replace an element while the script looks at it.
    stale = [StaleElementReferenceException]
    wait = lambda what: WebDriverWait(driver, 30, 0.1, stale).until(lambda _: what())
    fits = lambda: driver.execute_script(
        "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    try:
        driver.get(url)
        key = os.environ.get("GRADUS_KEY")
        if key:
            wait(lambda: get("#key").is_displayed())
            get("#key").send_keys(key + Keys.ENTER)
        wait(lambda: every(".token"))
        check(f"{name}: an answer at once", bool(every("#answer *")))

        # Classify.
        text = get("#text")
        text.clear()
        text.send_keys("My new card has still not arrived, when will it come?" + Keys.ENTER)
        wait(lambda: any("will" in t.text for t in every(".token")))
        scores = [float(s.text.split()[0]) for s in every(".bars .score")]
        if scores:
            check(f"{name}: labels, the best first", scores == sorted(scores, reverse=True) and scores[0] > 0)
            print("      " + every(".bars li")[0].text.replace("\n", " "))

        # All labels; a second text.
        more = [b for b in every("#answer button") if b.text.startswith("All ")]
        if more:
            count = int(more[0].text.split()[1])
            more[0].click()
            check(f"{name}: all {count} labels are seen", len(every("#answer .bars li")) == count)
            every("#answer > div button")[-1].click()
            check(f"{name}: and put away", len(every("#answer .bars li")) < count)
        if get("#pair").is_displayed():
            get("#pair").click()
            get("#second").send_keys("It is on its way." + Keys.ENTER)
            wait(lambda: every(".token.second"))
            check(f"{name}: a second text is asked with", "text_pair" in request(get))
            link = driver.current_url
            driver.get("about:blank")
            driver.get(link)
            wait(lambda: every(".token.second"))
            check(f"{name}: the link brings it back", get("#second").get_attribute("value") == "It is on its way.")
            get("#pair").click()
            wait(lambda: every(".token") and not every(".token.second"))
            check(f"{name}: without the second text", not get("#second").is_displayed())

        # Attention: choose a head, a token by keyboard, and the other direction.
        thumbs = every(".thumb")
        layers = len(Select(get("#layer")).options)
        heads = len(Select(get("#head")).options) - 1
        check(f"{name}: a picture of every head", len(thumbs) == layers * heads)
        thumbs[heads + 2].click()
        wait(lambda: get("#head").get_attribute("value") == "2")
        check(f"{name}: the chosen layer", get("#layer").get_attribute("value") == "1")
        check(f"{name}: one head is chosen", len(every(".thumb[aria-pressed=true]")) == 1)
        get(".token[tabindex='0']").send_keys(Keys.ARROW_RIGHT)
        time.sleep(0.2)
        check(f"{name}: arrow keys move", driver.switch_to.active_element.get_attribute("aria-pressed") == "true")
        line = get("#token-line").text
        check(f"{name}: the line says what it attends to: {line}", "attends most to" in line)
        Select(get("#direction")).select_by_value("from")
        check(f"{name}: and what attends to it", "is attended to" in get("#token-line").text)
        Select(get("#direction")).select_by_value("to")
        check(f"{name}: the heat map is drawn", driver.execute_script(
            "const c = document.getElementById('heat'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
            "return new Set(d).size > 20"))

        # Compare.
        if get("#compare").is_displayed():
            get("#compare-form button").click()
            wait(lambda: every(".matrix td"))
            diagonal = [every(".matrix tbody tr")[i].find_elements(By.CSS_SELECTOR, "td")[i].text for i in range(3)]
            check(f"{name}: a sentence is like itself", diagonal == ["1.00"] * 3)
            check(f"{name}: {get('#alike').text}", "Most alike" in get("#alike").text)

        tiles = lambda: [tile.text for tile in every(".tile b")]
        wait(lambda: tiles() and tiles()[0] != "–")
        check(f"{name}: how long it took: {get('.took').text}", "in the server" in get(".took").text)
        said = request(get)
        check(f"{name}: a command", said.startswith("As curl") and "curl 'http" in said and "inputs" in said)
        wait(lambda: tiles() == ["–", "–", "0", "–"])
        check(f"{name}: idle tiles show a dash", True)
        check(f"{name}: nothing is wider than the page", fits())
        unlabelled = driver.execute_script(
            "return [...document.querySelectorAll('input, select, textarea')].filter(e => !e.labels.length).length")
        check(f"{name}: every field has a label", unlabelled == 0)
        time.sleep(4)
        picture(driver, width, out, name)

        # The page shows texts as texts, never as HTML.
        driver.execute_script("arguments[0].value = arguments[1]", get("#text"), HOSTILE)
        get("#go").click()
        wait(lambda: get("#go").is_enabled() and any("hacked" in t.text for t in every(".token")))
        if get("#compare").is_displayed():
            driver.execute_script("arguments[0].value = arguments[1]", get("#sentences"), HOSTILE + "\n<b>two</b>")
            get("#compare-form button").click()
            wait(lambda: len(every(".matrix tbody tr")) == 2)
        check(f"{name}: nothing of a text runs", driver.execute_script("return window.hacked") is None)
        check(f"{name}: nor becomes an element", not every("main img") and not every("main b:not(.tile b)"))

        # A long text, then an empty one.
        driver.execute_script("arguments[0].value = arguments[1]", get("#text"), "my card is lost " * 100)
        get("#go").click()
        wait(lambda: get("#go").is_enabled() and len(every(".token")) > 200)
        check(f"{name}: a long text says so: {get('#attention-note').text}", get("#attention-note").is_displayed())
        check(f"{name}: and fits", fits())
        Select(get("#layer")).select_by_index(layers - 1)
        Select(get("#head")).select_by_index(3)
        time.sleep(2)
        check(f"{name}: another layer is fetched", "attends most to" in get("#token-line").text)
        picture(driver, width, out, name + "-long")
        get("#text").clear()
        get("#go").click()
        wait(lambda: get("#ask-error").is_displayed())
        check(f"{name}: an empty text is refused: {get('#ask-error').text}", True)

        # Other models.
        for option in Select(get("#model")).options[1:]:
            model = option.get_attribute("value")
            Select(get("#model")).select_by_value(model)
            wait(lambda: get("#go").is_enabled() and not get("#ask-error").is_displayed() and every("#answer *"))
            check(f"{name}: {model} answers, and fits", fits())
            picture(driver, width, out, f"{name}-{model.replace('/', '-')}")
            task = option.text.rpartition("(")[2].rstrip(")")
            if get("#second").is_displayed():
                ranks(driver, name, get, every, wait)
            check(f"{name}: {model} shows Insert where there are masks", get("#mask").is_displayed() == (task == "fill-mask"))
            if task == "fill-mask":
                blanks(driver, name, get, every, wait)
            if task == "token-classification":
                spans, rows = every(".tagged mark"), every("#answer .bars li")
                check(f"{name}: {model} marks {len(spans)} spans and lists them", len(spans) == len(rows))
                texts = [driver.execute_script("return arguments[0].firstChild.textContent", s) for s in spans]
                check(f"{name}: in their order: {texts}", all(r.text.startswith(t) for r, t in zip(rows, texts)))

        docs(driver, name, get, every, wait, fits)
        picture(driver, width, out, f"{name}-docs")

        said = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
        # The console also lists refusals that the page expects: 413 for a long text, 400 for an empty one, 422 for one
        # without a mask, 401 for a missing key.
        said = [e for e in said if not any(f"status of {code}" in e["message"] for code in (400, 401, 413, 422))]
        check(f"{name}: no errors in the console {said or ''}", not said)
    finally:
        driver.quit()


def request(get):
    """Opens the details of the page's last request and returns their text."""
    if get("#request details").get_attribute("open") is None:
        get("#request summary").click()
    return get("#request details").text.partition("\n")[2]


def ranks(driver, name, get, every, wait):
    """Checks a model with a single label, which ranks texts for a query."""
    texts = ["It is on its way.", "<b>two</b>", "The weather is fine."]
    driver.execute_script("arguments[0].value = arguments[1]", get("#second"), "\n".join(texts))
    get("#go").click()
    wait(lambda: get("#go").is_enabled() and len(every("#answer .bars li")) == 3)
    found = [b.text for b in every("#answer .bars button")]
    check(f"{name}: texts are ranked: {found}", sorted(found) == sorted(texts))
    check(f"{name}: and asked for as such", '"texts"' in request(get))
    before = get("#tokens").text
    every("#answer .bars button")[-1].click()
    wait(lambda: get("#tokens").text != before)
    check(f"{name}: the tokens of the one that is pressed", bool(every(".token.second")))
    get("#second").clear()
    get("#go").click()
    wait(lambda: get("#ask-error").is_displayed())
    check(f"{name}: no texts are refused: {get('#ask-error').text}", True)


def docs(driver, name, get, every, wait, fits):
    """Checks the list of paths: their fields, and a request."""
    driver.get(driver.current_url.split("#")[0] + "docs")
    operation = get("[data-path='/predictions/{model}'][data-method=POST]")
    operation.find_element(By.CSS_SELECTOR, "summary").click()
    wait(lambda: operation.find_elements(By.CSS_SELECTOR, ".try"))
    check(f"{name}: docs list fields", len(operation.find_elements(By.CSS_SELECTOR, "tbody tr")) > 3)
    operation.find_element(By.CSS_SELECTOR, ".try button").click()
    wait(lambda: operation.find_element(By.CSS_SELECTOR, ".line").text)
    said = operation.find_element(By.CSS_SELECTOR, ".line").text
    check(f"{name}: and send a request: {said}", said.startswith("200"))
    check(f"{name}: docs fit", fits())


def blanks(driver, name, get, every, wait):
    """Checks a model that fills masks: chooses one of its words, and inserts a mask by hand."""
    words = every("#answer .bars button")
    check(f"{name}: words for a mask: {[w.text for w in words]}", len(words) == 5)
    word = words[0].text.removeprefix("##")
    words[0].click()
    check(f"{name}: a word goes into the text", word in get("#text").get_attribute("value"))
    check(f"{name}: in the place of the mask", "[MASK]" not in get("#text").get_attribute("value"))
    get("#go").click()
    wait(lambda: get("#ask-error").is_displayed())
    check(f"{name}: a text without mask is refused: {get('#ask-error').text}", "mask" in get("#ask-error").text.lower())
    get("#mask").click()
    check(f"{name}: a mask goes into the text", "[MASK]" in get("#text").get_attribute("value"))
    get("#text").send_keys(" and ")
    get("#mask").click()
    get("#go").click()
    wait(lambda: len(every("#answer h3")) == 2)
    every("#answer .bars button")[0].click()
    wait(lambda: get("#go").is_enabled() and len(every("#answer .bars button")) == 5)
    check(f"{name}: of two masks one is left", get("#text").get_attribute("value").count("[MASK]") == 1)


if __name__ == "__main__":
    url, out = sys.argv[1], sys.argv[2]
    os.makedirs(out, exist_ok=True)
    for name, (width, height) in SIZES.items():
        for dark in [False, True]:
            drive(url, out, f"{name}-dark" if dark else name, width, height, dark)
    print(f"{len(failures)} wrong" if failures else "all well")
    sys.exit(1 if failures else 0)
