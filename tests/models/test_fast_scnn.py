import pytest
import torch

from segedu.models.fast_scnn import FastSCNN


@pytest.mark.parametrize(("aux_loss", "parameters"), [(False, 1_138_051), (True, 1_157_174)])
def test_parameters_are_the_references(aux_loss, parameters):
    with torch.device("meta"):
        model = FastSCNN(19, aux_loss=aux_loss)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_strides_are_those_of_table_1():
    model = FastSCNN(2, base_width=8).eval()
    fine = model.downsample(torch.zeros(1, 3, 128, 256))
    assert fine.shape[-2:] == (16, 32)
    assert model.context(fine).shape[-2:] == (4, 8)
