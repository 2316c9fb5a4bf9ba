"""Other ways to run the same weights, for the benchmark: NeMo as shipped, and ONNX runtimes on NeMo's own export.

The export lacks the masks of the convolutions, so a text may depend on what it is batched with. onnxruntime and
sherpa-onnx come with the extra `bench`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from actors.audio.pcm import as_float
from actors.engine.citrinet import checkpoint
from actors.engine.citrinet.cpu_layers import CpuLayers
from actors.engine.citrinet.features import Features
from actors.engine.models import ModelFile, fetch, read_vocabulary
from actors.schema import SAMPLE_RATE, Waveform
from actors.storage.cache import cache_folder, is_intact, new_file
from actors.text.greedy import collapse

Transcribe = Callable[[Sequence[Waveform]], list[str]]


def nemo_as_shipped(model: ModelFile, device: str, batch_size: int) -> Transcribe:
    """NeMo's own transcribe(), which batches in the order given."""
    from nemo.collections.asr.models import ASRModel

    nemo = ASRModel.restore_from(str(fetch(model)), map_location=device).eval()

    def transcribe(sounds: Sequence[Waveform]) -> list[str]:
        floats = [as_float(pcm) for pcm in sounds]
        return [hypothesis.text for hypothesis in nemo.transcribe(floats, batch_size=batch_size, verbose=False)]

    return transcribe


def onnxruntime(model: ModelFile, threads: int) -> Transcribe:
    """onnxruntime for the encoder; features and text are the fused engine's, whose time is negligible."""
    import onnxruntime as runtime

    config, tensors = checkpoint.load(fetch(model), model.sha256, cache_folder())
    features = Features(CpuLayers(torch.float32), config["features"], tensors)
    decoder, stride = read_vocabulary(model).decoder(), checkpoint.stride(config)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    session = runtime.InferenceSession(export(model) / "model.onnx", options, ["CPUExecutionProvider"])
    signal, length = (each.name for each in session.get_inputs())

    def transcribe(batch: Sequence[Waveform]) -> list[str]:
        packing = features.packing(batch, 0)
        packed = features(*features.packed(batch, packing), packing)
        padded = torch.nn.utils.rnn.pad_sequence([packed[rows] for rows in packing.slices], batch_first=True)
        inputs = {signal: padded.mT.contiguous().numpy(), length: packing.lengths.astype(np.int64)}
        best = session.run(None, inputs)[0].argmax(axis=2)
        counts = [-(-frames // stride) for frames in packing.lengths.tolist()]
        return [
            decoder.text(collapse(ids[:count], decoder.blank).tolist()) for ids, count in zip(best, counts, strict=True)
        ]

    return transcribe


def sherpa_onnx(model: ModelFile, threads: int) -> Transcribe:
    """sherpa-onnx with its own features and decoding."""
    import sherpa_onnx as sherpa

    folder = export(model)
    recognizer = sherpa.OfflineRecognizer.from_nemo_ctc(
        str(folder / "model.onnx"), str(folder / "tokens.txt"), num_threads=threads
    )

    def transcribe(batch: Sequence[Waveform]) -> list[str]:
        streams = [recognizer.create_stream() for _ in batch]
        for stream, pcm in zip(streams, batch, strict=True):
            stream.accept_waveform(SAMPLE_RATE, as_float(pcm))
        recognizer.decode_streams(streams)
        return [stream.result.text for stream in streams]

    return transcribe


def export(model: ModelFile) -> Path:
    """A folder with NeMo's ONNX export of a model, made once, and the metadata that sherpa-onnx needs."""
    folder = cache_folder() / "benchmark" / f"{model.sha256}.onnx"
    tokens, path = folder / "tokens.txt", folder / "model.onnx"
    if not (is_intact(tokens) and is_intact(path)):
        import onnx
        from nemo.collections.asr.models import ASRModel

        nemo = ASRModel.restore_from(str(fetch(model)), map_location="cpu").eval()
        vocabulary = list(nemo.decoder.vocabulary)
        stride = checkpoint.stride(checkpoint.load(fetch(model), model.sha256, cache_folder())[0])
        about = {"model_type": type(nemo).__name__, "normalize_type": "per_feature", "subsampling_factor": str(stride)}
        with new_file(path, with_digest=True) as partial:
            nemo.export(str(partial))
            exported = onnx.load(partial)
            onnx.helper.set_model_props(exported, about | {"vocab_size": str(len(vocabulary))})
            onnx.save(exported, partial)
        lines = [f"{token} {number}" for number, token in enumerate([*vocabulary, "<blk>"])]
        with new_file(tokens, with_digest=True) as partial:
            partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
