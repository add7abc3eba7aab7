"""Fetching from a server that does everything a server can do wrong."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from catalog import StorageError
from catalog.fetching import Ended, FetchReport, Reason, Row, Status, fetch_images, read_manifest, url_digest
from catalog.fetching.download import parse_retry_after
from catalog.fetching.manifest import locked
from catalog.images import decode_image, sha256_hex
from tests.fetching.server import Shop, after, body, bomb, endless, picture, send, silent, status


def fetch(shop: Shop, folder: Path, *urls: str, retry_failed: bool = False, **changes: Any) -> FetchReport:
    return fetch_images(urls, folder, shop.config(**changes), retry_failed=retry_failed)


def one(shop: Shop, folder: Path, url: str, **changes: Any) -> Row:
    (row,) = fetch(shop, folder, url, **changes).rows.values()
    return row


def files(folder: Path) -> list[str]:
    """What lies in a folder beside the manifest and the lock."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name not in ("manifest.jsonl", ".lock"))


@pytest.mark.parametrize(
    ("kind", "extension"),
    [("PNG", ".png"), ("JPEG", ".jpg"), ("WEBP", ".webp"), ("GIF", ".gif"), ("BMP", ".bmp"), ("TIFF", ".tiff")],
)
def test_a_picture_lies_under_the_digest_of_its_url_with_the_ending_of_what_it_is(
    kind: str, extension: str, shop: Shop, tmp_path: Path
) -> None:
    data = picture(kind, (9, 5))
    url = shop.add("/photo.php?id=7", body(data, Content_Type="text/html"))
    row = one(shop, tmp_path, url)
    digest = url_digest(url)
    assert row == Row(url, f"{digest[:2]}/{digest}{extension}", sha256_hex(data), len(data), 9, 5, "ok", "", "", 1, 200)
    assert (tmp_path / str(row.path)).read_bytes() == data
    assert files(tmp_path) == [row.path]
    assert read_manifest(tmp_path) == {url: row}


def test_width_and_height_are_of_the_upright_picture(shop: Shop, tmp_path: Path) -> None:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(stream, "JPEG", exif=exif)
    row = one(shop, tmp_path, shop.add("/turned.jpg", body(stream.getvalue())))
    image = decode_image(stream.getvalue(), "turned")
    assert (row.width, row.height) == image.size == (10, 20)


def test_a_missing_picture_is_asked_for_once(shop: Shop, tmp_path: Path) -> None:
    row = one(shop, tmp_path, shop.url("/missing.jpg"))
    assert (row.status, row.reason, row.http_status, row.attempts) == ("failed", "http_status", 404, 1)
    assert (row.path, row.sha256, row.num_bytes, row.width, row.height) == (None,) * 5
    assert shop.asked["/missing.jpg"] == 1
    assert files(tmp_path) == []


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
def test_a_fault_that_may_pass_is_tried_again(code: int, shop: Shop, tmp_path: Path) -> None:
    row = one(shop, tmp_path, shop.add("/a.png", after(2, status(code), body(picture()))))
    assert (row.status, row.attempts, row.http_status) == ("ok", 3, 200)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451, 204, 206, 304])
def test_any_other_status_is_final(code: int, shop: Shop, tmp_path: Path) -> None:
    def answer(handler: Any, number: int) -> None:
        send(handler, b"" if code in (204, 304) else b"no", code)

    row = one(shop, tmp_path, shop.add("/a.png", answer))
    assert (row.status, row.http_status, row.attempts, row.passing) == ("failed", code, 1, False)


def test_attempts_end(shop: Shop, tmp_path: Path) -> None:
    row = one(shop, tmp_path, shop.add("/a.png", status(500)), max_attempts=3)
    assert (row.status, row.attempts, row.http_status, row.passing) == ("failed", 3, 500, True)
    assert shop.asked["/a.png"] == 3


def test_retry_after_is_kept_for_the_whole_host(shop: Shop, tmp_path: Path) -> None:
    times: list[tuple[str, float]] = []

    def noted(answer: Any) -> Any:
        def inner(handler: Any, number: int) -> None:
            times.append((handler.path, time.monotonic()))
            answer(handler, number)

        return inner

    busy = shop.add("/busy.png", noted(after(1, status(429, Retry_After="1"), body(picture()))))
    other = shop.add("/other.png", noted(body(picture())))
    report = fetch(shop, tmp_path, busy, other, host_concurrency=1)
    assert report.statuses == {"ok": 2}
    assert times[0][0] == "/busy.png"
    # A server's own time: nobody came back before it was over.
    assert min(later for _, later in times[1:]) - times[0][1] >= 1.0


def test_a_host_that_asks_for_more_patience_than_the_cap_is_left_alone(shop: Shop, tmp_path: Path) -> None:
    urls = [shop.add(f"/{number}.png", status(503, Retry_After="3600")) for number in range(5)]
    report = fetch(shop, tmp_path, *urls, host_concurrency=1, max_retry_after_s=2)
    assert sum(shop.asked.values()) == 1
    assert report.reasons() == {"http_status 503": 1, "host_given_up": 4}
    assert all(row.passing for row in report.rows.values())
    assert "3,600 s" in report.hosts[0].given_up


def test_a_host_that_fails_again_and_again_is_left_alone(shop: Shop, tmp_path: Path) -> None:
    urls = [shop.add(f"/{number}.png", status(500)) for number in range(20)]
    report = fetch(shop, tmp_path, *urls, host_concurrency=1, max_attempts=1, max_host_faults=3)
    assert sum(shop.asked.values()) == 3
    assert report.reasons() == {"http_status 500": 3, "host_given_up": 17}
    assert report.hosts[0].num_failed == 20


def test_missing_pictures_do_not_count_against_a_host(shop: Shop, tmp_path: Path) -> None:
    urls = [shop.url(f"/{number}.png") for number in range(20)]
    report = fetch(shop, tmp_path, *urls, max_host_faults=3)
    assert report.reasons() == {"http_status 404": 20}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), ("120", 120.0), (" 7 ", 7.0), ("", None), ("-1", None), ("soon", None), ("1.5", None), ("٣", None)],
)
def test_retry_after_in_seconds(text: str, seconds: float | None) -> None:
    assert parse_retry_after(text) == seconds


@pytest.mark.parametrize(("later_s", "seconds"), [(90, 90.0), (-90, 0.0)])
def test_retry_after_as_a_date(later_s: int, seconds: float) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    text = format_datetime(now + timedelta(seconds=later_s), usegmt=True)
    assert parse_retry_after(text, lambda: now) == seconds


def test_a_silent_server_times_out(shop: Shop, tmp_path: Path) -> None:
    row = one(shop, tmp_path, shop.add("/a.png", silent(shop)), read_timeout_s=0.1, max_attempts=2)
    assert (row.reason, row.attempts, row.http_status, row.passing) == (Reason.TIME_OUT, 2, None, True)


def test_a_dripping_body_ends_at_the_time_for_the_whole_request(shop: Shop, tmp_path: Path) -> None:
    url = shop.add("/a.png", endless(shop, b"x", pause_s=0.02))
    assert one(shop, tmp_path, url, total_timeout_s=0.3, max_attempts=1).reason == Reason.TIME_OUT


def test_dripping_headers_end_at_the_time_for_the_whole_request(shop: Shop, tmp_path: Path) -> None:
    def answer(handler: Any, number: int) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not shop.release.wait(0.02):
            handler.wfile.write(b"X-Slow: 1\r\n")

    row = one(shop, tmp_path, shop.add("/a.png", answer), total_timeout_s=0.3, max_attempts=1)
    assert row.reason == Reason.TIME_OUT


def test_an_endless_body_is_read_up_to_the_cap(shop: Shop, tmp_path: Path) -> None:
    report = fetch(shop, tmp_path, shop.add("/a.png", endless(shop, b"\0" * 8192)), max_image_bytes=100_000)
    (row,) = report.rows.values()
    assert (row.status, row.reason, row.http_status) == ("failed", Reason.TOO_LARGE, 200)
    assert 100_000 < report.num_bytes <= 100_000 + 65_536
    assert files(tmp_path) == []


def test_a_body_that_says_it_is_too_large_is_not_read(shop: Shop, tmp_path: Path) -> None:
    report = fetch(shop, tmp_path, shop.add("/a.png", body(bytes(200_000))), max_image_bytes=100_000)
    assert report.reasons() == {"too_large": 1}
    assert report.num_bytes == 0


def test_a_body_shorter_than_it_says_is_tried_again(shop: Shop, tmp_path: Path) -> None:
    data = picture()

    def cut(handler: Any, number: int) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:-20])
        handler.close_connection = True

    row = one(shop, tmp_path, shop.add("/a.png", after(1, cut, body(data))))
    assert (row.status, row.attempts) == ("ok", 2)


def test_a_packed_body_is_not_unpacked(shop: Shop, tmp_path: Path) -> None:
    url = shop.add("/a.png", body(gzip.compress(bytes(10_000_000)), Content_Encoding="gzip"))
    assert one(shop, tmp_path, url).reason == Reason.CODING
    assert shop.headers[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"<html><body>Sold out</body></html>", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (b"", "empty"),
        (picture("JPEG", (64, 64))[:-300], "damaged"),
        (bomb(), "decompression bomb"),
    ],
)
def test_what_is_no_picture_leaves_no_file(data: bytes, told: str, shop: Shop, tmp_path: Path) -> None:
    row = one(shop, tmp_path, shop.add("/a.jpg", body(data, Content_Type="image/jpeg")))
    assert (row.status, row.reason, row.http_status, row.attempts) == ("failed", Reason.PICTURE, 200, 1)
    assert told in row.detail
    assert files(tmp_path) == []


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_and_the_picture_lies_under_the_first_url(code: int, shop: Shop, tmp_path: Path) -> None:
    shop.add("/b.png", body(picture()))
    url = shop.add("/a.png", status(code, Location="b.png"))
    row = one(shop, tmp_path, url)
    assert (row.status, row.attempts) == ("ok", 1)
    assert url_digest(url) in str(row.path)


def test_a_loop_of_redirects_ends(shop: Shop, tmp_path: Path) -> None:
    shop.add("/b.png", status(302, Location="/a.png"))
    row = one(shop, tmp_path, shop.add("/a.png", status(302, Location="/b.png")), max_redirects=4)
    assert row.reason == Reason.REDIRECTS
    assert sum(shop.asked.values()) == 5


@pytest.mark.parametrize("place", ["http://[", "http://a:b:c/"])
def test_a_redirect_to_no_url_is_final(place: str, shop: Shop, tmp_path: Path) -> None:
    row = one(shop, tmp_path, shop.add("/a.png", status(302, Location=place)))
    assert row.reason in (Reason.REDIRECTS, Reason.BAD_URL)
    assert not row.passing
    assert shop.asked == {"/a.png": 1}


def test_a_redirect_without_a_place_is_a_status(shop: Shop, tmp_path: Path) -> None:
    assert one(shop, tmp_path, shop.add("/a.png", status(302))).reason == Reason.HTTP_STATUS


def test_a_closed_port_fails_for_now(shop: Shop, tmp_path: Path) -> None:
    shop.server.server_close()
    row = one(shop, tmp_path, shop.url("/a.png"), max_attempts=2)
    assert (row.reason, row.attempts, row.passing) == (Reason.CONNECTION, 2, True)


def test_requests_say_who_asks_and_carry_nothing_back(shop: Shop, tmp_path: Path) -> None:
    urls = [shop.add(f"/{n}.png", body(picture(), Set_Cookie="id=1; Path=/")) for n in range(3)]
    fetch(shop, tmp_path, *urls, host_concurrency=1, contact="https://shop.example/bot")
    for headers in shop.headers:
        assert headers["User-Agent"].startswith("moon-fetch-images/")
        assert headers["User-Agent"].endswith("(+https://shop.example/bot)")
        assert not {"Cookie", "Authorization", "Referer"} & headers.keys()


def test_a_repeated_url_is_fetched_once(shop: Shop, tmp_path: Path) -> None:
    url = shop.add("/a.png", body(picture()))
    report = fetch(shop, tmp_path, url, url, url)
    assert report.num_urls == 1
    assert shop.asked == {"/a.png": 1}


def test_no_more_than_so_many_requests_at_one_host(shop: Shop, tmp_path: Path) -> None:
    gate = threading.Event()

    def held(handler: Any, number: int) -> None:
        gate.wait(0.05)
        send(handler, picture())

    urls = [shop.add(f"/{n}.png", held) for n in range(12)]
    report = fetch(shop, tmp_path, *urls, num_workers=8, host_concurrency=3)
    assert report.statuses == {"ok": 12}
    assert 1 < shop.most_at_once <= 3


def test_a_second_run_asks_for_nothing(shop: Shop, tmp_path: Path) -> None:
    urls = [shop.add("/a.png", body(picture())), shop.url("/missing.png"), "ftp://shop.example/x"]
    first = fetch(shop, tmp_path, *urls)
    shop.asked.clear()
    second = fetch(shop, tmp_path, *urls)
    assert not shop.asked
    assert second.rows == first.rows
    assert (second.num_new, second.num_bytes) == (0, 0)


def test_a_second_run_asks_again_for_what_failed_for_now_and_what_is_gone(shop: Shop, tmp_path: Path) -> None:
    urls = [shop.add(f"/{name}.png", body(picture())) for name in ("kept", "gone", "short")]
    urls.append(shop.add("/flaky.png", after(1, status(500), body(picture()))))
    urls.append(shop.url("/missing.png"))
    first = fetch(shop, tmp_path, *urls, max_attempts=1)
    assert first.statuses == {"ok": 3, "failed": 2}
    (tmp_path / str(first.rows[urls[1]].path)).unlink()
    (tmp_path / str(first.rows[urls[2]].path)).write_bytes(b"cut")
    before = shop.asked.copy()
    second = fetch(shop, tmp_path, *urls, max_attempts=1)
    assert shop.asked - before == {"/gone.png": 1, "/short.png": 1, "/flaky.png": 1}
    assert second.statuses == {"ok": 4, "failed": 1}
    lines = (tmp_path / "manifest.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["url"] for line in lines) == sorted(urls)


def test_retry_failed_asks_again_for_the_rest(shop: Shop, tmp_path: Path) -> None:
    urls = [shop.add("/a.png", after(1, status(404), body(picture()))), shop.add("/ok.png", body(picture()))]
    assert fetch(shop, tmp_path, *urls).statuses == {"ok": 1, "failed": 1}
    assert fetch(shop, tmp_path, *urls, retry_failed=True).statuses == {"ok": 2}
    assert shop.asked == {"/a.png": 2, "/ok.png": 1}


def test_a_picture_without_a_row_is_taken_as_it_lies(shop: Shop, tmp_path: Path) -> None:
    url = shop.add("/a.png", body(picture()))
    before = one(shop, tmp_path, url)
    (tmp_path / "manifest.jsonl").unlink()
    row = one(shop, tmp_path, url)
    assert shop.asked == {"/a.png": 1}
    assert (row.path, row.sha256, row.attempts, row.http_status) == (before.path, before.sha256, 0, None)


def test_rows_of_other_lists_stay(shop: Shop, tmp_path: Path) -> None:
    first, second = (shop.add(f"/{name}.png", body(picture())) for name in "ab")
    fetch(shop, tmp_path, first)
    assert list(fetch(shop, tmp_path, second).rows) == [second]
    assert set(read_manifest(tmp_path)) == {first, second}


def test_a_run_stops_when_its_bytes_are_spent_and_the_next_goes_on(shop: Shop, tmp_path: Path) -> None:
    data = picture("BMP", (40, 40))
    urls = [shop.add(f"/{n}.bmp", body(data)) for n in range(6)]
    report = fetch(shop, tmp_path, *urls, num_workers=1, max_total_bytes=len(data) * 3 + 10)
    assert report.ended is Ended.BYTES_SPENT
    assert report.statuses == {"ok": 3}
    assert report.num_left == 3
    assert fetch(shop, tmp_path, *urls).statuses == {"ok": 6}


def test_a_second_run_in_the_same_folder_is_kept_out(shop: Shop, tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(StorageError, match="another run"):
        fetch(shop, tmp_path, shop.url("/a.png"))


def test_a_folder_that_is_a_file_is_told(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(StorageError, match="cannot be used"):
        fetch(shop, tmp_path / "out", shop.url("/a.png"))


def test_a_disk_that_takes_nothing_ends_the_run_with_the_reason(shop: Shop, tmp_path: Path) -> None:
    urls = [shop.add(f"/{n}.png", body(picture())) for n in range(8)]
    for url in urls:
        (tmp_path / url_digest(url)[:2]).write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        fetch(shop, tmp_path, *urls, num_workers=2)
    assert read_manifest(tmp_path) == {}


def test_progress_counts_every_url(shop: Shop, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    urls = [shop.add(f"/{n}.png", body(picture())) for n in range(5)]
    fetch_images(urls, tmp_path, shop.config(), progress=lambda done, to_do, num_bytes: told.append((done, to_do)))
    assert told == [(n + 1, 5) for n in range(5)]


PROGRAM = """
import signal, sys
# A process that was started in the background ignores the key: so would this one, which inherits it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from catalog.fetching import FetchConfig, fetch_images
port = int(sys.argv[2])
urls = [f"http://127.0.0.1:{port}/{n}.png" for n in range(20)]
config = FetchConfig(allow_private=True, ports=(port,), host_delay_s=0, host_concurrency=1, read_timeout_s=5)
print(fetch_images(urls, sys.argv[1], config).ended)
"""


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_half_way_leaves_whole_files_and_goes_on(
    kill: signal.Signals, shop: Shop, tmp_path: Path
) -> None:
    data = picture("BMP", (60, 60))
    reached = threading.Event()

    def half(handler: Any, number: int) -> None:
        """The eighth picture hangs in the middle of its body, the first time."""
        if number > 1:
            return send(handler, data)
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[: len(data) // 2])
        reached.set()
        for _ in range(200):
            if shop.release.wait(0.05):
                break
            handler.wfile.write(b"x")
        return None

    for number in range(20):
        shop.add(f"/{number}.png", half if number == 7 else body(data))
    out = tmp_path / "out"
    run = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(out), str(shop.port)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert reached.wait(60)
    run.send_signal(kill)
    told, _ = run.communicate(timeout=60)
    assert told == ("" if kill is signal.SIGKILL else "interrupted\n")
    assert {row.status for row in read_manifest(out).values()} == {Status.OK}
    assert len(read_manifest(out)) == 7
    pictures = [name for name in files(out) if not name.startswith(".partial")]
    assert len(pictures) == 7
    assert all((out / name).read_bytes() == data for name in pictures)
    before = shop.asked.copy()
    report = fetch(shop, out, *(shop.url(f"/{number}.png") for number in range(20)))
    assert report.statuses == {"ok": 20}
    assert sum((shop.asked - before).values()) == 13
    assert len(files(out)) == 20
