import torch

from segedu.models.deformable_attention import DeformableAttention, centres


def test_deformable_attention_reads_the_maps_where_its_offsets_say():
    attention = DeformableAttention(8, heads=2, points=1)
    sizes = [(2, 4), (4, 8), (8, 16)]
    with torch.no_grad():
        attention.offset.bias.zero_()  # every point is the token's own place
        attention.value.weight.copy_(torch.eye(8))
        attention.out.weight.copy_(torch.eye(8))
    places = torch.cat([centres(torch.empty(1, 1, *size)) for size in sizes])
    tokens = places.repeat(1, 4)[None]  # a token tells where it is, in all channels
    y = attention(tokens, tokens, places, sizes)
    inner = ((places >= 0.25) & (places <= 0.75)).all(1)  # away from the zeros beyond the border
    assert torch.allclose(y[0, inner], tokens[0, inner], atol=1e-6)


def test_centres_are_x_and_y_row_by_row():
    expected = [[0.25, 0.5], [0.75, 0.5]]
    assert centres(torch.empty(1, 1, 1, 2)).tolist() == expected
