"""The page stands alone, shows what it talks about, and nothing from a catalogue can run in it."""

import re
from html.parser import HTMLParser

import pytest

from tests.data_checks.shops import Shop, saved, scene

ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>"


class Tags(HTMLParser):
    """Start tags with their attributes, and whether every opened block was closed."""

    void = frozenset({"img", "meta", "br", "input", "hr", "link"})

    def __init__(self, html):
        super().__init__()
        self.seen, self.open = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop() == tag


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path / "shop")


def spoilt(shop):
    shop.products[0]["title"] = ATTACK
    shop.products[1] |= {"product_id": f"p1{ATTACK}", "price": 2e6}
    shop.products[2]["category"] = ["Shop", ATTACK]
    shop.products[3]["attributes"] = {ATTACK: ATTACK}
    shop.products[4]["images"].append(f"gone{ATTACK}.png".replace("/", ""))
    shop.products[5]["images"].append(saved(shop.folder, "copy.jpg", scene(6), quality=80))
    shop.products[6][ATTACK] = ATTACK
    shop.queries = [query for query in shop.queries if query["query_id"] != "q1"]
    shop.queries.append({"query_id": f"q{ATTACK}", "kind": "photo", "image": "images/7.png", "product_ids": ["p7"]})
    return shop.check(on_error="quarantine")


def test_page_loads_and_runs_nothing(shop):
    tags = Tags(spoilt(shop).html)
    names = [tag for tag, _ in tags.seen]
    assert not {"script", "link", "iframe", "object", "form"} & set(names)
    assert tags.open == []
    for tag, attributes in tags.seen:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith(("data:", "#")), (tag, attributes)
    policy = [attributes["content"] for tag, attributes in tags.seen if attributes.get("http-equiv")]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert "url(" not in spoilt(shop).html


def test_page_tells_what_it_found(shop):
    verdict = spoilt(shop)
    assert "Passed" in verdict.html
    for finding in verdict.findings:
        assert finding.check in verdict.html
        assert finding.fix in verdict.html
    for part in ("Set aside", "What ingestion changed", "A look at the photos", "copy.jpg", "image file is missing"):
        assert part in verdict.html
    assert verdict.html.count("data:image/jpeg;base64,") >= 14


def test_stopped_page_says_why(shop):
    shop.products[4]["images"].append("absent.png")
    verdict = shop.check()
    assert "Stopped" in verdict.html
    assert verdict.reason in verdict.html


def test_ids_on_the_page_are_unique(shop):
    ids = re.findall(r'\bid="([^"]+)"', spoilt(shop).html)
    assert len(ids) == len(set(ids))
    assert any(name.startswith("images-section-") for name in ids)


def test_every_suite_is_shown(shop):
    html = shop.check().html
    for suite in ("products", "categories", "attributes", "images", "queries"):
        assert re.search(rf"<summary>{suite}: (\d+) of \1 expectations met", html)
