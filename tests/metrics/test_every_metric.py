"""What every metric promises, whatever it measures."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from segedu import metrics
from segedu.metrics.base import Metric
from tests.metrics.every_metric import METRICS, batch, images, same, seen

every_metric = pytest.mark.parametrize("name", METRICS)


def test_all_public_metrics_are_here():
    public = {n for n in metrics.__all__ if isinstance(getattr(metrics, n), type)}
    public = {n for n in public if issubclass(getattr(metrics, n), Metric)}
    assert public - {"Metric"} == {name.partition("(")[0] for name in METRICS}


@every_metric
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**31), cuts=st.sets(st.integers(1, 4)))
def test_batches_do_not_matter(name, seed, cuts):
    pairs = images(name, seed)
    ends = [0, *sorted(cuts), 5]
    parts = [pairs[a:b] for a, b in zip(ends, ends[1:], strict=False)]
    assert same(seen(name, *parts).compute(), seen(name, pairs).compute())


@every_metric
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**31), order=st.permutations(range(5)))
def test_the_order_of_the_images_does_not_matter(name, seed, order):
    pairs = images(name, seed)
    got, expected = (seen(name, p).compute() for p in ([pairs[i] for i in order], pairs))
    for result in (got, expected):
        result.pop("cases", None)  # these stand in the order of the images
    assert same(got, expected)


@every_metric
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**31), cut=st.integers(0, 5))
def test_merging_is_one_pass(name, seed, cut):
    pairs = images(name, seed)
    first, second = (seen(name, *[[p] for p in part]) for part in (pairs[:cut], pairs[cut:]))
    before = second.compute()
    second = pickle.loads(pickle.dumps(second))  # as it comes from another process
    assert first.merge(second) is first
    assert same(first.compute(), seen(name, pairs).compute())
    assert same(second.compute(), before)


@every_metric
def test_reset_forgets_everything(name):
    metric = seen(name, images(name, 0))
    metric.reset()
    assert same(metric.compute(), METRICS[name][0]().compute())
    metric.update(*batch(images(name, 1)))
    assert same(metric.compute(), seen(name, images(name, 1)).compute())


@every_metric
def test_nothing_seen_is_no_score(name):
    empty = METRICS[name][0]().compute()
    scores = [value for value in empty.values() if isinstance(value, float)]
    assert scores
    assert np.isnan(scores).all()


@every_metric
def test_a_batch_without_an_image_changes_nothing(name):
    metric, pairs = seen(name, images(name, 0)), images(name, 1, count=1)
    before = metric.compute()
    metric.update(*(part[:0] for part in batch(pairs)))
    assert same(metric.compute(), before)


@every_metric
def test_merge_refuses_other_settings_and_other_metrics(name):
    metric, other = seen(name, images(name, 0)), METRICS[name][1]()
    before = metric.compute()
    with pytest.raises(ValueError, match="same settings"):
        metric.merge(other)
    stranger = metrics.SemanticMetrics(9) if name != "SemanticMetrics" else other
    with pytest.raises(ValueError, match="same settings"):
        metric.merge(stranger)
    assert same(metric.compute(), before)
    assert metric.settings != other.settings


@every_metric
def test_the_same_twice_and_inputs_untouched(name):
    pairs, again = images(name, 3), images(name, 3)
    metric = seen(name, pairs)
    first = metric.compute()
    assert same(metric.compute(), first)
    assert same(seen(name, pairs).compute(), first)
    assert str(pairs) == str(again)


@every_metric
def test_the_result_keeps_to_the_contract(name):
    """Floats by name, a table of the classes, and cases where there are any."""
    result = seen(name, images(name, 0)).compute()
    assert any(isinstance(value, float) for value in result.values())
    rows = result["per_class"].values()
    assert len({tuple(row) for row in rows}) <= 1
    for row in rows:
        assert all(isinstance(value, (float, int)) for value in row.values())
    without_classes = ("CalibrationMetrics", "ClickIoU", "SurfaceMetrics")
    assert (len(rows) == 3) == (not name.startswith(without_classes))
    for case in result.get("cases", []):
        assert {"image", "class"} < set(case)


class NothingComesBack(TorchDispatchMode):
    """Refuses what makes the host wait for the GPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._pin_memory.default:  # memory of the host, which is not faked
            return args[0]
        result = func(*args, **(kwargs or {}))
        inputs = [x for x in args if isinstance(x, torch.Tensor)]
        back = isinstance(result, torch.Tensor) and not result.is_cuda
        if any(x.is_cuda for x in inputs) and back:
            raise AssertionError(f"{func} brings a tensor back to the host")
        return result


def tensors(state):
    """All tensors in nested dicts and lists."""
    if isinstance(state, (dict, list)):
        parts = state.values() if isinstance(state, dict) else state
        return [tensor for part in parts for tensor in tensors(part)]
    return [state] if isinstance(state, torch.Tensor) else []


@pytest.mark.parametrize("name", [name for name in METRICS if name != "SurfaceMetrics"])
def test_update_never_copies_to_the_host(name):
    """On a GPU that is none: shapes and devices without numbers, so none can be read."""
    pairs = images(name, 0)

    def pretend(value):
        if isinstance(value, dict):
            return {key: pretend(item) for key, item in value.items()}
        if isinstance(value, torch.Tensor):
            return torch.empty(value.shape, dtype=value.dtype, device="cuda")
        return value

    metric = METRICS[name][0]()
    with FakeTensorMode(), NothingComesBack():
        metric.update(*batch([(pretend(p), pretend(t)) for p, t in pairs]))
        metric.update(*batch([(pretend(p), pretend(t)) for p, t in pairs]))
    devices = {tensor.device.type for tensor in tensors(vars(metric))}
    assert devices == {"cuda"}  # nothing of the state was made elsewhere


@pytest.mark.gpu
@every_metric
def test_cuda_equals_cpu_and_waits_for_nothing(name):
    metric, pairs = METRICS[name][0](), images(name, 0, device="cuda")
    try:
        torch.cuda.set_sync_debug_mode("default" if name == "SurfaceMetrics" else "error")
        metric.update(*batch(pairs))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert same(metric.compute(), seen(name, images(name, 0)).compute())
