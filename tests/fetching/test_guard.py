"""URLs that may not be asked for, names that may not be dialled, and that the judged address is the one dialled."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.fetching import FetchReport, Reason, Row, Status, fetch_images
from catalog.fetching.faults import FetchError
from catalog.fetching.guard import check_url
from tests.fetching.certificates import make_certificate
from tests.fetching.server import PUBLIC, Network, Shop, body, picture, status

PORTS = (80, 443)


def fetched(shop: Shop, network: Network, folder: Path, *urls: str, **changes: object) -> FetchReport:
    config = shop.config(allow_private=False, **changes)
    return fetch_images(urls, folder, config, resolver=network.resolve, dial=network)


def only(report: FetchReport) -> Row:
    (row,) = report.rows.values()
    return row


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://shop.example/a.jpg", Reason.SCHEME),
        ("file:///etc/passwd", Reason.SCHEME),
        ("gopher://shop.example/", Reason.SCHEME),
        ("data:image/png;base64,AAAA", Reason.SCHEME),
        ("//shop.example/a.jpg", Reason.SCHEME),
        ("http://", Reason.BAD_URL),
        ("http:///a.jpg", Reason.BAD_URL),
        ("http://shop.example:notaport/", Reason.BAD_URL),
        ("http://sh op.example/", Reason.BAD_URL),
        ("http://shop.example/\x00", Reason.BAD_URL),
        ("http://" + "a" * 70_000, Reason.BAD_URL),
        ("http://0177.0.0.1/", Reason.BAD_URL),
        ("http://shop%00.example/", Reason.BAD_URL),
        ("http://user@shop.example/", Reason.CREDENTIALS),
        ("http://user:secret@shop.example/", Reason.CREDENTIALS),
        ("http://shop.example\\@127.0.0.1/", Reason.CREDENTIALS),
        ("http://shop.example:22/", Reason.PORT),
        ("https://shop.example:8443/", Reason.PORT),
        ("http://shop.example:0/", Reason.PORT),
        ("http://localhost/", Reason.CLOSED_ADDRESS),
        ("http://LOCALHOST./", Reason.CLOSED_ADDRESS),
        ("http://a.b.localhost/", Reason.CLOSED_ADDRESS),
    ],
)
def test_a_url_of_a_wrong_form_is_refused(url: str, reason: Reason) -> None:
    with pytest.raises(FetchError) as found:
        check_url(url, PORTS)
    assert found.value.reason is reason
    assert found.value.status is Status.REFUSED


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/a.jpg",
        "HTTPS://Shop.Example:443/a.jpg?x=1#part",
        "http://shop.example:443/",
        "https://商店.example/图片.jpg",
        "http://[2606:4700:4700::1111]/a.jpg",
    ],
)
def test_a_plain_url_passes(url: str) -> None:
    assert check_url(url, PORTS).scheme in ("http", "https")


@given(st.text(max_size=60), st.sampled_from(["", "http://", "https://", "http://a.example/"]))
def test_any_text_is_a_url_that_passes_or_a_refusal(text: str, start: str) -> None:
    try:
        url = check_url(start + text, PORTS)
    except FetchError as found:
        fault = found
    else:
        assert url.scheme in ("http", "https")
        assert url.host
        assert not url.userinfo
        assert url.port in (None, *PORTS)
        return
    assert fault.status is Status.REFUSED


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"]
)
def test_this_machine_is_closed_however_its_address_is_written(host: str, tmp_path: Path) -> None:
    """Through the operating system's own resolver, which needs no network for these."""
    report = fetch_images([f"http://{host}/a.jpg"], tmp_path)
    assert only(report).status == Status.REFUSED
    assert only(report).reason == Reason.CLOSED_ADDRESS


@pytest.mark.parametrize(
    "answers",
    [
        [PUBLIC, "10.0.0.7"],
        ["10.0.0.7", PUBLIC],
        [PUBLIC, "::1"],
        [PUBLIC, "fe80::1%eth0"],
        [PUBLIC, "64:ff9b::a00:1"],
        [PUBLIC, "not an address"],
    ],
)
def test_a_name_with_any_closed_answer_is_refused_and_never_dialled(
    answers: list[str], shop: Shop, tmp_path: Path
) -> None:
    network = Network(shop, {"mixed.example": answers})
    url = shop.add("/a.png", body(picture()), "mixed.example")
    assert only(fetched(shop, network, tmp_path, url)).reason == Reason.CLOSED_ADDRESS
    assert network.dialled == []
    assert not shop.asked


def test_the_address_that_was_judged_is_dialled_and_the_name_stays_in_the_request(shop: Shop, tmp_path: Path) -> None:
    network = Network(shop, {"shop.example": [PUBLIC]})
    url = shop.add("/a.png", body(picture()), "shop.example")
    assert only(fetched(shop, network, tmp_path, url)).status == Status.OK
    assert network.dialled == [PUBLIC]
    assert shop.headers[0]["Host"] == f"shop.example:{shop.port}"


def test_a_second_answer_of_a_rebinding_name_is_never_dialled(shop: Shop, tmp_path: Path) -> None:
    network = Network(shop, {"rebind.example": [[PUBLIC], ["127.0.0.1"]]})
    # Each answer ends its connection, so that the second URL needs a new one and with it a new look-up.
    urls = [shop.add(f"/{name}.png", body(picture(), Connection="close"), "rebind.example") for name in "ab"]
    report = fetched(shop, network, tmp_path, *urls, host_concurrency=1)
    assert network.looked_up == ["rebind.example"] * 2
    assert network.dialled == [PUBLIC]
    assert [row.status for row in report.rows.values()] == [Status.OK, Status.REFUSED]
    assert sum(shop.asked.values()) == 1


def test_a_redirect_to_a_closed_address_is_refused_though_the_first_host_is_open(shop: Shop, tmp_path: Path) -> None:
    network = Network(shop, {"shop.example": [PUBLIC], "inside.example": ["169.254.169.254"]})
    shop.add("/secret.png", body(picture()))
    hops = [
        shop.url("/secret.png", "inside.example"),
        shop.url("/secret.png", "127.0.0.1"),
        shop.url("/secret.png", "localhost"),
        "http://shop.example:22/secret.png",
        "file:///etc/passwd",
        "http://u:p@shop.example/secret.png",
    ]
    network.names["127.0.0.1"] = ["127.0.0.1"]
    urls = [shop.add(f"/{n}", status(302, Location=place), "shop.example") for n, place in enumerate(hops)]
    report = fetched(shop, network, tmp_path, *urls)
    assert {row.status for row in report.rows.values()} == {Status.REFUSED}
    reasons = [report.rows[url].reason for url in urls]
    assert reasons == [*[Reason.CLOSED_ADDRESS] * 3, Reason.PORT, Reason.SCHEME, Reason.CREDENTIALS]
    assert "/secret.png" not in shop.asked
    assert set(network.dialled) == {PUBLIC}
    assert all("redirected to" in row.detail for row in report.rows.values())


def test_what_holds_for_a_host_is_found_once_and_told_for_all_its_urls(shop: Shop, tmp_path: Path) -> None:
    network = Network(shop, {"inside.example": ["10.0.0.1"]})
    urls = [shop.url(f"/{number}", host) for host in ("inside.example", "nowhere.example") for number in range(30)]
    report = fetched(shop, network, tmp_path, *urls, host_concurrency=1)
    assert report.statuses == {Status.REFUSED: 30, Status.FAILED: 30}
    assert report.reasons() == {Reason.CLOSED_ADDRESS: 30, Reason.DNS: 30}
    assert sorted(network.looked_up) == ["inside.example", "nowhere.example"]


def test_proxies_of_the_environment_are_not_used(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    url = shop.add("/a.png", body(picture()))
    assert only(fetch_images([url], tmp_path, shop.config())).status == Status.OK


def test_a_name_is_dialled_at_its_next_address_when_the_first_does_not_answer(shop: Shop, tmp_path: Path) -> None:
    network = Network(shop, {"shop.example": ["1.1.1.1", PUBLIC]}, dead={"1.1.1.1"})
    url = shop.add("/a.png", body(picture()), "shop.example")
    assert only(fetched(shop, network, tmp_path, url)).status == Status.OK
    assert network.dialled == ["1.1.1.1", PUBLIC]


def test_no_more_than_a_few_addresses_of_one_name_are_dialled(shop: Shop, tmp_path: Path) -> None:
    dead = [f"1.1.1.{number}" for number in range(1, 10)]
    network = Network(shop, {"shop.example": dead}, dead=set(dead))
    url = shop.add("/a.png", body(picture()), "shop.example")
    assert only(fetched(shop, network, tmp_path, url, max_attempts=1)).status == Status.FAILED
    assert network.dialled == dead[:4]


@pytest.mark.parametrize(("name", "status_of_it"), [("shop.example", Status.OK), ("other.example", Status.FAILED)])
def test_tls_holds_the_certificate_against_the_name_and_not_the_address(
    name: str, status_of_it: Status, shop: Shop, tmp_path: Path
) -> None:
    certificate, key = make_certificate(tmp_path, "shop.example")
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate, key)
    asked_for: list[str | None] = []
    server_side.sni_callback = lambda _, server_name, __: asked_for.append(server_name)
    shop.server.socket = server_side.wrap_socket(shop.server.socket, server_side=True)
    trusting = ssl.create_default_context(cafile=str(certificate))
    network = Network(shop, {name: [PUBLIC]})
    shop.add("/a.png", body(picture()))
    report = fetch_images(
        [f"https://{name}:{shop.port}/a.png"],
        tmp_path / "out",
        shop.config(allow_private=False),
        resolver=network.resolve,
        dial=network,
        ssl_context=trusting,
    )
    assert only(report).status == status_of_it
    assert set(asked_for) == {name}
    assert network.dialled == [PUBLIC]
    assert only(report).reason == ("" if status_of_it is Status.OK else Reason.TLS)
