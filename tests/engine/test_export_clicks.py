"""The two ONNX files of a promptable network compute what it computes."""

import pytest
import torch

from segedu.engine.export import ExportError
from segedu.engine.export_clicks import click_files, compare, export_clicks
from segedu.models.sam import sam_tiny

pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
SMALL = {"image_size": 64, "layers": 2, "width": 32, "embed_width": 32, "window_size": 3}


def network(**settings):
    """Random weights, which half precision holds."""
    torch.manual_seed(0)
    model = sam_tiny(**(SMALL | settings)).eval()
    state = {k: v.half().float() for k, v in model.state_dict().items()}
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("settings", [{}, {"patch_size": 4, "layers": 1}])
def test_the_files_answer_as_the_network_does(settings):
    model = network(**settings)
    files = click_files(model)
    assert compare(model, files) < 1e-4
    sizes = {
        "encoder": sum(p.numel() for p in model.image_encoder.parameters()),
        "decoder": sum(p.numel() for p in model.parameters())
        - sum(p.numel() for p in model.image_encoder.parameters()),
    }
    for part, data in files.items():
        assert len(data) < 2 * sizes[part] + 200_000  # bytes; the graph takes the rest


@torch.no_grad()
def test_they_are_used_as_their_module_says(tmp_path):
    model = network()
    (encoder, decoder), worst = export_clicks(model, tmp_path / "clicks.onnx", {})
    assert worst < 1e-4
    encode, decode = (
        runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
        for file in (encoder, decoder)
    )
    image = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(2))
    (embedding,) = encode.run(None, {"image": image.numpy()})
    points, labels = torch.tensor([[[20.0, 30.0], [50.0, 7.0]]]), torch.tensor([[1, 0]])
    mask, has_mask = torch.zeros(1, 1, 32, 32), torch.zeros(1)

    def same(wanted, masks: slice, count: int) -> torch.Tensor:
        inputs = {"points": points[:, :count], "labels": labels[:, :count]}
        inputs |= {"mask": mask, "has_mask": has_mask}
        given = {"embedding": embedding} | {key: x.numpy() for key, x in inputs.items()}
        logits, iou, low_res = (torch.from_numpy(x) for x in decode.run(None, given))
        for found, want in (
            (logits[:, masks, :48], wanted.logits[:, 0]),
            (iou[:, masks], wanted.iou[:, 0]),
            (low_res[:, masks], wanted.low_res[:, 0]),
        ):
            torch.testing.assert_close(found, want, rtol=1e-3, atol=1e-4)
        return low_res

    first = model(image, points=points[:, None, :1], labels=labels[:, None, :1])
    low_res = same(first, slice(1, None), 1)
    mask, has_mask = low_res[:, 2:3], torch.ones(1)
    prompts = {"points": points[:, None], "labels": labels[:, None], "masks": mask}
    same(model(image, **prompts, multimask=False), slice(0, 1), 2)


def test_files_that_compute_something_else_are_not_kept(tmp_path, monkeypatch):
    other = network(layers=1)
    files = click_files(network())
    with pytest.raises(ExportError, match="its embeddings differ by"):
        compare(other, files)
    mixed = {"encoder": click_files(other)["encoder"], "decoder": files["decoder"]}
    other.mask_decoder.iou_head[-1].bias.data += 1
    with pytest.raises(ExportError, match="its (logits|iou|low_res) differ by"):
        compare(other, mixed)
