"""The trained classifier becomes an ONNX file and its sidecar, or an error when the file does not do what the network does.

Outputs: `logits` (B, C), then `embedding` (B, D), the pooled features before the head, not normalised. A cosine head's matrices
are the initializers `prototypes.0` ... `prototypes.K-1`, each (D, C), so that a name can be added without training.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from fusion.models import normalise
from runs.atomic_write import replacing
from stage1_detector.export import SCORE_TOLERANCE, as_text, refuse_disagreement, to_onnx
from stage2_classifier.heads import Deployed
from stage2_classifier.model import Classifier

EMBEDDING_TOLERANCE = 1e-3  # chosen: of the embedding's length; only its direction is used


def export_classifier(model: Classifier, path: Path, sidecar: dict[str, object], crops: np.ndarray) -> dict[str, float]:
    """Write PATH (.onnx, dynamic batch) and its sidecar, both once they are whole; return the parity measured on `crops`, uint8
    (N, H, W, 3).

    Raises ValueError, and writes no file, when ONNX and torch give probabilities that differ by more than 1e-4, or embeddings
    that differ by more than EMBEDDING_TOLERANCE.
    """
    size = int(str(sidecar["size"]))
    deployed = Deployed(model.trunk, model.head).eval()
    axes = {"crops": {0: "batch"}, "logits": {0: "batch"}}
    with replacing(path, path.with_suffix(".json")) as (graph, beside):
        to_onnx(deployed, torch.zeros(2, 3, size, size), graph, axes, sidecar["mean"], sidecar["std"])
        name_second_output(graph, "embedding")
        parity = measured_parity(model, deployed, graph, sidecar, crops)
        refuse_disagreement(graph, parity, {"probabilities": SCORE_TOLERANCE, "embedding": EMBEDDING_TOLERANCE})
        beside.write_text(as_text(sidecar))
    return parity


def name_second_output(path: Path, name: str) -> None:
    """Call the second output of the graph in PATH `name`, and leave its first axis free."""
    model = onnx.load(str(path))
    output = model.graph.output[1]
    for node in model.graph.node:
        node.input[:] = [name if tensor == output.name else tensor for tensor in node.input]
        node.output[:] = [name if tensor == output.name else tensor for tensor in node.output]
    output.name = name
    output.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


@torch.no_grad()
def measured_parity(
    model: Classifier, deployed: Deployed, path: Path, sidecar: dict[str, object], crops: np.ndarray
) -> dict[str, float]:
    """Largest difference between torch and the file: the probabilities, and the embedding as a fraction of its length."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    logits, embedding = session.run(["logits", "embedding"], {session.get_inputs()[0].name: crops})
    images = torch.from_numpy(normalise(crops, sidecar["mean"], sidecar["std"]))
    torch_probabilities, onnx_probabilities = model.eval()(images).softmax(1), torch.from_numpy(logits).softmax(1)
    torch_embedding = deployed(images)[1].numpy()
    length = np.maximum(np.linalg.norm(torch_embedding, axis=1, keepdims=True), 1e-6)
    return {
        "probabilities": float((torch_probabilities - onnx_probabilities).abs().max()),
        "embedding": float((np.abs(torch_embedding - embedding) / length).max()),
    }
