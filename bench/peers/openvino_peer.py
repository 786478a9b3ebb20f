#!/usr/bin/env python3
"""Times OpenVINO on the encode workloads of `bench`; prints one JSON object a line.

usage: openvino_peer.py --model DIR --onnx FILE [--data TEST.csv] [--threads N] [--seconds S] WORKLOAD...

A missing FILE is made (that needs torch): the script exports it from transformers. OpenVINO fuses the graph itself.
`--precision int8` needs NNCF, which quantises weights and activations for transformers with 128 texts of --data
(random ids where there are none) into FILE.openvino-int8.xml. `--precision bf16` lets the plugin compute in bf16. `--model base` is
BERT-base with random weights. `--embeddings OUT.npy` writes the embeddings of the first 64 texts of --data instead.
"""
import os

import common
import numpy as np

p = common.parser(__doc__, ["f32", "bf16", "int8"])
p.add_argument("--onnx", required=True)
a = p.parse_args()
if not os.path.exists(a.onnx):
    common.export(a, a.onnx)
import openvino as ov


def samples():
    """Inputs that show NNCF the ranges of the activations."""
    if a.model == "base" or not a.data:
        for _ in range(16):
            yield {"input_ids": np.random.randint(1000, 30000, (1, 64)), "attention_mask": np.ones((1, 64), np.int64)}
        return
    tok = common.tokenizer(a.model)
    for r in common.share(common.rows(a.data), 128):
        ids, mask = common.pad([tok.encode(r["text"])])
        yield {"input_ids": np.array(ids), "attention_mask": np.array(mask)}


def quantise(path):
    import nncf
    model = nncf.quantize(core.read_model(a.onnx), nncf.Dataset(list(samples())), model_type=nncf.ModelType.TRANSFORMER)
    ov.save_model(model, path, compress_to_fp16=False)


core = ov.Core()
path = a.onnx
if a.precision == "int8":
    path = a.onnx + ".openvino-int8.xml"
    if not os.path.exists(path):
        quantise(path)
# Without a hint the plugin takes bf16 where the processor has it.
compiled = core.compile_model(core.read_model(path), "CPU", {
    "INFERENCE_NUM_THREADS": a.threads,
    "NUM_STREAMS": 1,
    "PERFORMANCE_HINT": "LATENCY",
    "INFERENCE_PRECISION_HINT": "bf16" if a.precision == "bf16" else "f32",
})
request = compiled.create_infer_request()


def run(ids, mask):
    # The request's own memory: the next call writes over it.
    return request.infer({"input_ids": ids, "attention_mask": mask}, share_inputs=True, share_outputs=True)[0]


common.measure_onnx("openvino-" + ov.__version__.split("-")[0], run, a)
