"""Makes docs/saliency_speed.md from what bench_saliency.py measured; every number comes out of the JSON files."""

import argparse
import sys
from pathlib import Path
from typing import Any

from result_pages import ROOT, choose_results, describe_run, read_record, render_table, write_text

from videosoft.errors import run_command

FORMAT_VERSION = 1
SCRIPT = "bench_saliency.py"
DOCUMENT = Path("docs", "saliency_speed.md")
TITLES = {
    "cam": "`saliency_tubes`, CAM",
    "grad_cam": "`grad_cam`",
    "grad_cam_plus_plus": "`grad_cam_plus_plus`",
    "hires_cam": "`hires_cam`",
    "integrated_gradients": "`integrated_gradients`, 8 steps",
    "occlusion": "`occlusion`, 8 boxes",
}
TOOLS = {"ours": "videosoft", "torch-cam": "torch-cam", "captum": "captum", "forward": "a forward pass alone"}
PEERS = ("torch-cam", "captum")
EXPLANATION = """\
Clips a second, by the median of rounds in which each tool was called once, in an order that changed from round to
round, in one process, on the same network, layer, clips and logits, in float32. Every tool's maps are enlarged to the
clip's size by the same function; maps that differ by more than 1e-4 of the largest value are not timed (but Grad-CAM++,
where torch-cam 0.5.0 leaves out a division). Ours also gives the logits, which captum does not, and looks for NaN;
captum's integrated gradients give the residual, as ours do (without it captum would save two of ten forward passes).
"A forward pass alone" is the network's, without gradients: what no method on a layer can do without.

The ratio is peer / ours of the times in the same round, its median with the quartiles in brackets: above 1 ours is
faster, and where the quartiles enclose 1 no difference was seen. A cell without a number was not measured, or the tool
does not have the method."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="*", type=Path, help="default: all of benchmarks/results/saliency_*.json")
    args = parser.parse_args()
    paths = choose_results(args.results, "saliency", SCRIPT)
    write_text(ROOT / DOCUMENT, render_document([read_record(path, SCRIPT, FORMAT_VERSION) for path in paths]))
    print(f"{DOCUMENT} shows {', '.join(map(str, paths))}")


def render_document(records: list[dict[str, Any]]) -> str:
    parts = [
        "# How fast the saliency methods are",
        "Written by `python benchmarks/render_saliency.py` from what `python benchmarks/bench_saliency.py` measured.",
        EXPLANATION,
    ]
    for record in records:
        network = record["network"]
        shape = " x ".join(map(str, record["clips"]))
        parts += [
            f"## {record['device']['name']}",
            f"{describe_run(record)} captum {record['versions']['captum']}, "
            f"torch-cam {record['versions']['torchcam']}; {network['name']} of width {network['width']:g} with "
            f"SoftPool and {network['num_classes']} classes, clips {shape}.",
            f"Command: `{record['command']}`",
            render_rows(record),
        ]
    return "\n\n".join(parts) + "\n"


def render_rows(record: dict[str, Any]) -> str:
    medians = {(row["method"], row["layer"], row["tool"]): row["clips_per_second"] for row in record["rows"]}
    ratios = {(ratio["method"], ratio["layer"], ratio["peer"]): ratio for ratio in record["ratios"]}
    rows = [
        [
            TITLES[method],
            layer,
            *(format_rate(medians.get((method, layer, tool))) for tool in TOOLS),
            *(format_ratio(ratios.get((method, layer, peer))) for peer in PEERS),
        ]
        for method, layer in dict.fromkeys((row["method"], row["layer"]) for row in record["rows"])
    ]
    return render_table(["method", "layer", *TOOLS.values(), *(f"{TOOLS[peer]} / ours" for peer in PEERS)], rows)


def format_rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.{1 if rate >= 10 else 2}f}"


def format_ratio(ratio: dict[str, float] | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio['median']:.2f} ({ratio['lower_quartile']:.2f}, {ratio['upper_quartile']:.2f})"


if __name__ == "__main__":
    sys.exit(run_command(main))
