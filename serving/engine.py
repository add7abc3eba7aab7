"""What the service does, without BentoML: one encoder, one index, requests in, answers out."""

from __future__ import annotations

import json
import os
import threading
from typing import Any

import numpy as np

from catalog import Embedder, check_vectors
from serving.bundle import Bundle
from serving.errors import RequestError, ServingError
from serving.index import ProductIndex
from serving.requests import hits_wanted, product_items, query_item
from serving.wire import (
    EmbedRequest,
    EmbedResponse,
    HealthResponse,
    QueryRequest,
    QueryResponse,
    SearchRequest,
    SearchResponse,
    WireHit,
)


class Engine:
    """Answers requests with the very encoder class that training and evaluation use.

    Requests are encoded one after another: a batch across requests would pad one shopper's query to another's length
    and move the last bits of its vector, and on a CPU it gains nothing.
    """

    def __init__(
        self, encoder: Embedder, index: ProductIndex, bundle: Bundle, regions: dict[str, str | None] | None = None
    ) -> None:
        self.encoder, self.index, self.bundle, self.config = encoder, index, bundle, bundle.config
        self.regions = regions or {}
        # Fast tokenizers refuse to be borrowed by two threads at once.
        self._encoding = threading.Lock()

    @classmethod
    def load(cls, bundle: Bundle) -> Engine:
        """Load model and index from the bundle.

        Raises:
            ModelError: The model folder cannot be read, or its model was not trained for vectors of the configured
                length or with the configured crops.
            ServingError: The index is not this model's, or holds vectors of another length.
        """
        import torch

        from models.encoder import MoonEncoder

        config = bundle.config
        torch.set_num_threads(config.threads_per_worker or max(1, _num_cores() // config.workers))
        encoder = MoonEncoder.load(bundle.model_folder, device=config.device, dims=config.dims, crops=config.crops)
        index = ProductIndex.open(bundle.index_folder, model_digest=encoder.digest, dims=encoder.dims)
        return cls(encoder, index, bundle, _regions(bundle))

    def embed(self, request: EmbedRequest) -> EmbedResponse:
        """Vectors of products."""
        items = product_items(request, self.config)
        self._needs(text=any(item.product.title for item in items), image=any(item.photos for item in items))
        ids = [item.product.product_id for item in items]
        with self._encoding:
            vectors_ND = self.encoder.embed_products(items)
        vectors_ND = check_vectors(vectors_ND, ids, self.encoder.dims, self.encoder.name)
        vectors = tuple(tuple(row) for row in vectors_ND.tolist())
        return EmbedResponse(
            product_ids=tuple(ids), vectors=vectors, dims=self.encoder.dims, model_digest=self.encoder.digest
        )

    def embed_query(self, request: QueryRequest) -> QueryResponse:
        """Vector of a query."""
        vector_D = self._query_vector(request)
        return QueryResponse(vector=tuple(vector_D.tolist()), dims=self.encoder.dims, model_digest=self.encoder.digest)

    def search(self, request: SearchRequest) -> SearchResponse:
        """Products closest to a query."""
        k = hits_wanted(request.k, self.config)
        hits = self.index.search(self._query_vector(request), k)
        return SearchResponse(
            hits=tuple(
                WireHit(
                    product_id=hit.product_id,
                    score=hit.score,
                    title=hit.title,
                    category=hit.category,
                    price=hit.price,
                    group_id=hit.group_id,
                    image=hit.image,
                )
                for hit in hits
            ),
            model_digest=self.encoder.digest,
        )

    def health(self) -> HealthResponse:
        """Embed and search once, so that `ok` means that both work.

        Raises:
            ServingError: No product was found.
            ModelError: The encoder broke its protocol.
        """
        with self._encoding:
            vector_D = check_vectors(
                self.encoder.embed_labels(["health"]), ["health"], self.encoder.dims, self.encoder.name
            )[0]
        if not self.index.search(vector_D, 1):
            raise ServingError("the index found nothing", fix="build the index again")
        return HealthResponse(status="ok", model_digest=self.encoder.digest, num_products=self.index.info.num_products)

    def info(self) -> dict[str, Any]:
        """What is being served: version, digests, lineage, limits; no path of this machine."""
        index, config = self.index.info, self.config
        limits = config.model_dump(
            include={
                "max_body_bytes",
                "max_items_per_request",
                "max_images_per_item",
                "max_image_bytes",
                "max_image_pixels",
                "max_request_pixels",
                "max_text_chars",
                "max_attributes",
                "max_top_k",
                "default_k",
                "request_timeout_s",
            }
        )
        return {
            "version": self.bundle.version,
            "labels": _without_paths(self.bundle.labels),
            "model": {
                "name": self.encoder.name,
                "digest": self.encoder.digest,
                "dims": self.encoder.dims,
                "crops": config.crops,
                "modalities": sorted(self.encoder.modalities),
                "regions": self.regions,
                "lineage": _without_paths(getattr(self.encoder, "lineage", {})),
            },
            "index": {
                "digest": index.digest,
                "catalog_digest": index.catalog_digest,
                "num_products": index.num_products,
                "exact": index.exact,
            },
            "limits": limits,
            "ultralytics_included": config.include_ultralytics,
        }

    def _query_vector(self, request: QueryRequest) -> np.ndarray:
        item = query_item(request, self.config)
        self._needs(text=item.text is not None, image=item.photo is not None)
        with self._encoding:
            vectors_ND = self.encoder.embed_queries([item])
        return check_vectors(vectors_ND, [item.query_id], self.encoder.dims, self.encoder.name)[0]

    def _needs(self, *, text: bool, image: bool) -> None:
        given = {name for name, there in (("text", text), ("image", image)) if there}
        if not given & self.encoder.modalities:
            raise RequestError(
                "the model cannot read this",
                got=" and ".join(sorted(given)),
                allowed=" and ".join(sorted(self.encoder.modalities)),
            )


def _regions(bundle: Bundle) -> dict[str, str | None]:
    """How the model finds core regions: the same detector and chooser as in training, by digest; nothing of them where
    it is fed no crops."""
    from models.config import ModelConfig
    from models.crops import with_crops
    from models.regions import RegionsConfig, make_chooser

    stored = json.loads((bundle.model_folder / "config.json").read_text(encoding="utf-8"))
    config = RegionsConfig.model_validate(stored["regions"])
    if with_crops(ModelConfig.model_validate(stored["model"]), bundle.config.crops).crops == "none":
        return {"backend": None, "digest": None, "chooser_digest": None}
    return {
        "backend": config.backend,
        "digest": stored.get("regions_digest"),
        "chooser_digest": make_chooser(config).digest,
    }


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _without_paths(value: Any) -> Any:
    """`value` without strings that tell where something lay on the machine that trained."""
    if isinstance(value, dict):
        return {key: _without_paths(part) for key, part in value.items() if not _is_path(part)}
    if isinstance(value, list | tuple):
        return [_without_paths(part) for part in value if not _is_path(part)]
    return value


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and (os.path.isabs(value) or value.startswith(("file:", "~")) or value[1:3] == ":\\")
