"""Saliency methods, one file each behind one interface: a method is called with (network, clips, targets, layer)."""

from videosoft.explain.methods.class_feature_pyramids import (
    ClassFeaturePyramid,
    ClassFeaturePyramids,
    PyramidLevel,
    compute_contributions,
)
from videosoft.explain.methods.eigen_cam import EigenCam
from videosoft.explain.methods.extremal_perturbation import ExtremalPerturbation
from videosoft.explain.methods.grad_cam import GradCam
from videosoft.explain.methods.grad_cam_plus_plus import GradCamPlusPlus
from videosoft.explain.methods.hires_cam import HiResCam
from videosoft.explain.methods.integrated_gradients import IntegratedGradients
from videosoft.explain.methods.method import SaliencyMethod
from videosoft.explain.methods.occlusion import Occlusion
from videosoft.explain.methods.registry import create_method, get_method_class, list_methods, parse_options
from videosoft.explain.methods.rise import Rise
from videosoft.explain.methods.saliency_tubes import RESIDUAL_TOLERANCE, SaliencyTubes

__all__ = [
    "RESIDUAL_TOLERANCE",
    "ClassFeaturePyramid",
    "ClassFeaturePyramids",
    "EigenCam",
    "ExtremalPerturbation",
    "GradCam",
    "GradCamPlusPlus",
    "HiResCam",
    "IntegratedGradients",
    "Occlusion",
    "PyramidLevel",
    "Rise",
    "SaliencyMethod",
    "SaliencyTubes",
    "compute_contributions",
    "create_method",
    "get_method_class",
    "list_methods",
    "parse_options",
]
