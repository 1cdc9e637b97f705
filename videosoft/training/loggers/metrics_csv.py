"""metrics.csv: Lightning's, but never torn by a full disk."""

import csv
import os
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_info

from videosoft.atomic_files import replace_when_done
from videosoft.errors import InputError


class MetricsCsvLogger(CSVLogger):
    """``metrics.csv`` in the run's folder.  Rows that cannot be written wait for the next attempt, with a warning."""

    @property
    @rank_zero_experiment
    def experiment(self) -> "_MetricsFile":
        if not isinstance(self._experiment, _MetricsFile):
            self._experiment = _MetricsFile(log_dir=self.log_dir)
        return self._experiment


class _MetricsFile(ExperimentWriter):
    _has_warned = False

    def _check_log_dir_exists(self) -> None:
        """The command line has seen that the folder is new; what lies there by now is this run's."""

    def save(self) -> None:
        if not self.metrics:
            return
        path = Path(self.metrics_file_path)
        keys = sorted(set(self.metrics_keys).union(*self.metrics))
        try:
            if keys == self.metrics_keys:
                _append_rows(path, keys, self.metrics)
            else:
                # Lightning empties the file before it writes the longer header and all rows anew.
                _write_rows(path, keys, [*_read_rows(path), *self.metrics])
        except (OSError, InputError) as error:
            if not self._has_warned:
                self._has_warned = True
                rank_zero_info(f"warning: {path}: {error}; its rows are kept until they can be written.")
            return
        self.metrics_keys, self.metrics, self._has_warned = keys, [], False


def _read_rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _write_rows(path: Path, keys: list[str], rows: list[dict[str, Any]]) -> None:
    with replace_when_done(path) as temporary_path, temporary_path.open("w", newline="") as file:
        writer = csv.DictWriter(file, keys)
        writer.writeheader()
        writer.writerows(rows)


def _append_rows(path: Path, keys: list[str], rows: list[dict[str, Any]]) -> None:
    size = path.stat().st_size
    try:
        with path.open("a", newline="") as file:
            csv.DictWriter(file, keys).writerows(rows)
    except OSError:
        os.truncate(path, size)
        raise
