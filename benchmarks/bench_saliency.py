"""Times our saliency methods beside torch-cam and captum, on one network, layer and clips, in turns in one process.

A peer does the least: it gives the map on the layer's own grid. Ours also gives the logits, checks the map for NaN and
enlarges it to the clip's size. What decides is the ratio of the medians, peer / ours: ours is not slower where it is at
least 1. Maps that do not agree are not timed; Grad-CAM++ of torch-cam 0.5.0 leaves out a division and is timed all the
same, since it does the same work.
"""

import argparse
import datetime
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from bench_softpool import ROOT, Clock, Job, describe_device, find_versions, measure_in_turns
from captum.attr import IntegratedGradients, LayerGradCam, LayerGradientXActivation, Occlusion
from torch import Tensor, nn
from torchcam.methods import CAM, GradCAM, GradCAMpp
from tqdm import tqdm

from videosoft.atomic_files import check_output_folder, write_json
from videosoft.errors import InputError, run_command
from videosoft.explain import Target, create_method
from videosoft.models import create_model

FORMAT_VERSION = 1
NUM_CLASSES = 400
MAX_DIFFERENCE = 1e-3
LAYER_METHODS = ("cam", "grad_cam", "grad_cam_plus_plus", "hires_cam")
Ways = dict[str, Callable[[], Tensor]]


def main() -> None:
    args = parse_arguments()
    device = torch.device(args.device)
    if args.output.exists() and not args.force:
        raise InputError(f"{args.output} exists already; name another --output or overwrite it with --force")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds no CUDA device here; --device cpu is the other choice")
    check_output_folder(args.output.parent)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    started = datetime.datetime.now(datetime.timezone.utc)
    load_at_start = round(os.getloadavg()[0], 2)
    network = create_model(args.model, num_classes=NUM_CLASSES, pool="soft", width=args.width).eval().to(device)
    clips = torch.randn(args.clips, 3, args.num_frames, args.crop, args.crop, device=device)
    targets = [number % NUM_CLASSES for number in range(args.clips)]
    clock = Clock(device)
    rows: list[dict[str, Any]] = []
    groups = [
        (layer, method) for layer in args.layers for method in ("cam", "grad_cam", "grad_cam_plus_plus", "hires_cam")
    ]
    groups += [(None, "integrated_gradients"), (None, "occlusion")]
    for layer, method in tqdm(groups, unit="group", disable=None):
        if method == "cam" and layer != network.feature_layer:
            continue
        with ExitStack() as stack:
            ways = create_ways(network, clips, targets, layer, method, stack)
            check_agreement(ways, method)
            jobs = [
                Job(f"{method}/{layer}/{tool}", {"method": method, "layer": layer or "input", "tool": tool}, call)
                for tool, call in ways.items()
            ]
            rows += measure_in_turns(jobs, clock.measure_all, args.rounds)
    for row in rows:
        row["clips_per_second"] = round(1e3 * args.clips / row["median_ms"], 2) if row["median_ms"] else None
    record = {
        "format_version": FORMAT_VERSION,
        "command": shlex.join(["python", "benchmarks/bench_saliency.py", *sys.argv[1:]]),
        "date": started.strftime("%Y-%m-%d %H:%M UTC"),
        "quick": args.quick,
        "rounds": args.rounds,
        "network": {"name": args.model, "width": args.width, "num_classes": NUM_CLASSES},
        "clips": list(clips.shape),
        "num_threads": args.threads,
        "load_average": {"start": load_at_start, "end": round(os.getloadavg()[0], 2)},
        "device": describe_device(device),
        "versions": find_versions() | {name: version(name) for name in ("captum", "torchcam")},
        "rows": rows,
        "ratios": compute_ratios(rows),
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.output, record)
    for ratio in record["ratios"]:
        print(f"{ratio['name']:<45} {ratio['peer']} / ours {ratio['peer_over_ours']:.3f}")
    print(f"{len(rows)} rows in {args.output}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/saliency_<device>.json")
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    parser.add_argument("--rounds", type=int, help="how often each way is called (default: 11; quick: 3)")
    parser.add_argument("--quick", action="store_true", help="a narrow network, small clips, few rounds")
    parser.add_argument("--model", default="r3d50")
    parser.add_argument("--width", type=float, help="default: 1; quick: 0.125")
    parser.add_argument("--layers", nargs="+", default=["layer4", "layer3", "layer2"])
    parser.add_argument("--clips", type=int, default=2, help="clips of a batch (default: 2)")
    parser.add_argument("--num_frames", type=int, default=16)
    parser.add_argument("--crop", type=int, help="default: 112; quick: 64")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    args.output = args.output or ROOT / "benchmarks" / "results" / f"saliency_{args.device}.json"
    defaults = {"rounds": 3, "width": 0.125, "crop": 64} if args.quick else {"rounds": 11, "width": 1.0, "crop": 112}
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.rounds < 1 or args.clips < 1:
        raise InputError("--rounds and --clips must be at least 1")
    return args


def create_ways(
    network: nn.Module, clips: Tensor, targets: list[int], layer: str | None, method: str, stack: ExitStack
) -> Ways:
    """Return each tool's way to the maps (N, t, h, w); what a tool sets up once is set up here."""
    wanted = [Target(index) for index in targets]
    indices = torch.tensor(targets, device=clips.device)
    module = None if layer is None else network.get_submodule(layer)

    def call_ours(name: str, **options: Any) -> Callable[[], Tensor]:
        ours = create_method(name, **options)
        return lambda: torch.stack([tube.map for tube in ours(network, clips, wanted, layer)])

    def call_torch_cam(kind: type, **options: Any) -> Callable[[], Tensor]:
        # Its hooks would cost the other tools time: they are there for its own calls only.
        extractor = stack.enter_context(kind(network, layer, enable_hooks=False, **options))

        def call() -> Tensor:
            extractor.enable_hooks()
            with torch.set_grad_enabled(kind is not CAM):
                maps = extractor(targets, network(clips), normalized=False)[0]
            extractor.disable_hooks()
            extractor.reset_hooks()
            return maps

        return call

    if method == "cam":
        return {
            "ours": call_ours("saliency_tubes"),
            "torch-cam": call_torch_cam(CAM, fc_layer=network.classifier_layer),
        }
    if method == "grad_cam":
        captum_cam = LayerGradCam(network, module)
        return {
            "ours": call_ours("grad_cam"),
            "torch-cam": call_torch_cam(GradCAM),
            "captum": lambda: captum_cam.attribute(clips, target=indices)[:, 0].detach(),
        }
    if method == "grad_cam_plus_plus":
        return {"ours": call_ours("grad_cam_plus_plus"), "torch-cam": call_torch_cam(GradCAMpp)}
    if method == "hires_cam":
        product = LayerGradientXActivation(network, module)
        return {
            "ours": call_ours("hires_cam"),
            "captum": lambda: product.attribute(clips, target=indices).sum(dim=1).detach(),
        }
    if method == "integrated_gradients":
        gradients = IntegratedGradients(network)
        return {
            "ours": call_ours("integrated_gradients", num_steps=8, batch_size=8),
            "captum": lambda: gradients.attribute(clips, target=indices, n_steps=8, internal_batch_size=8).sum(dim=1),
        }
    sides = list(clips.shape[2:])
    window = tuple(side // 2 for side in sides)
    occlusion = Occlusion(network)

    def cover() -> Tensor:
        with torch.no_grad():
            return occlusion.attribute(
                clips, (3, *window), strides=(3, *window), target=indices, perturbations_per_eval=4
            )[:, 0]

    return {
        "ours": call_ours("occlusion", window=window, stride=window, batch_size=4 * len(clips)),
        "captum": cover,
    }


def check_agreement(ways: Ways, method: str) -> None:
    """InputError unless all tools give the same maps: wrong ones are not worth timing."""
    if method == "grad_cam_plus_plus":
        return
    expected = ways["ours"]().detach()
    for tool, call in ways.items():
        found = call().detach()
        # torch-cam leaves only what is positive.
        reference = expected.relu() if tool == "torch-cam" and method != "cam" else expected
        difference = float((found - reference).abs().max() / reference.abs().max().clamp(min=1e-12))
        if found.shape != reference.shape or not difference <= MAX_DIFFERENCE:
            raise InputError(f"{method} of {tool} differs from ours by {difference:.2g} of the largest value")


def compute_ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return peer / ours of the medians, for each method, layer and peer."""
    ours = {(row["method"], row["layer"]): row["median_ms"] for row in rows if row["tool"] == "ours"}
    return [
        {
            "name": f"{row['method']} {row['layer']}",
            "peer": row["tool"],
            "peer_over_ours": round(row["median_ms"] / ours[row["method"], row["layer"]], 4),
        }
        for row in rows
        if row["tool"] != "ours" and row["median_ms"] and ours[row["method"], row["layer"]]
    ]


if __name__ == "__main__":
    sys.exit(run_command(main))
