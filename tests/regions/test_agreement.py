"""The stage that asks an earlier version's encoder about every candidate."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catalog import ModelError, ProductItem, QueryItem
from models.encoder import MoonEncoder
from models.folder import write_model_folder
from models.moon import MoonModel
from models.pictures import crop_box
from models.regions import (
    NOTHING_KNOWN,
    AgreementConfig,
    Candidate,
    ChooserConfig,
    CoreRegions,
    RegionsConfig,
    RegionStore,
    Wanted,
    detect_catalog,
    make_chooser,
    make_detector,
)
from models.regions.agreement import AgreementDetector, words_of
from models.tokenizer import train_tokenizer
from tests.models import shop
from tests.regions.pictures import background, catalog_of, with_rectangle

_RED = Wanted("Lovely mug", ("Home", "Mug"), (("colour", ("red",)), ("use", ("daily", "gift"))))


class Corners:
    """Three boxes of fixed places, for a picture of any size; counts what it was asked."""

    def __init__(self, by_category: bool = False) -> None:
        self.digest, self.by_category, self.num_asked = "corners", by_category, 0

    def prompt(self, wanted: Wanted) -> str:
        return ">".join(wanted.category) if self.by_category else ""

    def detect(self, images: Sequence[Image.Image], wanted: Sequence[Wanted]) -> list[list[Candidate]]:
        self.num_asked += len(images)
        return [
            [
                Candidate((0.0, 0.0, 0.5 * image.width, 0.5 * image.height), 0.8),
                Candidate((0.4 * image.width, 0.0, 0.9 * image.width, 0.7 * image.height), 0.5, "garment"),
                Candidate((10.3, 20.7, 30.2, 39.6), 0.3),
            ]
            for image in images
        ]


def _write(folder: Path, seed: int, config: RegionsConfig, **changes: object) -> Path:
    texts = ["lovely mug number box home colour red green blue black use daily gift category title"]
    tokenizer = train_tokenizer(texts, 400)
    model = MoonModel.seeded(shop.tiny_model(**changes), tokenizer.get_vocab_size(), seed=seed)
    regions = CoreRegions(make_detector(config), make_chooser(config))
    write_model_folder(folder, model, tokenizer, config, regions.digest, {"commit": "c"})
    return folder


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of an earlier version that looks for no regions."""
    return _write(tmp_path_factory.mktemp("earlier") / "model", 1, RegionsConfig(backend="none"))


def _stage(folder: Path, base: Corners | None = None) -> AgreementDetector:
    return AgreementDetector(base or Corners(), AgreementConfig(folder=str(folder)))


def _picture(seed: int) -> Image.Image:
    return with_rectangle(background("noise", (70, 60 + seed), seed), (5, 5, 40, 30))


def test_the_agreement_is_the_cosine_that_the_encoder_itself_gives(earlier: Path) -> None:
    images, wanted = [_picture(0), _picture(1)], [_RED, Wanted("Box number", attributes=(("colour", ("blue",)),))]
    encoder = MoonEncoder.load(earlier, device="cpu")
    found = _stage(earlier).detect(images, wanted)
    for image, one, candidates in zip(images, wanted, found, strict=True):
        product = shop.Product(
            product_id="p",
            group_id="p",
            title=one.title,
            category=one.category,
            attributes=dict(one.attributes),
        )
        words = encoder.embed_products([ProductItem(product)])[0]
        for plain, candidate in zip(Corners().detect([image], [one])[0], candidates, strict=True):
            crop = crop_box(image, candidate.box)
            vector = encoder.embed_queries([QueryItem(query_id="q", photo=shop.photo_of(crop))])[0]
            assert candidate.agreement == pytest.approx(float(vector @ words), abs=2e-6)
            assert (candidate.box, candidate.score, candidate.label) == (plain.box, plain.score, plain.label)
    assert len({candidate.agreement for candidates in found for candidate in candidates}) == 6


def test_an_answer_does_not_depend_on_what_else_is_asked(earlier: Path) -> None:
    images, wanted = [_picture(seed) for seed in range(4)], [_RED, Wanted("Box"), NOTHING_KNOWN, _RED]
    together = _stage(earlier).detect(images, wanted)
    alone = [_stage(earlier).detect([image], [one])[0] for image, one in zip(images, wanted, strict=True)]
    stage = _stage(earlier)
    backwards = [stage.detect([image], [one])[0] for image, one in zip(images[::-1], wanted[::-1], strict=True)]
    assert together == alone == backwards[::-1]
    assert _stage(earlier).detect([], []) == []


def test_without_words_the_base_alone_answers(earlier: Path) -> None:
    base = Corners()
    stage = _stage(earlier, base)
    assert stage.prompt(NOTHING_KNOWN) == ""
    assert stage.detect([_picture(0)], [NOTHING_KNOWN]) == Corners().detect([_picture(0)], [NOTHING_KNOWN])
    assert stage._encoder is None, "nothing is loaded for nothing"


@pytest.mark.parametrize(
    "changed",
    [
        Wanted("Lovely box", _RED.category, _RED.attributes),
        Wanted(None, _RED.category, _RED.attributes),
        Wanted(_RED.title, ("Home",), _RED.attributes),
        Wanted(_RED.title, (), _RED.attributes),
        Wanted(_RED.title, _RED.category, ()),
        Wanted(_RED.title, _RED.category, (("colour", ("green",)), _RED.attributes[1])),
        Wanted("Home > Mug", (), _RED.attributes),
    ],
)
def test_the_prompt_follows_every_word(earlier: Path, changed: Wanted) -> None:
    stage = _stage(earlier)
    assert stage.prompt(changed) != stage.prompt(_RED)
    assert stage.prompt(_RED) == words_of(_RED).join(("\0", ""))


def test_the_prompt_holds_the_bases_words_too(earlier: Path) -> None:
    stage = _stage(earlier, Corners(by_category=True))
    assert stage.prompt(_RED).startswith("Home>Mug\0title: Lovely mug")
    assert stage.prompt(NOTHING_KNOWN) == ""


def test_the_same_picture_with_other_words_is_looked_for_once(earlier: Path) -> None:
    base = Corners()
    stage = _stage(earlier, base)
    first = stage.detect([_picture(0), _picture(0)], [_RED, Wanted("Box")])
    second = stage.detect([_picture(0)], [Wanted("Box")])
    assert base.num_asked == 1
    assert first[1] == second[0] != first[0]
    stage.detect([_picture(1)], [_RED])
    assert base.num_asked == 2
    by_category = Corners(by_category=True)
    stage = _stage(earlier, by_category)
    stage.detect([_picture(0), _picture(0)], [_RED, Wanted("Mug", ("Home", "Box"))])
    assert by_category.num_asked == 2, "a base that reads words is asked for each"


def test_the_words_of_a_product_are_read_once_for_all_its_photographs(
    earlier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, asked = _stage(earlier), []
    embed = MoonEncoder.embed_products

    def counted(self: MoonEncoder, items: list[ProductItem]) -> np.ndarray:
        asked.extend(items)
        return embed(self, items)

    monkeypatch.setattr(MoonEncoder, "embed_products", counted)
    box = Wanted("Box")
    found = stage.detect([_picture(seed) for seed in range(4)], [_RED, _RED, box, _RED])
    assert stage.detect([_picture(4)], [_RED]) == _stage(earlier).detect([_picture(4)], [_RED])
    assert [item.product.title for item in asked] == ["Lovely mug", "Box", "Lovely mug"], "the last by the other stage"
    assert found[2] == _stage(earlier).detect([_picture(2)], [box])[0]


def test_the_digest_follows_base_and_encoder_but_not_its_place(earlier: Path, tmp_path: Path) -> None:
    base = _stage(earlier)
    other = _stage(_write(tmp_path / "other", 2, RegionsConfig(backend="none")))
    moved = _stage(_write(tmp_path / "moved", 1, RegionsConfig(backend="none")))
    another_base = Corners()
    another_base.digest = "another"
    assert len({base.digest, other.digest, _stage(earlier, another_base).digest}) == 3
    assert moved.digest == base.digest


def test_a_stage_goes_to_another_process(earlier: Path) -> None:
    stage = _stage(earlier)
    here = stage.detect([_picture(0)], [_RED])
    sent = pickle.dumps(stage)
    assert len(sent) < 2000, "weights do not travel"
    assert pickle.loads(sent).detect([_picture(0)], [_RED]) == here  # noqa: S301 - our own bytes, as the pool sends them


def test_an_encoder_without_crops_is_asked_as_well(tmp_path: Path) -> None:
    folder = _write(tmp_path / "plain", 3, RegionsConfig(backend="none"), use_crops=False)
    found = _stage(folder).detect([_picture(0)], [_RED])[0]
    encoder = MoonEncoder.load(folder, device="cpu")
    crop = shop.photo_of(crop_box(_picture(0), found[0].box))
    vector = encoder.embed_queries([QueryItem(query_id="q", photo=crop)])[0]
    product = shop.Product(product_id="p", group_id="p", title="Lovely mug", category=_RED.category)
    product = product.model_copy(update={"attributes": {"colour": "red", "use": ("daily", "gift")}})
    assert found[0].agreement == pytest.approx(
        float(vector @ encoder.embed_products([ProductItem(product)])[0]), abs=2e-6
    )


def test_an_encoder_that_was_chosen_with_an_encoder_needs_no_other(earlier: Path, tmp_path: Path) -> None:
    chooser = ChooserConfig(kind="encoder", encoder=AgreementConfig(folder=str(earlier)))
    second = _write(tmp_path / "second", 4, RegionsConfig(chooser=chooser))
    third = _write(
        tmp_path / "third",
        5,
        RegionsConfig(chooser=ChooserConfig(kind="encoder", encoder=AgreementConfig(folder=str(second)))),
    )
    carried = third / "chooser_encoder"
    assert sorted(path.name for path in carried.iterdir()) == [
        "config.json",
        "lineage.json",
        "model.safetensors",
        "tokenizer.json",
    ], "an encoder is carried without the encoder that it was chosen with"
    assert _stage(carried).detect([_picture(0)], [_RED]) == _stage(second).detect([_picture(0)], [_RED])


def test_a_model_folder_carries_its_choosers_encoder(earlier: Path, tmp_path: Path) -> None:
    cfg = RegionsConfig(chooser=ChooserConfig(kind="encoder", encoder=AgreementConfig(folder=str(earlier))))
    folder = _write(tmp_path / "model", 6, cfg)
    regions = CoreRegions(make_detector(cfg), make_chooser(cfg))
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    loaded = MoonEncoder.load(moved, device="cpu")
    finder = loaded.processor.pictures.regions  # type: ignore[attr-defined]
    assert finder.digest == regions.digest
    photo, image = shop.photo_of(_picture(0)), _picture(0)
    assert finder.core(photo, image, _RED) == regions.core(photo, image, _RED)
    assert "agrees" in finder.core(photo, image, _RED).reason or "whole" in finder.core(photo, image, _RED).reason
    assert str(tmp_path) not in (moved / "config.json").read_text(), "no path of the machine that wrote it"


def test_another_encoder_in_the_model_folder_is_refused(earlier: Path, tmp_path: Path) -> None:
    cfg = RegionsConfig(chooser=ChooserConfig(kind="encoder", encoder=AgreementConfig(folder=str(earlier))))
    folder = _write(tmp_path / "model", 6, cfg)
    other = _write(tmp_path / "other", 2, RegionsConfig(backend="none"))
    (folder / "chooser_encoder" / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match="core regions are found differently"):
        MoonEncoder.load(folder, device="cpu")


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json", "lineage.json"])
def test_an_encoder_folder_that_lacks_a_file_is_refused(earlier: Path, tmp_path: Path, missing: str) -> None:
    folder = _write(tmp_path / "model", 1, RegionsConfig(backend="none"))
    (folder / missing).unlink()
    with pytest.raises(ModelError, match="no whole model folder") as caught:
        _stage(folder)
    assert missing in caught.value.got
    assert caught.value.where == "regions.chooser.encoder.folder"
    assert "rule" in caught.value.fix


def test_an_encoder_chooser_without_an_encoder_is_refused() -> None:
    with pytest.raises(ModelError, match="no encoder to ask"):
        make_detector(RegionsConfig(chooser=ChooserConfig(kind="encoder")))


def test_an_encoder_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    folder = _write(tmp_path / "model", 1, RegionsConfig(backend="none"))
    stage = _stage(folder)
    _write(folder, 2, RegionsConfig(backend="none"))
    with pytest.raises(ModelError, match="changed since"):
        stage.detect([_picture(0)], [_RED])


def test_a_relative_folder_starts_at_the_weights_folder(earlier: Path) -> None:
    cfg = RegionsConfig(chooser=ChooserConfig(kind="encoder", encoder=AgreementConfig(folder=earlier.name)))
    assert isinstance(make_detector(cfg, earlier.parent), AgreementDetector)
    assert not isinstance(make_detector(cfg.model_copy(update={"backend": "none"})), AgreementDetector)


def test_a_second_run_over_a_catalogue_asks_nobody(earlier: Path, tmp_path: Path) -> None:
    pictures = {f"{index}.png": _picture(index) for index in range(6)}
    catalog = catalog_of(tmp_path, pictures, query_ref="5.png")
    base = Corners()
    stage = _stage(earlier, base)
    store = RegionStore(stage.digest)
    assert detect_catalog(catalog, stage, store).num_detected == 6
    assert base.num_asked == 6
    store.write(tmp_path)
    again = _stage(earlier, base)
    kept = RegionStore.read(tmp_path, again.digest)
    stats = detect_catalog(catalog, again, kept)
    assert (stats.num_images, stats.num_hits, stats.num_detected) == (6, 6, 0)
    assert base.num_asked == 6
    assert again._encoder is None
    agreements = [one.agreement for key in kept for one in kept.get(key) or []]
    assert sum(agreement is None for agreement in agreements) == 3, "the shopper's photograph came without words"
    assert np.isfinite([agreement for agreement in agreements if agreement is not None]).all()
