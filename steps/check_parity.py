"""Does the Bento answer, and as the offline encoder does?"""

from __future__ import annotations

import logging
from typing import Annotated, TypeVar

import mlflow
from zenml import step
from zenml.client import Client

from catalog import Alias, ArtifactName, Catalog, ModelError
from serving.errors import ServingError
from serving.launch import running_bento
from serving.parity import check_health
from serving.parity import check_parity as compare_vectors
from steps.materializers import RecordMaterializer
from steps.records import Parity
from steps.registry import BENTO_TAG, Registry

logger = logging.getLogger(__name__)

T = TypeVar("T")


@step(enable_cache=False, experiment_tracker=True, output_materializers=RecordMaterializer)
def check_parity(
    version: str | None, num_items: int, min_cosine: float
) -> Annotated[Parity, ArtifactName.PARITY.value]:
    """Serve the Bento of a version and compare its vectors with the offline ones.

    Args:
        version: Version of the registry; the challenger where None.
        num_items: Products, and queries, that are compared.
        min_cosine: Least cosine between a served vector and its offline one.

    Raises:
        ModelError: There is no such version, or it has no Bento.
        ServingError: The service is not healthy, or its vectors are others.
    """
    registry = Registry()
    chosen = registry.by_version(version) if version else registry.by_alias(Alias.CHALLENGER)
    if chosen is None:
        raise ModelError("there is no challenger to promote", where=registry.name, fix="zenml pipeline run train_moon")
    tag = chosen.tags.get(BENTO_TAG)
    if not tag:
        raise ModelError(
            "the version has no Bento", where=f"{registry.name} version {chosen.version}", fix="run train_moon again"
        )
    catalog = _catalog_of(str(chosen.run_id))
    products = _spread(list(catalog.items()), num_items)
    queries = _spread([row for row in catalog.queries if row.text or row.image], num_items)
    with running_bento(tag) as url:
        health = check_health(url)
        if not health.healthy:
            raise ServingError("the Bento is not healthy", where=tag, got=health.reason)
        asked = [catalog.query_item(row) for row in queries]
        result = compare_vectors(url, registry.model_path(chosen), products, asked)
    if not result.min_cosine >= min_cosine:
        raise ServingError(
            "the Bento answers differently from the offline encoder",
            where=tag,
            got=f"least cosine {result.min_cosine:.6f} over {result.n} vectors",
            allowed=f"at least {min_cosine}",
            fix="package the version again; the alias stays where it is",
        )
    logger.info("%s: least cosine %.6f over %d vectors", tag, result.min_cosine, result.n)
    return Parity(str(chosen.version), tag, result.min_cosine, result.max_abs_diff, result.n)


def _spread(rows: list[T], count: int) -> list[T]:
    """`count` rows, evenly over the list."""
    return rows if len(rows) <= count else [rows[index * len(rows) // count] for index in range(count)]


def _catalog_of(mlflow_run_id: str) -> Catalog:
    """The catalogue that the version's run validated."""
    name = mlflow.get_run(mlflow_run_id).info.run_name
    try:
        run = Client().get_pipeline_run(name)
        loaded: Catalog = run.steps["validate_catalog"].outputs[ArtifactName.VALIDATED_CATALOG.value][0].load()
    except KeyError:
        raise ModelError(
            "the run that trained the version is gone, and its catalogue with it",
            where=f"ZenML run {name}",
            fix="run train_moon again",
        ) from None
    return loaded
