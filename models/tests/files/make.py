"""Writes the Parquet files of this folder with pyarrow, and `expected.json` with what pandas reads
from them. Run it where pyarrow and pandas are installed: python make.py
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent


def label(names):
    return {"names": names, "_type": "ClassLabel"}


def write(path, columns, features=None, **options):
    """Writes a file as `datasets` does: with its features in the metadata."""
    table = pa.table(columns)
    if features is not None:
        info = {"info": {"features": features}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    (HERE / path).parent.mkdir(parents=True, exist_ok=True)
    options.setdefault("compression", "snappy")
    pq.write_table(table, HERE / path, row_group_size=2, **options)


def plain(value):
    """A value of pandas as JSON has it."""
    if isinstance(value, (list, np.ndarray)):
        return [plain(element) for element in value]
    if isinstance(value, dict):
        return {key: plain(element) for key, element in value.items()}
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, np.generic):
        return plain(value.item())
    if not isinstance(value, (bool, int, float, str)):
        return str(value)
    return value


def read(path):
    frame = pd.read_parquet(HERE / path, dtype_backend="pyarrow")
    return [{key: plain(value) for key, value in row.items()} for row in frame.to_dict("records")]


TEXTS = ["a fine film", "dull, \"very\" dull", "größer als 東京 🙂", "line one\nline two", "fine"]

write(
    "texts.parquet",
    {"text": TEXTS, "label": pa.array([1, 0, 1, 0, 1])},
    {"text": {"dtype": "string", "_type": "Value"}, "label": label(["neg", "pos"])},
)
write("nolabel.parquet", {"text": TEXTS, "label": pa.array([-1] * 5)}, {"label": label(["neg", "pos"])})
write("outside.parquet", {"text": TEXTS[:2], "label": pa.array([1, 2])}, {"label": label(["neg", "pos"])})
write("gap.parquet", {"text": TEXTS[:3], "label": pa.array(["a", "b", None])}, compression="gzip")
write(
    "kinds.parquet",
    {
        "text": pa.array(TEXTS).dictionary_encode(),
        "big": pa.array(TEXTS, pa.large_string()),
        "whole": pa.array([1, None, -3, 2**40, 0]),
        "small": pa.array([1, 2, 3, 4, 255], pa.uint8()),
        "single": pa.array([0.1, 5.0, None, 1e-7, 3e38], pa.float32()),
        "double": pa.array([0.1, 5.0, None, 1e-300, -2.5]),
        "yes": pa.array([True, False, None, True, True]),
        "words": pa.array([["a", "b"], [], None, ["c", None], ["d"]]),
        "numbers": pa.array([[1, 2], [], None, [3], [4]], pa.list_(pa.int32())),
        "nothing": pa.array([None] * 5, pa.string()),
        "inner": pa.array([{"x": 1, "y": ["a"]}, {"x": 2, "y": []}, None, {"x": None, "y": None}, {"x": 5, "y": ["b"]}]),
    },
    compression="gzip",
)
write(
    "tags.parquet",
    {
        "tokens": [["Ada", "lives", "in", "New", "York"], ["no", "names"], ["Ada"]],
        "ner_tags": [[1, 0, 0, 2, 3], [0, 0], [1]],
        "tags": [["B-PER", "O", "O", "B-LOC", "I-LOC"], ["O", "O"], ["B-PER"]],
    },
    {"ner_tags": {"feature": label(["O", "B-PER", "B-LOC", "I-LOC"]), "length": -1, "_type": "Sequence"}},
)
write(
    "multi.parquet",
    {"text": TEXTS, "labels": [[0, 2], [], [1], [2], [0, 1, 2]], "topic": [["x"], [], ["y"], ["x"], ["x", "y"]]},
    {"labels": {"feature": label(["joy", "fear", "love"]), "_type": "List"}},
)
write(
    "squad.parquet",
    {
        "id": ["q1", "q2"],
        "title": ["Ada", "Ada"],
        "context": ["Ada lives in Köln.", "Ada lives in Köln."],
        "question": ["Where does Ada live?", "How old is she?"],
        "answers": pa.array(
            [{"text": ["Köln", "in Köln"], "answer_start": [13, 10]}, {"text": [], "answer_start": []}],
            pa.struct({"text": pa.list_(pa.string()), "answer_start": pa.list_(pa.int32())}),
        ),
    },
)
write(
    "pairs.parquet",
    {"anchor": ["a", "b"], "positive": ["A", "B"], "negatives": [["x", "y"], []]},
)
write("scores.parquet", {"sentence1": ["a", "b"], "sentence2": ["A", "B"], "score": pa.array([0.1, 1.0], pa.float32())})
write("zstd.parquet", {"text": TEXTS, "label": [1, 0, 1, 0, 1]}, compression="zstd")
for number, rows in enumerate([slice(0, 3), slice(3, 5)]):
    name = f"hub/data/train-{number:05}-of-00002.parquet"
    write(name, {"text": TEXTS[rows], "label": pa.array([1, 0, 1, 0, 1][rows])}, {"label": label(["neg", "pos"])})
write("hub/data/validation-00000-of-00001.parquet", {"text": TEXTS[:2], "label": pa.array([1, 0])}, {"label": label(["neg", "pos"])})

files = sorted(path.relative_to(HERE).as_posix() for path in HERE.rglob("*.parquet"))
expected = {path: read(path) for path in files if path != "zstd.parquet"}
(HERE / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1) + "\n")
