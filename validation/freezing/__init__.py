"""An evaluation set as a folder: everything in it, under one digest, for any machine to be judged on."""

from validation.freezing.card import SetCard
from validation.freezing.config import FreezingConfig
from validation.freezing.folder import load_eval_set, read_card, read_digest, read_findings, save_eval_set

__all__ = ["FreezingConfig", "SetCard", "load_eval_set", "read_card", "read_digest", "read_findings", "save_eval_set"]
