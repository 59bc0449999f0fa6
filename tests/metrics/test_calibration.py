import pytest
import torch

from segedu.metrics import CalibrationMetrics


def batch(seed=0):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 4, 8, 9, generator=g)
    target = torch.randint(0, 4, (3, 8, 9), generator=g)
    target[0, :2] = 255
    return logits, target


def test_by_hand():
    p = torch.tensor([0.9, 0.9, 0.7, 0.6])
    metric = CalibrationMetrics(num_bins=5)
    metric.update(
        torch.stack([p, 1 - p])[None, :, None], torch.tensor([[[0, 1, 0, 255]]]), probabilities=True
    )
    got = metric.compute()
    # bin (0.8, 1]: two pixels, half of them right; bin (0.6, 0.8]: one, right; 0.6 is ignored
    assert got["count"].tolist() == [0, 0, 0, 1, 2]
    assert got["ece"] == pytest.approx((2 * 0.4 + 0.3) / 3)
    assert got["mce"] == pytest.approx(0.4)
    assert got["accuracy"][3:].tolist() == [1, 0.5]
    assert got["confidence"][3:].tolist() == pytest.approx([0.7, 0.9])
    assert got["confidence"][:3].isnan().all()


@pytest.mark.oracle
@pytest.mark.parametrize(("norm", "key"), [("l1", "ece"), ("max", "mce")])
def test_equals_torchmetrics(norm, key):
    tm = pytest.importorskip("torchmetrics.classification")
    logits, target = batch()
    theirs = tm.MulticlassCalibrationError(4, n_bins=10, norm=norm, ignore_index=255)
    ours = CalibrationMetrics(10)
    ours.update(logits, target)
    assert ours.compute()[key] == pytest.approx(theirs(logits, target).item(), abs=1e-6)


def test_bad_input():
    logits, target = batch()
    with pytest.raises(ValueError, match=r"logits must be \(N, 4, ...\)"):
        CalibrationMetrics().update(logits, target[:1])
    with pytest.raises(TypeError, match="logits must be floating point"):
        CalibrationMetrics().update(target, target)
    with pytest.raises(ValueError, match="num_bins"):
        CalibrationMetrics(0)
    with pytest.raises(ValueError, match="same settings"):
        CalibrationMetrics(3).merge(CalibrationMetrics(4))
