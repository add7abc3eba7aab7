"""What a training will cost, before it starts, and what it did cost.

Operations are counted as 2 a multiply-add and as they are computed, padding and full (not causal) attention included:

    forward    2 W T + 4 A H l       W: matrix entries a position meets, T: positions, A: sum of squared lengths,
                                     H: width of the attention, l: layers
    backward   2 W T where a gradient passes on to the input, 2 W' T for the W' entries that learn, and 2.5 times the
               attention, whose scores are computed again

Memory is that of parameters, gradients, AdamW's two moments, low-precision copies of matrices, and activations kept
for the backward pass: per position and layer, c_D D + c_F F numbers of four bytes. Processes that shard share what
`models.training.sharding` shards, the decoder's layers, and hold the rest whole; so are the low-precision copies, made
of gathered layers. Not counted: the layers that are gathered at a time, what torch, the kernels' workspaces and the
loader need.
"""

from __future__ import annotations

from dataclasses import dataclass

from catalog import ModelError
from models.config import MoeConfig
from models.moe.size import moe_parameters

GIB = 2**30
KEPT_NUMBERS = {"fp32": (10.0, 4.0), "bf16": (8.5, 2.0)}
"""c_D and c_F of a pre-norm decoder layer with a SwiGLU FFN; measured on transformers' Llama through torch's
saved-tensor hooks, exact to 1 %."""
ATTENTION_BACKWARD = 2.5
ADAMW_MOMENTS = 2
EMA_BYTES = 4


@dataclass(frozen=True)
class Part:
    """One part of a model in one step.

    Attributes:
        name: For a person.
        positions: Tokens, patches or rows that pass, padding included.
        matrices: Entries of the matrices that a position meets, over all layers.
        passing: Of them, those through which a gradient passes to what is below.
        learning: Of them, those that learn.
        attended: Sum of squared lengths of the sequences; 0 without attention.
        attention_width: Heads times their width, summed over the layers.
        attention_passing: Of it, that of layers which a gradient passes or in which something learns.
        kept: Numbers of four bytes kept a position for the backward pass, over all layers.
        repeated: Forward passes beyond the first: GradCache and checkpointing have one each.
    """

    name: str
    positions: int
    matrices: int
    passing: int
    learning: int
    attended: int = 0
    attention_width: int = 0
    attention_passing: int = 0
    kept: float = 0.0
    repeated: int = 0

    @property
    def forward(self) -> int:
        """Operations of one forward pass."""
        return 2 * self.matrices * self.positions + 4 * self.attended * self.attention_width

    @property
    def backward(self) -> int:
        """Operations of the backward pass."""
        attention = ATTENTION_BACKWARD * 4 * self.attended * self.attention_passing
        return 2 * (self.passing + self.learning) * self.positions + int(attention)


@dataclass(frozen=True)
class Memory:
    """Bytes by purpose."""

    parameters: int
    gradients: int
    optimizer: int
    copies: int
    """Matrices in low precision, and the moving average."""
    activations: int
    freed: int = 0
    """What rounding frozen weights will give back, of those that are in memory now."""

    @property
    def standing(self) -> int:
        """What stands between two steps, gradients included."""
        return self.parameters + self.gradients + self.optimizer + self.copies

    @property
    def total(self) -> int:
        return self.standing + self.activations

    def in_words(self, *purposes: str) -> str:
        """Some of the purposes with their GiB."""
        return ", ".join(f"{purpose} {getattr(self, purpose) / GIB:.2f}" for purpose in purposes)


STANDING = ("parameters", "gradients", "optimizer", "copies")


@dataclass(frozen=True)
class Estimate:
    """Cost of a training."""

    parts: tuple[Part, ...]
    memory: Memory
    steps: int
    pairs: int
    """A batch."""
    tokens: int
    """A batch, without padding."""
    padded_tokens: int
    pictures: int
    """A batch."""
    flops_per_s: float | None = None
    """Of bare matrix products on the device."""
    batches: int = 1
    """Of a step."""

    @property
    def forward(self) -> int:
        """Operations of a step's forward passes."""
        return self.batches * sum(part.forward for part in self.parts)

    @property
    def backward(self) -> int:
        return self.batches * sum(part.backward for part in self.parts)

    @property
    def repeated(self) -> int:
        """Operations of forward passes done again."""
        return self.batches * sum(part.forward * part.repeated for part in self.parts)

    @property
    def flops(self) -> int:
        """Operations of a step."""
        return self.forward + self.backward + self.repeated

    @property
    def seconds_per_step(self) -> float | None:
        """Least time of a step, were everything a bare matrix product."""
        return self.flops / self.flops_per_s if self.flops_per_s else None

    def lines(self, available: int | None = None) -> list[str]:
        """For a person, before the training.

        Args:
            available: Bytes free on the device.
        """
        memory = self.memory
        padding = 1.0 - self.tokens / self.padded_tokens if self.padded_tokens else 0.0
        again = f", {in_words(self.repeated)} encoded again" if self.repeated else ""
        batches = f"{self.batches:,} batches, each of " if self.batches > 1 else ""
        lines = [
            f"a step: {batches}{self.pairs:,} pairs, {self.tokens:,} tokens and {100 * padding:.0f} % padding, "
            f"{self.pictures:,} pictures",
            f"a step computes {in_words(self.flops)}FLOP: forward {in_words(self.forward)}, backward "
            f"{in_words(self.backward)}{again}",
            f"memory {memory.total / GIB:.2f} GiB"
            + (f" of {available / GIB:.1f} GiB free" if available is not None else "")
            + f": {memory.in_words(*STANDING, 'activations')}",
        ]
        if self.flops_per_s and self.seconds_per_step is not None:
            lines.append(
                f"at the {in_words(self.flops_per_s)}FLOP/s of bare matrix products a step takes at least "
                f"{self.seconds_per_step:.2f} s and {self.steps:,} steps {duration(self.steps * self.seconds_per_step)}"
            )
        return lines

    def achieved(self, seconds: float, steps: int, peak_bytes: int | None = None) -> list[str]:
        """For a person, after the training.

        Args:
            seconds: Time of the steps.
            steps: How many were done.
            peak_bytes: Most memory used at once, as `peak_memory` gives it.
        """
        if not steps or seconds <= 0:
            return []
        rate = self.flops * steps / seconds
        share = f", {100 * rate / self.flops_per_s:.0f} % of bare matrix products" if self.flops_per_s else ""
        peak = f", memory {peak_bytes / GIB:.2f} GiB at most" if peak_bytes is not None else ""
        return [
            f"achieved: {seconds / steps:.2f} s a step, {self.batches * self.tokens * steps / seconds:,.0f} tokens/s, "
            f"{in_words(rate)}FLOP/s{share}{peak}"
        ]


def check_fits(estimate: Estimate, available: int, device: str = "memory") -> None:
    """Refuse a training whose parameters, gradients and optimiser alone do not fit.

    Activations are an estimate and depend on the batch: where they are what is too much, the caller warns.

    Args:
        estimate: Of the training.
        available: Bytes free.
        device: Where, for the message.

    Raises:
        ModelError: It does not fit.
    """
    memory = estimate.memory
    if memory.standing > available:
        raise ModelError(
            f"the training does not fit into {device}",
            where="train.parameters",
            got=f"{memory.standing / GIB:.2f} GiB: {memory.in_words(*STANDING)}",
            allowed=f"{available / GIB:.2f} GiB free",
            fix="set train.parameters.train to experts or lora, keep fewer layers, or share the parameters among more "
            "devices with strategy fsdp",
        )


def check_experts(
    config: MoeConfig, hidden: int, ffn: int, num_layers: int, available: int, device: str = "memory"
) -> None:
    """Refuse more experts than there is memory for, before any of them is made.

    An expert that learns takes 16 bytes a parameter: itself, its gradient and AdamW's moments in float32.

    Args:
        config: The experts.
        hidden: Width of the hidden states.
        ffn: Inner width of the decoder's FFN.
        num_layers: Decoder layers that get experts.
        available: Bytes free.
        device: Where, for the message.

    Raises:
        ModelError: They do not fit; names how many would.
    """

    def wanted(num_experts: int) -> int:
        changed = config.model_copy(update={"num_experts": num_experts, "top_k": min(config.top_k, num_experts)})
        return num_layers * moe_parameters(changed, hidden, ffn)["trainable"] * 4 * (2 + ADAMW_MOMENTS)

    if wanted(config.num_experts) <= available:
        return
    one, two = wanted(1), wanted(2)
    fitting = max(0, 1 + (available - one) // max(two - one, 1))
    fixes = ["lower model.moe.num_experts", "name fewer model.moe.layers"]
    fixes.insert(1, "set model.moe.expert to low_rank" if config.expert == "full" else "lower model.moe.rank")
    raise ModelError(
        f"more experts than fit into {device}",
        where="model.moe.num_experts",
        got=f"{config.num_experts} experts in each of {num_layers} layers want "
        f"{wanted(config.num_experts) / GIB:.2f} GiB ({wanted(config.num_experts):,} bytes)",
        allowed=f"{available / GIB:.2f} GiB ({available:,} bytes) free, enough for {fitting}",
        fix=", or ".join(fixes),
    )


def in_words(number: float) -> str:
    """A large number with its prefix: 1.2 G."""
    for size, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if number >= size:
            return f"{number / size:.3g} {prefix}"
    return f"{number / 1e3:.3g} k"


def duration(seconds: float) -> str:
    """Seconds in words, to two units."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
