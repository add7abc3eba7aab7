"""A trained model behind HTTP: the vector index, the BentoML service, the Bento of one version, and its parity.

`serving.service` imports BentoML; the names below do not, so that a pipeline step stays quick to import.
"""

from serving.bundle import Bundle
from serving.config import ServingConfig
from serving.errors import RequestError, ServingError
from serving.index import Hit, IndexInfo, ProductIndex, build_index
from serving.launch import running_bento, serve_bento
from serving.packaging import BentoInfo, package_bento
from serving.parity import HealthResult, ParityResult, check_health, check_parity

__all__ = [
    "BentoInfo",
    "Bundle",
    "HealthResult",
    "Hit",
    "IndexInfo",
    "ParityResult",
    "ProductIndex",
    "RequestError",
    "ServingConfig",
    "ServingError",
    "build_index",
    "check_health",
    "check_parity",
    "package_bento",
    "running_bento",
    "serve_bento",
]
