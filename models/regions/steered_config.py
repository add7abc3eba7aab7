"""Sections of the detectors that are steered by words: what is asked for, of which weights, and what is kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from catalog import Section

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class OpenVocabularyConfig(Section):
    """Detectors that are told in words what to look for: Grounding DINO, OWLv2, YOLO-World, YOLOE."""

    weights: str | None = Field(
        default=None,
        description="Folder of Grounding DINO or OWLv2 as transformers writes it (safetensors), a name under the "
        "weights root, or a .safetensors file of YOLO-World or YOLOE; relative to the model folder, else the working "
        "folder.",
    )
    download: bool = Field(
        default=False, description="Fetch weights named by hub id when they are not at hand; never without this."
    )
    revision: str | None = Field(
        default=None, description="Commit of the hub repository, 40 hexadecimal digits; read with download alone."
    )
    model_yaml: str | None = Field(
        default=None,
        description="Architecture of a YOLO-World or YOLOE file: a YAML bundled with ultralytics such as "
        "yolov8s-worldv2.yaml, or the path of one. Null: the weights are a transformers folder.",
    )
    text_encoder: str | None = Field(
        default=None,
        description="Folder of the CLIP ViT-B/32 text encoder for YOLO-World (transformers, safetensors). Null: the "
        "class embeddings stored in the weights file are the vocabulary.",
    )
    phrases: tuple[str, ...] = Field(
        default=("{category}", "{title}"),
        min_length=1,
        max_length=8,
        description="What is looked for: {category} is the leaf, {title} the title's last words; a phrase without a "
        "value is left out.",
    )
    generic_phrase: str = Field(
        default="product",
        min_length=1,
        max_length=80,
        description="Looked for where no word is known.",
    )
    title_words: int = Field(default=4, ge=1, le=32, description="Words of the title that are read, the last ones.")
    max_tokens: int = Field(
        default=48, ge=4, le=256, description="Of all phrases together; the model's own limit counts where it is lower."
    )
    min_score: Fraction = Field(default=0.1, description="Boxes scored lower are not candidates.")
    nms_iou: Fraction = Field(default=0.6, description="Of two boxes overlapping more than this the better stays.")
    side_px: int = Field(
        default=640,
        ge=32,
        le=1280,
        multiple_of=32,
        description="Side of the input of YOLO-World and YOLOE, pixels.",
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, or cuda:N.")
    dtype: Literal["fp32", "bf16"] = Field(default="fp32", description="Number format of the network.")
    batch_size: int = Field(
        default=1, ge=1, le=256, description="Images a forward pass; 1 keeps the last bit independent of the batch."
    )

    @field_validator("phrases")
    @classmethod
    def _phrases_are_known(cls, phrases: tuple[str, ...]) -> tuple[str, ...]:
        for phrase in phrases:
            left = phrase.replace("{category}", "").replace("{title}", "")
            if left == phrase or "{" in left or "}" in left:
                raise ValueError(f"{phrase!r} must hold {{category}} or {{title}}, and no other field")
        return phrases


GROUNDING_PROMPT = (
    'Locate the product "{subject}" in this image. Report its bounding box in JSON format: '
    '[{"bbox_2d": [x1, y1, x2, y2], "label": "product"}]. Report [] if it is not in the image. Report nothing else.'
)


class GroundingConfig(Section):
    """A multimodal language model that is asked for the box of the titled product."""

    weights: str | None = Field(
        default=None,
        description="Folder of Qwen2.5-VL or Qwen3-VL as transformers writes it (safetensors), or a name of "
        "`moon weights list`; relative to the model folder, else the working folder.",
    )
    download: bool = Field(
        default=False, description="Fetch weights named by hub id when they are not at hand; never without this."
    )
    revision: str | None = Field(
        default=None, description="Commit of the hub repository, 40 hexadecimal digits; read with download alone."
    )
    coordinates: Literal["auto", "resized_pixels", "relative_1000"] = Field(
        default="auto",
        description="What the numbers of an answer count. auto: by the model's type; resized_pixels: pixels of the "
        "picture as the model saw it (Qwen2.5-VL); relative_1000: thousandths of width and height (Qwen3-VL).",
    )
    prompt: str = Field(
        default=GROUNDING_PROMPT, max_length=2000, description="The question; {subject} stands for the product's words."
    )
    generic_subject: str = Field(
        default="main product", min_length=1, max_length=80, description="Asked for where no word is known."
    )
    max_new_tokens: int = Field(default=128, ge=16, le=2048, description="An answer that is longer is refused.")
    min_pixels: int = Field(default=65_536, ge=1024, le=16_777_216, description="A smaller picture is enlarged.")
    max_pixels: int = Field(default=1_003_520, ge=1024, le=16_777_216, description="A larger picture is shrunk.")
    score: Literal["token_probability", "one"] = Field(
        default="token_probability",
        description="Score of a box: mean probability of its digits' tokens, or 1.",
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, or cuda:N.")
    dtype: Literal["fp32", "bf16"] = Field(default="bf16", description="Number format of the network.")
    batch_size: int = Field(
        default=1, ge=1, le=64, description="Images a generate call; 1 keeps the answer independent of the batch."
    )

    @field_validator("prompt")
    @classmethod
    def _asks_for_the_subject(cls, prompt: str) -> str:
        if "{subject}" not in prompt:
            raise ValueError("the prompt must hold {subject}, which stands for the product's words")
        return prompt

    @model_validator(mode="after")
    def _pixels_in_order(self) -> GroundingConfig:
        if self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels {self.min_pixels} is above max_pixels {self.max_pixels}")
        return self
