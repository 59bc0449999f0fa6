from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, Matcher

from segedu.ops import balanced_sample, hungarian, match_iou
from segedu.ops.matching import BELOW, BETWEEN

properties = settings(deadline=None, max_examples=30)
seeds = st.integers(0, 2**31)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class TestMatch:
    @properties
    @given(
        seeds,
        st.integers(1, 6),
        st.integers(1, 30),
        st.booleans(),
        st.sampled_from([(0.7, 0.3), (0.5, 0.5), (0.5, 0.4)]),
    )
    def test_equals_torchvision(self, seed, m, n, low_quality, thresholds):
        iou = torch.randint(0, 11, (m, n), generator=seeded(seed)) / 10  # with ties and zeros
        expected = Matcher(*thresholds, allow_low_quality_matches=low_quality)(iou)
        assert torch.equal(match_iou(iou, *thresholds, low_quality=low_quality), expected)

    def test_by_hand(self):
        iou = torch.tensor([[0.8, 0.4, 0.1, 0.0], [0.1, 0.2, 0.2, 0.25]])
        assert match_iou(iou, 0.7, 0.3).tolist() == [0, BETWEEN, BELOW, BELOW]
        # The second object is reached by no anchor, and takes the best that there is.
        assert match_iou(iou, 0.7, 0.3, low_quality=True).tolist() == [0, BETWEEN, BELOW, 1]

    def test_an_object_apart_from_all_ties_with_all(self):
        """Known of torchvision and detectron2, and kept: their losses would differ otherwise."""
        iou = torch.tensor([[0.6, 0.0, 0.0], [0.0, 0.0, 0.0]])
        assert match_iou(iou, 0.7, 0.3).tolist() == [BETWEEN, BELOW, BELOW]
        assert match_iou(iou, 0.7, 0.3, low_quality=True).tolist() == [0, 0, 0]

    def test_without_objects_all_is_background(self):
        for low_quality in (False, True):
            got = match_iou(torch.zeros(0, 3), low_quality=low_quality)
            assert got.tolist() == [BELOW] * 3 and got.dtype == torch.int64
            assert match_iou(torch.zeros(2, 0), low_quality=low_quality).shape == (0,)


class TestSample:
    @properties
    @given(seeds, st.integers(0, 60), st.integers(0, 40), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
    def test_what_is_drawn(self, seed, n, num, fraction):
        labels = torch.randint(-1, 4, (n,), generator=seeded(seed))
        positive, negative = balanced_sample(labels, num, fraction, generator=seeded(seed))
        assert (labels[positive] >= 1).all() and (labels[negative] == 0).all()
        assert len(positive.unique()) == len(positive) and len(negative.unique()) == len(negative)
        assert len(positive) == min(int(num * fraction), int((labels >= 1).sum()))
        assert len(negative) == min(num - len(positive), int((labels == 0).sum()))

    def test_equals_torchvision(self):
        labels = torch.randint(-1, 3, (300,), generator=seeded(0))
        torch.manual_seed(3)
        positive, negative = BalancedPositiveNegativeSampler(64, 0.25)([labels])
        torch.manual_seed(3)
        ours = balanced_sample(labels, 64, 0.25)
        assert torch.equal(ours[0].sort()[0], positive[0].nonzero()[:, 0])
        assert torch.equal(ours[1].sort()[0], negative[0].nonzero()[:, 0])

    def test_the_generator_alone_decides(self):
        labels = torch.randint(0, 2, (300,), generator=seeded(0))
        torch.manual_seed(0)
        state = torch.get_rng_state()
        one = balanced_sample(labels, 64, 0.5, generator=seeded(1))
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(99)
        two = balanced_sample(labels, 64, 0.5, generator=seeded(1))
        other = balanced_sample(labels, 64, 0.5, generator=seeded(2))
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
        assert not torch.equal(one[0], other[0])

    def test_every_one_has_the_same_chance(self):
        labels, generator = torch.ones(10, dtype=torch.int64), seeded(0)
        draws = [balanced_sample(labels, 5, 1.0, generator=generator)[0] for _ in range(2000)]
        share = torch.bincount(torch.cat(draws)) / 2000
        assert ((share - 0.5).abs() < 0.06).all()  # more than five standard deviations


class TestHungarian:
    @properties
    @given(seeds, st.integers(1, 5), st.integers(1, 5))
    def test_is_the_best_of_all(self, seed, m, n):
        cost = torch.randn(m, n, generator=seeded(seed))
        rows, columns = hungarian(cost)
        assert len(rows) == len(columns) == min(m, n)
        assert len(set(columns.tolist())) == len(columns) and (rows.diff() > 0).all()
        table = cost if m <= n else cost.T
        short, long = table.shape
        best = min(
            sum(table[i, j].item() for i, j in enumerate(choice))
            for choice in permutations(range(long), short)
        )
        assert cost[rows, columns].sum().item() == pytest.approx(best, abs=1e-5)

    def test_greedy_is_not_enough(self):
        cost = torch.tensor([[1.0, 2.0], [2.0, 9.0]], requires_grad=True)
        rows, columns = hungarian(cost)
        assert rows.tolist() == [0, 1] and columns.tolist() == [1, 0]
        assert rows.dtype == columns.dtype == torch.int64

    def test_empty(self):
        for shape in ((0, 3), (3, 0), (0, 0)):
            assert [t.shape for t in hungarian(torch.zeros(shape))] == [(0,), (0,)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: match_iou(torch.zeros(3)), r"iou must be \(M, N\), got \(3,\)"),
        (lambda: match_iou(torch.zeros(1, 1), 0.3, 0.7), "low <= high <= 1, got 0.7 and 0.3"),
        (lambda: balanced_sample(torch.zeros(1, 2), 4, 0.5), r"labels must be \(N,\)"),
        (lambda: balanced_sample(torch.zeros(2), -1, 0.5), "num_samples must be >= 0, got -1"),
        (lambda: balanced_sample(torch.zeros(2), 4, 1.5), "positive_fraction .* got 1.5"),
        (lambda: hungarian(torch.zeros(3)), r"cost must be \(M, N\)"),
        (lambda: hungarian(torch.tensor([[0.0, float("nan")]])), "cost must be finite"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
