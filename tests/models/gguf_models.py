"""A tiny random Llama, and a GGUF file of it written tensor by tensor."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

HEADS, WIDTH, FFN = 2, 64, 128
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def vocabulary(end: str = "<|endoftext|>") -> list[str]:
    return [*sorted(pre_tokenizers.ByteLevel.alphabet()), "ĠĠ", "Ġa", end]


def tiny() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary()),
        hidden_size=WIDTH,
        intermediate_size=FFN,
        num_hidden_layers=1,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=64,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


def write_gguf(model: LlamaForCausalLM, path: Path, pre: str, end: str = "<|endoftext|>") -> None:
    """As llama.cpp's converter does: rotary halves of queries and keys interleaved, matrices in Q4_1, norms in F32."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(vocabulary()))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(vocabulary(end))
    writer.add_token_types([1] * (len(vocabulary()) - 1) + [3])
    writer.add_token_merges(["Ġ Ġ", "Ġ a"])
    last = len(vocabulary()) - 1
    writer.add_bos_token_id(last)
    writer.add_eos_token_id(last)
    for name, tensor in model.state_dict().items():
        layer, _, part = name.removeprefix("model.layers.0.").rpartition(".")
        if layer == "lm_head":
            continue
        values = tensor.numpy().astype(np.float32)
        if layer.endswith(("q_proj", "k_proj")):
            values = values.reshape(HEADS, 2, -1, WIDTH).swapaxes(1, 2).reshape(values.shape)
        prefix = "" if name.startswith(("model.embed", "model.norm")) else "blk.0."
        if values.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q4_1
            writer.add_tensor(f"{prefix}{NAMES[layer]}.{part}", gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(f"{prefix}{NAMES[layer]}.{part}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def rounded(values: torch.Tensor) -> torch.Tensor:
    """A matrix after Q4_1, by its definition: 32 values share a float16 minimum and a float16 step of a fifteenth."""
    blocks = values.reshape(-1, 32)
    low, high = blocks.amin(1, keepdim=True), blocks.amax(1, keepdim=True)
    step = (high - low) / 15
    codes = ((blocks - low) / step).add(0.5).trunc().clamp(0, 15)
    return (codes * step.half().float() + low.half().float()).reshape(values.shape)
