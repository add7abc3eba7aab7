"""Kept features against the tower itself: variants, resumption, sharing."""

from __future__ import annotations

import json
import multiprocessing
import pickle
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from catalog import ModelError, StorageError
from models.backbones.base import PictureLayout, SeenPictures
from models.config.train import AugmentConfig
from models.training.augment import augment
from models.training.picture_features import FeaturePlan, FeatureStore, StoredFeatures, picture_key, tower_digest

SIDE = 8
PLAN = FeaturePlan("tower", PictureLayout(SIDE, 2, 2), AugmentConfig(), variants=3, dtype="float32")
KEYS = [f"picture-{number}" for number in range(11)]


class Tower:
    """Four tokens a picture, pooled, and one deep tensor; counts its calls and pictures."""

    def __init__(self, fail_at: int = 0, scale: float = 1.0) -> None:
        self.calls, self.pictures, self.fail_at, self.scale = 0, 0, fail_at, scale

    def __call__(self, pixels_NCHW: torch.Tensor) -> SeenPictures:
        self.calls += 1
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        self.pictures += len(pixels_NCHW)
        cells = pixels_NCHW.unfold(2, 4, 4).unfold(3, 4, 4).reshape(len(pixels_NCHW), 3, 4, 16)
        grid = (cells.mean(dim=-1).transpose(1, 2) + cells.std(dim=-1).transpose(1, 2)) * self.scale
        return SeenPictures(grid, grid.mean(dim=1), (grid.square(),))


def _square(key: str) -> np.ndarray:
    seed = int.from_bytes(key.encode(), "little") % 2**32
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def _normalised(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.sub_(0.4).div_(0.3)


def _fill(store: FeatureStore, tower: Tower, keys: list[str] = KEYS, **changes: object) -> int:
    settings = {"batch": 6, "shard_pictures": 4} | changes
    return store.fill(keys, _square, tower, _normalised, **settings)  # type: ignore[arg-type]


def _direct(key: str, variant: int, store: FeatureStore) -> SeenPictures:
    return Tower()(_normalised(store.pixels(key, _square(key))[variant : variant + 1].clone()))


def test_features_equal_direct_encoding(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, PLAN)
    assert _fill(store, Tower()) == 11
    rows, variants = [store.rows[key] for key in reversed(KEYS)], [number % 3 for number in range(11)]
    taken = store.take(rows, variants)
    direct = [_direct(key, variant, store) for key, variant in zip(reversed(KEYS), variants, strict=True)]
    assert torch.allclose(taken.grid_NKV, torch.cat([one.grid_NKV for one in direct]), atol=1e-6)
    assert torch.allclose(taken.pooled_NP, torch.cat([one.pooled_NP for one in direct]), atol=1e-6)
    assert torch.allclose(taken.deep[0], torch.cat([one.deep[0] for one in direct]), atol=1e-6)
    assert taken.grid_NKV.shape == (11, 4, 3)


def test_what_is_kept_does_not_hang_on_what_else_was_missing(tmp_path: Path) -> None:
    """A convolution of another batch size sums in another order (seen: 5e-5), and bf16 makes much of it."""
    torch.manual_seed(1)
    convolution = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.SiLU(), torch.nn.Conv2d(32, 8, 3)).eval()
    sizes = []

    def see(pixels_NCHW: torch.Tensor) -> SeenPictures:
        sizes.append(len(pixels_NCHW))
        grid_NKV = convolution(pixels_NCHW).flatten(2).transpose(1, 2)
        return SeenPictures(grid_NKV, grid_NKV.mean(dim=1), ())

    at_once, bit_by_bit = FeatureStore(tmp_path / "a", PLAN), FeatureStore(tmp_path / "b", PLAN)
    settings = {"batch": 48, "shard_pictures": 100}
    at_once.fill(KEYS, _square, see, _normalised, **settings)  # type: ignore[arg-type]
    for some in (KEYS[7:8], KEYS[2:5], KEYS):
        bit_by_bit.fill(some, _square, see, _normalised, **settings)  # type: ignore[arg-type]
    assert sizes == [48] * 4
    for variant in range(3):
        taken = [store.take([store.rows[key] for key in KEYS], [variant] * 11) for store in (at_once, bit_by_bit)]
        assert torch.equal(taken[0].grid_NKV, taken[1].grid_NKV)
        assert torch.equal(taken[0].pooled_NP, taken[1].pooled_NP)


def test_variant_0_is_the_plain_picture_and_the_others_are_augmented(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, PLAN)
    pixels = store.pixels("a", _square("a"))
    plain = torch.from_numpy(_square("a")).permute(2, 0, 1).float() / 255
    assert torch.equal(pixels[0], plain)
    assert pixels.shape == (3, 3, SIDE, SIDE)
    assert not torch.allclose(pixels[1], pixels[2])
    assert not torch.allclose(pixels[1], store.pixels("b", _square("a"))[1])
    assert not torch.allclose(pixels[1], FeatureStore(tmp_path, replace(PLAN, seed=2)).pixels("a", _square("a"))[1])
    assert float(pixels.min()) >= 0.0
    assert float(pixels.max()) <= 1.0
    still = AugmentConfig(min_area_frac=1.0, flip=0.0, brightness=0.0, contrast=0.0)
    unmoved = FeatureStore(tmp_path, replace(PLAN, augment=still)).pixels("a", _square("a"))
    assert torch.allclose(unmoved[2], plain, atol=1e-6)


def test_strong_variants_are_all_small_crops(tmp_path: Path) -> None:
    still = AugmentConfig(min_area_frac=1.0, flip=0.0, brightness=0.0, contrast=0.0)
    store = FeatureStore(tmp_path, replace(PLAN, augment=still, strong=True))
    plain = torch.from_numpy(_square("a")).permute(2, 0, 1).float() / 255
    pixels = store.pixels("a", _square("a"))
    assert all(not torch.allclose(one, plain, atol=0.05) for one in pixels)
    draw = torch.Generator().manual_seed(0)
    assert pixels.shape[1:] == augment(plain[None], torch.tensor([True]), still, draw).shape[1:]


def test_a_second_fill_asks_the_tower_for_nothing(tmp_path: Path) -> None:
    _fill(FeatureStore(tmp_path, PLAN), Tower())
    tower = Tower()
    again = FeatureStore(tmp_path, PLAN)
    assert _fill(again, tower) == 0
    assert tower.calls == 0
    assert len(again.rows) == 11


def test_only_missing_pictures_are_encoded_and_rows_stay(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, PLAN)
    _fill(store, Tower(), KEYS[:5])
    before, taken = dict(store.rows), store.take([2, 4], [1, 2])
    tower = Tower()
    assert _fill(store, tower, [*KEYS, "picture-2", *KEYS]) == 6
    assert tower.pictures == 6 * 3
    assert {key: store.rows[key] for key in before} == before
    assert torch.equal(store.take([2, 4], [1, 2]).grid_NKV, taken.grid_NKV)
    assert sorted(store.rows.values()) == list(range(11))


def test_a_killed_fill_goes_on(tmp_path: Path) -> None:
    # Two pictures of three variants a call and four pictures a shard: the fourth call dies in the second shard.
    with pytest.raises(KeyboardInterrupt):
        _fill(FeatureStore(tmp_path, PLAN), Tower(fail_at=4))
    store, tower = FeatureStore(tmp_path, PLAN), Tower()
    assert len(store.rows) == 4
    assert _fill(store, tower) == 7
    # Two calls for each of the two shards left, the last of them filled up.
    assert (tower.calls, tower.pictures) == (4, 4 * 2 * 3)
    expected = torch.cat([_direct(key, 1, store).grid_NKV for key in KEYS])
    assert torch.allclose(store.take([store.rows[key] for key in KEYS], [1] * 11).grid_NKV, expected, atol=1e-6)


def test_a_kill_while_writing_leaves_no_half_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeatureStore(tmp_path, PLAN)

    def die(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", die)
    with pytest.raises(KeyboardInterrupt):
        _fill(store, Tower())
    monkeypatch.undo()
    assert FeatureStore(tmp_path, PLAN).rows == {}
    assert _fill(FeatureStore(tmp_path, PLAN), Tower()) == 11


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    _fill(FeatureStore(tmp_path, PLAN), Tower(), progress=lambda done, total: told.append((done, total)))
    assert told == [(2, 11), (4, 11), (6, 11), (8, 11), (10, 11), (11, 11)]


@pytest.mark.parametrize(
    "change",
    [
        {"tower": "other"},
        {"layout": PictureLayout(SIDE, 2, 2, mean=(0.1, 0.1, 0.1))},
        {"augment": AugmentConfig(flip=0.1)},
        {"variants": 2},
        {"strong": True},
        {"seed": 2},
        {"dtype": "float16"},
    ],
)
def test_another_plan_is_another_folder(tmp_path: Path, change: dict[str, object]) -> None:
    _fill(FeatureStore(tmp_path, PLAN), Tower())
    assert FeatureStore(tmp_path, replace(PLAN, **change)).rows == {}  # type: ignore[arg-type]
    assert len(FeatureStore(tmp_path, replace(PLAN)).rows) == 11


def test_float16_rounds_by_at_most_a_2048th(tmp_path: Path) -> None:
    exact, half = FeatureStore(tmp_path, PLAN), FeatureStore(tmp_path, replace(PLAN, dtype="float16"))
    _fill(exact, Tower(scale=30.0))
    _fill(half, Tower(scale=30.0))
    one, two = (store.take(range(11), [0] * 11).grid_NKV for store in (exact, half))
    assert two.dtype == torch.float32
    assert not torch.equal(one, two)
    assert ((one - two).abs() <= one.abs() / 2048).all()


@pytest.mark.parametrize(
    ("scale", "dtype", "way_out"),
    [(1e6, "float16", "set train.feature_variants: 0"), (float("nan"), "float32", "look at this picture")],
)
def test_a_feature_that_cannot_be_kept_is_refused(tmp_path: Path, scale: float, dtype: str, way_out: str) -> None:
    store = FeatureStore(tmp_path, replace(PLAN, dtype=dtype))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="not finite, or too large") as caught:
        _fill(store, Tower(scale=scale), named=lambda key: f"{key}.png")
    assert caught.value.where == "picture picture-0.png"
    assert way_out in caught.value.fix
    assert store.rows == {}


def test_a_folder_that_cannot_be_written_names_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be kept") as caught:
        _fill(FeatureStore(tmp_path / "file", PLAN), Tower())
    assert "train.feature_variants: 0" in caught.value.fix


def test_a_damaged_shard_is_told(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, PLAN)
    _fill(store, Tower())
    (store.folder / "000000" / "grid.npy").write_bytes(b"no array")
    with pytest.raises(StorageError, match="cannot be read"):
        FeatureStore(tmp_path, PLAN).take([0], [0])
    (store.folder / "000000" / "keys.json").write_text("{")
    with pytest.raises(StorageError, match="cannot be read"):
        FeatureStore(tmp_path, PLAN)


def test_a_store_is_pickled_without_its_maps(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, PLAN)
    _fill(store, Tower())
    expected = store.take([3], [1]).grid_NKV
    data = pickle.dumps(store)
    assert len(data) < 4096
    copied = pickle.loads(data)  # noqa: S301
    assert torch.equal(copied.take([3], [1]).grid_NKV, expected)


def _fill_in_process(folder: Path, counts: str) -> None:
    torch.set_num_threads(1)
    done = _fill(FeatureStore(folder, PLAN), Tower(), shard_pictures=2)
    (folder / counts).write_text(json.dumps(done))


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_fill_in_process, args=(tmp_path, f"{n}.json")) for n in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert sum(json.loads((tmp_path / f"{n}.json").read_text()) for n in range(2)) == 11
    assert sorted(FeatureStore(tmp_path, PLAN).rows) == sorted(KEYS)


@dataclass(frozen=True)
class _Shot:
    key: str


@dataclass(frozen=True)
class _Picture:
    shot: _Shot
    view: int
    strong: bool = False


@pytest.mark.parametrize("with_strong", [True, False])
def test_a_step_takes_each_picture_from_its_store(tmp_path: Path, with_strong: bool) -> None:
    keys = [picture_key(f"shot-{number}", view) for number in range(3) for view in range(2)]
    mild, strong = FeatureStore(tmp_path, PLAN), FeatureStore(tmp_path, replace(PLAN, strong=True, variants=2))
    for store in (mild, strong):
        _fill(store, Tower(), keys)
    # Two shots may be one square: the third's core region is the very picture of the second.
    names = {key: key for key in keys} | {picture_key("shot-3", 1): picture_key("shot-1", 1)}
    stored = StoredFeatures(mild, strong if with_strong else None, names)
    pictures = [
        _Picture(_Shot("shot-2"), 1),
        _Picture(_Shot("shot-0"), 0, strong=True),
        _Picture(_Shot("shot-1"), 1, strong=True),
        _Picture(_Shot("shot-0"), 0),
        _Picture(_Shot("shot-3"), 1),
    ]
    picks = np.array([4, 5, 2, 0, 1])
    copied = pickle.loads(pickle.dumps(stored))  # noqa: S301
    taken = copied(pictures, picks)
    for number, (picture, pick) in enumerate(zip(pictures, picks, strict=True)):
        store = strong if picture.strong and with_strong else mild
        direct = _direct(names[picture_key(picture.shot.key, picture.view)], int(pick) % store.plan.variants, store)
        assert torch.allclose(taken.grid_NKV[number], direct.grid_NKV[0], atol=1e-6)
        assert torch.allclose(taken.deep[0][number], direct.deep[0][0], atol=1e-6)
    assert stored([], np.zeros(0, dtype=np.int64)).grid_NKV.shape == (0, 4, 3)


def test_the_digest_of_a_tower_follows_weights_and_spec() -> None:
    tensors = [torch.arange(4.0), torch.tensor(1.0), torch.zeros(2, 2, dtype=torch.bfloat16)]
    digest = tower_digest(tensors, {"kind": "a"})
    assert digest == tower_digest([one.clone() for one in tensors], {"kind": "a"})
    assert digest != tower_digest(tensors, {"kind": "b"})
    assert digest != tower_digest([tensors[0] + 1e-6, *tensors[1:]], {"kind": "a"})
    assert digest != tower_digest([tensors[0].view(2, 2), *tensors[1:]], {"kind": "a"})
