"""Folders of tiny random detectors and language models, written as transformers writes real ones; no download."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")
_PADS = ("<|image_pad|>", "<|video_pad|>")
_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def grounding_dino(folder: Path, seed: int = 0) -> Path:
    """A Grounding DINO of 280,000 weights that sees 96 to 224 px."""
    from transformers import (
        BertConfig,
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    # The network knows its delimiters by BERT's own ids: [CLS] 101, [SEP] 102, the full stop 1012.
    vocab = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012}
    for sign in (*_LETTERS, *(f"##{letter}" for letter in _LETTERS), *",&'-"):
        vocab[sign] = 98 + len(vocab)
    taken = set(vocab.values())
    vocab |= {f"[unused{number}]": number for number in range(1012) if number not in taken}
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=64,
            patch_size=4,
            embed_dim=12,
            depths=[1, 1, 1, 1],
            num_heads=[1, 2, 4, 4],
            window_size=4,
            out_indices=[2, 3, 4],
        ),
        text_config=BertConfig(
            vocab_size=1013,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=64,
        ),
        num_queries=20,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        max_text_len=64,
    )
    torch.manual_seed(seed)
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    pictures = GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 224})
    GroundingDinoProcessor(pictures, BertTokenizer(vocab=vocab)).save_pretrained(folder)
    return folder


def owlv2(folder: Path, seed: int = 0) -> Path:
    """An OWLv2 that sees 64 x 64 px and reads 16 tokens, with the two tokenizer files that it is published with."""
    from transformers import CLIPTokenizer, Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor, Owlv2Processor

    vocab = _clip_vocab()
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": len(vocab) - 2, "eos_token_id": len(vocab) - 1}
    config = Owlv2Config(
        text_config=small | ends | {"vocab_size": len(vocab), "max_position_embeddings": 16},
        vision_config=small | {"image_size": 64, "patch_size": 16},
        projection_dim=16,
    )
    torch.manual_seed(seed)
    Owlv2ForObjectDetection(config).save_pretrained(folder)
    pictures = Owlv2ImageProcessor(size={"height": 64, "width": 64})
    words = CLIPTokenizer(vocab=vocab, merges=[], pad_token="!", model_max_length=16)
    Owlv2Processor(pictures, words).save_pretrained(folder)
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder


def qwen(folder: Path, kind: str, seed: int = 0) -> Path:
    """A `qwen2_5_vl` or `qwen3_vl` whose tokens are bytes, with a chat template; patches as wide as the real ones'."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForImageTextToText, Qwen2TokenizerFast, Qwen2VLImageProcessor
    from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor
    from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

    vocab = {sign: number for number, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(mark, special=True) for mark in (*_MARKS, *_PADS)])
    words = Qwen2TokenizerFast(tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    ids = {mark: int(made.token_to_id(mark)) for mark in (*_MARKS, *_PADS)}
    patch_px = 14 if kind == "qwen2_5_vl" else 16
    text: dict[str, Any] = {
        "vocab_size": len(vocab) + len(ids),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 4096,
        "bos_token_id": None,
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "rope_theta": 1e6,
    }
    vision: dict[str, Any] = {"depth": 2, "hidden_size": 32, "intermediate_size": 40, "num_heads": 2}
    vision |= {"out_hidden_size": 32, "patch_size": patch_px}
    stored: dict[str, Any] = {
        "model_type": kind,
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
    }
    if kind == "qwen2_5_vl":
        stored |= text | {"rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}}
        stored["vision_config"] = vision | {"window_size": 4 * patch_px, "fullatt_block_indexes": [1]}
    else:
        rope = {"mrope_interleaved": True, "mrope_section": [4, 2, 2], "rope_type": "default"}
        stored["text_config"] = text | {"rope_scaling": rope}
        stored["vision_config"] = vision | {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(stored))
    torch.manual_seed(seed)
    AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    pictures = Qwen2VLImageProcessor(patch_size=patch_px, merge_size=2)
    if kind == "qwen2_5_vl":
        processor: Any = Qwen2_5_VLProcessor(pictures, words, Qwen2VLVideoProcessor(patch_size=patch_px), _CHAT)
    else:
        processor = Qwen3VLProcessor(pictures, words, Qwen3VLVideoProcessor(patch_size=patch_px), _CHAT)
    processor.save_pretrained(folder)
    return folder


def clip_text(folder: Path, seed: int = 0) -> Path:
    """The text side of a CLIP that embeds into the 512 numbers of ViT-B/32, with its tokenizer."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

    vocab = _clip_vocab()
    config = CLIPTextConfig(
        vocab_size=len(vocab),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=77,
        projection_dim=512,
        bos_token_id=vocab["<|startoftext|>"],
        eos_token_id=vocab["<|endoftext|>"],
    )
    torch.manual_seed(seed)
    CLIPTextModelWithProjection(config).save_pretrained(folder)
    CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77).save_pretrained(folder)
    return folder


def _clip_vocab() -> dict[str, int]:
    vocab = {"!": 0}
    for letter in (*_LETTERS, *"&'-"):
        vocab[letter] = len(vocab)
        vocab[f"{letter}</w>"] = len(vocab)
    vocab["<|startoftext|>"] = len(vocab)
    vocab["<|endoftext|>"] = len(vocab)
    return vocab
