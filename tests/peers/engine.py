"""The engine's side of a comparison: the program `ops`, which runs one operation at a time."""

import base64
import json
import subprocess

import numpy as np
from ml_dtypes import bfloat16

DTYPES = {
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(bfloat16),
    "u32": np.dtype(np.uint32),
    "u8": np.dtype(np.uint8),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Refused(Exception):
    """An error from the engine."""


class Panicked(Exception):
    """A panic of the engine, which is always a fault: the engine must refuse with errors."""


def to_json(array):
    """An array as `ops` reads it, a mask as u8."""
    array = np.asarray(array.array if isinstance(array, Value) else array)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if array.dtype not in NAMES:
        raise TypeError(f"the engine has no {array.dtype}")
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"dtype": NAMES[array.dtype], "shape": list(array.shape), "data": data}


def from_json(array):
    if array is None:
        return None
    values = np.frombuffer(base64.b64decode(array["data"]), DTYPES[array["dtype"]])
    return values.reshape(array["shape"])


def number(x):
    """A number as JSON; infinities and NaN, which JSON lacks, as strings."""
    if isinstance(x, float) and not np.isfinite(x):
        return str(x)
    return x


class Value:
    """An array with its engine, whose operations are the methods."""

    def __init__(self, engine, array):
        self.engine, self.array = engine, np.asarray(array)
        self.shape, self.dtype, self.ndim = self.array.shape, self.array.dtype, self.array.ndim

    def __getattr__(self, op):
        return lambda *others, **attributes: self.engine(op, self, *others, **attributes)

    def __add__(self, other):
        return self.add_scalar(value=other) if np.isscalar(other) else self.add(other)

    def __mul__(self, other):
        return self.mul_scalar(value=other) if np.isscalar(other) else self.mul(other)

    def __sub__(self, other):
        return self.add_scalar(value=-other) if np.isscalar(other) else self.sub(other)

    def __rsub__(self, scalar):
        return self.affine(mul=-1.0, add=scalar)

    def __truediv__(self, other):
        return self.div(other)

    __radd__, __rmul__ = __add__, __mul__


class Engine:
    """`ops` on a device. Calling it runs an operation: `engine("sum", x, dims=[0])`."""

    def __init__(self, program, device="cpu"):
        command = [program, "--device", device]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, request):
        """Sends a request and returns the answer, both in the form of `ops`."""
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Panicked(f"ops ended with {self.process.wait()} at {request['op']}")
        answer = json.loads(line)
        if "panic" in answer:
            raise Panicked(answer["panic"])
        return answer

    def __call__(self, op, *inputs, **attributes):
        attributes = {name: number(value) for name, value in attributes.items()}
        answer = self.ask({"op": op, "attributes": attributes, "inputs": [to_json(x) for x in inputs]})
        if "error" in answer:
            raise Refused(answer["error"])
        outputs = [Value(self, from_json(y)) for y in answer["outputs"]]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def close(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            raise Panicked(f"ops ended with {self.process.returncode}")
