"""How Lightning runs the processes of one training.

Which processes there are is decided outside (`models.training.launch`): they are started with RANK, LOCAL_RANK and
WORLD_SIZE set and have met in a process group before Lightning is asked.
"""

from __future__ import annotations

from typing import Any

from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy

from catalog import ConfigError
from models.config import TrainConfig
from models.training.ranks import Ranks, same_everywhere


class AveragedGradients(DDPStrategy):
    """DDP without its wrapper: the module averages its gradients itself, once a step is done.

    The wrapper sends gradients while the backward pass still runs, which saves time where the network is slow. But a
    step here has backward passes of its own (GradCache), talks to the other processes inside the backward pass (spatial
    negatives), and leaves parameters out where a batch has no picture or no label text.
    """

    def configure_ddp(self) -> None:
        assert self.model is not None
        same_everywhere(self.model)


def check_strategy(train: TrainConfig) -> None:
    """Refuse what cannot be trained together.

    Raises:
        ConfigError: Sharded parameters in chunks.
    """
    if train.strategy == "fsdp" and train.chunk_tokens is not None:
        raise ConfigError(
            "sharded parameters and chunks cannot be combined: processes would cut their batches into different "
            "numbers of chunks and wait for each other",
            where="train.chunk_tokens",
            got=f"strategy: fsdp, chunk_tokens: {train.chunk_tokens}",
            fix="leave chunk_tokens empty and set gradient_checkpointing: true, or take strategy: ddp",
        )


def trainer_settings(train: TrainConfig, ranks: Ranks) -> dict[str, Any]:
    """Arguments of `Trainer` that say on what it runs."""
    if ranks.world == 1:
        return {"devices": 1}
    strategy = (
        ModelParallelStrategy(data_parallel_size=ranks.world, tensor_parallel_size=1)
        if train.strategy == "fsdp"
        else AveragedGradients()
    )
    return {
        "devices": train.num_processes,
        "num_nodes": train.num_nodes,
        "strategy": strategy,
        "plugins": [TorchElasticEnvironment()],
        # Each process takes its own part of every batch already.
        "use_distributed_sampler": False,
    }
