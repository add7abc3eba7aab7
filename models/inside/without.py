"""The same item without one part of what it has, or of what the model does: what would be lost without it.

A token type goes as if the item had never had it: the sequence is written again without it, marks and positions
included. The squares stay those of the whole item: without its title a product keeps the crop that the title chose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from enum import StrEnum

import numpy as np
import torch
from torch import nn

from catalog import Product
from models.batch import collate
from models.encoder import MoonEncoder
from models.inside.shown import Shown
from models.moe import TypesInView
from models.moon import MoonModel
from models.processor import Encoded, Processor
from models.raw_signals import CODES, COLOURS, VISION, WORDS
from models.tokens import ATTRIBUTE_TYPES, CATEGORY_TYPES, TokenType


class Left(StrEnum):
    """What is left out."""

    ORIGINALS = "whole photographs"
    CROPS = "crops"
    TITLE = "title"
    """Of a query: its words."""
    CATEGORY = "category"
    ATTRIBUTES = "attributes"
    SLOTS = "slots"
    VISION_RESIDUAL = "vision residual"
    COLOUR_RESIDUAL = "colour residual"
    WORD_RESIDUAL = "word residual"
    CODE_RESIDUAL = "code residual"
    GUIDED_EXPERTS = "guided experts"


TOKENS = (Left.ORIGINALS, Left.CROPS, Left.TITLE, Left.CATEGORY, Left.ATTRIBUTES, Left.SLOTS)
"""Those that leave out tokens of the item; the others leave out a path of the model."""
RESIDUALS = {
    Left.VISION_RESIDUAL: VISION,
    Left.COLOUR_RESIDUAL: COLOURS,
    Left.WORD_RESIDUAL: WORDS,
    Left.CODE_RESIDUAL: CODES,
}
"""Those that are residuals, and their names in the head."""


def parts_of(encoder: MoonEncoder, shown: Shown) -> tuple[Left, ...]:
    """What can be left out of this item in this model, nothing that is not there."""
    types = set(shown.encoded.sequence.types)
    slots = {frame.kind for frame in shown.frames}
    head, moes = encoder.model.head, encoder.model.moes
    words = types & {TokenType.TITLE, TokenType.CATEGORY, TokenType.ATTRIBUTE}
    guided = {*CATEGORY_TYPES, *ATTRIBUTE_TYPES}
    there = {
        Left.ORIGINALS: TokenType.IMAGE in slots,
        Left.CROPS: TokenType.CROP in slots,
        Left.TITLE: TokenType.TITLE in types,
        Left.CATEGORY: TokenType.CATEGORY in types,
        Left.ATTRIBUTES: TokenType.ATTRIBUTE in types,
        Left.SLOTS: TokenType.CATEGORY_SLOT in types,
        # Raw vision is all that a late fusion sees of a picture: there it is no residual.
        Left.VISION_RESIDUAL: bool(slots) and VISION in head.residuals and encoder.config.fusion == "decoder",
        Left.COLOUR_RESIDUAL: bool(slots) and COLOURS in head.residuals,
        Left.WORD_RESIDUAL: bool(words) and WORDS in head.residuals,
        Left.CODE_RESIDUAL: bool(words) and CODES in head.residuals,
        Left.GUIDED_EXPERTS: bool(moes) and bool(types & guided),
    }
    return tuple(part for part in Left if there[part])


def embed_without(
    encoder: MoonEncoder, items: Sequence[Shown], part: Left | None = None, batch_size: int = 64
) -> np.ndarray:
    """Vectors of items without `part`; an item that lacks it gets its plain vector.

    Args:
        encoder: The model.
        items: Products, queries or label texts.
        part: What is left out; None: nothing.
        batch_size: Items a forward pass.

    Returns:
        (N, embedding_dims) float32, L2-normalised, in the order given: the whole vector, also of an encoder that
        cuts its own.
    """
    rows = [_encoded_without(encoder.processor, shown, part) for shown in items]
    made = [_forward(encoder, rows[start : start + batch_size], part) for start in range(0, len(rows), batch_size)]
    return np.concatenate(made) if made else np.zeros((0, encoder.config.embedding_dims), np.float32)


def left_out(encoder: MoonEncoder, shown: Shown, target_E: torch.Tensor) -> dict[Left, float]:
    """The cosine with `target_E` without each part in turn; what is lost is the plain cosine less this."""
    target = target_E.cpu().numpy()
    return {part: float(embed_without(encoder, [shown], part)[0] @ target) for part in parts_of(encoder, shown)}


@contextmanager
def silenced(module: nn.Module) -> Iterator[None]:
    """Let `module` answer zeros inside the block; the model must not be used elsewhere meanwhile."""
    hook = module.register_forward_hook(lambda _module, _inputs, output: torch.zeros_like(output))
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def guided_experts_off(model: MoonModel) -> Iterator[None]:
    """Switch the category and the attribute expert off inside the block.

    Under `additive` they add nothing. Under `switch`, where a token has nothing else, the router's experts take over.
    """
    before = [moe.in_view for moe in model.moes]
    with ExitStack() as stack:
        for moe in model.moes:
            if moe.config.combination == "additive":
                stack.enter_context(silenced(moe.guided))
            else:
                moe.in_view = _Unguided(moe.in_view)
        try:
            yield
        finally:
            for moe, in_view in zip(model.moes, before, strict=True):
                moe.in_view = in_view


class _Unguided(TypesInView):
    """Shows category and attribute tokens as if they were of the template."""

    def __init__(self, inner: TypesInView) -> None:
        super().__init__()
        self._inner = inner

    def get(self) -> torch.Tensor:
        types_BL = self._inner.get()
        guided = torch.tensor((*CATEGORY_TYPES, *ATTRIBUTE_TYPES), device=types_BL.device)
        return types_BL.masked_fill(torch.isin(types_BL, guided), TokenType.OTHER)

    @property
    def again(self) -> bool:
        return self._inner.again


@torch.inference_mode()
def _forward(encoder: MoonEncoder, rows: Sequence[Encoded], part: Left | None) -> np.ndarray:
    squares = [square for row in rows for square in row.squares]
    features = encoder.picture_features(squares)
    sequences = [row.sequence for row in rows]
    batch = collate(sequences, range(len(squares)), pad_id=encoder.processor.template.pad_id).to(encoder.device)
    with _path_off(encoder.model, part):
        vectors: np.ndarray = encoder.model(batch, features).float().cpu().numpy()
    return vectors


def _path_off(model: MoonModel, part: Left | None) -> AbstractContextManager[object]:
    if part is Left.GUIDED_EXPERTS:
        return guided_experts_off(model)
    name = RESIDUALS.get(part) if part else None
    if name is None or name not in model.head.residuals:
        return nullcontext()
    stack = ExitStack()
    stack.enter_context(silenced(model.head.residuals[name]))
    change = getattr(model.head, "vision_change", None)
    if name == VISION and change is not None:
        stack.enter_context(silenced(change))
    return stack


def _encoded_without(processor: Processor, shown: Shown, part: Left | None) -> Encoded:
    if part not in TOKENS:
        return shown.encoded
    kept = [
        index
        for index, frame in enumerate(shown.frames)
        if not (part is Left.ORIGINALS and frame.kind is TokenType.IMAGE)
        and not (part is Left.CROPS and frame.kind is TokenType.CROP)
    ]
    squares = [shown.encoded.squares[index] for index in kept]
    kinds = {shown.frames[index].kind for index in kept}
    changes: dict[str, object] = {}
    if len(kinds) == 1:
        # Written as originals, whichever they are: the processor knows no item with crops alone.
        changes["crops"] = "none"
    if part is Left.SLOTS:
        changes["slots"] = False
    writer = processor
    if changes:
        writer = processor.configured(processor.config.model_copy(update=changes))
    num_photos = len(kept) // max(len(kinds), 1)
    if shown.product is not None:
        sequence = writer.product_sequence(_stripped(shown.product, part), num_photos)
    else:
        sequence = writer.query_sequence(None if part is Left.TITLE else shown.text, num_photos)
    if kinds == {TokenType.CROP}:
        sequence = replace(
            sequence,
            types=[int(TokenType.CROP) if kind == TokenType.IMAGE else kind for kind in sequence.types],
        )
    return Encoded(sequence, squares)


def _stripped(product: Product, part: Left | None) -> Product:
    changes: dict[Left, dict[str, object]] = {
        Left.TITLE: {"title": None},
        Left.CATEGORY: {"category": ()},
        Left.ATTRIBUTES: {"attributes": {}},
    }
    return product.model_copy(update=changes[part]) if part in changes else product
