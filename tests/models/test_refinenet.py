import torch

from segedu.models.refinenet import ChainedResidualPooling, RefineNet, ResidualConvUnit


def test_a_residual_unit_without_weights_passes_its_input_signs_and_all():
    unit = ResidualConvUnit(3)
    for parameter in unit.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn(1, 3, 5, 5)
    assert torch.equal(unit(x), x)  # pre-activation: no ReLU on the sum


def test_each_link_of_the_chain_sees_two_pixels_further():
    for stages in (1, 2, 4):
        chain = ChainedResidualPooling(1, stages)
        with torch.no_grad():
            for conv in chain.convs:
                conv.weight.zero_()
                conv.weight[..., 1, 1] = 1
        x = torch.zeros(1, 1, 31, 31)
        x[..., 15, 15] = 1
        assert (chain(x) > 0).sum() == (1 + 4 * stages) ** 2


def test_the_papers_chains_of_two_are_smaller():
    with torch.device("meta"):
        four, two = RefineNet(21), RefineNet(21, pooling_stages=2)
    fewer = 2 * 9 * (512**2 + 3 * 256**2)
    count = [sum(p.numel() for p in model.parameters()) for model in (four, two)]
    assert count[0] - count[1] == fewer


def test_without_the_identity_a_unit_without_weights_passes_nothing():
    model = RefineNet(2, identity=False, base_width=4, layers=(1, 1, 1, 1))
    units = [unit for unit in model.modules() if isinstance(unit, ResidualConvUnit)]
    assert len(units) == 4 * 5
    for unit in units:
        torch.nn.init.zeros_(unit.conv2.weight)
        assert not unit(torch.randn(1, unit.conv1.in_channels, 5, 5)).any()
