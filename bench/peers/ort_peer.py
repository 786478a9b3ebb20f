#!/usr/bin/env python3
"""Times ONNX Runtime on the encode workloads of `bench`; prints one JSON object a line.

usage: ort_peer.py --model DIR --onnx FILE [--data TEST.csv] [--threads N] [--seconds S] WORKLOAD...

A missing FILE is made (that needs torch): the script exports it from transformers. FILE.fused is optimised with
onnxruntime.transformers.optimizer, which fuses attention, layer norm and GELU; `--precision int8` quantises that
dynamically, per channel, into FILE.fused.int8. `--model base` is BERT-base with random weights.
`--embeddings OUT.npy` writes the embeddings of the first 64 texts of --data instead.
"""
import os

import common

p = common.parser(__doc__, ["f32", "int8"])
p.add_argument("--onnx", required=True)
a = p.parse_args()


def fuse(path):
    from onnxruntime.transformers import optimizer
    c = common.export(a, a.onnx)
    optimizer.optimize_model(a.onnx, model_type="bert", num_heads=c.num_attention_heads,
                             hidden_size=c.hidden_size).save_model_to_file(path)


def quantise(source, path):
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    # ONNX cannot infer the types of the fused operators' outputs.
    types = {"DefaultTensorType": onnx.TensorProto.FLOAT}
    quantize_dynamic(source, path, per_channel=True, weight_type=QuantType.QInt8, extra_options=types)


path = a.onnx + ".fused"
if not os.path.exists(path):
    fuse(path)
if a.precision == "int8":
    source, path = path, path + ".int8"
    if not os.path.exists(path):
        quantise(source, path)
import onnxruntime as ort

options = ort.SessionOptions()
options.intra_op_num_threads = a.threads
session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(ids, mask):
    return session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


common.measure_onnx("onnxruntime-" + ort.__version__, run, a)
