"""Boxes drawn by eye: numbers about photographs that are not ours to pass on."""

from __future__ import annotations

import json
import math
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from catalog import Box, CatalogError


class Label(BaseModel):
    """One photograph."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = Field(description="Reference below the data's folder.")
    box: Box = Field(description="x0, y0, x1, y1 in pixels of the photograph: the mean of the labellers'.")

    @field_validator("box")
    @classmethod
    def _has_area(cls, box: Box) -> Box:
        x0, y0, x1, y1 = box
        if not (0 <= x0 < x1 < math.inf and 0 <= y0 < y1 < math.inf):
            raise ValueError(f"box must have x0 < x1 and y0 < y1, none negative: {box}")
        return box

    kind: str = Field(default="", description="Kind of product, where kinds are told apart.")
    agreement: float | None = Field(ge=0, le=1, description="IoU of the two labellers' boxes; null where one drew it.")


class Labels(BaseModel):
    """A set of labelled photographs, and how it came about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str
    source: str
    drawn: str = Field(description="How the photographs were drawn.")
    how: str = Field(description="How the boxes were.")
    labels: tuple[Label, ...] = Field(min_length=1)


def read_labels(path: Path) -> Labels:
    """Read a file of labels.

    Raises:
        CatalogError: It is not there, or not what it should be; names the place in it.
    """
    try:
        return Labels.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogError("labels cannot be read", where=str(path), got=str(error)) from None
    except (ValidationError, json.JSONDecodeError) as error:
        raise CatalogError("not a file of labels", where=str(path), got=str(error)) from None
