"""Learning-rate factors against values worked out by hand and against torch's own schedulers."""

import pytest
import torch

from videosoft.errors import InputError
from videosoft.training import ScheduleConfig
from videosoft.training.schedules import compute_rate_factor, create_schedule, follow_schedule

HARA = ScheduleConfig(kind="multistep", milestones=[50, 100, 150])
WARM_COSINE = ScheduleConfig(kind="cosine", warmup_epochs=2, warmup_factor=0.1, final_factor=0.2)
# PySlowFast's: the cosine spans the run, and at epoch 4 of 12 it is at 0.75.
WHOLE_COSINE = ScheduleConfig(kind="cosine", warmup_epochs=4, warmup_factor=0.25, cosine_after_warmup=False)

# Each row: schedule, epoch of 200 (multistep) or of 12 (cosine), factor.
FACTORS = [
    (HARA, 200, 0.0, 1.0),
    (HARA, 200, 49.99, 1.0),
    (HARA, 200, 50.0, 0.1),
    (HARA, 200, 120.0, 0.01),
    (HARA, 200, 199.0, 0.001),
    (WARM_COSINE, 12, 0.0, 0.1),
    (WARM_COSINE, 12, 1.0, 0.55),
    (WARM_COSINE, 12, 2.0, 1.0),
    (WARM_COSINE, 12, 7.0, 0.6),
    (WARM_COSINE, 12, 12.0, 0.2),
    (WARM_COSINE, 12, 13.0, 0.2),
    (WHOLE_COSINE, 12, 0.0, 0.25),
    (WHOLE_COSINE, 12, 2.0, 0.5),
    (WHOLE_COSINE, 12, 4.0, 0.75),
    (WHOLE_COSINE, 12, 8.0, 0.25),
    (WHOLE_COSINE, 12, 12.0, 0.0),
    (ScheduleConfig(kind="cosine"), 10, 5.0, 0.5),
]


@pytest.mark.parametrize(("config", "num_epochs", "epoch", "factor"), FACTORS)
def test_factor(config: ScheduleConfig, num_epochs: int, epoch: float, factor: float) -> None:
    assert compute_rate_factor(config, epoch, num_epochs) == pytest.approx(factor)


def test_cosine_without_warmup_is_torchs() -> None:
    def run(create: object) -> list[float]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
        schedule = create(optimizer)  # type: ignore[operator]
        rates = []
        for _ in range(20):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return rates

    ours = run(lambda optimizer: create_schedule(optimizer, ScheduleConfig(), num_steps=20, num_epochs=5))
    torchs = run(lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20))
    assert ours == pytest.approx(torchs)


BAD = [
    ({"kind": "multistep"}, "milestones is empty"),
    ({"kind": "multistep", "milestones": [3, 1]}, "ascending"),
    ({"warmup_epochs": -1}, "warmup_epochs=-1"),
]


@pytest.mark.parametrize(("kwargs", "message"), BAD)
def test_bad_schedules(kwargs: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ScheduleConfig(**kwargs)


def test_a_longer_training_follows_its_own_schedule() -> None:
    """At step 4 of 4 a cosine ends; at step 4 of 8 it is half way."""

    def create(num_steps: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
        return optimizer, create_schedule(optimizer, ScheduleConfig(kind="cosine"), num_steps=num_steps, num_epochs=2)

    optimizer, schedule = create(4)
    for _ in range(4):
        optimizer.step()
        schedule.step()
    states = optimizer.state_dict(), schedule.state_dict()
    for num_steps, changed in ((4, None), (8, (0.0, 0.15))):
        optimizer, schedule = create(num_steps)
        optimizer.load_state_dict(states[0])
        schedule.load_state_dict(states[1])
        assert follow_schedule(schedule) == (pytest.approx(changed) if changed else None)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(changed[1] if changed else 0.0)
