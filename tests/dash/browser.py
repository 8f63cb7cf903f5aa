"""A real browser, by the protocol of WebDriver: chromedriver is asked over HTTP."""

import base64
import contextlib
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
ABSENT = "needs Chromium and chromedriver" if not (CHROMIUM and DRIVER) else ""
_PATIENCE = 90  # seconds: a busy machine starts a browser slowly
_FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]


class Browser:
    """A browser with one window."""

    def __init__(self, address):
        self._address = address
        options = {"binary": CHROMIUM, "args": _FLAGS}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        answer = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{answer['sessionId']}"

    def _ask(self, method, path, data=None):
        body = None if data is None else json.dumps(data).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._address + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None

    def go(self, address):
        self._ask("POST", f"{self._session}/url", {"url": address})

    def run(self, script, *arguments):
        """Run JavaScript in the page; return what it returns."""
        return self._ask("POST", f"{self._session}/execute/sync", {"script": script, "args": list(arguments)})

    def until(self, script, *arguments, seconds=_PATIENCE):
        """Wait until a script returns something that is true; return it."""
        end = time.monotonic() + seconds
        while True:
            found = self.run(script, *arguments)
            if found or time.monotonic() > end:
                assert found, (script, self.run("return document.body.innerText.slice(0, 2000)"))
                return found
            time.sleep(0.1)

    def size(self, width, height, *, phone=False):
        """Give the page a size, in pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        command = {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics}
        self._ask("POST", f"{self._session}/goog/cdp/execute", command)

    def media(self, *, kind="screen", scheme="light"):
        """Show pages as on paper (`print`), or to who likes the dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        command = {"cmd": "Emulation.setEmulatedMedia", "params": {"media": kind, "features": features}}
        self._ask("POST", f"{self._session}/goog/cdp/execute", command)

    def picture(self, path):
        """Write what is seen as PNG."""
        path.write_bytes(base64.b64decode(self._ask("GET", f"{self._session}/screenshot")))

    def errors(self):
        """Return what the console complained about since it was asked last."""
        log = self._ask("POST", f"{self._session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in log if entry["level"] in ("SEVERE", "WARNING")]

    def close(self):
        with contextlib.suppress(OSError, AssertionError):
            self._ask("DELETE", self._session)


@contextlib.contextmanager
def browsing():
    """Yield a browser."""
    with subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as driver:
        try:
            for line in driver.stdout:
                if b"on port" in line and b"success" in line:
                    port = int(line.rstrip(b".\n").rpartition(b" ")[2])
                    break
            browser = Browser(f"http://127.0.0.1:{port}")
            try:
                yield browser
            finally:
                browser.close()
        finally:
            driver.terminate()
