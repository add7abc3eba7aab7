"""`moon data fetch-images` from the outside."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from catalog import fetching
from catalog.fetching import Ended, FetchReport, read_manifest
from catalog.sources.files import find_files
from catalog.sources.pictures import PictureFinder
from moon.cli import app
from tests.fetching.server import Shop, after, body, picture, status

TOO_MANY = "too many URLs gave no picture"


def options(shop: Shop) -> list[str]:
    return ["--allow-private", "--port", str(shop.port), "--delay", "0", "--attempts", "1"]


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["data", "fetch-images", *words])
    return done.exit_code, done.output


def test_a_catalogue_is_fetched_and_the_report_says_what_is_missing(shop: Shop, tmp_path: Path) -> None:
    rows = [{"images": [shop.add("/a.png", body(picture())), shop.url("/b.png")]}, {"images": ["local/c.png"]}]
    source = tmp_path / "products.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = str(tmp_path / "images")
    code, told = run(str(source), out, "--column", "images", "--max-failed-frac", "0.5", *options(shop))
    assert code == 0, told
    assert "2 URLs: 1 ok, 1 failed, 0 refused" in told
    assert "http_status 404" in told
    assert "1 values are no URL, such as products.jsonl:2: local/c.png" in told
    assert "to go on" not in told
    assert {row.status for row in read_manifest(out).values()} == {"ok", "failed"}


def test_too_many_failures_end_with_status_1_and_the_command_that_tries_them_again(shop: Shop, tmp_path: Path) -> None:
    source = tmp_path / "urls.txt"
    source.write_text(shop.url("/a.png") + "\n" + shop.add("/b.png", body(picture())))
    code, told = run(str(source), str(tmp_path / "my images"), *options(shop))
    assert code == 1
    assert TOO_MANY in told
    assert "50.0% of 2" in told
    line = next(line for line in told.splitlines() if "--retry-failed" in line)
    words = shlex.split(line.partition("then ")[2])
    assert words[:3] == ["moon", "data", "fetch-images"]
    shop.answers["/a.png"] = body(picture())
    code, told = run(*words[3:])
    assert code == 0, told
    assert "2 ok, 0 failed" in told


def test_what_may_pass_is_told_with_the_command_that_goes_on(shop: Shop, tmp_path: Path) -> None:
    source = tmp_path / "urls.txt"
    source.write_text(shop.add("/a.png", after(1, status(503), body(picture()))))
    code, told = run(str(source), str(tmp_path / "out"), *options(shop), "--max-failed-frac", "1")
    assert code == 0, told
    line = next(line for line in told.splitlines() if line.startswith("to go on: "))
    words = shlex.split(line.removeprefix("to go on: "))
    assert "1 ok" in run(*words[3:])[1]


def test_allow_private_is_warned_of_loudly_and_private_is_refused_without(shop: Shop, tmp_path: Path) -> None:
    source = tmp_path / "urls.txt"
    source.write_text(shop.add("/a.png", body(picture())))
    code, told = run(str(source), str(tmp_path / "out"), "--port", str(shop.port))
    assert code == 1
    assert "closed_address" in told
    assert "WARNING" not in told
    assert not shop.asked
    code, told = run(str(source), str(tmp_path / "out"), *options(shop), "--retry-failed")
    assert code == 0, told
    assert "WARNING: --allow-private" in told


def test_an_interrupted_run_leaves_with_130_and_the_command_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "urls.txt").write_text("http://a.example/1")
    ended = FetchReport(1, {}, [], 0, 0, Ended.INTERRUPTED)
    monkeypatch.setattr(fetching, "fetch_images", lambda *args, **kwargs: ended)
    code, told = run(str(tmp_path / "urls.txt"), str(tmp_path / "out"), "--column", "a b", "--max-mib", "2")
    assert code == 1
    assert "no columns" in told
    code, told = run(str(tmp_path / "urls.txt"), str(tmp_path / "out"), "--max-mib", "2")
    assert code == 130
    assert "1 not yet asked for" in told
    assert f"to go on: moon data fetch-images {tmp_path}/urls.txt {tmp_path}/out --max-mib 2.0" in told


def test_what_was_fetched_is_what_a_catalogue_of_urls_shows(shop: Shop, tmp_path: Path) -> None:
    url = shop.add("/a.png", body(picture()))
    source = tmp_path / "products.csv"
    source.write_text(f"id,photo\n1,{url}\n2,{shop.url('/missing.png')}\n")
    out = str(tmp_path / "images")
    code, told = run(str(source), out, "--column", "photo", "--max-failed-frac", "1", *options(shop))
    assert code == 0, told
    shots = PictureFinder(find_files(str(source)), out, str(tmp_path / "work")).shots([url, shop.url("/missing.png")])
    assert shots.refs == (read_manifest(out)[url].path,)
    assert shots.urls == (shop.url("/missing.png"),)


@pytest.mark.parametrize("words", [["--contact", "小店"], ["--timeout", "100000"], ["--delay", "1e9"]])
def test_an_option_out_of_bounds_is_an_error_that_says_so(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text("http://a.example/1")
    code, told = run(str(tmp_path / "urls.txt"), str(tmp_path / "out"), *words)
    assert code == 1
    assert "out of its bounds" in told
    assert not (tmp_path / "out").exists()
