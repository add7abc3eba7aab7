"""The page of a run, parsed as a browser would."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from catalog import Photo
from tests.benchmark.shop import picture, png, stocked
from validation.benchmark import (
    BenchmarkRecord,
    GalleryHit,
    GalleryRow,
    build_eval_set,
    main_score,
    retrieval_gallery,
    run_benchmark,
)
from validation.config import BenchmarkConfig
from validation.gate import GatePolicy, decide
from validation.report import RunReport, render_report
from validation.report.charts import curves, level_chart
from validation.report.thumbnails import Thumbnails
from validation.rivals import ColourHistogram, RandomVectors, judge_majority

HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)> {{ 7*7 }}'


class Parsed(HTMLParser):
    """Tags, attributes and text of a page; complains about a tag that is closed out of turn."""

    VOID = frozenset({"meta", "img", "br", "rect", "line", "polyline", "circle", "wbr", "link", "input", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]

    def links(self) -> list[str]:
        """Addresses that lead away from the page."""
        addresses = [attrs.get("href") or "" for attrs in self.all("a")]
        return [address for address in addresses if not address.startswith("#")]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    shop = stocked(tmp_path_factory.mktemp("shop"), num_test=24)
    config = BenchmarkConfig(min_attribute_n=10, num_bootstrap=100, max_attribute_values=20)
    eval_set = build_eval_set(shop.catalog(), shop.splits(), config)
    encoders = (RandomVectors(), ColourHistogram())
    records = [*(run_benchmark(own, eval_set, config) for own in encoders), judge_majority(eval_set, config)[0]]
    policy = GatePolicy.model_validate({"floors": {"image_to_product/recall@1": 0.9, "text_to_product/mrr": 0.0}})
    gallery = retrieval_gallery(RandomVectors(), eval_set, queries_per_task=2, k=3)
    return RunReport(
        title="a run",
        records=records,
        decision=decide(policy, records[0], {}),
        gallery=gallery,
        cores={row.query_id: (8.0, 4.0, 24.0, 32.0) for row in gallery},
        curves={"loss": [(0, 2.0), (10, 1.0), (20, float("nan")), (30, 0.5)]},
        phases_s={"train": 30.0, "evaluate": 10.0},
        lineage={"commit": "abc123"},
        config_yaml="catalog:\n  source: demo\n",
        links={"MLflow": "http://127.0.0.1:5000/#/run"},
    )


def hit(title: str, photo: Photo | None = None, *, right: bool = False) -> GalleryHit:
    return GalleryHit("p", title, 0.5, right, right, photo)


def row(text: str | None, *hits: GalleryHit, photo: Photo | None = None) -> GalleryRow:
    return GalleryRow("text_to_product", "q", text, photo, 2, hits)


def test_the_page_is_well_formed_and_tells_the_run(report: RunReport) -> None:
    page = Parsed(render_report(report))
    assert report.decision is not None
    for expected in ("a run", report.decision.headline(), "abc123", "source: demo", "MLflow", "colour_histogram"):
        assert expected in page.text
    for rule in report.decision.rules:
        assert rule.name in page.text
        assert rule.reason in page.text
    assert f"{100 * main_score(report.records[0]):.1f}" in page.text


def test_every_score_stands_in_the_table_with_its_interval(report: RunReport) -> None:
    text = re.sub(r"\s+", " ", Parsed(render_report(report)).text)
    for record in report.records:
        for metric in ("image_to_product/recall@1", "category_leaf/accuracy"):
            score = record.scores.get(metric)
            if score is not None:
                assert f"{100 * score.value:.1f} {100 * score.low:.0f}–{100 * score.high:.0f}" in text
    assert "n/a" in text


def test_nothing_is_loaded_from_anywhere(report: RunReport) -> None:
    page = Parsed(render_report(report))
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    assert page.all("img")
    assert all((attrs["src"] or "").startswith("data:image/jpeg;base64,") for attrs in page.all("img"))
    policy = next(attrs["content"] for attrs in page.all("meta") if "http-equiv" in attrs)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert "url(" not in render_report(report)
    assert "@import" not in render_report(report)


def test_untrusted_text_is_shown_and_never_obeyed(report: RunReport) -> None:
    hostile = replace(
        report,
        title=HOSTILE,
        gallery=[row(HOSTILE, hit(HOSTILE))],
        lineage={HOSTILE: HOSTILE},
        config_yaml=HOSTILE,
        links={HOSTILE: "javascript:alert(1)"},
        phases_s={HOSTILE: 1.0},
        curves={HOSTILE: [(0, 1.0), (1, 2.0)]},
        records=[replace(own, encoder=HOSTILE, notes=(HOSTILE,)) for own in report.records],
    )
    page = Parsed(render_report(hostile))
    assert not page.all("script")
    assert all("onerror" not in attrs for _, attrs in page.tags)
    assert page.text.count(HOSTILE) >= 10
    assert not page.links(), "an address that could run code must not become a link"
    assert "javascript:alert(1)" in page.text


@pytest.mark.parametrize(
    ("address", "linked"),
    [
        ("https://example.org/x", True),
        ("http://127.0.0.1:5000", True),
        ("file:///tmp/x.html", True),
        ("overlay.html", True),
        ("JavaScript:alert(1)", False),
        ("data:text/html,x", False),
        ("http://[broken", False),
    ],
)
def test_links(address: str, linked: bool) -> None:
    page = Parsed(render_report(RunReport("x", [], links={"there": address})))
    assert bool(page.links()) is linked


def test_titles_of_any_length_and_script_stand_whole_in_an_element_of_their_own_direction() -> None:
    titles = ["红色真皮女士手提包", "قميص أحمر", "שמלת ערב", "x" * 5_000, "🎁 gift", ""]
    page = Parsed(render_report(RunReport("x", [], gallery=[row("سترة", *(hit(title) for title in titles))])))
    assert all(title in page.text for title in titles)
    assert sum(attrs.get("dir") == "auto" for attrs in page.all("div")) == len(titles) + 1
    assert max(len(attrs.get("title") or "") for attrs in page.all("div")) <= 300


def test_frames_say_right_variant_or_wrong() -> None:
    hits = [hit("a", right=True), replace(hit("b"), same_group=True), hit("c")]
    frames = [
        attrs["class"]
        for attrs in Parsed(render_report(RunReport("x", [], gallery=[row("q", *hits)]))).all("div")
        if (attrs.get("class") or "").startswith("frame")
    ]
    assert frames == ["frame right", "frame group", "frame wrong"]


def test_the_smallest_run_has_a_page_too() -> None:
    page = Parsed(render_report(RunReport("nothing yet", [])))
    assert "nothing yet" in page.text
    assert not page.all("section")


def test_records_of_different_sets_share_no_page(report: RunReport) -> None:
    mixed = [report.records[0], replace(report.records[1], eval_set_digest="other")]
    with pytest.raises(ValueError, match="different evaluation sets"):
        render_report(replace(report, records=mixed))


def test_the_page_is_the_same_each_time(report: RunReport) -> None:
    assert render_report(report) == render_report(report)


# --- thumbnails ----------------------------------------------------------------------------------------------------


def photo(image: Image.Image) -> Photo:
    return Photo("memory.png", data=png(image))


def test_a_thumbnail_is_small_upright_and_carries_its_box_in_percent() -> None:
    thumbnail = Thumbnails(50).of(photo(picture(1, 200).resize((200, 100))), (50, 25, 150, 200))
    assert thumbnail is not None
    shown = Image.open(io.BytesIO(base64.b64decode(thumbnail.url.partition(",")[2])))
    assert shown.size == (50, 25)
    assert thumbnail.box_pct == (25.0, 25.0, 50.0, 75.0)
    over = Thumbnails(50).of(photo(picture(1, 200)), (-50, -1, 300, 250))
    assert over is not None
    assert over.box_pct == (0.0, 0.0, 100.0, 100.0), "what lies beyond the picture is not drawn"


def test_a_photo_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    thumbnails, own = Thumbnails(50), replace(photo(picture(1)), digest="d")
    first = thumbnails.of(own)
    monkeypatch.setattr(Photo, "load", lambda self, *_: pytest.fail("decoded twice"))
    assert thumbnails.of(own) == first


def test_a_photo_that_went_missing_leaves_a_gap_and_a_page(tmp_path: Path) -> None:
    gone = Photo("gone.png", root=str(tmp_path))
    assert Thumbnails(50).of(gone, (0, 0, 1, 1)) is None
    assert "no photo" in render_report(RunReport("x", [], gallery=[row("q", hit("a", gone), photo=gone)]))


# --- charts --------------------------------------------------------------------------------------------------------


def test_bars_are_as_high_as_their_scores(report: RunReport) -> None:
    chart = level_chart(report.records)
    assert chart is not None
    scale = chart.ticks[0][0] - chart.ticks[-1][0]
    random: BenchmarkRecord = report.records[0]
    own = [bar for bar in chart.bars if bar.label.startswith("random")]
    expected = [random.scores[f"category_level_{level}_title_hidden/accuracy"] for level in (1, 2, 3)]
    assert [bar.height / scale for bar in own] == pytest.approx([score.value for score in expected])
    assert [(chart.ticks[0][0] - bar.low) / scale for bar in own] == pytest.approx([score.low for score in expected])
    assert {name for _, name in chart.legend} == {"random", "majority"}, "who was not asked has no bar"
    assert [name for _, name in chart.names] == ["level 1", "level 2", "level 3"]


def test_no_level_no_chart(report: RunReport) -> None:
    assert level_chart([report.records[1]]) is None
    assert level_chart([]) is None


def test_a_curve_spans_its_drawing_and_leaves_out_what_is_no_number(report: RunReport) -> None:
    (own,) = curves(report.curves)
    points = [tuple(map(float, point.split(","))) for point in own.points.split()]
    assert points[0] == (0.0, 0.0)
    assert points[-1] == (320.0, 120.0)
    assert len(points) == 3
    assert (own.first_step, own.last_step, own.low, own.high, own.last) == (0, 30, "0.5", "2", "0.5")


def test_a_flat_curve_and_a_single_point_are_no_division_by_zero() -> None:
    assert len(curves({"flat": [(0, 1.0), (5, 1.0)], "point": [(0, 1.0)], "none": []})) == 1
