"""`smolvlm`: SmolVLM and Idefics3, a SigLIP tower, a pixel-shuffle connector and a small Llama.

One square a picture: the tiles that SmolVLM's own processor cuts from large pictures are not made. A picture is at
most as large as the tower's own side, and smaller where wish or budget are; the connector turns scale x scale patches
into one token. Positions are the decoder's own, one number a token.
"""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers.models.idefics3.configuration_idefics3 import Idefics3Config
from transformers.models.idefics3.modeling_idefics3 import Idefics3Model
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMConfig
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMModel

from models.backbones.base import PictureFeatures, PictureLayout, SeenPictures
from models.backbones.layouts import token_side
from models.backbones.pretrained import (
    architecture,
    check_vocabulary,
    cut_layers,
    from_sizes,
    load_checked,
    padding_id,
    pixel_statistics,
    put_weights,
    without_init,
)
from models.config import ModelConfig
from models.template import Positions, Template, token_id, worded_marks

CLASSES: dict[str, tuple[Any, Any]] = {
    "smolvlm": (SmolVLMConfig, SmolVLMModel),
    "idefics3": (Idefics3Config, Idefics3Model),
}
"""Two names of one architecture: the first SmolVLM models call themselves idefics3."""
MEAN = STD = (0.5, 0.5, 0.5)
IMAGE, WRAP, WHOLE = "<image>", "<fake_token_around_image>", "<global-img>"
"""In the order of SmolVLM's processor for a picture that was not split: wrap, whole, image tokens, wrap."""


class SmolVLMBackbone(nn.Module):
    """SmolVLM of transformers behind the `Backbone` interface.

    Args:
        model: SmolVLMModel or Idefics3Model.
        layout: Of its pictures.
    """

    ffn_name = "mlp"
    positions: Positions = "sequential"

    def __init__(self, model: Any, layout: PictureLayout) -> None:
        super().__init__()
        self.smol: Any = model
        self._layout = layout
        self.hidden_size = int(model.config.text_config.hidden_size)
        self.vision_size = int(model.config.vision_config.hidden_size)

    def see(self, pixels_NCHW: torch.Tensor) -> SeenPictures:
        """Run the tower; a grid token is the scale x scale patches that the connector will make one, side by side."""
        scale = int(self.smol.config.scale_factor)
        if pixels_NCHW.shape[0] == 0:
            empty = next(self.smol.vision_model.parameters()).new_zeros
            width = self.vision_size * scale**2
            return SeenPictures(empty((0, self._layout.num_tokens, width)), empty((0, self.vision_size)))
        patches_NTV = self._patches(pixels_NCHW)
        return SeenPictures(self.smol.connector.pixel_shuffle(patches_NTV, scale), patches_NTV.mean(dim=1))

    def project(self, seen: SeenPictures) -> PictureFeatures:
        return PictureFeatures(self.smol.connector.modality_projection(seen.grid_NKV), seen.pooled_NP)

    def embed_tokens(self, ids_BL: torch.Tensor) -> torch.Tensor:
        return self.smol.text_model.get_input_embeddings()(ids_BL)

    def decode(
        self,
        embeds_BLD: torch.Tensor,
        mask_BL: torch.Tensor,
        positions_3BL: torch.Tensor,
        picture_mask_BL: torch.Tensor,
        deep: tuple[torch.Tensor, ...] = (),
    ) -> torch.Tensor:
        out = self.smol.text_model(
            inputs_embeds=embeds_BLD, attention_mask=mask_BL.long(), position_ids=positions_3BL[0], use_cache=False
        )
        return out.last_hidden_state

    def decoder_layers(self) -> nn.ModuleList:
        return self.smol.text_model.layers

    def vision_parameters(self) -> list[nn.Parameter]:
        return list(self.smol.vision_model.parameters())

    def spec(self) -> dict[str, Any]:
        return {
            "model": architecture(self.smol.config.to_dict()),
            "mean": list(self._layout.mean),
            "std": list(self._layout.std),
        }

    def _patches(self, pixels_NCHW: torch.Tensor) -> torch.Tensor:
        """What the tower makes of each patch, (N, patches, V).

        The stock tower finds the positions picture by picture and masks the padding of smaller ones; here all are
        squares of one size.
        """
        tower = self.smol.vision_model
        embeddings = tower.embeddings
        patches_NVHW = embeddings.patch_embedding(pixels_NCHW.to(embeddings.patch_embedding.weight.dtype))
        index_T = position_index(patches_NVHW.shape[-1], embeddings.num_patches_per_side)
        positions_TV = embeddings.position_embedding(index_T.to(pixels_NCHW.device))
        encoded = tower.encoder(inputs_embeds=patches_NVHW.flatten(2).transpose(1, 2) + positions_TV)
        return tower.post_layernorm(encoded.last_hidden_state)

    @property
    def num_rows(self) -> int:
        """Rows of the embedding table."""
        return int(self.smol.text_model.get_input_embeddings().weight.shape[0])


def fresh(config: ModelConfig, vocab_size: int, spec: dict[str, Any] | None) -> SmolVLMBackbone:
    """Random weights from torch's global generator; sizes from `spec`, else from the weights folder.

    Raises:
        ModelError: A tokenizer of `vocab_size` is too large, or more layers are to be kept than there are.
    """
    backbone = _build(config, spec or _spec_of(config))
    check_vocabulary(vocab_size, backbone.num_rows, config.pretrained.weights)
    return backbone


def load(config: ModelConfig) -> tuple[SmolVLMBackbone, Tokenizer]:
    """Pretrained weights in float32, and their tokenizer.

    Raises:
        ModelError: Weights are not at hand, incomplete, or of another model; tokenizer and configuration disagree.
    """
    from models.weights import read_safetensors

    spec = _spec_of(config)
    folder, _, tokenizer = load_checked(config.pretrained.weights, spec["model"]["model_type"])
    with without_init():
        backbone = _build(config, spec)
    put_weights(backbone.smol, read_safetensors(folder), rename, str(folder), backbone.decoder_layers())
    check_vocabulary(tokenizer.get_vocab_size(), backbone.num_rows, str(folder))
    return backbone, tokenizer


def layout(config: ModelConfig, spec: dict[str, Any] | None) -> PictureLayout:
    """The largest square within wish, tower and budget: one token for each scale x scale patches.

    Raises:
        ModelError: Not even one token a picture fits.
    """
    known = spec or _spec_of(config)
    model = CLASSES[known["model"]["model_type"]][0].from_dict(dict(known["model"]))
    step_px = model.vision_config.patch_size * model.scale_factor
    side = token_side(config, step_px, model.vision_config.image_size)
    return PictureLayout(side * step_px, side, side, tuple(known["mean"]), tuple(known["std"]))


def template(tokenizer: Tokenizer) -> Template:
    """SmolVLM's own tokens around an unsplit picture, marks in words.

    Raises:
        ModelError: The tokenizer is not SmolVLM's.
    """
    wrap = token_id(tokenizer, WRAP, "smolvlm")
    whole = tokenizer.token_to_id(WHOLE)
    return Template(
        pad_id=padding_id(tokenizer),
        image_id=token_id(tokenizer, IMAGE, "smolvlm"),
        before_picture=(wrap,) if whole is None else (wrap, whole),
        after_picture=(wrap,),
        marks=worded_marks(tokenizer),
        positions="sequential",
    )


def position_index(side: int, table_side: int) -> torch.Tensor:
    """Row of the tower's position table for each patch of a square, row by row: the nearest above of the same place.

    Args:
        side: Patches a side of the square.
        table_side: Entries a side of the table.

    Source: transformers' SmolVLMVisionEmbeddings.
    """
    bounds = torch.arange(1 / table_side, 1.0, 1 / table_side, device="cpu")
    places = (torch.arange(side, dtype=torch.float32, device="cpu") * (1.0 / side)).clamp(max=1.0 - 1e-6)
    buckets = torch.bucketize(places, bounds, right=True)
    return (buckets[:, None] * table_side + buckets).flatten()


def rename(name: str) -> str | None:
    """A tensor of a published checkpoint to its place in the model; None for the language model's head."""
    return None if name.startswith("lm_head.") else name.removeprefix("model.")


def _build(config: ModelConfig, spec: dict[str, Any]) -> SmolVLMBackbone:
    config_class, model_class = CLASSES[spec["model"]["model_type"]]
    known = config_class.from_dict(dict(spec["model"]))
    cut_layers(known.text_config, config.pretrained.keep_layers)
    known._attn_implementation = "sdpa"
    return SmolVLMBackbone(from_sizes(model_class, known, config.pretrained.weights), layout(config, spec))


def _spec_of(config: ModelConfig) -> dict[str, Any]:
    from models.weights import check_architecture, read_config, weights_folder

    folder = weights_folder(config.pretrained.weights)
    stored = read_config(folder)
    if stored.get("model_type") not in CLASSES:
        check_architecture(stored, " or ".join(CLASSES), str(folder))
    known = CLASSES[stored["model_type"]][0].from_dict(stored)
    mean, std = pixel_statistics(folder, MEAN, STD)
    return {"model": architecture(known.to_dict()), "mean": mean, "std": std}
