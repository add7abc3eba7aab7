"""A name on the command line to an encoder: a MOON folder, a rival by its library, or a rival by name."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from catalog import Embedder, Product
    from validation.rivals.placement import DType

MAJORITY = "majority"
BARE = ("bm25", "colour", "colour_hash", "constant", MAJORITY, "random", "title_words")
PREFIXED = {
    "moon": "a MOON model folder",
    "untrained": "the architecture of a MOON model folder with fresh weights",
    "clip": "CLIP of transformers",
    "siglip": "SigLIP or SigLIP 2 of transformers",
    "open_clip": "a model of open_clip, such as Marqo-Ecommerce",
    "st": "a model of sentence-transformers",
    "text": "mean hidden states of a language model",
    "vision": "pooled features of a vision tower: of timm, or that of a MOON model folder",
}
LINEAGE = "lineage.json"


@dataclass(frozen=True)
class EncoderOptions:
    """What the user allows and asks for, for every encoder of one call."""

    device: str = "auto"
    dtype: DType = "fp32"
    batch_size: int = 32
    label_prompt: str | None = None
    fetch: bool = False
    trust_remote_code: bool = False


def resolve_encoder(name: str, products: Sequence[Product], options: EncoderOptions = EncoderOptions()) -> Embedder:
    """The encoder of this name.

    Args:
        name: One of `BARE`, `KIND:FOLDER_OR_ID` with a kind of `PREFIXED`, a MOON model folder, or `module:attr`.
        products: What word rivals index: the whole catalogue.
        options: Device, numbers, and what is allowed.

    Raises:
        ConfigError: No such name; the nearest ones are told.
        ModelError: The weights are not at hand or cannot be used, or code that nobody asked to run.
    """
    check_name(name, options)
    kind, _, rest = name.partition(":")
    if name in BARE:
        return _bare(name, products)
    if kind in PREFIXED:
        return _PREFIXED[kind](rest, options)
    return _moon(name, options) if Path(name).expanduser().is_dir() else _code(kind, rest)


def check_name(name: str, options: EncoderOptions = EncoderOptions()) -> None:
    """Whether `resolve_encoder` can begin: what costs nothing to find out is found out before a catalogue is read.

    Raises:
        ConfigError, ModelError: As `resolve_encoder`, weights that are damaged aside.
    """
    kind, colon, rest = name.partition(":")
    if name in BARE:
        return
    if colon and kind in PREFIXED:
        if not rest:
            raise ConfigError("no folder behind the kind of encoder", got=name, allowed=f"{kind}:FOLDER_OR_ID")
        _check_weights(kind, rest, options)
    elif Path(name).expanduser().is_dir():
        _check_folder(name)
    elif colon and all(part.isidentifier() for part in [*kind.split("."), *rest.split(".")]):
        if not options.trust_remote_code:
            raise ModelError(
                "this name would import and run Python code, which is not done unasked",
                where="--model",
                got=name,
                fix="where you trust that module, give --trust-remote-code",
            )
    else:
        raise _no_such_name(name)


def _check_weights(kind: str, rest: str, options: EncoderOptions) -> None:
    from validation.rivals.folders import find_folder

    if kind in ("moon", "untrained"):
        if not (Path(rest).expanduser() / LINEAGE).is_file():
            raise ModelError(
                "not a MOON model folder", where=rest, got=f"no {LINEAGE}", fix="name a trained model's folder"
            )
    elif not options.fetch:
        find_folder(_weights(rest) if kind in ("text", "vision") else rest.removeprefix("hf-hub:"))


def _no_such_name(name: str) -> ConfigError:
    near = difflib.get_close_matches(name.partition(":")[0], [*BARE, *PREFIXED], n=3, cutoff=0.5)
    fix = "name a folder that is there, or one of the above"
    if name.count("/") == 1 and ":" not in name:
        fix = f"say what kind of model it is, such as clip:{name} or st:{name}"
    elif near:
        fix = f"did you mean {' or '.join(near)}?"
    return ConfigError(
        "no encoder has this name",
        where="--model",
        got=name,
        allowed=f"a MOON model folder; {', '.join(BARE)}; KIND:FOLDER_OR_ID with a kind of {', '.join(PREFIXED)}",
        fix=fix,
    )


def size_of(encoder: Any) -> tuple[int | None, int | None]:
    """Parameters, and bytes of weights on disk, as far as an encoder tells."""
    return getattr(encoder, "num_parameters", None), getattr(encoder, "num_bytes", None)


def _bare(name: str, products: Sequence[Product]) -> Embedder:
    from catalog import Catalog
    from validation.rivals import BM25, ColourAndHash, ColourHistogram, Constant, RandomVectors, TitleWordOverlap

    if name == MAJORITY:
        raise ConfigError(
            "the majority answers labels and has no vectors",
            got=name,
            fix="use it in moon evaluate or moon leaderboard",
        )
    made: dict[str, Callable[[], Embedder]] = {
        "bm25": lambda: BM25(products),
        "colour": ColourHistogram,
        "colour_hash": ColourAndHash,
        "constant": Constant,
        "random": RandomVectors,
        "title_words": lambda: TitleWordOverlap(Catalog("index", tuple(products))),
    }
    return made[name]()


def _check_folder(name: str) -> None:
    """A folder without its kind must be a MOON one, known by its lineage; of others the kind is told.

    Raises:
        ConfigError: Another one.
    """
    folder = Path(name).expanduser()
    if (folder / LINEAGE).is_file():
        return
    if (folder / "open_clip_config.json").is_file():
        kind = "open_clip"
    elif (folder / "modules.json").is_file():
        kind = "st"
    else:
        kind = "clip, siglip, st, text or vision"
    raise ConfigError(
        "this folder is not a MOON model",
        where=str(folder),
        got=f"no {LINEAGE}",
        fix=f"say what kind it is: {kind}, as in {kind.split(',')[0]}:{name}",
    )


def _moon(name: str, options: EncoderOptions) -> Embedder:
    from models.encoder import MoonEncoder

    encoder = MoonEncoder.load(name, device=options.device)
    return _Sized(encoder, encoder.model, Path(name))


def _untrained(name: str, options: EncoderOptions) -> Embedder:
    from models.rivals import untrained_encoder

    encoder = untrained_encoder(name, device=options.device)
    return _Sized(encoder, encoder.model, Path(name))


def _clip(name: str, options: EncoderOptions) -> Embedder:
    from validation.rivals import TransformersClip

    return TransformersClip(name, **vars(options))


def _open_clip(name: str, options: EncoderOptions) -> Embedder:
    from validation.rivals import OpenClip

    return OpenClip(name, **vars(options))


def _sentence_transformers(name: str, options: EncoderOptions) -> Embedder:
    from validation.rivals import SentenceTransformersEncoder

    return SentenceTransformersEncoder(name, **vars(options))


def _text(name: str, options: EncoderOptions) -> Embedder:
    from validation.rivals import FrozenText

    return FrozenText(_weights(name), **vars(options))


def _vision(name: str, options: EncoderOptions) -> Embedder:
    folder = _weights(name)
    if (folder / LINEAGE).is_file():
        from models.rivals import FrozenVision

        return FrozenVision.of(folder, device=options.device)
    from validation.rivals import FrozenTimm

    return FrozenTimm(
        folder, batch_size=options.batch_size, device=options.device, dtype=options.dtype, fetch=options.fetch
    )


_PREFIXED: dict[str, Callable[[str, EncoderOptions], Embedder]] = {
    "moon": _moon,
    "untrained": _untrained,
    "clip": _clip,
    "siglip": _clip,
    "open_clip": _open_clip,
    "st": _sentence_transformers,
    "text": _text,
    "vision": _vision,
}


def _weights(name: str) -> Path:
    """A name of `moon weights list` stands for its folder; anything else for itself."""
    from models.weights import weights_root

    kept = weights_root() / name
    return kept if not Path(name).expanduser().is_dir() and kept.is_dir() else Path(name)


def _code(module: str, attribute: str) -> Embedder:
    from catalog import Embedder

    name = f"{module}:{attribute}"
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ModelError("no such encoder in that module", where=name, got=str(error)) from None
    encoder = found() if isinstance(found, type) else found
    if not isinstance(encoder, Embedder):
        raise ModelError(
            "this object does not keep the Embedder protocol",
            where=name,
            got=type(encoder).__name__,
            allowed="name, digest, dims, modalities, embed_products, embed_queries, embed_labels",
        )
    return encoder


class _Sized:
    """A MOON encoder that also tells its size."""

    def __init__(self, encoder: Embedder, network: Any, folder: Path) -> None:
        self.name, self.digest, self.dims, self.modalities = (
            encoder.name,
            encoder.digest,
            encoder.dims,
            encoder.modalities,
        )
        self.embed_products, self.embed_queries, self.embed_labels = (
            encoder.embed_products,
            encoder.embed_queries,
            encoder.embed_labels,
        )
        self.num_parameters = sum(one.numel() for one in network.parameters())
        self.num_bytes = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
