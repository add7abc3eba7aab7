"""Which parameters learn: freezing by name, low-rank adapters, and the optimiser's groups.

Patterns are those of `fnmatch` on full dotted names, `*` crossing the dots. A pattern that matches nothing is an error:
a tower that was meant to be frozen and is not costs a whole training to find out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import nn

from catalog import ModelError
from models.config.parameters import LoraConfig, ParametersConfig

_BASE, ADAPTER = ".base_layer.", ".lora_"


@dataclass(frozen=True)
class ParameterCount:
    """Parameters of one part of the model."""

    part: str
    trainable: int
    frozen: int


@dataclass(frozen=True)
class ParameterReport:
    """What learns and what stays, part by part."""

    parts: tuple[ParameterCount, ...]

    @property
    def trainable(self) -> int:
        return sum(part.trainable for part in self.parts)

    @property
    def frozen(self) -> int:
        return sum(part.frozen for part in self.parts)

    def lines(self) -> list[str]:
        """For a person: one line a part, and the sum."""
        total = ParameterCount("all", self.trainable, self.frozen)
        return [f"{row.part}: {row.trainable:,} parameters learn, {row.frozen:,} stay" for row in (*self.parts, total)]


def add_lora(backbone: nn.Module, config: LoraConfig) -> tuple[str, ...]:
    """Put adapters on the backbone's linear layers, in place; the output stays what it was.

    An adapter's first matrix is drawn from torch's global generator and its second starts at zero. Adapters are kept
    in float32 also where the backbone is not: their small updates would be rounded away.

    Args:
        backbone: Its linear layers are looked at by name.
        config: Rank above 0.

    Returns:
        Names of the layers that got one.

    Raises:
        ModelError: A pattern matches no linear layer.

    Source: LoRA, arXiv 2106.09685, as peft builds it.
    """
    assert config.rank > 0
    names = [name for name, module in backbone.named_modules() if isinstance(module, nn.Linear)]
    chosen = sorted(_matching(names, config.targets, "train.parameters.lora.targets", "linear layer"))
    from peft import LoraConfig as PeftConfig
    from peft import inject_adapter_in_model

    inject_adapter_in_model(
        PeftConfig(r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=chosen),  # type: ignore[arg-type]
        backbone,
    )
    for name, parameter in backbone.named_parameters():
        if ADAPTER in name:
            parameter.data = parameter.data.float()
    adapted = {name.rpartition(ADAPTER)[0] for name, _ in backbone.named_parameters() if ADAPTER in name}
    assert adapted == set(chosen), sorted(adapted ^ set(chosen))
    return tuple(chosen)


def merge_lora(root: nn.Module) -> int:
    """Add every adapter to its matrix and take it off, in place: the module has the names and shapes it began with.

    Returns:
        Number of adapters.

    Pitfalls:
        In a matrix of bf16 the sum is rounded: bring the backbone to float32 first where that matters.
    """
    found = [
        (name, module)
        for name, module in root.named_modules()
        if hasattr(module, "lora_A") and hasattr(module, "get_base_layer")
    ]
    for name, module in found:
        module.merge(safe_merge=True)
        parent, _, child = name.rpartition(".")
        setattr(root.get_submodule(parent), child, module.get_base_layer())
    for module in root.modules():
        if hasattr(module, "peft_config"):
            del module.peft_config
    return len(found)


def choose_trainable(
    root: nn.Module,
    config: ParametersConfig,
    *,
    backbone: nn.Module,
    vision: Iterable[nn.Parameter] = (),
    experts: Iterable[nn.Parameter] = (),
) -> ParameterReport:
    """Set `requires_grad` of every parameter, after adapters were added.

    Args:
        root: Model and losses.
        config: What is to learn.
        backbone: Part of `root`; with `train` other than full it stays, but for experts and adapters.
        vision: Parameters of the vision tower; for the report alone.
        experts: Parameters of the experts and their routers, without the dense FFN they began as.

    Raises:
        ModelError: A pattern matches no parameter, or nothing is left to learn.
    """
    in_backbone = {id(one) for one in backbone.parameters()}
    in_vision, in_experts = {id(one) for one in vision}, {id(one) for one in experts}
    names = {_plain(name): parameter for name, parameter in root.named_parameters()}
    freeze = _matching(names, config.freeze, "train.parameters.freeze", "parameter")
    unfreeze = _matching(names, config.unfreeze, "train.parameters.unfreeze", "parameter")
    counts: dict[str, list[int]] = {}
    for name, parameter in names.items():
        adapter = ADAPTER in name
        learns = config.train == "full" or id(parameter) not in in_backbone or id(parameter) in in_experts or adapter
        learns = (learns and name not in freeze) or name in unfreeze
        parameter.requires_grad_(learns)
        if adapter:
            part = "adapters"
        elif id(parameter) in in_experts:
            part = "experts"
        elif id(parameter) in in_vision:
            part = "vision tower"
        else:
            part = "rest of the backbone" if id(parameter) in in_backbone else "head and losses"
        counts.setdefault(part, [0, 0])[0 if learns else 1] += parameter.numel()
    report = ParameterReport(tuple(ParameterCount(part, *count) for part, count in sorted(counts.items())))
    if not report.trainable:
        raise ModelError(
            "every parameter is frozen",
            where="train.parameters",
            got=", ".join(config.freeze),
            fix="take patterns out of freeze",
        )
    return report


def eval_frozen_norms(root: nn.Module) -> int:
    """Bring frozen normalisations with running statistics into evaluation mode; to be called after every `train()`.

    In training mode they would follow the batches although their weights stay, and the tower's features with them.

    Returns:
        How many there are.
    """
    found = [
        module
        for module in root.modules()
        if isinstance(getattr(module, "running_mean", None), torch.Tensor)
        and not any(parameter.requires_grad for parameter in module.parameters(recurse=False))
    ]
    for module in found:
        module.eval()
    return len(found)


def optimizer_groups(
    root: nn.Module,
    vision: Iterable[nn.Parameter],
    *,
    lr_vision: float,
    lr_text: float,
    weight_decay: float,
    multipliers: Mapping[str, float] | None = None,
) -> list[dict[str, object]]:
    """Groups for AdamW over what learns: vision tower and rest, matrices with weight decay and the others without.

    Args:
        root: Model and losses.
        vision: Parameters of the vision tower.
        lr_vision: Peak learning rate of the vision tower.
        lr_text: Peak learning rate of everything else.
        weight_decay: Of matrices.
        multipliers: Pattern of names to a factor of the learning rate; the first that matches counts.

    Returns:
        Groups with `params`, `lr`, `peak_lr`, `weight_decay` and `name`; none is empty, and their order depends on
        names alone.

    Raises:
        ModelError: A pattern matches no parameter.
    """
    multipliers = multipliers or {}
    vision_ids = {id(one) for one in vision}
    names = {_plain(name): parameter for name, parameter in root.named_parameters()}
    _matching(names, tuple(multipliers), "train.parameters.lr_multipliers", "parameter")
    groups: dict[tuple[bool, bool, float], list[nn.Parameter]] = {}
    for name, parameter in names.items():
        if parameter.requires_grad:
            factor = next((factor for pattern, factor in multipliers.items() if fnmatchcase(name, pattern)), 1.0)
            # Norms, biases, gates and temperatures are scales: pulling them to zero is no regularisation.
            groups.setdefault((id(parameter) in vision_ids, parameter.ndim >= 2, factor), []).append(parameter)
    made = []
    for (is_vision, decays, factor), parameters in sorted(groups.items(), key=lambda item: item[0]):
        peak = (lr_vision if is_vision else lr_text) * factor
        name = ("vision" if is_vision else "text") + ("" if decays else "_no_decay")
        name += "" if factor == 1.0 else f"_x{factor:g}"
        made.append(
            {
                "params": parameters,
                "lr": peak,
                "peak_lr": peak,
                "weight_decay": weight_decay if decays else 0.0,
                "name": name,
            }
        )
    return made


def _plain(name: str) -> str:
    """The name a parameter had before its layer got an adapter."""
    return name.replace(_BASE, ".")


def _matching(names: Iterable[str], patterns: Sequence[str], where: str, what: str) -> set[str]:
    names = list(names)
    found: set[str] = set()
    for pattern in patterns:
        hits = [name for name in names if fnmatchcase(name, pattern)]
        if not hits:
            close = difflib.get_close_matches(pattern, names, n=3, cutoff=0.0)
            raise ModelError(
                f"pattern matches no {what}",
                where=where,
                got=pattern,
                allowed="names such as " + ", ".join(close),
                fix="mend the pattern or take it out",
            )
        found.update(hits)
    return found
