"""Model folders of a few kilobytes with random weights, in the form each library publishes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from transformers.models.siglip2.tokenization_siglip2 import Siglip2Tokenizer

from catalog import Photo, Product, ProductItem, QueryItem, sha256_hex
from tests.benchmark.shop import picture, png
from validation.rivals import FrozenText, FrozenTimm, OpenClip, SentenceTransformersEncoder, TransformersClip
from validation.rivals.late_fusion import LateFusion

WORDS = [*"a photo of this is men tops tees red green blue shirt hat rug wool color".split(), *":.>,", "soft", "warm"]  # noqa: SIM905
MAX_TOKENS = 16
SIDE_PX = 16


def tokenizer(max_tokens: int = MAX_TOKENS) -> PreTrainedTokenizerFast:
    """One token a word, with a start and an end."""
    vocabulary = {word: index for index, word in enumerate(["<pad>", "<unk>", "<s>", "</s>", *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", vocabulary["<s>"]), ("</s>", vocabulary["</s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=max_tokens,
    )


def prefix_tokenizer() -> Siglip2Tokenizer:
    """SigLIP 2's own class, whose pieces are words with the space before them, built up letter by letter."""
    words = ["\u2581" + word for word in WORDS]
    prefixes = sorted(
        {word[:end] for word in words for end in range(2, len(word) + 1)}, key=lambda one: (len(one), one)
    )
    letters = sorted({letter for word in words for letter in word})
    pieces = dict.fromkeys(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *letters, *prefixes])
    return Siglip2Tokenizer(
        vocab={piece: index for index, piece in enumerate(pieces)},
        merges=[(prefix[:-1], prefix[-1]) for prefix in prefixes],
        model_max_length=MAX_TOKENS,
    )


def _text(**more: Any) -> dict[str, Any]:
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    limits = {"vocab_size": 4 + len(WORDS), "max_position_embeddings": MAX_TOKENS}
    return {**size, **limits, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, **more}


def _vision(**more: Any) -> dict[str, Any]:
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return {**size, "image_size": SIDE_PX, "patch_size": 8, **more}


def clip(folder: Path, seed: int = 0) -> Path:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    torch.manual_seed(seed)
    config = CLIPConfig(text_config=_text(), vision_config=_vision(), projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    side = {"height": SIDE_PX, "width": SIDE_PX}
    images = CLIPImageProcessor(size={"shortest_edge": SIDE_PX}, crop_size=side)
    CLIPProcessor(images, tokenizer()).save_pretrained(folder)
    return folder


def siglip(folder: Path, seed: int = 0) -> Path:
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipProcessor

    torch.manual_seed(seed)
    config = SiglipConfig(text_config=_text(projection_size=16), vision_config=_vision())
    SiglipModel(config).save_pretrained(folder)
    images = SiglipImageProcessor(size={"height": SIDE_PX, "width": SIDE_PX})
    SiglipProcessor(images, tokenizer()).save_pretrained(folder)
    return folder


def siglip2(folder: Path, seed: int = 0) -> Path:
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model, Siglip2Processor

    torch.manual_seed(seed)
    vision = _vision(num_patches=16)
    del vision["image_size"]
    words = prefix_tokenizer()
    config = Siglip2Config(text_config=_text(projection_size=16, vocab_size=len(words)), vision_config=vision)
    Siglip2Model(config).save_pretrained(folder)
    images = Siglip2ImageProcessor(patch_size=8, max_num_patches=16)
    Siglip2Processor(images, words).save_pretrained(folder)
    return folder


def open_clip_folder(folder: Path, seed: int = 0) -> Path:
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    vision = {"image_size": SIDE_PX, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8}
    text = {"context_length": MAX_TOKENS, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config = {"model_cfg": {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}, "preprocess_cfg": {}}
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    save_file(dict(model.state_dict()), folder / "open_clip_model.safetensors")
    return folder


def llama(folder: Path, seed: int = 0) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    LlamaForCausalLM(LlamaConfig(**_text(num_key_value_heads=2, tie_word_embeddings=True))).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def sentence_bert(folder: Path, seed: int = 0) -> Path:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    raw = folder.with_name(f"{folder.name}-raw")
    BertModel(BertConfig(**_text())).save_pretrained(raw)
    tokenizer().save_pretrained(raw)
    words = Transformer(str(raw))
    model = SentenceTransformer(modules=[words, Pooling(16)], prompts={"query": "this is ", "document": "a photo of "})
    model.save_pretrained(str(folder))
    return folder


def timm_folder(folder: Path, seed: int = 0) -> Path:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    net = timm.create_model("test_efficientnet", pretrained=False, num_classes=5)
    folder.mkdir(parents=True)
    save_file(dict(net.state_dict()), folder / "model.safetensors")
    prepared = {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 1.0}
    content = {"architecture": "test_efficientnet", "num_classes": 5, "pretrained_cfg": prepared}
    (folder / "config.json").write_text(json.dumps(content))
    return folder


VL_TOKENS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
VL_TEMPLATE = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + ' ' }}"
    "{%- if message.content is string %}{{- message.content }}{%- else %}{%- for content in message.content %}"
    "{%- if content.type == 'image' %}{{- '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- elif 'text' in content %}{{- content.text }}{%- endif %}{%- endfor %}{%- endif %}"
    "{{- '<|im_end|> ' }}{%- endfor %}"
)


def sentence_vl(folder: Path, seed: int = 0) -> Path:
    """Words and pictures in one input, as Qwen3-VL-Embedding is published: a Qwen3-VL with the last token's state."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLModel,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    torch.manual_seed(seed)
    words = tokenizer(512)
    words.add_tokens([AddedToken(one, special=True) for one in VL_TOKENS])
    ids = {one: words.convert_tokens_to_ids(one) for one in VL_TOKENS}
    words.image_token, words.video_token = "<|image_pad|>", "<|video_pad|>"
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10_000.0}
    text = _text(num_key_value_heads=2, head_dim=8, rope_parameters=rope)
    config = Qwen3VLConfig(
        text_config=text | {"vocab_size": len(words), "max_position_embeddings": 512},
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_heads": 2,
            "patch_size": 4,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": 16,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    raw = folder.with_name(f"{folder.name}-raw")
    Qwen3VLModel(config).save_pretrained(raw)
    pixels = {"shortest_edge": 8 * 8, "longest_edge": SIDE_PX * SIDE_PX}
    images = Qwen2VLImageProcessor(patch_size=4, merge_size=2, temporal_patch_size=2, size=pixels)
    videos = Qwen3VLVideoProcessor(patch_size=4, merge_size=2)
    Qwen3VLProcessor(images, words, videos, chat_template=VL_TEMPLATE).save_pretrained(raw)
    modules = [Transformer(str(raw)), Pooling(16, pooling_mode="lasttoken")]
    SentenceTransformer(modules=modules).save_pretrained(str(folder))
    return folder


FOLDERS: dict[str, Callable[..., Path]] = {
    "clip": clip,
    "siglip": siglip,
    "siglip2": siglip2,
    "open_clip": open_clip_folder,
    "text": llama,
    "st": sentence_bert,
    "vl": sentence_vl,
    "vision": timm_folder,
}
ENCODERS: dict[str, Callable[..., LateFusion]] = {
    "clip": TransformersClip,
    "siglip": TransformersClip,
    "siglip2": TransformersClip,
    "open_clip": OpenClip,
    "text": FrozenText,
    "st": SentenceTransformersEncoder,
    "vl": SentenceTransformersEncoder,
    "vision": FrozenTimm,
}


def photo_of(image: Image.Image | int) -> Photo:
    data = png(image if isinstance(image, Image.Image) else picture(image))
    return Photo("memory", digest=sha256_hex(data), data=data)


def item_of(key: str, *photos: int, **fields: object) -> ProductItem:
    row = Product.model_validate({"product_id": key, "title": "red shirt", **fields})
    return ProductItem(row, tuple(photo_of(seed) for seed in photos))


def stock() -> list[ProductItem]:
    """Products of all kinds of incompleteness."""
    return [
        item_of("both", 1, 2, category=["men", "tops"], attributes={"color": "red"}),
        item_of("one_photo", 3, title="green hat"),
        item_of("words", title="blue wool rug"),
        item_of("long", 4, title=" ".join(["soft warm wool"] * 12)),
        ProductItem(Product(product_id="photo", images=("x.png",)), (photo_of(5),)),
        ProductItem(Product(product_id="nothing", images=("x.png",))),
        item_of("same_words", title="blue wool rug"),
    ]


def questions() -> list[QueryItem]:
    return [
        QueryItem("words", "green hat"),
        QueryItem("photo", photo=photo_of(3)),
        QueryItem("both", "red shirt", photo_of(1)),
        QueryItem("nothing"),
    ]
