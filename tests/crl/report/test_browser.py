"""The page in Chromium, without a network; skipped where Playwright or Chromium is missing."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest
from reported_runs import reported_run

from crl.report import report

playwright = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    parent = tmp_path_factory.mktemp("report")
    runs = [
        reported_run(parent, seed, method, evaluations={"<img src=x>": [1.0, 2.0]}, tasks=("<img src=x>",))
        for method in ("plain", "oracle")
        for seed in (1, 2)
    ]
    for run in runs:  # a measure whose figure is folded
        log = (run / "progress.csv").read_text().replace("dormant_ratio", "effective_rank")
        (run / "progress.csv").write_text(log)
    return report(runs, parent / "out").resolve().as_uri()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        found = shutil.which("chromium") or shutil.which("google-chrome")
        try:
            browser = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"there is no Chromium ({error})")
        yield browser
        browser.close()


@pytest.mark.parametrize(("scheme", "width", "paper"), [("light", 1280, 255), ("dark", 400, 20)])
def test_it_opens_and_shows_its_figures(chromium: Any, address: str, scheme: str, width: int, paper: int) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
    began = time.perf_counter()
    page.goto(address)
    assert time.perf_counter() - began < 10  # of 40 runs it is under two seconds, on a machine that does nothing else
    assert page.evaluate("getComputedStyle(document.body).backgroundColor").startswith(f"rgb({paper},")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sizes = "[...document.querySelectorAll('figure svg')].map(figure => figure.getBoundingClientRect().height)"
    assert [height > 40 for height in page.evaluate(sizes)] == [True] * 3
    page.locator("summary", has_text="ranks").click()
    page.wait_for_selector("details[open] figure svg")
    assert [height > 40 for height in page.evaluate(sizes)] == [True] * 4
    lines = "[...document.querySelectorAll('svg .arm1')].map(line => line.style.display)"
    assert {*page.evaluate(lines)} == {""}
    page.get_by_role("checkbox").nth(1).click()
    assert {*page.evaluate(lines)} == {"none"}
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    assert said == []
    page.close()
