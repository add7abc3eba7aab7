"""A ZenML pipeline that checks its recipe first, and ends with a few lines instead of a hundred."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_type_hints

import click
from zenml.client import Client
from zenml.config.pipeline_run_configuration import PipelineRunConfiguration
from zenml.config.step_configurations import StepConfigurationUpdate
from zenml.enums import ExecutionMode
from zenml.models import PipelineRunResponse
from zenml.pipelines.pipeline_definition import Pipeline

from catalog import MoonError
from moon.recipes import RECIPES_FOLDER, RecipeSchema, check_recipe
from moon.stack import tracking_uri
from moon.yaml_lines import read_yaml
from steps.store import check_store

_FAILURE_LOGGERS = ("zenml.orchestrators.local.local_orchestrator", "zenml.orchestrators.step_launcher")


class MoonPipeline(Pipeline):
    """A pipeline with a default recipe, a checked recipe, and a closing word.

    Args:
        name: The name of the pipeline; recipes lie in `configs/<name>/`.
        entrypoint: The function that wires the steps.
        default_recipe: File name below `configs/<name>/` for a run that names no recipe.
        closing: Text to print when a run has ended, from the run.
        fits: Given the pipeline's parameters, refuses values that do not fit each other or what they name.
        **options: Options of ZenML's Pipeline.
    """

    def __init__(
        self,
        *,
        name: str,
        entrypoint: Callable[..., Any],
        default_recipe: str,
        closing: Callable[[PipelineRunResponse], str],
        fits: Callable[..., None] | None = None,
        **options: Any,
    ) -> None:
        # Fail fast, or ZenML goes on with what can still run and loses the error that a step ended with.
        options.setdefault("execution_mode", ExecutionMode.FAIL_FAST)
        super().__init__(name=name, entrypoint=entrypoint, **options)
        self.default_recipe = RECIPES_FOLDER / name / default_recipe
        self._closing = closing
        self._fits = fits

    def check(self, recipe: Path) -> None:
        """Hold a recipe against everything that can be known before a run.

        Raises:
            ConfigError: The recipe holds a key or value that is not known; names each with the nearest right one. Or
                its values do not fit each other or what they name.
        """
        values = check_recipe(recipe, self.recipe_schema())
        if self._fits is not None:
            self._fits(**values)

    def with_options(self, *args: Any, **options: Any) -> Pipeline:
        """Check the recipe, then let ZenML apply it.

        Raises:
            ConfigError: As `check`.
        """
        with _short_failures():
            path = Path(options.get("config_path") or self.default_recipe)
            self.check(path)
            # ZenML stumbles over a file without a key; every default then stands.
            has_keys = bool(read_yaml(path)[0])
            return super().with_options(*args, **options | {"config_path": str(path) if has_keys else None})

    def __call__(self, *args: Any, **kwargs: Any) -> PipelineRunResponse | None:
        """Run, print the closing text, and return the run.

        Raises:
            MoonError: Whatever a user can cause, from any step. Inside a command it ends the command with its text.
        """
        with _short_failures():
            # What is amiss with the stack is told before anything runs, and not wrapped in an error of ZenML's.
            tracking_uri()
            check_store(self.recipe_schema().steps)
            run = super().__call__(*args, **kwargs)
            if run is not None:
                run = Client().get_pipeline_run(run.id)
                click.echo(self._closing(run))
            return run

    def recipe_schema(self) -> RecipeSchema:
        """Every key that a recipe of this pipeline may hold."""
        annotations = {name: kind for name, kind in get_type_hints(self.entrypoint).items() if name != "return"}
        wired = self.copy()
        wired.prepare()
        steps = {name: call.step.entrypoint_definition.inputs for name, call in wired.invocations.items()}
        return RecipeSchema(
            top_keys=PipelineRunConfiguration.model_fields,
            step_keys=StepConfigurationUpdate.model_fields,
            parameters=annotations,
            steps={name: list(inputs) for name, inputs in steps.items()},
        )


def moon_pipeline(
    *,
    default_recipe: str,
    closing: Callable[[PipelineRunResponse], str],
    fits: Callable[..., None] | None = None,
) -> Callable[[Callable[..., None]], MoonPipeline]:
    """Make a MoonPipeline of the function that wires its steps; the function's name is the pipeline's.

    Args:
        default_recipe: File name below `configs/<name>/` for a run that names no recipe.
        closing: Text to print when a run has ended, from the run.
        fits: Given the pipeline's parameters, refuses values that do not fit each other or what they name.
    """

    def decorate(wiring: Callable[..., None]) -> MoonPipeline:
        return MoonPipeline(
            name=wiring.__name__, entrypoint=wiring, default_recipe=default_recipe, closing=closing, fits=fits
        )

    return decorate


class _ShortFailure(logging.Filter):
    """Takes the traceback off a failure that the user caused: its text says all there is to know."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], MoonError):
            record.exc_info = None
        arguments = record.args if isinstance(record.args, tuple) else ()
        # ZenML repeats the text for step and run; it is printed once, at the end.
        return not any(isinstance(argument, MoonError) for argument in arguments)


@contextmanager
def _short_failures() -> Iterator[None]:
    """Let a MoonError end a command with its own text and status 1; elsewhere it is raised as it is."""
    short = _ShortFailure()
    loggers = [logging.getLogger(name) for name in _FAILURE_LOGGERS]
    for logger in loggers:
        logger.addFilter(short)
    try:
        yield
    except MoonError as error:
        if click.get_current_context(silent=True) is None:
            raise
        raise click.ClickException(str(error)) from None
    finally:
        for logger in loggers:
            logger.removeFilter(short)
