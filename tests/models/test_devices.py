"""Device and number format: the choice and the reason in words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from catalog import ModelError
from models import devices
from models.devices import choose_device, choose_precision
from models.encoder import MoonEncoder

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def _cpu_with(monkeypatch: pytest.MonkeyPatch, *features: str) -> None:
    known = dict.fromkeys(("avx2", "avx512_bf16", "amx_bf16"), False) | dict.fromkeys(features, True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known | {"architecture": "x86_64", "sve_max_length": 1})


@pytest.mark.parametrize(
    ("features", "width", "expected", "reason"),
    [
        (("avx512_bf16",), 576, "bf16", "the CPU has AVX512-BF16"),
        (("avx512_bf16", "amx_bf16"), 256, "bf16", "the CPU has AMX"),
        (("avx512_bf16",), 255, "fp32", "a width of 255 is narrow"),
        (("avx512_bf16",), None, "fp32", "width is not known"),
        (("avx2",), 4096, "fp32", "the CPU has no bf16 units"),
    ],
)
def test_auto_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch, features: tuple[str, ...], width: int | None, expected: str, reason: str
) -> None:
    _cpu_with(monkeypatch, *features)
    precision, why = choose_precision("auto", CPU, width)
    assert precision == expected
    assert reason in why


def test_what_is_configured_is_done_and_a_slow_choice_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    _cpu_with(monkeypatch)
    assert choose_precision("fp32", CPU, 4096) == ("fp32", "as configured")
    precision, why = choose_precision("bf16", CPU, 4096)
    assert precision == "bf16"
    assert "no bf16 units" in why
    _cpu_with(monkeypatch, "amx_bf16")
    assert choose_precision("bf16", CPU, 64) == ("bf16", "as configured")


@pytest.mark.parametrize("has_it", [True, False])
def test_auto_on_a_gpu_does_not_count_emulation(monkeypatch: pytest.MonkeyPatch, has_it: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or has_it)
    precision, why = choose_precision("auto", GPU, 64)
    assert (precision, why) == (("bf16", "the GPU has bf16") if has_it else ("fp32", "the GPU has no bf16"))


def test_without_torchs_own_answer_the_kernel_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    monkeypatch.setattr(devices, "_CPU_INFO", tmp_path / "cpuinfo")
    assert choose_precision("auto", CPU, 1024)[0] == "fp32"
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: some CPU\nflags\t\t: fpu avx512_bf16 sse\n")
    assert choose_precision("auto", CPU, 1024) == ("bf16", "the CPU has AVX512-BF16")


def test_a_gpu_asked_for_and_absent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for wanted in ("cuda", "cuda:1"):
        with pytest.raises(ModelError, match="torch sees none") as caught:
            choose_device(wanted)
        assert (caught.value.where, caught.value.got) == ("train.device", wanted)
        assert caught.value.fix == "set train.device to auto or cpu"
    with pytest.raises(ModelError) as caught:
        choose_device("cuda", "serving.device")
    assert caught.value.where == "serving.device"
    assert "serving.device" in caught.value.fix
    assert choose_device("auto") == (CPU, "no GPU is there")
    assert choose_device("cpu") == (CPU, "as configured")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == (GPU, "a GPU is there")
    assert choose_device("cuda") == (GPU, "as configured")


def test_one_gpu_of_several_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == (torch.device("cuda:1"), "as configured")
    with pytest.raises(ModelError, match="this machine has not") as caught:
        choose_device("cuda:2")
    assert caught.value.where == "train.device"
    assert "cuda:0 to cuda:1" in caught.value.allowed


@pytest.mark.parametrize("wanted", ["gpu", "cuda:x", ""])
def test_a_name_that_is_no_devices_is_an_error(wanted: str) -> None:
    with pytest.raises(ModelError, match="no device has this name") as caught:
        choose_device(wanted)
    assert (caught.value.where, caught.value.got) == ("train.device", wanted)


def test_the_encoder_names_the_services_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="torch sees none") as caught:
        MoonEncoder.load(tmp_path, device="cuda")
    assert "serving.device" in caught.value.where


def test_pages_of_read_files_are_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "_CGROUP_LIMIT": "3000000",
        "_CGROUP_USED": "2500000",
        "_CGROUP_STAT": "anon 500000\ninactive_file 2000000\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(devices, name, tmp_path / name)
    assert devices.free_bytes(torch.device("cpu")) == 2_500_000
    (tmp_path / "_CGROUP_STAT").unlink()
    assert devices.free_bytes(torch.device("cpu")) == 500_000  # nothing is known of files: the limit holds as it is
    (tmp_path / "_CGROUP_LIMIT").write_text("max\n")
    assert devices.free_bytes(torch.device("cpu")) > 3_000_000
    (tmp_path / "_CGROUP_LIMIT").unlink()
    assert devices.free_bytes(torch.device("cpu")) > 3_000_000  # no container to hold to
