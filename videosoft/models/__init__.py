"""Networks by name, and the weights that belong to them."""

from videosoft.models import csn as csn
from videosoft.models import r2plus1d as r2plus1d
from videosoft.models import r3d as r3d
from videosoft.models import s3d as s3d
from videosoft.models import slow as slow
from videosoft.models import slowfast as slowfast
from videosoft.models import torchvision_resnets as torchvision_resnets
from videosoft.models import x3d as x3d
from videosoft.models.card_page import format_card
from videosoft.models.checkpoint import (
    CHECKPOINT_FORMAT_VERSION,
    LoadedModel,
    create_checkpoint_card,
    export_weights,
    load_checkpoint,
)
from videosoft.models.head_rows import HeadPolicy
from videosoft.models.inflation import Inflation
from videosoft.models.pretrained import PretrainedReport, load_pretrained
from videosoft.models.registry import create_model, list_models, register_model
from videosoft.models.size import NetworkSize, count_macs, count_parameters, measure_size
from videosoft.models.weight_files import read_weight_file, write_weight_file

__all__ = [
    "CHECKPOINT_FORMAT_VERSION",
    "HeadPolicy",
    "Inflation",
    "LoadedModel",
    "NetworkSize",
    "PretrainedReport",
    "count_macs",
    "count_parameters",
    "create_checkpoint_card",
    "create_model",
    "export_weights",
    "format_card",
    "list_models",
    "load_checkpoint",
    "load_pretrained",
    "measure_size",
    "read_weight_file",
    "register_model",
    "write_weight_file",
]
