"""Proves in real Chromium that the report needs nothing, complains of nothing, runs nothing and fits a phone, whatever
the names in the data are; the reference for contrast is WCAG 2's level AA.
"""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser
from fabricated import fabricate, metrics, pca_metrics, validation

from components.compare import compare
from components.comparing.wording import number, percent, promised, ratio
from components.params.compare import Params
from components.reporting import report
from components.reporting.figures import INK, inline
from components.reporting.report import with_banner

HOSTILE = "</text></svg><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp; {{ 7 * 7 }}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as started:
        yield started


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report in which everything that comes from data is hostile or very long."""
    root = tmp_path_factory.mktemp("report")
    numbers = {
        "net": metrics(0.8, false_alarm_deficit_p=0.01, denoising_gain_db=2.6),
        "a-variant-with-a-long-name-" * 3 + "x": metrics(0.97),
        "pca": pca_metrics(),
    }
    artifacts = fabricate(root / "artifacts", numbers, text="&lt;script&gt;alert(3)&lt;/script&gt;", ink=INK)
    path = artifacts / "prepare" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["classes"] = manifest["normal_classes"] = [HOSTILE, "W" * 300]
    manifest["source"] = {"name": HOSTILE, "version": HOSTILE}
    manifest["dropped"] = {HOSTILE: 3}
    manifest["columns"] = [
        {"name": HOSTILE, "kind": "categorical", "start": 0, "stop": 2, "levels": [HOSTILE, "W" * 300]}
    ]
    manifest["dropped_columns"] = {HOSTILE + "2": HOSTILE, "W" * 300: "constant"}
    path.write_text(json.dumps(manifest))
    findings = [{**finding, "title": HOSTILE, "found": HOSTILE} for finding in validation()["findings"]]
    rejected = {f"{number:02} {HOSTILE}": HOSTILE for number in range(12)}
    hostile = validation(findings=findings, rejected=rejected, missing={HOSTILE: 0.25})
    (artifacts / "prepare" / "validation.json").write_text(json.dumps(hostile))
    for path in artifacts.glob("train/*/config.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "loss": HOSTILE, "base": HOSTILE}))
    for path in artifacts.glob("evaluate/*/diagnosis.json"):
        finding = {"code": "x", "title": HOSTILE, "verdict": "problem", "value": 1.0, "remedy": HOSTILE}
        path.write_text(json.dumps([finding]))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        compare(list(numbers), Params(), Path("artifacts"))
    return artifacts / "compare" / "report.html"


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (1200, True), (360, False)])
def test_the_page_is_quiet_and_asks_for_nothing(browser: Browser, page: Path, width: int, dark: bool) -> None:
    browser.open(page, width=width, dark=dark)
    assert browser.evaluate("document.fonts.ready.then(() => document.readyState)") == "complete"
    assert browser.complaints() == []
    assert browser.requests() == [page.as_uri()]
    assert not re.search(r"(?:src|href|url)\s*[=(]\s*[\"']?\s*(?:https?:)?//", page.read_text())


def test_a_foreign_resource_would_be_noticed_and_blocked(browser: Browser, page: Path, tmp_path: Path) -> None:
    infected = tmp_path / "infected.html"
    extra = "<script>document.title = 'taken'</script><img src='http://127.0.0.1:9/pixel.png'>"
    infected.write_text(page.read_text().replace("</main>", f"{extra}</main>"))
    browser.open(infected)
    assert len(browser.complaints()) == 2
    assert browser.evaluate("document.title") != "taken"


def test_names_in_the_data_are_text(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.evaluate("document.querySelectorAll('script, img, [onclick], [onerror]').length") == 0
    assert browser.evaluate("document.querySelector('.eyebrow').textContent") == f"Hourglass · {HOSTILE}"
    shown = browser.evaluate("document.querySelector('#variants figure svg text').textContent")
    assert shown == "<script>alert(3)</script>"


@pytest.mark.parametrize("width", [320, 360, 768])
def test_the_page_never_scrolls_sideways(browser: Browser, page: Path, width: int) -> None:
    browser.open(page, width=width)
    browser.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.evaluate("window.innerWidth") == width  # a phone would zoom out to show what sticks out


def test_figures_share_the_page_without_sharing_ids(browser: Browser, page: Path) -> None:
    browser.open(page)
    ids = browser.evaluate("[...document.querySelectorAll('[id]')].map(element => element.id)")
    assert len(ids) == len(set(ids))
    figures = browser.evaluate("document.querySelectorAll('figure svg').length")
    assert figures == 8  # two of each variant, the examples, and what error costs
    references = re.findall(r"(?:url\(|href=\")#([^\")]+)", page.read_text())
    assert set(references) <= set(ids)
    made_up = [one for one in references if "." in one and not one.startswith("comparison.")]
    assert len(made_up) == 2 * (figures - 1)  # a clip path and a mark in each
    assert browser.evaluate("document.querySelectorAll('svg style, svg metadata').length") == 0


@pytest.mark.parametrize("dark", [False, True])
def test_everything_is_legible_in_both_schemes(browser: Browser, page: Path, dark: bool) -> None:
    browser.open(page, dark=dark)
    colours = browser.evaluate(
        """[getComputedStyle(document.body).backgroundColor, ...new Set(
          [...document.querySelectorAll('main *, header *')].filter(e => e.childNodes.length && !e.closest('svg'))
          .map(e => getComputedStyle(e).color))]"""
    )
    paper, *inks = (luminance(colour) for colour in colours)
    assert (paper < 0.05) == dark
    assert len(inks) == 5  # ink, soft, pass, warning, fail
    assert min((max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) for ink in inks) >= 4.5
    text = "getComputedStyle(document.querySelector('figure svg text')).fill"
    assert browser.evaluate(text) == browser.evaluate("getComputedStyle(document.body).color")


def luminance(colour: str) -> float:
    channels = [int(channel) / 255 for channel in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_page_reads_well_aloud(browser: Browser, page: Path) -> None:
    browser.open(page)
    levels = browser.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(heading => +heading.tagName[1])")
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))
    assert browser.evaluate("[...document.querySelectorAll('svg:not([aria-hidden])')].every(s => s.ariaLabel)")
    assert browser.evaluate("[...document.querySelectorAll('table')].every(t => t.closest('[role=region]').ariaLabel)")
    assert browser.evaluate("document.documentElement.lang") == "en"


def test_print_shows_what_the_screen_folds_away(browser: Browser, page: Path) -> None:
    browser.open(page)
    shown = "[...document.querySelectorAll('details table')].every(table => table.checkVisibility())"
    assert not browser.evaluate(shown)
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.becomes(shown)
    browser.call("Emulation.setEmulatedMedia", media="")


def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str = "mse_ratio_to_pca", **numbers: Any) -> str:
    monkeypatch.chdir(tmp_path)
    artifacts = fabricate(Path("artifacts"), numbers)
    compare(list(numbers), Params(winner=rule), artifacts)
    page = (artifacts / "compare" / "report.html").read_text()
    header = page[page.index("<header>") : page.index("</header>")]
    return " ".join(re.sub(r"<[^>]+>", " ", header).replace("\u00a0", " ").split())


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        (metrics(0.69), ["net: 31 % less squared error than PCA", "(95 % interval 26 % to 35 %)", "Eligible"]),
        (metrics(0.97), ["net: level with PCA", "interval from 7 % less to 2 % more)", "No gate fails, but:"]),
        (metrics(1.2, validation_mse_ratio_to_pca=0.9), ["net: 20 % more squared error than PCA", "Not eligible"]),
        (metrics(1.2), ["Nothing beats PCA", "Not eligible no model beats PCA"]),
    ],
)
def test_the_page_opens_with_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: dict[str, Any], says: list[str]
) -> None:
    header = answer(tmp_path, monkeypatch, pca=pca_metrics(), net=numbers)
    for text in ("Best of 2 candidates", "promised 5 % on average, up to 7.6 % from this calibration set", *says):
        assert text in header


def test_the_answer_is_in_the_terms_of_the_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = answer(tmp_path, monkeypatch, rule="auroc", pca=pca_metrics(selection_auroc=0.9), net=metrics(0.8))
    assert "net: AUROC 0.964" in header
    assert "PCA at the same code size reaches 0.931" in header


def test_a_promise_with_confidence_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(tmp_path, monkeypatch, net=metrics(0.8))
    path = Path("artifacts/threshold/net/threshold.json")
    usual = Path("artifacts/compare/report.html").read_text()
    assert "from this calibration set" in usual and "may be a lucky draw" in usual
    path.write_text(json.dumps({**json.loads(path.read_text()), "confidence": 0.95}))
    compare(["net"], Params(), Path("artifacts"))
    page = " ".join(Path("artifacts/compare/report.html").read_text().replace("\u00a0", " ").split())
    assert "promised 5 % with 95 % confidence in this calibration set</dd>" in page
    assert "lucky draw" not in page
    assert "has p = 0.37 (Kolmogorov-Smirnov)" in page and "at once p = 0.41;" in page


def test_without_labels_the_page_speaks_of_no_anomalies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled = ("auroc", "precision", "fpr", "anomalous", "detection")
    numbers = {name: value for name, value in metrics(0.8).items() if not any(word in name for word in labelled)}
    answer(tmp_path, monkeypatch, net=numbers)
    page = Path("artifacts/compare/report.html").read_text()
    assert "AUROC" not in page
    assert "Anomalies found" not in page


def test_a_page_without_room_names_the_figures_it_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "FIGURE_BUDGET", 1700)
    answer(tmp_path, monkeypatch, net=metrics(0.8), pca=pca_metrics())
    page = Path("artifacts/compare/report.html").read_text()
    assert page.count('role="img"') == 4  # the examples, what error costs, and the winner's
    assert "<code>artifacts/evaluate/pca/plots/errors.svg</code>" in page


def test_a_banner_can_be_added_and_is_text(page: Path) -> None:
    told = with_banner(page.read_text(), "registered as <version> 7")
    assert '<p class="banner" role="status">registered as &lt;version&gt; 7</p>' in told


def test_figures_of_evaluate_take_the_pages_ink(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    from components.reporting import plots

    assert plots.INK == INK
    figure = Figure(figsize=(2, 1))
    figure.subplots().set_title("a < b", color=INK)
    plots.save(figure, tmp_path / "figure.svg")
    svg = inline(tmp_path / "figure.svg", "net.figure.", "two < axes")
    assert "currentColor" in svg
    assert INK not in svg
    assert 'aria-label="two &lt; axes"' in svg


def test_numbers_read_as_people_write_them() -> None:
    assert [percent(share) for share in (0.0443, 0.0, 0.0004, 1.0)] == ["4.4 %", "0.0 %", "0.04 %", "100.0 %"]
    assert [promised(share) for share in (0.05, 0.07, 0.001)] == ["5 %", "7 %", "0.1 %"]
    assert [number(value) for value in (214337, 0.0234567, 16.0, 1.5e-8)] == ["214,337", "0.02346", "16", "1.5e-08"]
    assert [ratio(value) for value in (0.69, 0.99996, 1.0)] == ["0.690", "0.999", "1.000"]


def test_without_chromium_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(RuntimeError, match="apt-get install chromium"):
        Browser()
