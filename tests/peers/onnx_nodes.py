"""Runs ONNX's tests of single operators (`onnx.backend.test`) on Gradus.

    python tests/peers/onnx_nodes.py --ops target/debug/ops

Every case must be equal, or be left out for a reason given here: the engine lacks the operator (LEFT_OUT) or its dtype,
or the case asks for more than the engine's operator can do. Anything else fails.
"""

import argparse
import collections
import inspect
import re
import sys
import warnings

import numpy as np
import onnx
from onnx.backend.test import loader

import onnx_images  # noqa: F401 (fills OPERATORS, as do the next)
import onnx_layers  # noqa: F401
import onnx_shapes  # noqa: F401
from compare import difference
from engine import Engine, Refused, Value
from onnx_operators import OPERATORS, NotThere

# The counts for this version of ONNX's tests on the CPU, so that a missing case is noticed. GPUs differ in dtypes.
CASES = {"equal": 827, "left out": 631}

# The engine's errors for a dtype in which the device does not compute.
NO_DTYPE = re.compile(r"got b?f16|do not compute in f64|bf16 stays on the CPU")

NO_OPERATOR = {
    "no inverse trigonometric functions": "Acos Asin Atan",
    "no sampling of images and no transpose of patches": """AffineGrid Col2Im ConvInteger ConvTranspose DeformConv
        GridSample ImageDecoder MaxUnpool NonMaxSuppression Resize RoiAlign Upsample""",
    "no linear attention": "LinearAttention",
    "no quantised tensors": """DequantizeLinear DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul
        QuantizeLinear""",
    "no bits": "BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor",
    "no strings": "RegexFullMatch StringConcat StringNormalizer StringSplit TfIdfVectorizer LabelEncoder",
    "no control flow, sequences or optional values: Rust has them": """If Loop Scan SequenceInsert SequenceMap
        SplitToSequence OptionalGetElement OptionalHasElement""",
    "no spectra": "DFT MelWeightMatrix STFT",
    "the random numbers are not PyTorch's or NumPy's": "Bernoulli",
    "asks about a tensor, or makes one, without computing": "Constant Shape Size",
    "no such operation, alone or composed": """Adagrad ArrayFeatureExtractor Binarizer CumProd Det FlexAttention NonZero
        TreeEnsemble Trilu Unique""",
}
LEFT_OUT = {name: reason for reason, names in NO_OPERATOR.items() for name in names.split()}

# Cases with an intended difference, each with the reason.
NO_ELEMENTS = "the largest of no elements is an error, as in PyTorch"
DIFFERENCES = {
    "test_reduce_max_empty_set": NO_ELEMENTS,
    "test_reduce_max_empty_set_bool": NO_ELEMENTS,
    "test_reduce_min_empty_set": NO_ELEMENTS,
    "test_averagepool_2d_ceil_last_window_starts_on_pad": "the answer is written with four digits",
}


class Node:
    """An operator of ONNX with its attributes."""

    def __init__(self, model):
        node = model.graph.node[0]
        self.op, self.outputs = node.op_type, list(node.output)
        self.inputs = list(node.input)
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        self.attributes = {name: plain(value) for name, value in attributes.items()}
        self.output_type = model.graph.output[0].type.tensor_type.elem_type

    def get(self, name, default=None):
        return self.attributes.get(name, default)

    def output_dtype(self):
        return onnx.helper.tensor_dtype_to_np_dtype(self.output_type)


def plain(value):
    if isinstance(value, bytes):
        return value.decode()
    return array(value) if isinstance(value, onnx.TensorProto) else value


def array(x):
    return onnx.numpy_helper.to_array(x) if isinstance(x, onnx.TensorProto) else x


def run(engine, node, inputs):
    """The outputs of a node; an empty name stands for an input that is left out."""
    given = iter(inputs)
    values = [Value(engine, next(given)) if name else None for name in node.inputs]
    outputs = OPERATORS[node.op](engine, node, *values)
    outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
    return [output.array for output in outputs]


def told(ours, theirs):
    """Converts the engine's u8 masks and u32 indices to the types of ONNX."""
    if theirs.dtype == bool and ours.dtype == np.uint8 and ours.max(initial=0) <= 1:
        return ours.astype(bool)
    if theirs.dtype == np.int64 and ours.dtype == np.uint32:
        return ours.astype(np.int64)
    return ours


def check(engine, case):
    """`equal`, or `left out` or `different` with the reason."""
    node = Node(case.model)
    if node.op in LEFT_OUT:
        return "left out", LEFT_OUT[node.op]
    for inputs, expected in case.data_sets:
        inputs, expected = [array(x) for x in inputs], [array(y) for y in expected]
        if any(isinstance(x, list) for x in inputs):
            return "left out", "no sequences"
        try:
            outputs = run(engine, node, inputs)
        except NotThere as reason:
            return "left out", f"not there: {reason}"
        except TypeError as error:
            if "the engine has no" not in str(error):
                raise
            return "left out", f"dtype: {error}"
        except Refused as error:
            if NO_DTYPE.search(str(error)):
                return "left out", "dtype: the CPU stores f16 and bf16 only, GPUs have neither bf16 nor f64"
            return "different", f"refused: {error}"
        if len(outputs) < len(expected):
            return "different", f"{len(outputs)} outputs, not {len(expected)}"
        for ours, theirs in zip(outputs, expected):
            wrong = difference(told(ours, theirs), theirs)
            if wrong:
                return "different", wrong
    return "equal", None


def cases():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns about infinities in the cases
        found = loader.load_model_tests(kind="node")
    return [case for case in found if len(case.model.graph.node) == 1]


def compare(device, arguments, chosen):
    """Runs the cases on a device, prints the results, and returns whether they are right."""
    engine = Engine(arguments.ops, device)
    found, reasons, operators, wrong = collections.Counter(), collections.Counter(), set(), {}
    for case in chosen:
        verdict, why = check(engine, case)
        op = case.model.graph.node[0].op_type
        if arguments.only:
            print(f"{case.name} ({op}): {verdict} {why or ''}")
        found[verdict] += 1
        if verdict == "equal":
            operators.add(op)
        elif verdict == "left out":
            reasons[why] += 1
        if (verdict == "different") != (case.name in DIFFERENCES):
            wrong[case.name] = why or "is equal by now: take it off the list"
    engine.close()
    print(f"ONNX {onnx.__version__} on {device}: {found['equal']} cases of {len(operators)} operators equal, "
          f"{found['different']} different, {found['left out']} left out")
    if arguments.verbose:
        for reason, count in reasons.most_common():
            print(f"  {count:4} {reason}")
    for name, why in wrong.items():
        print(f"  {name}: {why}")
    right = not wrong
    if device == "cpu" and not arguments.only and any(found[kind] != count for kind, count in CASES.items()):
        print(f"  the cases are not those written down, {CASES}; if that is right, write it down")
        right = False
    return right


def main():
    parser = argparse.ArgumentParser(description=inspect.getdoc(sys.modules[__name__]).splitlines()[0])
    parser.add_argument("--ops", required=True, help="the program ops")
    parser.add_argument("--device", nargs="+", default=["cpu"], choices=["cpu", "gpu"])
    parser.add_argument("--only", help="cases whose names contain this, told in full")
    parser.add_argument("-v", "--verbose", action="store_true", help="list what is left out, by reason")
    arguments = parser.parse_args()
    chosen = [case for case in cases() if not arguments.only or arguments.only in case.name]
    results = [compare(device, arguments, chosen) for device in arguments.device]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
