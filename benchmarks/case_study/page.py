"""The words of the page: everything that is a number comes from the model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.case_study.cases import ALL_PARTS, Case
from models.config import ModelConfig
from models.inside import LayerExperts
from models.inside.contributions import Part

INTRO = """\
# Case study: six products of the demo shop

Written by one command, pictures and numbers included; nothing here is edited by hand:

    {command}

Model `{model}`, data `{data}`, commit {commit}; {num_products} held-out products and {num_queries} held-out queries.
The model: {built}.
The products are the first of the held-out side by the order of ids, kinds of query in turn and no leaf category twice
where it can be: none was chosen because it looks good. A shopper of the demo sometimes buys something else than what
was typed; such a query stays.

**How to read it.** *Photographs*: red is the core region that is cropped and fed beside the original, dashed green the
true box, which no model sees. *Heat*: the cosine between query and product that is lost when a part of the photograph
is hidden, in the original and in the crop alike, all lengths held; red brings the two together, blue drives them apart,
and the white dot is the hottest cell. The query's photograph has a colour scale of its own, and the product's share
one. *Bars on the left*: what each part of the product brings to the cosine; they sum to it. Vision, colours, words and
codes are raw signals, states are what the decoder made of the tokens, "learnt of vision" is the map beside the tower
(of all pictures together), and an offset is what a map adds whatever the product. *Bars on the right*: what is lost
without a part. The two differ because the decoder lets later tokens read earlier ones. *Experts*: the mean gate of each
routed expert over the tokens of a type, and the guided expert that worked beside them. *Neighbours*: the held-out
products nearest to the query, once with everything and once without each part, in queries and products alike; a green
frame marks what was bought.
"""


@dataclass(frozen=True)
class Origin:
    """What the page was made from."""

    command: str
    model: str
    data: str
    commit: str
    num_products: int
    num_queries: int
    built: str
    """Of what the model is, in `built`'s words."""


def built(config: ModelConfig) -> str:
    """What of a model the page shows, from its own configuration."""
    signals = ("vision", "colour", "word", "code")
    raw = [name for name in signals if getattr(config, f"{name}_residual")]
    without = [name for name in signals if name not in raw]
    parts = [
        f"backbone `{config.backbone}`, fusion `{config.fusion}`, head `{config.head}`, pooling `{config.pooling}`",
        f"residuals of {', '.join(raw) or 'nothing'}" + (f" (none of {', '.join(without)})" if without else ""),
        f"{config.moe.num_experts} experts, {config.moe.top_k} a token"
        if config.moe.layers and config.moe.kind == "guided"
        else "no guided experts",
        "with slots" if config.slots else "without slots",
    ]
    return "; ".join(parts)


def write_page(origin: Origin, cases: Sequence[Case], images: str, pointing: str = "") -> str:
    """The page as Markdown.

    Args:
        origin: Told at the top.
        cases: In their order.
        images: Folder of the pictures, relative to the page.
        pointing: A paragraph on whether the maps mean anything; left out where empty.
    """
    blocks = [INTRO.format(**vars(origin)), summary(cases)]
    if pointing:
        blocks.append(pointing)
    blocks += [_case(case, images) for case in cases]
    blocks.append(
        "## The space\n\nt-SNE of the held-out products and queries by cosine. What is near is near; the distance "
        f"between far groups means nothing.\n\n![The space in two dimensions]({images}/case_space.png)\n"
    )
    return "\n".join(blocks)


def summary(cases: Sequence[Case]) -> str:
    """Place of the product that was bought, by what was left out."""
    names = list(cases[0].neighbours)
    head = f"| case | query | cosine | {' | '.join(names)} |\n|---|---|---|{'---|' * len(names)}\n"
    rows = "".join(
        f"| [{case.number}](#{_anchor(case)}) | {_kind(case)} | {case.explanation.cosine:.3f} | "
        + " | ".join(str(case.neighbours[name].rank) for name in names)
        + " |\n"
        for case in cases
    )
    return f"Place of the product that was bought among all held-out products, from 1:\n\n{head}{rows}"


def _case(case: Case, images: str) -> str:
    product = case.item.product
    fields = [f"category {' > '.join(product.category)}"] if product.category else []
    fields += [
        f"{name} {value if isinstance(value, str) else ', '.join(value)}"
        for name, value in sorted(product.attributes.items())
    ]
    overlaps = [f"{one:.2f}" for one in case.core_iou if one is not None]
    core = f" Core region against true box, IoU by photograph: {', '.join(overlaps)}." if overlaps else ""
    lines = [
        f"## {_heading(case)}\n",
        f"Asked with {_kind(case)}. Product: *{plain(product.title or '-')}*; {'; '.join(fields)}. Cosine "
        f"{case.explanation.cosine:.3f}, place {case.neighbours[ALL_PARTS].rank}.{core}\n",
        f"![Photographs, heat maps and parts of case {case.number}]({images}/case_{case.number}.png)\n",
        _told(case),
        *(_experts(layer) for layer in case.explanation.product.experts),
        f"![Neighbours of case {case.number}]({images}/case_{case.number}_neighbours.png)\n",
    ]
    return "\n".join(lines)


def plain(text: str) -> str:
    """Words of a shop or a shopper as Markdown shows them, whatever signs they hold."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", text)


def _told(case: Case) -> str:
    """The largest parts, in words."""
    parts: Sequence[Part] = sorted(case.explanation.product.parts, key=lambda part: -part.cosine)
    most = ", ".join(f"{part.label} {part.cosine:+.3f}" for part in parts[:3])
    cosine = case.explanation.cosine
    lost = sorted(
        ((cosine - value, str(part)) for part, value in case.explanation.product.without.items()), reverse=True
    )
    told = f"Most is brought by {most}."
    if lost:
        told += f" Most is lost without the {lost[0][1]} ({lost[0][0]:+.3f})"
        told += f", least without the {lost[-1][1]} ({lost[-1][0]:+.3f})." if len(lost) > 1 else "."
    return told + "\n"


def _experts(layer: LayerExperts) -> str:
    num = layer.share_KE.shape[1]
    head = f"| layer {layer.layer} | tokens | {' | '.join(f'expert {one}' for one in range(num))} | guided |\n"
    head += f"|---|---|{'---|' * num}---|\n"
    rows = "".join(
        f"| {kind.name.lower().replace('_', ' ')} | {count} | "
        + " | ".join(f"{share:.2f}" for share in shares)
        + f" | {guide} |\n"
        for kind, count, shares, guide in zip(layer.kinds, layer.num_tokens, layer.share_KE, layer.guides, strict=True)
    )
    return head + rows


def _heading(case: Case) -> str:
    category = case.item.product.category
    return f"Case {case.number}: {category[-1].lower() if category else case.item.product.product_id}"


def _anchor(case: Case) -> str:
    kept = "".join(one for one in _heading(case).lower() if one.isalnum() or one in " -_")
    return kept.replace(" ", "-")


def _kind(case: Case) -> str:
    words = f"words, “{plain(case.query.text)}”" if case.query.text else ""
    if case.query.photo is None:
        return words
    return f"a photograph and {words}" if words else "a photograph"
