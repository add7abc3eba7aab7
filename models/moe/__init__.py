"""The guided mixture of experts: category and attribute tokens to experts of their own, the rest by a router."""

from models.moe.dense_twin import DenseTwin
from models.moe.guided import GuidedMoe
from models.moe.in_view import TypesInView
from models.moe.load import LoadTotal, expert_load, load_table, plain_load, table_of_plain
from models.moe.load_figure import draw_load
from models.moe.recording import Fired, recording
from models.moe.size import moe_parameters
from models.moe.stats import RouterStats, aux_loss, load_balance_loss, router_z_loss
from models.moe.upcycle import upcycle

__all__ = [
    "DenseTwin",
    "Fired",
    "GuidedMoe",
    "LoadTotal",
    "RouterStats",
    "TypesInView",
    "aux_loss",
    "draw_load",
    "expert_load",
    "load_balance_loss",
    "load_table",
    "moe_parameters",
    "plain_load",
    "recording",
    "router_z_loss",
    "table_of_plain",
    "upcycle",
]
