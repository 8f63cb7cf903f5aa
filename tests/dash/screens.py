"""Take the pictures of docs/images: `python -m tests.dash.screens FOLDER [live|many|files ...]`.

What they show is drawn by seeds, so that the same pages are seen each time; needs Chromium and chromedriver.
"""

import contextlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from hypernudge.dash.content import export
from hypernudge.evidence.figures import forest, time_to_target
from hypernudge.evidence.report.html import write_report
from hypernudge.results.files import lock
from hypernudge.study.store import LOCK
from tests.dash.browser import browsing
from tests.dash.kept import Writer, keep
from tests.evidence.synthetic import write_study
from tests.study.synthetic import study_of

LINK = "[...document.querySelectorAll('#table-sources a')].find(a => a.textContent === arguments[0])"
DRAWN = "return document.querySelectorAll('.chart .main-svg').length >= 5"


@contextlib.contextmanager
def served(folder):
    """Yield the address of a server of a folder."""
    command = [sys.executable, "-m", "hypernudge.cli", "dash", str(folder), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            yield re.search(r"http://\S+", server.stderr.readline())[0]
        finally:
            server.terminate()


def show(browser, address, name, drawn=DRAWN):
    """Open the page of a study."""
    browser.go(address)
    # A source that is alone is open already.
    browser.until(f"return {LINK} !== undefined || document.querySelector('.chart') !== null", name)
    browser.run(f"{LINK}?.click()", name)
    browser.until(drawn)


def live(browser, images, folder):
    """Take a study while it runs, on a desk and on a phone."""
    writer = Writer(folder / "digits", study_of(trials=60, workers=4, lost=0.05, task="digits"))
    writer.write(240)
    with contextlib.ExitStack() as stack, served(folder) as address:
        assert stack.enter_context(lock(folder / "digits" / LOCK, wait=False))
        browser.size(1280, 900)
        show(browser, address, "digits")
        browser.picture(images / "dash_live.png")
        browser.size(390, 844, phone=True)
        show(browser, address, "digits")
        browser.picture(images / "dash_phone.png")
        assert browser.errors() == []
    browser.go("about:blank")
    browser.errors()  # the page has missed its server
    writer.close()


def many(browser, images, folder):
    """Take a study of 10,000 trials."""
    keep(folder / "many", study_of(trials=10_000, workers=16, lost=0.05, task="digits"))
    with served(folder) as address:
        browser.size(1280, 900)
        show(browser, address, "many")
        browser.until("return document.querySelectorAll('#chart-importance .main-svg').length")
        browser.picture(images / "dash_study.png")
        assert browser.errors() == []
    browser.go("about:blank")
    browser.errors()


def files(browser, images, folder):
    """Take an experiment in an export, and its report, both from files."""
    drop = [("a-asha-literal", seed) for seed in range(5, 12)]
    methods = ("none", "literal", "curvature_band")
    results = write_study(folder / "results", tasks=("a", "b"), methods=methods, drop=drop)
    export(folder, folder / "page.html")
    browser.size(1280, 900)
    verdicts = "return document.querySelectorAll('#table-verdicts .badge').length"
    show(browser, (folder / "page.html").as_uri(), "results", verdicts)
    browser.until("return document.querySelectorAll('.chart .main-svg').length")
    browser.picture(images / "dash_experiment.png")
    write_report(results, folder / "report.html", (forest.draw, time_to_target.draw))
    browser.go((folder / "report.html").as_uri())
    browser.picture(images / "report.png")


PICTURES = {"live": live, "many": many, "files": files}


def main(images, names=()):
    """Write the pictures of these names, all if there are none."""
    with browsing() as browser:
        for name in names or PICTURES:
            with tempfile.TemporaryDirectory() as folder:
                PICTURES[name](browser, images, Path(folder))
        assert browser.errors() == []


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
