"""How politely and how safely images are fetched."""

from __future__ import annotations

from pydantic import Field

from catalog.config import Section


class FetchConfig(Section):
    """Limits of a run of `moon data fetch-images`."""

    num_workers: int = Field(default=16, ge=1, le=256, description="Downloads at the same time, over all hosts.")
    host_concurrency: int = Field(default=2, ge=1, le=64, description="Downloads at the same time from one host.")
    host_delay_s: float = Field(
        default=0.1, ge=0.0, le=600.0, description="Least time between two requests to one host, seconds."
    )
    connect_timeout_s: float = Field(default=10.0, gt=0.0, le=600.0, description="For a connection, seconds.")
    read_timeout_s: float = Field(default=20.0, gt=0.0, le=600.0, description="For the next bytes, seconds.")
    total_timeout_s: float = Field(
        default=120.0, gt=0.0, le=3600.0, description="For a whole request; ends one that drips, seconds."
    )
    max_attempts: int = Field(default=4, ge=1, le=20, description="Requests for one URL while its faults may pass.")
    backoff_s: float = Field(
        default=1.0, ge=0.0, le=600.0, description="Wait after the first fault, seconds; doubled after each, jittered."
    )
    max_backoff_s: float = Field(default=60.0, ge=0.0, le=3600.0, description="Longest wait between two attempts.")
    max_retry_after_s: float = Field(
        default=120.0,
        ge=0.0,
        le=86400.0,
        description="Longest Retry-After that is waited for, seconds; a host that asks for more is left alone.",
    )
    max_host_faults: int = Field(
        default=20, ge=1, le=100_000, description="URLs in a row that a host may fail before it is left alone."
    )
    max_redirects: int = Field(default=5, ge=0, le=20, description="Redirects followed from one URL.")
    max_image_bytes: int = Field(default=32 * 1024 * 1024, ge=1024, description="A body is read so far, then dropped.")
    max_image_pixels: int = Field(default=50_000_000, ge=1024, description="Larger pictures are not decoded.")
    max_total_bytes: int | None = Field(default=None, ge=1, description="Bodies read in the whole run; then it stops.")
    ports: tuple[int, ...] = Field(default=(80, 443), min_length=1, description="Ports that may be dialled.")
    allow_private: bool = Field(
        default=False, description="Dial private, loopback and link-local addresses too: for an intranet or a test."
    )
    contact: str = Field(
        default="", max_length=200, pattern=r"^[\x20-\x7e]*$", description="Address or page named in the User-Agent."
    )
