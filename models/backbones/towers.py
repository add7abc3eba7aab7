"""Any vision tower of timm: its last map, and its earlier stages as a raw signal."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from torch import nn
from torch.nn import functional as F

from catalog import ModelError
from models.backbones.pretrained import put_weights
from models.weights import check_statistics, faults_told

NUM_CALIBRATION_PICTURES = 8
OTHER_WEIGHTS = "name other weights for model.composed.vision"


class TimmTower(nn.Module):
    """A tower that stays in evaluation mode: with batch statistics, a picture's vector would depend on its neighbours.

    The pooled signal is the mean over the last map, followed by the means over the chosen stages. Each of these
    blocks is multiplied by one number, kept with the weights: one over its root mean square on a few synthetic
    pictures, `measure`d when the tower has its weights. So earlier stages, whose activations may be ten times larger
    or smaller, speak as loudly as the last, component by component. A norm of each picture's blocks would do the same
    and lose how strongly a picture excites a block; one fixed number keeps that. On 48 photographs of Luma,
    EfficientNet-Lite0's five stages and last map then have root mean squares of 0.97 to 1.46 instead of 0.41 to 4.75.

    Args:
        net: The timm model, without its classifier.
        stages: Stages that join the pooled signal, numbered as in `feature_info`.
        side_px: Side of the square pictures.
        mean: Of the tower's pixels.
        std: Of the tower's pixels.
    """

    pooled_scale_P: torch.Tensor

    def __init__(
        self, net: Any, stages: Sequence[int], side_px: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.net: Any = net
        self.stages = list(stages)
        self._check_stages()
        self._side_px, self._mean, self._std = side_px, mean, std
        self.eval()
        device = next(net.parameters()).device
        with torch.no_grad():
            blocks = self._maps(torch.zeros((1, 3, side_px, side_px), device=device))
        self.map_size, self.map_side = int(blocks[0].shape[1]), min(blocks[0].shape[2:])
        """Channels and cells a side of the last map."""
        self._widths = [int(block.shape[1]) for block in blocks]
        self.pooled_size = sum(self._widths)
        self.register_buffer("pooled_scale_P", torch.ones(self.pooled_size))

    def train(self, mode: bool = True) -> TimmTower:
        return super().train(False)

    def forward(self, pixels_NCHW: torch.Tensor, side: int) -> tuple[torch.Tensor, torch.Tensor]:
        """See pictures.

        Args:
            pixels_NCHW: Normalised; no picture at all is allowed.
            side: Tokens a side of the grid.

        Returns:
            (N, side * side, V) averages of the last map's cells, row by row; (N, P) pooled signal.
        """
        if pixels_NCHW.shape[0] == 0:
            empty = self.pooled_scale_P.new_zeros
            return empty((0, side * side, self.map_size)), empty((0, self.pooled_size))
        # A CPU convolves several times faster with the channels last, above all depth by depth.
        blocks = self._maps(pixels_NCHW.contiguous(memory_format=torch.channels_last))
        grid_NKV = F.adaptive_avg_pool2d(blocks[0], side).flatten(2).transpose(1, 2)
        pooled_NP = torch.cat([block.mean(dim=(2, 3)) for block in blocks], dim=1)
        return grid_NKV, pooled_NP * self.pooled_scale_P.to(pooled_NP.dtype)

    @torch.no_grad()
    def measure(self) -> None:
        """Set the scale of the pooled blocks from the weights as they are now."""
        parameter = next(self.net.parameters())
        if parameter.is_meta:
            return
        mean, std = (torch.tensor(list(x), device="cpu").view(3, 1, 1) for x in (self._mean, self._std))
        pixels_NCHW = ((calibration_pictures(self._side_px) - mean) / std).to(parameter.device)
        sizes = [block.mean(dim=(2, 3)).float().square().mean().sqrt() for block in self._maps(pixels_NCHW)]
        widths = torch.tensor(self._widths, device=parameter.device)
        self.pooled_scale_P.copy_((1 / torch.stack(sizes).clamp_min(1e-6)).repeat_interleave(widths))

    def _maps(self, pixels_NCHW: torch.Tensor) -> list[torch.Tensor]:
        """The last map, then the chosen stages; (N, channels, rows, columns) each."""
        pixels_NCHW = pixels_NCHW.to(next(self.net.parameters()).dtype)
        if not self.stages:
            return [self._as_map(self.net.forward_features(pixels_NCHW))]
        last, found = self.net.forward_intermediates(pixels_NCHW, indices=sorted(self.stages), output_fmt="NCHW")
        by_stage = dict(zip(sorted(self.stages), found, strict=True))
        return [self._as_map(last), *(by_stage[stage] for stage in self.stages)]

    def _as_map(self, features: torch.Tensor) -> torch.Tensor:
        if features.dim() == 4:
            return features.permute(0, 3, 1, 2) if getattr(self.net, "output_fmt", "NCHW") == "NHWC" else features
        tokens_NLV = features[:, int(getattr(self.net, "num_prefix_tokens", 0)) :]
        side = math.isqrt(tokens_NLV.shape[1])
        if tokens_NLV.dim() != 3 or side * side != tokens_NLV.shape[1]:
            raise ModelError(
                "vision tower's features are no square grid",
                where=f"model.composed.vision: {type(self.net).__name__}",
                got=f"shape {tuple(features.shape)}",
                allowed="a map, or one token a patch after the prefix tokens",
                fix="name another tower",
            )
        return tokens_NLV.transpose(1, 2).unflatten(2, (side, side))

    def _check_stages(self) -> None:
        num = len(self.net.feature_info) if hasattr(self.net, "forward_intermediates") else 0
        if len(set(self.stages)) < len(self.stages) or any(not 0 <= stage < num for stage in self.stages):
            raise ModelError(
                "vision tower has no such stages",
                where="model.composed.pooled_stages",
                got=", ".join(str(stage) for stage in self.stages),
                allowed=f"each of 0 to {num - 1} once" if num else "none: this tower does not show its stages",
            )


def tower_spec(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What of a timm folder's config.json decides the tower; JSON.

    Raises:
        ModelError: It names no architecture that timm knows, entries that are no JSON objects, or statistics of pixels
            that are not three finite numbers.
    """
    name = str(config.get("architecture"))
    if not _is_known(name):
        raise ModelError(
            "weights are not a vision tower's",
            where=where,
            got=f"architecture {config.get('architecture')}, model_type {config.get('model_type')}",
            allowed="config.json with an architecture that timm knows",
            fix=OTHER_WEIGHTS,
        )
    told = {key: config.get(key) or {} for key in ("pretrained_cfg", "model_args")}
    for key, value in told.items():
        if not isinstance(value, Mapping):
            raise ModelError(
                "configuration of the weights cannot be used",
                where=f"{key} of config.json in {where}",
                got=repr(value)[:80],
                allowed="a JSON object",
                fix=OTHER_WEIGHTS,
            )
    default = timm.get_pretrained_cfg(name)
    known = (default.to_dict() if default else {}) | dict(told["pretrained_cfg"])
    mean, std = check_statistics(
        known.get("mean"), known.get("std"), f"pretrained_cfg of config.json in {where}", OTHER_WEIGHTS
    )
    return {
        "architecture": name,
        "args": dict(told["model_args"]),
        "mean": mean,
        "std": std,
        "fixed_side": bool(known.get("fixed_input_size")),
        "classifier": known.get("classifier"),
    }


def build_tower(spec: Mapping[str, Any], side_px: int, stages: Sequence[int]) -> TimmTower:
    """A tower for squares of `side_px`, with random weights.

    Raises:
        ModelError: It is none that timm knows, does not take its arguments or that side, or has not those stages.
    """
    name = str(spec["architecture"])
    if not _is_known(name):
        raise ModelError(
            "vision tower is not known to timm",
            where="model.composed.vision",
            got=f"architecture {name}",
            allowed="an architecture of this timm, " + timm.__version__,
            fix="use the version of timm the model was trained with, or " + OTHER_WEIGHTS,
        )
    # A transformer's position table has the size of its grid; a convolution takes any.
    args = dict(spec["args"]) | ({"img_size": side_px} if spec["fixed_side"] else {})
    sized = (AssertionError, RuntimeError)
    try:
        # Without a side in its arguments the same errors are about the other arguments.
        more = () if spec["fixed_side"] else sized
        with faults_told(
            "vision tower cannot be built from its arguments",
            f"model.composed.vision: model_args of config.json, {spec['args']}, for {name}",
            OTHER_WEIGHTS,
            *more,
        ):
            net = timm.create_model(name, pretrained=False, num_classes=0, **args)
        return TimmTower(net, stages, side_px, spec["mean"], spec["std"])
    except sized as error:
        raise ModelError(
            "vision tower cannot take pictures of this side",
            where="model.image_side_px",
            got=f"{side_px} px: {error}",
            allowed=f"a side that {name} takes",
            fix="choose a multiple of its patch, such as its own side",
        ) from None


def _is_known(name: str) -> bool:
    """Whether timm has this architecture and, where the name goes on after a dot, these weights of it."""
    architecture, _, tag = name.partition(".")
    return timm.is_model(architecture) and (not tag or timm.is_model_pretrained(name))


def put_tower_weights(tower: TimmTower, tensors: Mapping[str, torch.Tensor], where: str) -> None:
    """Put a timm checkpoint into the tower; a position table is resampled to the grid in use, as timm does.

    Raises:
        ModelError: Tensors that do not fit.
    """
    own = tower.net.state_dict()
    # The classifier is not built, whatever the architecture calls it.
    heads = tuple({"classifier.", "head.", "fc.", "head_dist."})
    kept = {name: tensor for name, tensor in tensors.items() if name in own or not name.startswith(heads)}
    adapt = getattr(sys.modules[type(tower.net).__module__], "checkpoint_filter_fn", None)
    if adapt is not None:
        kept = adapt(kept, tower.net)
    put_weights(tower.net, kept, lambda name: name, where)


def calibration_pictures(side_px: int) -> torch.Tensor:
    """Coloured noise with the spectrum of photographs, amplitude falling as one over frequency; always the same.

    Every other picture has it in the middle of white, as a product stands in its photograph.

    Returns:
        (8, 3, side_px, side_px) float32 in [0, 1].
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((NUM_CALIBRATION_PICTURES, 3, side_px, side_px), generator=generator, device="cpu")
    rows, columns = torch.fft.fftfreq(side_px, device="cpu"), torch.fft.rfftfreq(side_px, device="cpu")
    frequency = (rows[:, None] ** 2 + columns**2).sqrt().clamp_min(1 / side_px)
    pink = torch.fft.irfft2(torch.fft.rfft2(noise) / frequency, s=(side_px, side_px))
    pink = pink / pink.std(dim=(1, 2, 3), keepdim=True)
    pictures = (0.5 + 0.2 * pink).clamp(0, 1)
    margin = side_px // 5
    framed = torch.ones_like(pictures[1::2])
    inside = slice(margin, side_px - margin)
    framed[:, :, inside, inside] = pictures[1::2, :, inside, inside]
    pictures[1::2] = framed
    return pictures
