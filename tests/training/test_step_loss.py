"""The clips that stand in for broken ones leave no trace in a network."""

import torch
from torch import nn

from videosoft.training.step_loss import keep_buffers


def test_a_forward_pass_leaves_the_buffers_as_they_were_and_can_be_differentiated_afterwards() -> None:
    network = nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4), nn.ReLU(), nn.BatchNorm3d(4, affine=False))
    before = list(network.buffers())
    values = [buffer.clone() for buffer in before]
    with keep_buffers(network):
        output = network(torch.rand(2, 3, 2, 4, 4))
        assert not torch.equal(network[1].running_mean, values[0])
    (0 * output.sum()).backward()
    assert all(now is then for now, then in zip(network.buffers(), before, strict=True))
    for buffer, value in zip(before, values, strict=True):
        torch.testing.assert_close(buffer, value, rtol=0, atol=0)
    assert all(parameter.grad is not None for parameter in network.parameters())
