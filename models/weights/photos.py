"""Whether a vision tower sees: labelled photographs against ImageNet's classes, with wrong preparations beside it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import timm
import torch
from PIL import Image
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn

from catalog import CatalogConfig, ImageError, ModelError
from models.weights.folder import read_config, read_safetensors

_log = logging.getLogger(__name__)

# Suffixes: N photographs, C = 3 channels, H rows, W columns, K = 1000 classes of ImageNet-1k.
IMAGENET_CLASSES: Mapping[str, tuple[int, ...]] = {
    "t-shirt": (610,),  # jersey, T-shirt
    "longsleeve": (610, 841, 474),  # jersey; sweatshirt; cardigan
    "outwear": (869, 568, 735, 501, 617),  # trench coat; fur coat; poncho; cloak; lab coat
    "pants": (608,),  # jean
    "shoes": (770, 630, 774, 502, 514),  # running shoe; Loafer; sandal; clog; cowboy boot
    "shorts": (842,),  # swimming trunks
    "skirt": (655, 689, 601, 775),  # miniskirt; overskirt; hoopskirt; sarong
    "dress": (578, 601, 689, 399, 614),  # gown; hoopskirt; overskirt; abaya; kimono
    "hat": (515, 808, 439),  # cowboy hat; sombrero; bearskin
}
"""Label -> what ImageNet calls it, by meaning. ImageNet has no shirt: photographs of one are left out."""
NUM_IMAGENET_CLASSES = 1000
TOP = 5
BATCH = 25
MIN_VARIANCE = 1e-4
"""Channels that were silent in training, or are here, say nothing of the input's scale."""
PADS_AS_TENSORFLOW = "tf_efficientnet_"
"""Beginning of timm's names of networks that pad more below and to the right; `pad_type=""` pads all sides alike."""


@dataclass(frozen=True)
class Agreement:
    """What the classifier says of labelled photographs under one way of preparing them."""

    how: str
    num_photos: int
    top1_frac: float
    top1_chance_frac: float
    """Share expected when the same predictions meet the labels at random."""
    top5_frac: float
    top5_chance_frac: float
    first_drift: float
    """How far the first batch norm's input lies from training, nats: see `logits_and_drifts`. It tells the scale."""
    mean_drift: float
    """The same over all batch norms: it tells padding and mapping. Both NaN for a network without batch norm."""


def labelled_photos(folder: Path) -> list[tuple[Image.Image, str]]:
    """Photographs of a folder with queries.jsonl whose label ImageNet knows.

    Raises:
        ModelError: None there.
        CatalogError: The folder cannot be read.
    """
    from catalog.sources import load_catalog

    with TemporaryDirectory() as work:
        catalog = load_catalog(CatalogConfig(source="folder", path=str(folder)), work_dir=work, on_error="quarantine")
        found: list[tuple[Image.Image, str]] = []
        for query in catalog.queries:
            label = query.label
            if label not in IMAGENET_CLASSES or label is None or query.image is None:
                continue
            try:
                found.append((catalog.photo(query.image).load(), label))
            except ImageError as error:
                _log.warning("%s: a labelled photograph is left out: %s", folder, error)
    if not found:
        raise ModelError(
            "no labelled photographs there",
            where=str(folder),
            allowed="queries.jsonl with image and label, labels among " + ", ".join(IMAGENET_CLASSES),
            fix="name a folder such as tests/real",
        )
    return found


def compare_preparations(folder: Path, photos: Sequence[tuple[Image.Image, str]]) -> list[Agreement]:
    """Judge a timm folder's classifier as its config.json prepares photographs, then with one thing wrong at a time.

    Args:
        folder: config.json and model.safetensors of timm, classifier included.
        photos: RGB photographs of any size, with labels of `IMAGENET_CLASSES`.

    Returns:
        First the stored preparation, then: ImageNet's mean and std, pixels of 0..1, pixels of 0..255, blue and red
        exchanged, and, for an EfficientNet of TensorFlow, symmetric padding and the first two batch norms of each
        block exchanged.

    Raises:
        ModelError: Weights that are not a whole timm classifier's.
    """
    config, tensors = read_config(folder), read_safetensors(folder)
    cfg: Mapping[str, Any] = config["pretrained_cfg"]
    labels = [label for _, label in photos]
    transform = create_transform(
        tuple(cfg["input_size"]),
        is_training=False,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        interpolation=cfg["interpolation"],
        crop_pct=cfg["crop_pct"],
        crop_mode=cfg["crop_mode"],
    )
    raw_NCHW = torch.stack([transform(image) for image, _ in photos])
    name, mean, std = str(config["architecture"]), cfg["mean"], cfg["std"]
    right_NCHW = _normalise(raw_NCHW, mean, std)
    net = _network(name, tensors, folder)
    imagenet = (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    found = [
        judge(f"as stored: mean {mean[0]:g}, std {std[0]:g}", net, right_NCHW, labels),
        judge("ImageNet's mean and std", net, _normalise(raw_NCHW, *imagenet), labels),
        judge("pixels of 0..1", net, raw_NCHW, labels),
        judge("pixels of 0..255", net, raw_NCHW * 255, labels),
        judge("blue and red exchanged", net, right_NCHW.flip(1), labels),
    ]
    if name.startswith(PADS_AS_TENSORFLOW):
        twin = _network(name, tensors, folder, pad_type="")
        found.append(judge("symmetric padding", twin, right_NCHW, labels))
        mixed = _network(name, exchange_norms(tensors), folder)
        found.append(judge("batch norms of a block exchanged", mixed, right_NCHW, labels))
    return found


@torch.inference_mode()
def judge(how: str, net: nn.Module, pixels_NCHW: Tensor, labels: Sequence[str]) -> Agreement:
    """Top-1 and top-5 agreement of a classifier with labels, beside chance, and the drift of its batch norms."""
    logits_NK, drifts = logits_and_drifts(net, pixels_NCHW)
    top_N5 = logits_NK.topk(TOP).indices
    frac, chance = agreement(top_N5[:, :1], labels)
    frac5, chance5 = agreement(top_N5, labels)
    drifts = drifts or [float("nan")]
    return Agreement(how, len(labels), frac, chance, frac5, chance5, drifts[0], sum(drifts) / len(drifts))


def agreement(named_NT: Tensor, labels: Sequence[str]) -> tuple[float, float]:
    """Share of photographs with a class of their label among the T named, and the share expected by chance.

    Args:
        named_NT: ImageNet classes that a classifier names for each photograph.
        labels: Of the photographs, each in `IMAGENET_CLASSES`.

    Returns:
        The share; and the mean over all pairs of one photograph's classes with another's label.
    """
    hits_NL = torch.stack(
        [torch.isin(named_NT, torch.tensor(IMAGENET_CLASSES[label])).any(dim=1) for label in labels], dim=1
    ).double()
    return float(hits_NL.diagonal().mean()), float(hits_NL.mean())


@dataclass
class _Seen:
    """Moments of a batch norm's input, gathered over batches."""

    num: int
    sum_C: Tensor
    square_C: Tensor


@torch.inference_mode()
def logits_and_drifts(net: nn.Module, pixels_NCHW: Tensor) -> tuple[Tensor, list[float]]:
    """Run photographs through a network, watching what reaches its batch norms.

    A batch norm keeps mean and variance of what it saw in training. Where pictures are prepared as in training, what
    it sees now is close to that; the Kullback-Leibler divergence between the two normal distributions tells how
    close, and it tells a wrong scale or padding apart where accuracy hardly moves.

    Args:
        net: In eval mode.
        pixels_NCHW: A few photographs or more.

    Returns:
        The network's output, and of each batch norm in order the median channel's divergence from training, in nats.
    """
    layers = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    gathered: dict[nn.Module, _Seen] = {}

    def gather(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        num = inputs[0].numel() // inputs[0].shape[1]
        var_C, mean_C = (moment.double() for moment in torch.var_mean(inputs[0], (0, 2, 3), correction=0))
        seen = gathered.setdefault(layer, _Seen(0, torch.zeros_like(mean_C), torch.zeros_like(mean_C)))
        seen.num += num
        seen.sum_C += num * mean_C
        seen.square_C += num * (var_C + mean_C**2)

    hooks = [layer.register_forward_pre_hook(gather) for layer in layers]
    try:
        out_NK = torch.cat([net(pixels) for pixels in pixels_NCHW.split(BATCH)])
    finally:
        for hook in hooks:
            hook.remove()
    return out_NK, [_drift(layer, gathered[layer]) for layer in layers if layer in gathered]


def _drift(layer: nn.BatchNorm2d, seen: _Seen) -> float:
    assert layer.running_mean is not None
    assert layer.running_var is not None
    was_mean_C, was_var_C = layer.running_mean.double(), layer.running_var.double()
    mean_C = seen.sum_C / seen.num
    var_C = seen.square_C / seen.num - mean_C**2
    heard_C = (was_var_C > MIN_VARIANCE) & (var_C > MIN_VARIANCE)
    nats_C = 0.5 * ((was_var_C / var_C).log() + (var_C + (mean_C - was_mean_C) ** 2) / was_var_C - 1)
    return float(nats_C[heard_C].median())


def exchange_norms(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every block's first two batch norms in each other's place: shapes agree, so that no loader would complain.

    It is what a reader of the published names would do who took `_bn1` for timm's `bn1`.
    """
    other = {".bn1.": ".bn2.", ".bn2.": ".bn1."}
    swapped = dict(tensors)
    for name, tensor in tensors.items():
        for one, two in other.items():
            twin = name.replace(one, two)
            if twin != name and twin in tensors and tensors[twin].shape == tensor.shape:
                swapped[twin] = tensor
    return swapped


def _network(name: str, tensors: Mapping[str, Tensor], folder: Path, **args: Any) -> nn.Module:
    net: nn.Module = timm.create_model(name, pretrained=False, **args)
    try:
        net.load_state_dict({key: tensor.float() for key, tensor in tensors.items()})
    except RuntimeError as error:
        raise ModelError(
            "weights are not a whole classifier of timm",
            where=str(folder),
            got=str(error).splitlines()[0],
            allowed=f"every tensor of {name}, classifier included",
        ) from None
    return net.eval()


def _normalise(raw_NCHW: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    return (raw_NCHW - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
