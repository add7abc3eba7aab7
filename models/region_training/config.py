"""What a detector is trained on, how, and where it is written."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from catalog.config import Fraction, Section
from models.scenes import SceneConfig


class SceneSetConfig(Section):
    """How many scenes are composed of which cut-outs."""

    scene: SceneConfig = SceneConfig()
    num_train: int = Field(default=6000, ge=4, le=1_000_000, description="Scenes of the training side's products.")
    num_val: int = Field(default=200, ge=4, le=100_000, description="Scenes of the validation side's: the curves.")
    num_held_out: int = Field(
        default=200, ge=4, le=100_000, description="Scenes of the test side's for each preset that is judged."
    )
    max_cutouts: int = Field(default=1500, ge=1, le=100_000, description="Cut-outs taken from the catalogue.")
    backgrounds: str | None = Field(
        default=None, description="Folder of photographs for backgrounds; they must show no product of the shop's kind."
    )
    catalog_backgrounds: bool = Field(
        default=False, description="Textures of the catalogue's own cluttered photographs as backgrounds."
    )
    jpeg_quality: int = Field(default=88, ge=30, le=100, description="Of the scenes on disk.")
    num_workers: int = Field(default=0, ge=0, le=256, description="Composing processes; 0: one a core.")


class DetectorFitConfig(Section):
    """How the detector is trained."""

    model_yaml: str = Field(
        default="yolo26n.yaml", description="A YAML bundled with ultralytics, or the path of one; of the task Detect."
    )
    positives: Literal["core", "products", "both"] = Field(
        default="both",
        description="core: the scene's product alone has a box; products: distractors have boxes of the same class; "
        "both: of a class of their own, so that all are found and the score tells the core.",
    )
    side_px: int = Field(
        default=192, ge=32, le=1280, multiple_of=32, description="Side of the square input, pixels; multiple of 32."
    )
    epochs: int = Field(default=20, ge=1, le=10_000, description="Passes over the training scenes.")
    batch_size: int = Field(default=32, ge=2, le=1024, description="Scenes an optimizer step.")
    learning_rate: float = Field(default=0.002, gt=0.0, le=1.0, description="Of AdamW after the warm-up.")
    final_rate_frac: Fraction = Field(default=0.01, description="Last learning rate, share of the first.")
    warmup_epochs: float = Field(default=1.0, ge=0.0, le=100.0, description="The rate rises from 0 in so many epochs.")
    weight_decay: float = Field(default=0.0005, ge=0.0, le=1.0, description="Of AdamW, on weights alone.")
    mosaic_frac: Fraction = Field(default=0.0, description="Training pictures put together from four scenes.")
    close_mosaic_epochs: int = Field(default=4, ge=0, le=10_000, description="Last epochs without mosaics.")
    scale_frac: Fraction = Field(default=0.3, description="Scenes are resized at random by up to this share.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="Of the forward pass; auto: bf16 where the processor computes it in hardware."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: cuda where there is one.")
    num_threads: int = Field(default=0, ge=0, le=256, description="Threads of torch on the CPU; 0: as torch chooses.")
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Of first weights, order and augmentations.")

    @model_validator(mode="after")
    def _mosaics_end(self) -> DetectorFitConfig:
        if self.mosaic_frac > 0.0 and self.close_mosaic_epochs >= self.epochs:
            raise ValueError("close_mosaic_epochs must be below epochs, or mosaic_frac 0: no epoch has mosaics")
        return self


class DetectorExportConfig(Section):
    """Where the detector goes, and what its card says of it."""

    name: str = Field(
        default="product", pattern=r"^[a-z0-9][a-z0-9_-]*$", description="File name of weights and YAML, no suffix."
    )
    folder: str | None = Field(
        default=None, description="Write the detector here too, beside the run's artifact; the files of an older go."
    )
    half: bool = Field(default=True, description="Store weights in 16 bits: half the size, computed in 32.")
    licence: str = Field(
        default="Apache-2.0",
        min_length=1,
        description="Of the weights, for the card. Pictures under another licence may bind the weights to it.",
    )
    licence_of_pictures: str = Field(
        default="Drawn by this project, Apache-2.0", min_length=1, description="Of the catalogue's pictures."
    )
