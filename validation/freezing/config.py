"""What the frozen folder says of itself."""

from __future__ import annotations

from pydantic import Field

from catalog.config import Section


class FreezingConfig(Section):
    """Where the frozen set goes and what its card says."""

    name: str = Field(default="", description="Name of the benchmark; the catalogue's where empty.")
    folder: str | None = Field(
        default=None, description="Write the set here too; empty: in the artifact store of the run alone."
    )
    overwrite: bool = Field(default=False, description="Replace a set of another digest that lies in `folder`.")
    licence: str = Field(
        default="", description="Terms of the rows and photographs, as the card gives them on; empty: not stated."
    )
    valid_days: int = Field(
        default=365, ge=1, le=36_500, description="After so many days the card suggests to build a new set."
    )
