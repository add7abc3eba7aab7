"""Pictures to train a detector on, made of a shop's own: products cut out of plain photographs, put into scenes."""

from models.scenes.backgrounds import Backgrounds, catalog_backgrounds, read_backgrounds
from models.scenes.compose import SceneComposer
from models.scenes.config import PRESETS, SceneConfig, scene_preset
from models.scenes.cutouts import Cutout, CutoutSet, cut_catalog, cut_out
from models.scenes.preview import scene_sheet, write_scene_sheet
from models.scenes.scene import Scene, SceneBox
from models.scenes.segmentation import NotCutError

__all__ = [
    "PRESETS",
    "Backgrounds",
    "Cutout",
    "CutoutSet",
    "NotCutError",
    "Scene",
    "SceneBox",
    "SceneComposer",
    "SceneConfig",
    "catalog_backgrounds",
    "cut_catalog",
    "cut_out",
    "read_backgrounds",
    "scene_preset",
    "scene_sheet",
    "write_scene_sheet",
]
