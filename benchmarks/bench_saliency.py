"""Times our saliency methods beside torch-cam and captum, on one network, layer and clips, in turns in one process.

All explain the same logits of the same clips in float32, and all maps are enlarged to the clip's size in the same way.
A peer is asked for nothing else, but for integrated gradients, where captum returns the residual as ours does. Ours
also looks for NaN, and returns the logits, which captum does not. Each round calls every way once, in an order that
changes; what decides is the median over the rounds of the ratio peer / ours: ours is not slower where it is at least 1.
Maps that do not agree are not timed, but for Grad-CAM++: torch-cam 0.5.0 leaves out a division there and else does the
same work. `python benchmarks/render_saliency.py` makes a page of the file.
"""

import argparse
import datetime
import gc
import os
import random
import shlex
import statistics
import sys
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from captum.attr import IntegratedGradients, LayerGradCam, LayerGradientXActivation, Occlusion
from measuring import ROOT, Clock, check_device, check_output, describe_device, find_versions, summarize
from torch import Tensor, nn
from torchcam.methods import CAM, GradCAM, GradCAMpp
from tqdm import tqdm

from videosoft.atomic_files import write_json
from videosoft.errors import InputError, run_command
from videosoft.explain import Target, create_method, upsample_map
from videosoft.models import create_model

FORMAT_VERSION = 1
NUM_CLASSES = 400
MAX_DIFFERENCE = 1e-4
LAYER_METHODS = ("cam", "grad_cam", "grad_cam_plus_plus", "hires_cam")
INPUT_METHODS = ("integrated_gradients", "occlusion")
Ways = dict[str, Callable[[], Tensor]]


def main() -> None:
    args = parse_arguments()
    device = torch.device(args.device)
    check_output(args.output, force=args.force)
    check_device(device)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    started = datetime.datetime.now(datetime.timezone.utc)
    load_at_start = round(os.getloadavg()[0], 2)
    network = create_model(args.model, num_classes=NUM_CLASSES, pool="soft", width=args.width).eval().to(device)
    clips = torch.randn(args.clips, 3, args.num_frames, args.crop, args.crop, device=device)
    targets = [number % NUM_CLASSES for number in range(args.clips)]
    clock = Clock(device)
    groups = [(method, layer) for layer in args.layers for method in LAYER_METHODS]
    # CAM reads the weights of the linear head, which lies behind the last feature map.
    groups = [(method, layer) for method, layer in groups if method != "cam" or layer == network.feature_layer]
    groups += [(method, None) for method in INPUT_METHODS]
    rows: list[dict[str, Any]] = []
    ratios: list[dict[str, Any]] = []
    with tqdm(groups, unit="group", disable=None) as progress:
        for method, layer in progress:
            progress.set_description(f"{method} {layer or 'input'}")
            with ExitStack() as stack:
                ways = create_ways(network, clips, targets, layer, method, stack)
                check_agreement(ways, method)
                times = measure_rounds(create_calls(ways, network, clips, layer), clock, args.rounds)
            group = {"method": method, "layer": layer or "input"}
            rows += [group | {"tool": tool} | describe_times(times[tool], args.clips) for tool in times]
            ratios += [group | {"peer": peer} | compare_rounds(times[peer], times["ours"]) for peer in list(ways)[1:]]
    record = {
        "format_version": FORMAT_VERSION,
        "command": shlex.join(["python", "benchmarks/bench_saliency.py", *sys.argv[1:]]),
        "date": started.strftime("%Y-%m-%d %H:%M UTC"),
        "quick": args.quick,
        "rounds": args.rounds,
        "network": {"name": args.model, "width": args.width, "num_classes": NUM_CLASSES},
        "clips": list(clips.shape),
        "dtype": "float32",
        "num_threads": args.threads,
        "load_average": {"start": load_at_start, "end": round(os.getloadavg()[0], 2)},
        "device": describe_device(device),
        "versions": find_versions() | {name: version(name) for name in ("captum", "torchcam")},
        "rows": rows,
        "ratios": ratios,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.output, record)
    for ratio in record["ratios"]:
        name = f"{ratio['method']} {ratio['layer']}"
        print(
            f"{name:<30} {ratio['peer'] + ' / ours':<17} {ratio['median']:.3f} "
            f"({ratio['lower_quartile']:.3f}, {ratio['upper_quartile']:.3f})"
        )
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
    parser.add_argument("--threads", type=int, default=1, help="of the CPU (default: 1)")
    args = parser.parse_args()
    args.output = args.output or ROOT / "benchmarks" / "results" / f"saliency_{args.device}.json"
    defaults = {"rounds": 3, "width": 0.125, "crop": 64} if args.quick else {"rounds": 11, "width": 1.0, "crop": 112}
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if min(args.rounds, args.clips, args.threads) < 1:
        raise InputError("--rounds, --clips and --threads must be at least 1")
    return args


def create_ways(
    network: nn.Module, clips: Tensor, targets: list[int], layer: str | None, method: str, stack: ExitStack
) -> Ways:
    """Return each tool's way to the maps (N, t, h, w), ours first; what a tool sets up once is set up here."""
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

        def integrate() -> Tensor:
            attributions, _ = gradients.attribute(
                clips, target=indices, n_steps=8, internal_batch_size=8, return_convergence_delta=True
            )
            return attributions.sum(dim=1)

        return {"ours": call_ours("integrated_gradients", num_steps=8, batch_size=8), "captum": integrate}
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


def create_calls(ways: Ways, network: nn.Module, clips: Tensor, layer: str | None) -> Ways:
    """Return what is timed: maps at the clips' size, and beside methods on a layer the forward pass they all need."""
    size = (clips.shape[2], clips.shape[3], clips.shape[4])

    def enlarge(call: Callable[[], Tensor]) -> Callable[[], Tensor]:
        return lambda: upsample_map(call(), size)

    def infer() -> Tensor:
        with torch.no_grad():
            return network(clips)

    # Ours have been enlarged by the method.
    calls = {tool: call if tool == "ours" else enlarge(call) for tool, call in ways.items()}
    return calls if layer is None else calls | {"forward": infer}


def measure_rounds(calls: Ways, clock: Clock, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each call in each round; the first round, in which caches are filled, is left out."""
    times: dict[str, list[float]] = {tool: [] for tool in calls}
    shuffler = random.Random(0)
    gc.collect()
    for round_number in range(rounds + 1):
        for tool in shuffler.sample(list(calls), len(calls)):
            seconds = clock.measure_all(calls[tool])
            if round_number:
                times[tool].append(seconds)
    return times


def describe_times(seconds: list[float], num_clips: int) -> dict[str, Any]:
    return summarize(seconds, "ms") | {
        "clips_per_second": round(num_clips / statistics.median(seconds), 2),
        "times_ms": [round(1e3 * value, 3) for value in seconds],
    }


def compare_rounds(peer: list[float], ours: list[float]) -> dict[str, float]:
    """Return median and quartiles of peer / ours in the same round: what slows a whole round down slows both."""
    ratios = [theirs / mine for theirs, mine in zip(peer, ours, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    names = ("lower_quartile", "median", "upper_quartile")
    return {name: round(value, 4) for name, value in zip(names, quartiles, strict=True)}


if __name__ == "__main__":
    sys.exit(run_command(main))
