import pytest
import torch
from torch.autograd import gradcheck

from segedu.losses import DiscriminativeLoss


def paper(x, ids, delta_var=0.5, delta_dist=1.5):
    """Equations 1 to 3 with loops; x (E, P), ids (P,)."""
    groups = [x[:, ids == i] for i in ids.unique().tolist() if i not in (0, 255)]
    means = [group.mean(1) for group in groups]
    count = len(groups)
    var = sum(
        sum((m - pixel).norm().sub(delta_var).clamp(min=0) ** 2 for pixel in group.T)
        / group.shape[1]
        for m, group in zip(means, groups, strict=True)
    )
    dist = sum(
        (2 * delta_dist - (a - b).norm()).clamp(min=0) ** 2
        for i, a in enumerate(means)
        for j, b in enumerate(means)
        if i != j
    )
    reg = sum(m.norm() for m in means)
    pairs = max(count * (count - 1), 1)
    return torch.as_tensor(var / count), torch.as_tensor(dist / pairs), torch.as_tensor(reg / count)


def batch():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 6, 7, generator=g, dtype=torch.float64)
    ids = torch.zeros(2, 6, 7, dtype=torch.int64)
    ids[0, :5, :5] = 7  # instances of very different size
    ids[0, 5, :2] = 12
    ids[0, 5, 5:] = 300
    ids[1, 0, 0] = 1
    ids[1, 3:, 3:] = 255
    return x, ids


def test_equals_the_equations_of_the_paper():
    x, ids = batch()
    loss = DiscriminativeLoss(alpha=1.0, beta=2.0, gamma=0.1)
    images = [paper(e.flatten(1), i.flatten()) for e, i in zip(x, ids, strict=True)]
    var, dist, reg = (torch.stack(terms).mean() for terms in zip(*images, strict=True))
    torch.testing.assert_close(loss(x, ids), var + 2 * dist + 0.1 * reg)
    torch.testing.assert_close(loss.parts, {"var": var, "dist": dist, "reg": reg})


def test_gradient_and_images_without_instances():
    x, ids = batch()
    assert gradcheck(DiscriminativeLoss(), (x[:1, :2].requires_grad_(), ids[:1]))
    x.requires_grad_()
    alone = DiscriminativeLoss()(x[:1], ids[:1])
    padded = DiscriminativeLoss()(x, torch.stack([ids[0], ids[0] * 0]))
    torch.testing.assert_close(alone, padded)
    nothing = DiscriminativeLoss()(x, ids * 0)
    nothing.backward()
    assert nothing == 0
    assert (x.grad == 0).all()


def test_names_of_instances_do_not_matter():
    x, ids = batch()
    renamed = torch.where(ids == 7, 900, torch.where(ids == 12, 3, ids))
    torch.testing.assert_close(DiscriminativeLoss()(x, ids), DiscriminativeLoss()(x, renamed))


def test_tight_and_distant_clusters_cost_nothing_but_their_norm():
    x = torch.zeros(1, 2, 1, 4)
    x[0, 0, 0, 2:] = 3.5  # farther apart than 2 * 1.5
    loss = DiscriminativeLoss()
    loss(x, torch.tensor([[[1, 1, 2, 2]]]))
    assert [v.item() for v in loss.parts.values()] == [0, 0, 3.5 / 2]


def test_bad_arguments():
    x, ids = batch()
    with pytest.raises(ValueError, match="embeddings must be"):
        DiscriminativeLoss()(x, ids[:1])
    with pytest.raises(TypeError, match="target integer"):
        DiscriminativeLoss()(x, ids.float())
    with pytest.raises(TypeError, match=r"embeddings .* a tuple of 2 outputs.*AuxiliaryLoss"):
        DiscriminativeLoss()((x, x), ids)
    with pytest.raises(ValueError, match="delta_var must be >= 0"):
        DiscriminativeLoss(delta_var=-1.0)
