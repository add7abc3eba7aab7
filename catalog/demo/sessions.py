"""Photo sessions: the views a shop takes of a product, and the view a shopper's phone takes of it."""

from __future__ import annotations

import random

from catalog.demo.assortment import Article
from catalog.demo.backdrops import SCENES, STUDIO
from catalog.demo.camera import View
from catalog.demo.easel import Easel, Sprite
from catalog.demo.look import Look
from catalog.demo.seeds import rng_of
from catalog.demo.shapes import DRAWINGS

EASEL_PER_IMAGE = 2.0
"""Side of the easel over the side of the picture."""


def draw(article: Article, session: str, image_size_px: int) -> Sprite:
    """Draw `article` as it lies in one photo session; another session has other creases."""
    side = round(image_size_px * EASEL_PER_IMAGE)
    pose = rng_of(article.seed, "pose", session)
    look = Look(article.traits, article.base, article.accent, article.design_seed, pose, side)
    easel = Easel(side, pose)
    DRAWINGS[article.leaf.draw](easel, look)
    return easel.sprite()


def shop_views(article: Article) -> list[tuple[str, View]]:
    """Three or four views with their roles: the first on a quiet ground, the others in the world."""
    rng = rng_of(article.seed, "shop views")
    views = [("main", _studio_view(rng, article, rng.choice(("studio", "studio", "studio", "plain"))))]
    roles = ["alt", "scene", "scene"] if rng.random() < 0.5 else ["alt", "scene"]
    for role in roles:
        if role == "alt":
            views.append((role, _studio_view(rng, article, rng.choice(STUDIO), close=rng.random() < 0.3)))
        else:
            views.append((role, _scene_view(rng, article)))
    return views


def _studio_view(rng: random.Random, article: Article, background: str, close: bool = False) -> View:
    return View(
        seed=rng.getrandbits(63),
        background=background,
        scale=rng.uniform(0.95, 1.18) if close else rng.uniform(0.68, 0.86),
        centre=(0.5 + rng.uniform(-0.03, 0.03), 0.5 + rng.uniform(-0.02, 0.03)),
        rotation_deg=rng.uniform(-5, 5),
        tilt=0.02,
        mirrored=article.leaf.mirrors and rng.random() < 0.3,
        light_deg=rng.choice((225, 315)) + rng.uniform(-25, 25),
        light_height=rng.uniform(0.9, 1.4),
        exposure=rng.uniform(0.96, 1.05),
        warmth=rng.uniform(-0.02, 0.02),
        with_badge=rng.random() < 0.13,
        noise=1.0,
        quality=90,
    )


def _scene_view(rng: random.Random, article: Article) -> View:
    return View(
        seed=rng.getrandbits(63),
        background=rng.choice((*SCENES, "gradient")),
        scale=rng.uniform(0.52, 0.8),
        centre=(0.5 + rng.uniform(-0.1, 0.1), 0.52 + rng.uniform(-0.08, 0.08)),
        rotation_deg=rng.uniform(-12, 12),
        tilt=0.06,
        mirrored=article.leaf.mirrors and rng.random() < 0.4,
        light_deg=rng.uniform(180, 360),
        light_height=rng.uniform(0.7, 1.2),
        exposure=rng.uniform(0.84, 1.08),
        warmth=rng.uniform(-0.05, 0.08),
        num_props=rng.choice((0, 1, 1, 2)),
        with_hand=rng.random() < 0.14,
        with_badge=rng.random() < 0.22,
        noise=2.0,
        quality=87,
    )


def shopper_view(article: Article, rng: random.Random) -> View:
    """A phone's picture: more clutter, less light, less care."""
    cut_off = rng.random() < 0.18
    reach = 0.2 if cut_off else 0.09
    return View(
        seed=rng.getrandbits(63),
        background=rng.choice(SCENES),
        scale=rng.uniform(0.78, 1.0) if cut_off else rng.uniform(0.58, 0.86),
        centre=(0.5 + rng.uniform(-reach, reach), 0.5 + rng.uniform(-reach, reach)),
        rotation_deg=rng.uniform(-17, 17),
        tilt=0.07,
        mirrored=article.leaf.mirrors and rng.random() < 0.4,
        light_deg=rng.uniform(0, 360),
        light_height=rng.uniform(0.6, 1.1),
        exposure=rng.uniform(0.82, 1.1),
        warmth=rng.uniform(-0.07, 0.13),
        num_props=rng.choice((0, 1, 2, 2, 3)),
        with_hand=rng.random() < 0.25,
        blur=rng.choice((0.0, 0.0, 0.003, 0.005)),
        noise=rng.uniform(2, 6),
        quality=rng.randint(68, 84),
    )
