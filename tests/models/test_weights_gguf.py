"""A GGUF file becomes a plain folder of transformers: a tiny one, written here tensor by tensor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from catalog import ModelError
from models.weights import check_pair, read_config, read_safetensors
from models.weights.from_gguf import convert_gguf
from tests.models.gguf_models import rounded, tiny, write_gguf


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[LlamaForCausalLM, Path]:
    work = tmp_path_factory.mktemp("gguf")
    model = tiny()
    write_gguf(model, work / "tiny.gguf", "smollm")
    (work / "out").mkdir()
    convert_gguf(work / "tiny.gguf", work / "out")
    return model, work / "out"


def test_tensors_are_what_q4_1_says_in_float16(converted: tuple[LlamaForCausalLM, Path]) -> None:
    model, out = converted
    found = read_safetensors(out)
    own = model.state_dict()
    assert set(found) == set(own) - {"lm_head.weight"}
    assert {tensor.dtype for tensor in found.values()} == {torch.float16}
    for name, tensor in found.items():
        expected = rounded(own[name]) if own[name].dim() == 2 else own[name]
        torch.testing.assert_close(tensor.float(), expected, rtol=1e-3, atol=1e-4)


def test_the_folder_loads_as_a_plain_model(converted: tuple[LlamaForCausalLM, Path]) -> None:
    model, out = converted
    loaded = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    assert type(loaded) is LlamaForCausalLM
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    expected = tiny()
    expected.load_state_dict({k: rounded(v) if v.dim() == 2 else v for k, v in model.state_dict().items()})
    ids = torch.tensor([[5, 80, 33, 7, 7, 120]])
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids).logits, expected(ids).logits, rtol=0, atol=2e-3)
    config = read_config(out)
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["tie_word_embeddings"] is True
    assert "quantization_config" not in config
    assert not [name for name in config if name.startswith("_")]
    assert str(out.parent) not in json.dumps(config)


def test_its_tokenizer_splits_numbers_as_in_training(converted: tuple[LlamaForCausalLM, Path], tmp_path: Path) -> None:
    _, out = converted
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    check_pair(read_config(out), tokenizer, "llama")
    # Two spaces before a digit: digits first leaves them together.
    assert tokenizer.encode("x  12 a").tokens == ["x", "ĠĠ", "1", "2", "Ġa"]
    write_gguf(tiny(), tmp_path / "plain.gguf", "gpt-2")
    (tmp_path / "out").mkdir()
    convert_gguf(tmp_path / "plain.gguf", tmp_path / "out")
    plain = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert plain.encode("x  12 a").tokens == ["x", "Ġ", "Ġ", "1", "2", "Ġa"]


def test_a_file_that_is_no_gguf_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUFgarbage" * 10)
    with pytest.raises(ModelError, match="GGUF file cannot be read"):
        convert_gguf(tmp_path / "x.gguf", tmp_path)


def test_a_tokenizer_that_grew_beyond_the_embeddings_is_refused(tmp_path: Path) -> None:
    write_gguf(tiny(), tmp_path / "x.gguf", "gpt-2", end="<stop>")
    (tmp_path / "out").mkdir()
    # transformers adds <|endoftext|> to a vocabulary without it: a row that the model does not have.
    with pytest.raises(ModelError, match="disagree"):
        convert_gguf(tmp_path / "x.gguf", tmp_path / "out")


def test_a_weight_beyond_float16_is_refused(tmp_path: Path) -> None:
    model = tiny()
    with torch.no_grad():
        model.model.norm.weight.fill_(1e6)
    write_gguf(model, tmp_path / "big.gguf", "gpt-2")
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelError, match="not finite in float16") as caught:
        convert_gguf(tmp_path / "big.gguf", tmp_path / "out")
    assert caught.value.got == "model.norm.weight"
    assert not list((tmp_path / "out").iterdir())
