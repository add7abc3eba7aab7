"""Whether a language model knows its language: the perplexity of plain sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from models.weights.folder import TOKENIZER

SENTENCE = (
    "The sun rises in the east and sets in the west. In the morning people go to work, and in the evening they come "
    "home to eat dinner with their family."
)
MAX_PERPLEXITY = 12.0
"""SmolLM2-135M gives 7.8. With the rotary halves of its queries and keys left in GGUF's order it gives 21.8, with the
words backwards 821, with random weights as many as it has tokens, about 60,000."""
BEGINNING = "The capital of France is"
NUM_NEW_TOKENS = 8


@dataclass(frozen=True)
class Fluency:
    """What a language model makes of plain English."""

    perplexity: float
    """Of `SENTENCE`: the exponential of the mean negative log-likelihood of a token, in nats."""
    backwards: float
    """Of the same words in reverse order: it must be far higher."""
    continuation: str
    """Greedy, of `BEGINNING`."""

    @property
    def knows_english(self) -> bool:
        return math.isfinite(self.perplexity) and self.perplexity <= MAX_PERPLEXITY < self.backwards


def measure_fluency(folder: Path) -> Fluency:
    """Read a causal language model of transformers, in float32 on the CPU, and let it judge and continue sentences.

    Args:
        folder: config.json, model.safetensors, tokenizer.json.
    """
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))

    def perplexity(text: str) -> float:
        ids_BL = torch.tensor([tokenizer.encode(text).ids])
        return math.exp(float(model(input_ids=ids_BL, labels=ids_BL).loss))

    with torch.inference_mode():
        ids_BL = torch.tensor([tokenizer.encode(BEGINNING).ids])
        new_BL = model.generate(ids_BL, max_new_tokens=NUM_NEW_TOKENS, do_sample=False)[:, ids_BL.shape[1] :]
        backwards = " ".join(reversed(SENTENCE.split()))
        return Fluency(perplexity(SENTENCE), perplexity(backwards), tokenizer.decode(new_BL[0].tolist()).strip())
