"""The regions section of the configuration tree: which detector finds candidates, and how one of them is chosen."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from catalog import Section
from models.regions.steered_config import GroundingConfig, OpenVocabularyConfig

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0, le=100.0)]


class SaliencyConfig(Section):
    """The detector without weights."""

    side_px: int = Field(
        default=104, ge=32, le=512, description="The maps are computed on as many pixels as a square of this side has."
    )
    border_frac: float = Field(
        default=0.03, gt=0.0, le=0.25, description="Width of the frame taken for background, share of a side."
    )


class YoloConfig(Section):
    """The ultralytics detector: weights as safetensors, architecture as YAML; never a pickle."""

    weights: str = Field(
        default="bundled",
        min_length=1,
        description="bundled: those of this package; else the path of a .safetensors file, relative to the model "
        "folder, else the working folder.",
    )
    model_yaml: str | None = Field(
        default=None,
        description="Path of the architecture (resolved as weights), or one that ultralytics bundles; empty: the YAML "
        "beside the weights, of the same name.",
    )
    device: str = Field(default="cpu", min_length=1, description="cpu, cuda, cuda:N, or auto: a GPU if there is one.")
    side_px: int = Field(
        default=192, ge=32, le=1280, multiple_of=32, description="Side of the square input, pixels; multiple of 32."
    )
    min_score: Fraction = Field(default=0.05, description="Boxes scored lower are not candidates.")
    other_score_frac: Fraction = Field(
        default=0.5,
        description="Scores of products that a photograph is not of, where the weights know this second class, are "
        "multiplied by this.",
    )
    nms_iou: Fraction = Field(default=0.6, description="Of two boxes overlapping more than this the better stays.")
    batch_size: int = Field(
        default=1, ge=1, le=256, description="Images a forward pass; 1 keeps the last bit independent of the batch."
    )


class EdgesConfig(Section):
    """Edges of a detector's boxes, moved to where the product's colours end."""

    enabled: bool = Field(default=True, description="For backends that detect; saliency's edges are pixels already.")
    side_px: int = Field(default=160, ge=32, le=512, description="Longer side of the working picture of one box.")
    reach_frac: float = Field(
        default=0.15, ge=0.0, le=0.5, description="Farthest that an edge may move, share of the box's side."
    )
    min_score_frac: Fraction = Field(
        default=0.5, description="Candidates with less than this share of the best score keep their edges."
    )


class CategoryPrior(Section):
    """Where the product of a category usually is in the picture."""

    center_x_frac: Fraction = Field(default=0.5, description="Centre of the box, share of the width from the left.")
    center_y_frac: Fraction = Field(default=0.5, description="Centre of the box, share of the height from the top.")
    area_frac: Fraction = Field(default=0.4, description="Area of the box, share of the picture's.")


class PairConfig(Section):
    """When two boxes are the two halves of one product, such as a pair of shoes."""

    words: tuple[str, ...] = Field(
        default=(
            "pair",
            "shoes",
            "sneakers",
            "trainers",
            "boots",
            "sandals",
            "slippers",
            "loafers",
            "heels",
            "flats",
            "pumps",
            "earrings",
            "gloves",
            "mittens",
            "socks",
        ),
        description="Whole words of title or category, compared without case, that say the product comes in pairs.",
    )
    min_side_ratio: Fraction = Field(default=0.7, description="Shorter over longer, of their widths and heights each.")
    min_score_ratio: Fraction = Field(default=0.6, description="Lower over higher score.")
    max_gap_frac: float = Field(
        default=0.4, ge=0.0, le=10.0, description="Most room between the two, share of their mean side along the gap."
    )
    max_iou: Fraction = Field(default=0.3, description="Boxes that overlap more are one thing found twice.")
    max_agreement_gap: float = Field(
        default=0.15, ge=0.0, le=2.0, description="Largest difference of their agreement, where an encoder was asked."
    )
    weight: Weight = Field(default=0.3, description="Weight of being both halves where the words ask for a pair.")


class AgreementConfig(Section):
    """The encoder of an earlier version, which is asked how well each candidate agrees with the product's words."""

    folder: str | None = Field(
        default=None,
        description="Its model folder; relative to the model folder that carries it, else the working one.",
    )
    weight: Weight = Field(default=1.2, description="Weight of the cosine between crop and words, -1 to 1.")


class ChooserConfig(Section):
    """The rule that picks one of the candidates: a weighted sum of what is known of each.

    Weights were searched at random and then rounded, by the share of pictures whose core is chosen right, on groups of
    the demo shop that are not held out: its photographs, and scenes with distractors.
    """

    kind: Literal["rule", "encoder"] = Field(
        default="rule", description="encoder: the rule, and the agreement of each crop with the product's words."
    )
    score_weight: Weight = Field(default=1.0, description="Weight of the detector's score, 0 to 1.")
    size_weight: Weight = Field(default=0.2, description="Weight of the square root of the share of the picture.")
    centrality_weight: Weight = Field(default=1.0, description="Weight of nearness to the picture's centre, 0 to 1.")
    prior_weight: Weight = Field(default=0.5, description="Weight of agreement with the category's prior, 0 to 1.")
    category_priors: dict[str, CategoryPrior] = Field(
        default_factory=dict, description="By category name of any level, compared without case; the deepest counts."
    )
    group_weight: Weight = Field(
        default=0.6, description="Taken from a box around several unlike candidates, each about as sure as it is."
    )
    pair: PairConfig = PairConfig()
    encoder: AgreementConfig = AgreementConfig()
    min_score: Fraction = Field(
        default=0.2,
        description="Candidates that the detector scores lower do not count; without any, the whole picture is kept.",
    )
    min_side_frac: Fraction = Field(
        default=0.08, description="A candidate whose longer side is a smaller share of the picture's is no product."
    )
    padding_frac: float = Field(
        default=0.02, ge=0.0, le=1.0, description="Added on every side, share of the box's mean side."
    )
    min_crop_side_px: int = Field(
        default=16, ge=1, le=1024, description="A narrower crop is widened to this, as far as the picture allows."
    )


_WORD = re.compile(r"[^\W\d_]+")

GarmentKind = Literal["upper", "lower", "full", "feet", "head"]
"""Where on the body a garment is worn."""


class WornConfig(Section):
    """From a person's box to the titled garment's."""

    enabled: bool = Field(default=True, description="Add the box of the garment that a pictured person wears.")
    side_px: int = Field(default=128, ge=48, le=512, description="Longer side of the picture that is worked on.")
    kinds: dict[str, GarmentKind | Literal["none"]] = Field(
        default_factory=dict,
        description="Words of category or title, one each, by where the garment is worn, added to the built-in English "
        "ones; none takes a built-in word out.",
    )

    @field_validator("kinds")
    @classmethod
    def _kinds_are_words(
        cls, kinds: dict[str, GarmentKind | Literal["none"]]
    ) -> dict[str, GarmentKind | Literal["none"]]:
        for word in kinds:
            if not _WORD.fullmatch(word.casefold()):
                raise ValueError(f"{word!r} must be one word of letters alone: titles are read word by word")
        return kinds


class RegionsConfig(Section):
    """How the core region of a photograph is found."""

    backend: Literal["yolo", "open_vocabulary", "grounding", "saliency", "none"] = Field(
        default="saliency",
        description="saliency needs no weights; yolo needs ultralytics and weights; open_vocabulary and grounding need "
        "weights and read the product's words; none: no crop.",
    )
    num_candidates: int = Field(default=5, ge=1, le=100, description="K: boxes kept an image, best first.")
    saliency: SaliencyConfig = SaliencyConfig()
    yolo: YoloConfig = YoloConfig()
    edges: EdgesConfig = EdgesConfig()
    worn: WornConfig = WornConfig()
    open_vocabulary: OpenVocabularyConfig = OpenVocabularyConfig()
    grounding: GroundingConfig = GroundingConfig()
    chooser: ChooserConfig = ChooserConfig()
