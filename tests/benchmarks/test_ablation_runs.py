"""Order, resuming, changed configurations, budget and failures of the ablation's runs; nothing is trained."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.ablation import machine as machine_module
from benchmarks.ablation.machine import commit, machine, same_code
from benchmarks.ablation.results import Rows, read_outcomes
from benchmarks.ablation.runs import Job, Measured, changed, missing, run_jobs
from catalog import ModelError
from tests.benchmarks.rows import DEMO, IMAGE, jobs, measured, outcome, recipe

ARMS = ["full", "dual", "minus_crop"]


class Fake:
    """Writes down what it is asked to do, and lets a clock of its own run."""

    def __init__(self, seconds: float = 60.0, answer: Callable[[Job], Measured] | None = None) -> None:
        self.seconds, self.now = seconds, 0.0
        self.asked: list[tuple[int, str]] = []
        self.answer = answer

    def __call__(self, job: Job) -> Measured:
        self.asked.append((job.seed, job.arm))
        self.now += self.seconds
        return self.answer(job) if self.answer else measured(self.seconds)

    def clock(self) -> float:
        return self.now


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    return Rows(tmp_path / "demo.jsonl")


def go(wanted: list[Job], rows: Rows, fake: Fake, **options: object):  # type: ignore[no-untyped-def]
    said: list[str] = []
    summary = run_jobs(wanted, rows, rows.path.parent, fake, say=said.append, clock=fake.clock, **options)  # type: ignore[arg-type]
    return summary, said


def test_every_run_becomes_a_row_with_its_results_by_item(rows: Rows) -> None:
    wanted, fake = jobs(ARMS, [1, 2]), Fake()
    summary, _ = go(wanted, rows, fake)
    assert fake.asked == [(seed, arm) for seed in (1, 2) for arm in ARMS]
    found = rows.read()
    assert found == summary.done
    assert [row.config_digest for row in found] == [job.config_digest for job in wanted]
    assert found[0].machine["cpu"] == machine()["cpu"]
    assert read_outcomes(rows.path.parent, found[0])[IMAGE].values.tolist() == [1.0, 0.0]


def test_what_is_there_is_not_done_again(rows: Rows) -> None:
    go(jobs(ARMS, [1]), rows, Fake())
    fake = Fake()
    summary, said = go(jobs(ARMS, [1, 2]), rows, fake)
    assert fake.asked == [(2, arm) for arm in ARMS]
    assert summary.skipped == 3
    assert "6 runs, 3 of them done before, 3 to do" in said[0]


def code_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.ablation.runs.commit", lambda: name)
    monkeypatch.setattr("benchmarks.ablation.runs.same_code", lambda made_at: made_at == name)


def test_again_runs_what_other_code_made_and_keeps_its_rows(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = jobs(ARMS, [1])
    code_is("before", monkeypatch)
    first = go(wanted, rows, Fake())[0].done[0]
    code_is("mended", monkeypatch)
    go(wanted[:1], rows, Fake(answer=lambda job: measured(**{IMAGE: outcome([0, 0])})), again=True)
    fake = Fake()
    summary, _ = go(wanted, rows, fake, again=True)
    # What the mended code has made counts: a series that was cut off goes on.
    assert fake.asked == [(1, arm) for arm in ARMS[1:]]
    assert summary.skipped == 1
    found = rows.read()
    assert [(row.commit, row.arm) for row in found] == [(at, arm) for at in ("before", "mended") for arm in ARMS]
    assert len({row.outcomes for row in found}) == 6
    folder = rows.path.parent
    assert read_outcomes(folder, first)[IMAGE].values.tolist() == [1.0, 0.0]
    assert read_outcomes(folder, found[3])[IMAGE].values.tolist() == [0.0, 0.0]


def test_a_row_taken_out_leaves_the_results_of_the_others(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = jobs(["full"], [1])
    for number in range(3):
        code_is(f"code {number}", monkeypatch)
        go(wanted, rows, Fake(), again=True)
    _, *others = rows.path.read_text(encoding="utf-8").splitlines(keepends=True)
    rows.path.write_text("".join(others), encoding="utf-8")
    code_is("code 3", monkeypatch)
    go(wanted, rows, Fake(answer=lambda job: measured(**{IMAGE: outcome([0, 0])})), again=True)
    found = rows.read()
    assert len({row.outcomes for row in found}) == 3
    judged = [read_outcomes(rows.path.parent, row)[IMAGE].values.tolist() for row in found]
    assert judged == [[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("at", ["", "0123456789ab+"])
def test_again_wants_code_that_can_be_told_from_other_code(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    code_is(at, monkeypatch)
    with pytest.raises(ModelError, match="no commit holds"):
        go(jobs(ARMS, [1]), rows, Fake(), again=True)


def test_commits_of_rows_and_pages_are_no_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> None:
        subprocess.run(("git", *words), cwd=tmp_path, check=True, capture_output=True)

    def write(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
        git("add", ".")

    monkeypatch.setattr(machine_module, "PROJECT_ROOT", tmp_path)
    assert commit() == ""
    git("init", "-q")
    git("config", "user.email", "moon@example.org")
    git("config", "user.name", "moon")
    write("models/moon.py", "one = 1\n")
    git("commit", "-qm", "code")
    first = commit()
    assert same_code(first)
    for name in ("benchmarks/results/ablation/demo.jsonl", "docs/RESULTS.md", "README.md", "tests/test_moon.py"):
        write(name, "a row\n")
        assert commit() == first
    git("commit", "-qm", "rows")
    assert commit() != first
    assert same_code(first)
    write("models/moon.py", "one = 2\n")
    assert commit().endswith("+")
    assert not same_code(first)
    git("commit", "-qm", "mended")
    assert not same_code(first)
    assert same_code(commit())
    assert not any(same_code(at) for at in ("", commit() + "+", "0123456789ab"))


class Kill(BaseException):
    """As SIGKILL: nobody catches it."""


@pytest.mark.parametrize("after", range(1, 9))
def test_a_kill_anywhere_leaves_seeds_spread_evenly_and_the_rest_is_made_up(rows: Rows, after: int) -> None:
    def answer(job: Job) -> Measured:
        if len(killed.asked) > after:
            raise Kill
        return measured()

    killed = Fake(answer=answer)
    wanted = jobs(ARMS, [1, 2, 3])
    with pytest.raises(Kill):
        go(wanted, rows, killed)
    counts = Counter(dict.fromkeys(ARMS, 0)) + Counter(row.arm for row in rows.read())
    assert max(counts[arm] for arm in ARMS) - min(counts[arm] for arm in ARMS) <= 1
    fake = Fake()
    go(wanted, rows, fake)
    assert killed.asked[:after] + fake.asked == [(job.seed, job.arm) for job in wanted]
    assert len(rows.read()) == 9


def test_a_line_cut_short_is_told_left_out_and_written_anew(rows: Rows, caplog: pytest.LogCaptureFixture) -> None:
    wanted = jobs(ARMS, [1])
    go(wanted, rows, Fake())
    whole = rows.path.read_bytes()
    rows.path.write_bytes(whole[:-100])
    assert [row.arm for row in rows.read()] == ARMS[:2]
    assert "cut short" in caplog.text
    fake = Fake()
    go(wanted, rows, fake)
    assert fake.asked == [(1, ARMS[2])]
    assert [row.arm for row in rows.read()] == ARMS
    assert rows.path.read_bytes().count(b"\n") == 3


def test_every_length_of_the_last_line_is_survived(rows: Rows) -> None:
    wanted = jobs(["full", "minus_crop"], [1])
    go(wanted, rows, Fake())
    whole = rows.path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in [*range(first, len(whole), 97), len(whole) - 1]:
        rows.path.write_bytes(whole[:length])
        go(wanted, rows, Fake())
        assert [row.arm for row in rows.read()] == ["full", "minus_crop"]


def test_a_changed_configuration_is_another_row_and_said(rows: Rows) -> None:
    before, after = recipe(train={"steps": 100}), recipe(train={"steps": 200})
    old = jobs(["full", "minus_crop"], [1], own=before)
    go(old, rows, Fake())
    new = jobs(["full", "minus_crop"], [1], own=after)
    known = old[0].setup.plain()
    # Younger than the row, and at its default: no news.
    del known["model"]["use_description"]
    recipes = {old[0].recipe_digest: known}
    lines = changed(new, rows.read(), recipes)
    assert len(lines) == 2
    assert all("train.steps 100 -> 200" in line for line in lines)
    assert not any("use_crops" in line or "use_description" in line for line in lines)
    assert missing(new, rows.read()) == new
    go(new, rows, Fake())
    assert len(rows.read()) == 4
    assert changed(new, rows.read(), recipes) == []
    assert missing(old, rows.read()) == []


def test_a_recipe_that_is_no_longer_known_is_said_to_be_so(rows: Rows) -> None:
    go(jobs(["full"], [1], own=recipe(train={"steps": 100})), rows, Fake())
    (line,) = changed(jobs(["full"], [1]), rows.read(), {})
    assert "no longer known" in line


def test_no_run_is_begun_that_would_end_over_the_budget(rows: Rows) -> None:
    fake = Fake(seconds=100)
    summary, said = go(jobs(ARMS, [1, 2, 3]), rows, fake, budget_s=450)
    # Four take 400 s; a fifth would end at 500.
    assert len(fake.asked) == 4
    assert summary.out_of_budget
    assert len(summary.left) == 5
    assert "stopped before dual-2" in said[-1]


def test_the_mean_of_rows_that_stand_there_counts_for_the_budget(rows: Rows) -> None:
    go(jobs(ARMS, [1]), rows, Fake(seconds=100))
    fake = Fake(seconds=100)
    summary, _ = go(jobs(ARMS, [1, 2]), rows, fake, budget_s=50)
    assert fake.asked == []
    assert summary.out_of_budget


def test_a_first_run_is_begun_under_any_budget(rows: Rows) -> None:
    fake = Fake(seconds=100)
    go(jobs(ARMS, [1]), rows, fake, budget_s=1)
    assert len(fake.asked) == 1


def test_a_failing_arm_takes_its_later_seeds_with_it_and_no_other(rows: Rows) -> None:
    def answer(job: Job) -> Measured:
        if job.arm == "dual":
            raise ModelError("loss is not finite")
        return measured()

    fake = Fake(answer=answer)
    summary, said = go(jobs(ARMS, [1, 2]), rows, fake)
    assert fake.asked == [(1, "full"), (1, "dual"), (1, "minus_crop"), (2, "full"), (2, "minus_crop")]
    assert set(summary.failed) == {"dual"}
    assert [job.name for job in summary.left] == ["dual-2"]
    assert any("loss is not finite" in line for line in said)
    assert {row.arm for row in rows.read()} == {"full", "minus_crop"}


def test_arms_that_are_matched_carry_the_number_they_were_matched_with() -> None:
    full, dual, moe, crop = jobs(["full", "dual", "minus_moe", "minus_crop"], [1])
    assert (full.expected_parameters, crop.expected_parameters) == (None, None)
    assert (dual.expected_parameters, moe.expected_parameters) == (1000, 1000)
    assert dual.setup.model.late_hidden_size == 77
    assert dual.changes["model.late_hidden_size"] == (256, 77)


def test_one_match_serves_all_folds_of_a_fixed_tokenizer_and_one_a_fold_of_a_trained_one() -> None:
    from tests.benchmarks.rows import LUMA, no_match

    for backbone, expected in (("nano", 5), ("composed", 1)):
        asked = set()

        def match(full, own, arm, asked=asked):  # type: ignore[no-untyped-def]
            asked.add(full.model_dump_json())
            return no_match(full, own, arm)

        layers = {"layers": [-1]} if backbone == "nano" else {"layers": []}
        jobs(["dual"], LUMA.seeds, LUMA, recipe(model={"backbone": backbone, "moe": layers}), match=match)
        assert len(asked) == expected


def test_rows_are_told_with_the_time_left(rows: Rows) -> None:
    _, said = go(jobs(ARMS, [1]), rows, Fake(seconds=600))
    assert "about 10 min left" in said[-2]
    assert DEMO.data in said[-2]
