# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from road_kd_training import mixed_precision
from road_kd_training.mixed_precision import pick_precision

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def unmeasured():
    """Whatever was measured before is forgotten, and so is what a test pretends."""
    mixed_precision._bf16_share.cache_clear()
    yield
    mixed_precision._bf16_share.cache_clear()


@pytest.mark.parametrize("configured", ["no", "bf16", "fp16"])
def test_what_is_configured_is_taken_at_its_word(configured):
    assert pick_precision(configured, CPU) == (configured, "as configured")


@pytest.mark.parametrize(("bf16_ms", "precision"), [(0.5, "bf16"), (0.9, "no"), (21.0, "no")])
def test_auto_takes_bf16_on_a_cpu_only_where_it_is_clearly_faster(monkeypatch, bf16_ms, precision):
    monkeypatch.setattr(mixed_precision, "_time_ms", {torch.bfloat16: bf16_ms, torch.float32: 1.0}.get)
    assert pick_precision("auto", CPU) == (
        precision,
        f"on this CPU a convolution in bf16 takes {bf16_ms} of float32's time",
    )


def test_the_measurement_is_short_and_gives_one_of_the_two():
    assert pick_precision("auto", CPU)[0] in ("bf16", "no")


def test_a_process_measures_once_so_that_all_rows_of_a_table_are_trained_alike(monkeypatch):
    first = pick_precision("auto", CPU)
    monkeypatch.setattr(mixed_precision, "_time_ms", {torch.bfloat16: 21.0, torch.float32: 1.0}.get)
    assert pick_precision("auto", CPU) == first
