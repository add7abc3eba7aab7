"""What a step gives each part of MOON to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from models.batch import Batch
from models.bucketing import Buckets
from models.moe import GuidedMoe
from models.moe.experts import Experts
from models.moe.router import Router
from models.moon import MoonModel
from models.tokens import ATTRIBUTE_TYPES, CATEGORY_TYPES
from models.training.estimate import ADAMW_MOMENTS, EMA_BYTES, KEPT_NUMBERS, Estimate, Memory, Part
from models.training.recompute import vision_blocks


@dataclass(frozen=True)
class Workload:
    """A batch like the others, and how it is run."""

    views: Mapping[str, Batch]
    """Its sequences."""
    plans: Mapping[str, Buckets]
    """How the rows of each view are cut into chunks."""
    num_pictures: int
    """Pictures that the vision tower sees; 0 where its features are kept."""
    picture_px: int
    """Side of a picture."""
    pairs: int
    steps: int
    """Of the training."""
    batches: int = 1
    """Of a step."""
    precision: str = "fp32"
    """fp32, or bf16 through autocast."""
    chunked: bool = False
    """One chunk after the other with GradCache, not all in one graph."""
    checkpointing: bool = False
    """Decoder layers keep their input alone and are computed again."""
    ema: bool = False
    """A moving average of the weights is kept."""
    shards: int = 1
    """Processes that share the decoder's layers (FSDP): parameters, gradients, moments and moving average."""
    lowered: frozenset[int] = frozenset()
    """Python's `id` of the parameters that will be rounded to bf16 before the first step."""


def estimate_training(
    model: MoonModel, losses: Iterable[nn.Parameter], work: Workload, flops_per_s: float | None = None
) -> Estimate:
    """Estimate a training once it is decided which parameters learn.

    One picture is sent through the vision tower for it; nothing else runs.

    Args:
        model: On any device; on `meta` too where its tower runs there, or sees nothing.
        losses: Parameters that the losses hold beside the model.
        work: A batch, and how many there are.
        flops_per_s: As `product_rate` gives it.
    """
    repeated = int(work.chunked)
    decoder = _decoder(model, work)
    head = sum(module.weight.numel() for module in model.head.modules() if isinstance(module, nn.Linear))
    rows = sum(len(view) for view in work.views.values())
    parts = [decoder, Part("head", rows, head, head, head, repeated=repeated)]
    if work.num_pictures:
        parts.insert(0, _tower(model, work))
    return Estimate(
        parts=tuple(parts),
        memory=_memory(model, losses, work, parts),
        steps=work.steps,
        batches=work.batches,
        pairs=work.pairs,
        tokens=sum(sum(plan.lengths) for plan in work.plans.values()),
        padded_tokens=decoder.positions,
        pictures=work.num_pictures,
        flops_per_s=flops_per_s,
    )


def _memory(model: MoonModel, losses: Iterable[nn.Parameter], work: Workload, parts: Sequence[Part]) -> Memory:
    layers = model.backbone.decoder_layers()
    in_layers = {id(one) for one in layers.parameters()}
    parameters = [*model.parameters(), *losses]
    # Tower, embeddings, head and losses lie whole on every process (`models.training.sharding`).
    own = {id(one): _own_numbers(one, work.shards if id(one) in in_layers else 1) for one in parameters}
    learning = [one for one in parameters if one.requires_grad]
    gradients = sum(own[id(one)] * one.element_size() for one in learning)
    copies = EMA_BYTES * sum(own[id(one)] for one in learning) if work.ema else 0
    if work.precision == "bf16":
        # Autocast rounds every wide matrix anew, and the backward pass needs what it made; also of a sharded layer,
        # which is gathered whole before it runs.
        low = [one for one in layers.parameters() if one.dtype == torch.bfloat16 or id(one) in work.lowered]
        rounded = sum(one.numel() for one in low if one.ndim >= 2)
        copies += 2 * max(0, sum(_layer_load(layer, _Shares()).matrices for layer in layers) - rounded)
        if work.num_pictures:
            tower = model.backbone.vision_parameters()
            copies += 2 * sum(one.numel() for one in tower if one.ndim >= 2 and one.requires_grad)
    kept = [4 * part.kept * part.positions for part in parts]
    largest = max(
        (len(chunk) * max(plan.lengths[row] for row in chunk) for plan in work.plans.values() for chunk in plan.chunks),
        default=0,
    )
    positions = sum(plan.tokens for plan in work.plans.values())
    # In chunks the tower and the decoder take turns.
    activations = max(kept) * largest / max(positions, 1) if work.chunked else sum(kept)
    freed = sum(own[id(one)] * (one.element_size() - 2) for one in parameters if id(one) in work.lowered)
    return Memory(
        parameters=sum(own[id(one)] * one.element_size() for one in parameters) - freed,
        gradients=gradients,
        optimizer=ADAMW_MOMENTS * gradients,
        copies=copies,
        activations=int(activations),
        freed=freed,
    )


def _own_numbers(parameter: nn.Parameter, shards: int) -> int:
    """Numbers of it on the first process: FSDP2 deals out whole rows, the first processes getting one more."""
    if shards == 1:
        return parameter.numel()
    rows = len(parameter)
    return -(-rows // shards) * (parameter.numel() // rows)


def _decoder(model: MoonModel, work: Workload) -> Part:
    layers = model.backbone.decoder_layers()
    width = model.backbone.hidden_size
    in_layers = {id(one) for one in layers.parameters()}
    # Whatever learns outside the layers, be it a slot, a projector or a tower, enters at the bottom.
    entering = [
        one
        for name, one in model.named_parameters()
        if id(one) not in in_layers and (name == "slots" or name.startswith("backbone."))
    ]
    passes = any(one.requires_grad for one in entering)
    matrices = passing = learning = attention = attention_passing = 0
    kept = largest = 0.0
    shares = _shares(work)
    c_width, c_inner = KEPT_NUMBERS[work.precision]
    for layer in layers:
        load = _layer_load(layer, shares)
        passes = passes or any(one.requires_grad for one in layer.parameters())
        heads = _attention_width(layer, width)
        matrices, learning, attention = matrices + load.matrices, learning + load.learning, attention + heads
        if passes:
            passing, attention_passing = passing + load.matrices, attention_passing + heads
            numbers = c_width * width + c_inner * load.inner
            kept, largest = kept + (width if work.checkpointing else numbers), max(largest, numbers)
    return Part(
        name="decoder",
        positions=sum(plan.tokens for plan in work.plans.values()),
        matrices=matrices,
        passing=passing,
        learning=learning,
        attended=sum(
            len(chunk) * max(plan.lengths[row] for row in chunk) ** 2
            for plan in work.plans.values()
            for chunk in plan.chunks
        ),
        attention_width=attention,
        attention_passing=attention_passing,
        kept=kept + (largest if work.checkpointing else 0.0),
        repeated=int(work.chunked) + int(work.checkpointing),
    )


@dataclass(frozen=True)
class _Load:
    """Of one layer and position."""

    matrices: int
    learning: int
    inner: float
    """Inner widths of the FFNs at work."""


@dataclass(frozen=True)
class _Shares:
    """Of the positions that are computed."""

    present: float = 1.0
    """No padding: experts leave it out."""
    guided: float = 0.0
    """Tokens of a category or attribute expert."""


def _layer_load(layer: nn.Module, shares: _Shares) -> _Load:
    matrices = learning = inner = 0.0
    met: list[tuple[float, bool]] = []
    stacked: dict[int, float] = {}
    for moe in (one for one in layer.modules() if isinstance(one, GuidedMoe)):
        routed = shares.present - (shares.guided if moe.config.combination == "switch" else 0.0)
        stacked |= {id(moe.experts): routed * moe.config.top_k, id(moe.guided): shares.guided}
    for name, module in layer.named_modules():
        if isinstance(module, nn.Linear):
            met.append((module.weight.numel(), module.weight.requires_grad))
            if name.rpartition(".")[2] in ("down_proj", "fc2", "c_proj"):
                inner += module.in_features
        elif isinstance(module, Router):
            matrix = [one for one in (module.weight, module.category_weight) if one is not None]
            met += [(one.numel(), one.requires_grad) for one in matrix]
        elif isinstance(module, Experts):
            share = stacked[id(module)] / len(module.w_in)
            met += [(share * one.numel(), one.requires_grad) for one in (module.w_in, module.w_out)]
            inner += stacked[id(module)] * module.w_out.shape[-1]
    for entries, learns in met:
        matrices, learning = matrices + entries, learning + (entries if learns else 0.0)
    return _Load(int(matrices), int(learning), inner)


def _attention_width(layer: nn.Module, hidden_size: int) -> int:
    for name, module in layer.named_modules():
        if name.endswith("q_proj") and hasattr(module, "out_features"):
            return int(module.out_features)
    return hidden_size


def _shares(work: Workload) -> _Shares:
    kinds = torch.tensor([*CATEGORY_TYPES, *ATTRIBUTE_TYPES])
    guided = sum(int(torch.isin(view.types_BL.cpu(), kinds).sum()) for view in work.views.values())
    positions = max(sum(plan.tokens for plan in work.plans.values()), 1)
    return _Shares(sum(sum(plan.lengths) for plan in work.plans.values()) / positions, guided / positions)


def _tower(model: MoonModel, work: Workload) -> Part:
    learns = any(one.requires_grad for one in model.backbone.vision_parameters())
    pixels_NCHW = _blank(model, work.picture_px)
    # Those blocks that `recompute_activations` wraps: a frozen tower has none.
    blocks = vision_blocks(model) if learns and work.checkpointing else []
    numbers = _kept_numbers(model, pixels_NCHW, blocks) if learns else 0.0
    half = tower_flops(model, work.picture_px) // 2
    return Part(
        name="vision tower",
        positions=work.num_pictures,
        matrices=half,
        passing=half if learns else 0,
        learning=half if learns else 0,
        kept=numbers * (0.5 if work.precision == "bf16" else 1.0),
        repeated=int(work.chunked) + int(bool(blocks)),
    )


def tower_flops(model: MoonModel, side_px: int) -> int:
    """Operations of the vision tower on one picture: counted on one, as a convolution's are not told by its weights.

    Args:
        model: On any device; on `meta` too where its tower runs there.
        side_px: Side of the picture.
    """
    # The counter knows products, but not the fused attention of a CPU.
    with evaluating(model), torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counted:
        model.backbone.see(_blank(model, side_px))
    return counted.get_total_flops()


def _blank(model: MoonModel, side_px: int) -> torch.Tensor:
    device = next((one.device for one in model.backbone.vision_parameters()), torch.device("cpu"))
    return torch.zeros((1, 3, side_px, side_px), device=device)


def _kept_numbers(model: MoonModel, pixels_NCHW: torch.Tensor, blocks: Sequence[nn.Module]) -> float:
    """Numbers of four bytes that the tower keeps for the backward pass.

    Args:
        model: Its tower is run, without checkpointing.
        pixels_NCHW: A picture.
        blocks: Of these the input is kept, and everything of the largest alone: one is computed again at a time.
    """
    own = {one.untyped_storage()._cdata for one in model.backbone.vision_parameters()}
    held: list[torch.Tensor] = []
    always: dict[int, int] = {}
    inside: list[dict[int, int]] = []
    places = [always]

    def keep(saved: torch.Tensor) -> torch.Tensor:
        storage = saved.untyped_storage()
        if storage._cdata not in own:
            places[-1][storage._cdata] = storage.nbytes()
        return saved

    def enter(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        held.extend(given)
        always.update({one.untyped_storage()._cdata: one.untyped_storage().nbytes() for one in given})
        inside.append({})
        places.append(inside[-1])

    def leave(block: nn.Module, args: tuple[Any, ...], made: Any) -> None:
        places.pop()

    hooks = [block.register_forward_pre_hook(enter, with_kwargs=True) for block in blocks]
    hooks += [block.register_forward_hook(leave) for block in blocks]
    try:
        with evaluating(model), torch.enable_grad(), saved_tensors_hooks(keep, lambda one: one):
            # Held until the sum is taken: a storage that is gone might lend its place to another.
            seen = model.backbone.see(pixels_NCHW)
    finally:
        for hook in hooks:
            hook.remove()
    largest = max((sum(size for key, size in one.items() if key not in always) for one in inside), default=0)
    total = sum(always.values()) + largest
    del seen
    return total / 4


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode: one picture of zeros must not move running statistics."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
