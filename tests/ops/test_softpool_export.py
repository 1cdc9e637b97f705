"""torch.export round trips, and ONNX by standard operators alone, computed by onnxruntime."""

import io
import math

import pytest
import torch
from softpool_oracle import Case, pool_by_definition
from torch import nn

from videosoft.layers import SoftPool1d, SoftPool2d, SoftPool3d

LAYERS = {1: SoftPool1d, 2: SoftPool2d, 3: SoftPool3d}
DYNAMIC = torch.export.Dim.DYNAMIC

# case, a second size for it
DYNAMIC_CASES = [
    (Case((9,), 3, 2, 1), (14,)),
    (Case((9,), 2, 3, 1, ceil_mode=True), (10,)),  # a window that starts too late is dropped at 9, not at 10
    (Case((7, 9), 3, 2, 1), (12, 6)),
    (Case((7, 5), (3, 2), (2, 3), (1, 0), ceil_mode=True), (8, 7)),
    (Case((5, 7, 6), (1, 3, 2), (1, 2, 2), (0, 1, 1)), (6, 4, 9)),
    (Case((5, 7, 6), (2, 1, 2), ceil_mode=True), (8, 5, 7)),
]


def create_layer(case: Case, **options: object) -> nn.Module:
    return LAYERS[case.num_dims](case.kernel_size, case.stride, case.padding, ceil_mode=case.ceil_mode, **options)


def mark_dynamic(case: Case) -> tuple[dict[int, object]]:
    """The batch and every spatial dimension."""
    return (dict.fromkeys((0, *range(2, 2 + case.num_dims)), DYNAMIC),)


def resize(case: Case, size: tuple[int, ...]) -> Case:
    return Case(size, case.kernel_size, case.stride, case.padding, case.ceil_mode)


def run_onnx(model: nn.Module | torch.export.ExportedProgram, example: torch.Tensor, *inputs: torch.Tensor, **options):
    """The outputs of onnxruntime; every operator must be of the standard's own domain."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    program = torch.onnx.export(model, (example,), dynamo=True, verbose=False, **options)
    assert {node.domain for node in program.model_proto.graph.node} == {""}
    assert not program.model_proto.functions
    file = io.BytesIO()
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    (name,) = (argument.name for argument in session.get_inputs())
    return [torch.from_numpy(session.run(None, {name: input.numpy()})[0]) for input in inputs]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("case", "size"), DYNAMIC_CASES, ids=str)
def test_an_exported_program_is_saved_loaded_and_resized(
    case: Case, size: tuple[int, ...], strict: bool, backend: str
) -> None:
    example = torch.randn(2, 3, *case.size, dtype=torch.float64)
    program = torch.export.export(
        create_layer(case, temperature=1.5), (example,), dynamic_shapes=mark_dynamic(case), strict=strict
    )
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for input in (example, torch.randn(4, 3, *size, dtype=torch.float64)):
        expected, _, _ = pool_by_definition(input, resize(case, tuple(input.shape[2:])), 1.5)
        torch.testing.assert_close(loaded(input), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("exported_first", [False, True])
@pytest.mark.parametrize(("case", "size"), DYNAMIC_CASES, ids=str)
def test_onnx_of_any_size(case: Case, size: tuple[int, ...], exported_first: bool, backend: str) -> None:
    layer = create_layer(case, temperature=1.5)
    inputs = [torch.randn(2, 3, *case.size), torch.randn(4, 3, *size)]
    if exported_first:
        program = torch.export.export(layer, (inputs[0],), dynamic_shapes=mark_dynamic(case))
        outputs = run_onnx(program, inputs[0], *inputs)
    else:
        outputs = run_onnx(layer, inputs[0], *inputs, dynamic_shapes=mark_dynamic(case))
    for input, output in zip(inputs, outputs, strict=True):
        expected, _, _ = pool_by_definition(input, resize(case, tuple(input.shape[2:])), 1.5)
        torch.testing.assert_close(output, expected.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_onnx_of_a_network_with_softpool_inside(backend: str) -> None:
    network = nn.Sequential(nn.Conv3d(3, 4, 3, padding=1), SoftPool3d(3, 2, 1), nn.Flatten(), nn.Linear(144, 5)).eval()
    input = torch.randn(2, 3, 5, 6, 7)
    (output,) = run_onnx(network, input, input)
    torch.testing.assert_close(output, network(input).detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("gradient", ["exact", "paper"])
def test_onnx_keeps_the_rules_for_what_is_not_finite(gradient: str, backend: str) -> None:
    inf, nan = math.inf, math.nan
    rows = [[1.0, nan], [nan, inf], [inf, 1.0], [inf, -inf], [-inf, 2.0], [-inf, -inf], [3e38, -3e38], [3e38, 3e38]]
    expected = [nan, nan, inf, inf, 2.0, -inf, 3e38, 3e38]
    input = torch.tensor(rows).view(len(rows), 1, 2)
    (output,) = run_onnx(SoftPool1d(2, gradient=gradient), torch.randn(len(rows), 1, 2), input)
    torch.testing.assert_close(output.flatten(), torch.tensor(expected), equal_nan=True)
