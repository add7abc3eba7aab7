"""Token types for FFNs deep inside a stock decoder, whose layers pass them nothing but hidden states."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch


class TypesInView:
    """The token types of the forward pass that this thread is in."""

    def __init__(self) -> None:
        self._local = threading.local()

    def __reduce__(self) -> tuple[Callable[[], TypesInView], tuple[()]]:
        # A copied or pickled model gets a view of its own: nothing is in view between two forward passes.
        return TypesInView, ()

    @contextmanager
    def showing(self, types_BL: torch.Tensor, again: bool = False) -> Iterator[None]:
        """Show the types to every guided layer that runs inside.

        Args:
            types_BL: (B, L) `TokenType` numbers.
            again: The layers run a second time on the same tokens, so nothing is to be counted.
        """
        before = getattr(self._local, "shown", None)
        self._local.shown = (types_BL, again)
        try:
            yield
        finally:
            self._local.shown = before

    def get(self) -> torch.Tensor:
        """(B, L) token types of the running forward pass."""
        return self._shown()[0]

    @property
    def again(self) -> bool:
        """Whether these tokens have been counted already."""
        return self._shown()[1]

    def checkpoint_contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """For `torch.utils.checkpoint(context_fn=...)`: types for the second run, which happens during backward.

        Without it a checkpointed guided layer would find no types there, and would count its tokens twice.
        """
        return nullcontext(), self.showing(self.get(), again=True)

    def _shown(self) -> tuple[torch.Tensor, bool]:
        shown = getattr(self._local, "shown", None)
        assert shown is not None, "a guided MoE layer ran outside MoonModel.forward"
        return shown
