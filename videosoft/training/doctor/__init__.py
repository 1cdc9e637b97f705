"""`lightning doctor`: what would go wrong, said before hours are spent."""

from videosoft.training.doctor.command import run_doctor

__all__ = ["run_doctor"]
