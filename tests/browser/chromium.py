"""Headless Chromium for the scripts beside this file, at desktop and phone widths, light and dark."""

import base64
import os

from selenium import webdriver

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


def browser(width, height, dark):
    options = webdriver.ChromeOptions()
    options.binary_location = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    for argument in ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    return driver


def picture(driver, width, out, name):
    """Saves a screenshot of the whole page, of any length."""
    height = min(driver.execute_script("return document.documentElement.scrollHeight"), 8000)
    area = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": area, "captureBeyondViewport": True})
    with open(os.path.join(out, name + ".png"), "wb") as file:
        file.write(base64.b64decode(shot["data"]))
