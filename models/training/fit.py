"""The training itself: what is prepared goes through Lightning and becomes a model folder."""

from __future__ import annotations

import hashlib
import logging
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

from catalog import Catalog, Embedder, ImageLimits, Side, Splits
from models.backbones import weights_digest
from models.config import ModelConfig, TrainConfig
from models.devices import choose_device, choose_precision, peak_bytes
from models.encoder import MoonEncoder
from models.folder import write_model_folder
from models.moe import plain_load
from models.moon import MoonModel
from models.regions import CoreRegions, RegionsConfig
from models.training.announce import announce
from models.training.attention import fastest_attention
from models.training.costs import available_bytes, check_memory, costs, estimated
from models.training.data import TrainSet
from models.training.frozen import lower_frozen, raise_frozen, raised, to_lower
from models.training.job import Task
from models.training.launch import check_devices, launch
from models.training.loader import BatchLoader
from models.training.module import MoonModule
from models.training.outlay import tell_outlay
from models.training.parameters import merge_lora
from models.training.prepare import Prepared, assemble, prepare
from models.training.presets import Profiled, applied
from models.training.progress import Progress
from models.training.ranks import Ranks
from models.training.record import TrainingRecord
from models.training.sight import Sight
from models.training.signals import StopOnSigterm
from models.training.strategy import check_strategy, trainer_settings
from models.training.workdir import load_checkpoint, locked

__all__ = ["Prepared", "prepare", "train"]

_log = logging.getLogger(__name__)


def train(
    catalog: Catalog,
    splits: Splits,
    *,
    model: ModelConfig,
    train: TrainConfig,
    regions: CoreRegions,
    regions_config: RegionsConfig,
    work_dir: str | Path,
    out_dir: str | Path,
    logger: Logger | None = None,
    score: Callable[[Embedder], float] | None = None,
    lineage: dict[str, str] | None = None,
    limits: ImageLimits = ImageLimits(),
    features_dir: Path | None = None,
) -> TrainingRecord:
    """Train a model on the train side and write its folder.

    A run that was killed goes on from its last checkpoint when it is started again with the same `work_dir`, and ends
    where an uninterrupted run would have. Where `train` asks for several processes they are started here, and none of
    them is left behind.

    Args:
        catalog: Rows and photographs.
        splits: Sides of products and queries.
        model: What to train.
        train: How.
        regions: Finds core regions.
        regions_config: Written with the model, so that whoever loads it finds the same regions.
        work_dir: Decoded pictures and checkpoints of this very training; locked while in use.
        out_dir: Place of the model folder; replaced whole.
        logger: Lightning logger for curves.
        score: Judges an encoder; higher is better. Called on the finished one for the record, and every
            `train.stop.eval_every_steps` for the early stop. Always in this process.
        lineage: Commit, data digest, code digest; written with the model, and with them the split and the crops.
        limits: What a photograph may cost.
        features_dir: Where features of a frozen tower are shared between trainings; in `work_dir` where empty.

    Raises:
        ConfigError: Settings that cannot be trained together, or more processes than devices.
        ModelError: Too few pairs, a loss or weight that is not finite, a checkpoint of another training.
        StorageError: Working or model folder cannot be written, or is in use, or has too little space for the pictures.
        ImageError: A photograph cannot be read any more.
        TrainingStoppedError: SIGTERM came; a checkpoint was written.
    """
    work_dir, out_dir = Path(work_dir), Path(out_dir)
    with locked(work_dir):
        task = Task(
            catalog=catalog,
            splits=splits,
            model=model,
            train=applied(train),
            regions=regions,
            regions_config=regions_config,
            work_dir=work_dir,
            out_dir=out_dir,
            lineage=(lineage or {}) | _lineage(splits, model, train),
            limits=limits,
            features_dir=features_dir,
        )
        check_strategy(task.train)
        if task.train.num_processes * task.train.num_nodes > 1:
            check_devices(task.train)
            return launch(task, logger, score)
        record, encoder = fit(task, logger=logger, score=score)
        return replace(record, score=score(encoder)) if score is not None and encoder is not None else record


def _lineage(splits: Splits, model: ModelConfig, train: TrainConfig) -> dict[str, str]:
    """What it was trained on and with, for who serves it: without crops it may do well or badly."""
    told: dict[str, str] = {"crops": model.crops}
    if train.distill_crops:
        told["distill_crops"] = f"{train.distill_crops:g}"
    if train.dropout.crops:
        told["dropout_crops"] = f"{train.dropout.crops:g}"
    return told | ({"split": splits.config.model_dump_json()} if splits.config else {})


def fit(
    task: Task,
    *,
    logger: Logger | None = None,
    score: Callable[[Embedder], float] | None = None,
    ranks: Ranks = Ranks(),
) -> tuple[TrainingRecord, MoonEncoder | None]:
    """One process's part of a training; the first one writes checkpoints and model folder.

    Args:
        task: What to train.
        logger: For the curves; of the first process alone.
        score: Judges an encoder, for the early stop; asked on the first process alone.
        ranks: This process among those that train together.

    Returns:
        The record, and the finished encoder on the first process.
    """
    config = task.train
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    device, device_reason = choose_device(config.device)
    prepared = assemble(
        task.catalog, task.splits, task.model, config, task.regions, task.limits, ranks=ranks, device=device
    )
    fingerprint = _fingerprint(task, prepared)
    state = _checkpoint(task, fingerprint)
    precision, precision_reason = choose_precision(config.precision, device, prepared.model.backbone.hidden_size)
    is_sharded = config.strategy == "fsdp" and ranks.world > 1
    # Shards of one layer must be of one precision.
    lowers = precision == "bf16" and not is_sharded
    estimate = estimated(
        prepared.objective,
        prepared.dataset,
        config,
        int(state["step"]) if state is not None else 0,
        device,
        precision,
        to_lower(prepared.model) if lowers else (),
    )
    sight = Sight(prepared.model, prepared.dataset, task.regions, task.work_dir, task.features_dir, task.limits, device)
    if ranks.is_first:
        announce(prepared, task.splits, (device, device_reason), (precision, precision_reason), score is not None)
        for line in estimate.lines(available_bytes(estimate, config, device)):
            _log.info(line)
    check_memory(estimate, config, device)
    if ranks.is_first:
        tell_outlay(sight.outlay(), device)
    # All that is dear comes after what can be refused.
    sight.open()
    lowered = lower_frozen(prepared.model) if lowers else []
    module = _module(task, prepared, fingerprint, state, device, score, ranks, lowered)
    resumed_from, started = module.step, time.monotonic()
    num_parameters = sum(parameter.numel() for parameter in prepared.model.parameters())
    if not module.is_done:
        with fastest_attention(prepared.model.backbone, device, precision):  # type: ignore[arg-type]
            run_trainer(module, prepared.dataset, device, precision, logger)
    seconds, peak = time.monotonic() - started, peak_bytes(device)
    shipped = module.settle()
    trained = module.whole_model()
    record = replace(
        _record(task, prepared, module, resumed_from, seconds),
        num_parameters=num_parameters,
        device=str(device),
        precision=precision,
        shipped=shipped,
        costs=costs(estimate, peak),
    )
    if not ranks.is_first or trained is None:
        return record, None
    for line in estimate.achieved(seconds, module.step - resumed_from, peak):
        _log.info(line)
    _log.info("shipped: the weights that are the %s", shipped)
    trained = trained.eval().cpu()
    raise_frozen(lowered)
    merge_lora(trained)
    digest = write_model_folder(
        task.out_dir,
        trained,
        prepared.processor.tokenizer,
        task.regions_config,
        task.regions.digest,
        task.lineage,
    )
    return replace(record, digest=digest), MoonEncoder(trained, prepared.processor, digest, task.lineage, device)


def _record(
    task: Task,
    prepared: Prepared,
    module: MoonModule,
    resumed_from: int,
    seconds: float,
) -> TrainingRecord:
    done, world = module.step - resumed_from, module.ranks.world
    return TrainingRecord(
        digest="",
        model_folder=str(task.out_dir),
        steps=module.step,
        resumed_from_step=resumed_from,
        seconds=module.seconds if done else module.seconds_before,
        samples_per_s=done
        * task.train.accumulate_batches
        * prepared.dataset.sampler.rank_batch_size(world)
        * world
        / max(seconds, 1e-9),
        num_trainable=prepared.report.trainable,
        num_products=len(prepared.dataset.products),
        num_pairs=prepared.table.counts(),
        dropped=dict(prepared.table.dropped) | task.splits.dropped,
        final=module.last_report or (module.history[-1] if module.history else {}),
        history=module.history,
        num_processes=world,
        lineage=task.lineage,
        scores=[list(point) for point in module.early_stop.history] if module.early_stop is not None else [],
        expert_choices=plain_load(module.expert_choices()),
    )


def _module(
    task: Task,
    prepared: Prepared,
    fingerprint: str,
    state: dict[str, Any] | None,
    device: torch.device,
    score: Callable[[Embedder], float] | None,
    ranks: Ranks,
    lowered: Sequence[torch.Tensor],
) -> MoonModule:
    def judge(model: MoonModel) -> float:
        assert score is not None
        # What an encoder remembers of pictures is older than the weights by the next judgement.
        with raised(lowered):
            return score(MoonEncoder(model, prepared.processor, f"{fingerprint}:{time.monotonic_ns()}", device=device))

    if state is not None:
        prepared.objective.load_state_dict(state["objective"])
        _log.info("going on from the checkpoint at step %d of %d", state["step"], task.train.steps)
    judging = judge if score is not None else None
    return MoonModule(prepared.objective, task.train, task.work_dir, fingerprint, state, judging, ranks)


def _checkpoint(task: Task, fingerprint: str) -> dict[str, Any] | None:
    state = load_checkpoint(task.work_dir, fingerprint)
    if state is not None and task.train.preset == "profile":
        _log.info("profile: starts anew, the checkpoint of an earlier profile at step %d is not used", state["step"])
        state = None
    return state


def run_trainer(
    module: MoonModule, dataset: TrainSet, device: torch.device, precision: str, logger: Logger | None = None
) -> None:
    """Train with Lightning from the module's step on.

    Args:
        module: Model, losses and where they stand.
        dataset: Batch after batch.
        device: Where.
        precision: `fp32` or `bf16`.
        logger: For the curves.

    Raises:
        ModelError: A loss or weight is not finite.
        TrainingStoppedError: SIGTERM came; a checkpoint was written.
    """
    config, ranks, first_step = module.config, module.ranks, module.step
    each = config.accumulate_batches
    stopper = StopOnSigterm(module.checkpoint, str(module.work_dir), each)
    callbacks: list[Callback] = [stopper]
    if ranks.is_first:
        callbacks.append(Progress(first_step, config.steps, each))
        if config.preset == "profile":
            callbacks.append(Profiled(module.work_dir / "profile", each))
    # Lightning announces devices and other products on every run; what matters was said above in our own words.
    # Whichever half of Lightning was imported last speaks for both.
    for half in ("lightning.pytorch", "lightning.fabric"):
        for name in (half, f"{half}.utilities.rank_zero"):
            logging.getLogger(name).setLevel(logging.WARNING)
    trainer = Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        max_epochs=1,
        logger=logger if logger is not None else False,
        callbacks=callbacks,
        accumulate_grad_batches=config.accumulate_batches,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=config.log_every_steps,
        **trainer_settings(config, ranks),
    )
    module.train()
    with stopper.watching(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # of torch's own pytree, which Lightning calls
        trainer.fit(module, BatchLoader(dataset, first_step))


def _fingerprint(task: Task, prepared: Prepared) -> str:
    """What a checkpoint must agree with: everything that decides the weights, and nothing that does not."""
    total = hashlib.sha256()
    for part in (
        task.catalog.digest,
        sorted((key, str(side)) for key, side in task.splits.side_of.items()),
        sorted(query.query_id for query in task.splits.queries.get(Side.TRAIN, ())),
        task.model.model_dump_json(),
        weights_digest(task.model),
        task.train.deciding_json(),
        task.regions.digest,
        prepared.processor.tokenizer.to_str(),
    ):
        total.update(hashlib.sha256(str(part).encode()).digest())
    return total.hexdigest()
