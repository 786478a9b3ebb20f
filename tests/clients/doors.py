"""Real clients against a running `serve`, which serves MiniLM, a classifier fine-tuned on Banking77, and MiniLM's encoder
under untrained heads that fill masks and label words.

Embeddings must be within 1e-5 of the reference results in every protocol. The other models must answer what `infer`
answers for the same folder. `tests/clients/run` installs the clients and runs this.
"""

import argparse
import gzip
import importlib.metadata
import json
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openai
import requests
import tritonclient.http as triton
from huggingface_hub import InferenceClient
from langchain_openai import OpenAIEmbeddings
from safetensors.numpy import load_file, save_file
from tritonclient.utils import InferenceServerException

TEXTS = [
    "How do I locate my card?",
    "I was charged a fee for a cash withdrawal.",
    "The exchange rate is wrong.",
    "Où est ma carte ?",
]


BLANKS = ["How do I locate my [MASK]?", "The [MASK] rate is [MASK]."]


def with_head(encoder, out, architecture, head, **config):
    """A folder with MiniLM's encoder under an untrained head, whose answers mean nothing but are exact."""
    out.mkdir()
    settings = json.loads((encoder / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({**settings, "architectures": [architecture], **config}))
    weights = load_file(encoder / "model.safetensors")
    weights = {f"bert.{name}": w for name, w in weights.items() if "position_ids" not in name}
    save_file({**weights, **head}, out / "model.safetensors", metadata={"format": "pt"})
    shutil.copy(encoder / "tokenizer.json", out)
    return out


def untrained(shared, store):
    """A masked-language model whose decoder is tied to the embeddings, and a tagger."""
    encoder, f32 = shared / "models/minilm", np.float32
    settings = json.loads((encoder / "config.json").read_text())
    width, vocabulary = settings["hidden_size"], settings["vocab_size"]
    masked = {
        "cls.predictions.bias": np.zeros(vocabulary, f32),
        "cls.predictions.transform.dense.weight": np.eye(width, dtype=f32),
        "cls.predictions.transform.dense.bias": np.zeros(width, f32),
        "cls.predictions.transform.LayerNorm.weight": np.ones(width, f32),
        "cls.predictions.transform.LayerNorm.bias": np.zeros(width, f32),
    }
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    tags = {
        "classifier.weight": np.random.default_rng(0).normal(0, 0.3, (len(names), width)).astype(f32),
        "classifier.bias": np.zeros(len(names), f32),
    }
    ids = {str(i): name for i, name in enumerate(names)}
    return (
        with_head(encoder, store / "blanks", "BertForMaskedLM", masked),
        with_head(encoder, store / "names", "BertForTokenClassification", tags, id2label=ids),
    )


class Programs:
    """The programs of the workspace."""

    def __init__(self, folder, work):
        self.folder, self.work = folder, work

    def run(self, program, *args):
        command = [self.folder / program, *args, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return [json.loads(line) for line in done.stdout.splitlines()]

    def train(self, shared):
        """A classifier after few steps: its labels are real, its scores need not be good."""
        data, out = self.work / "data", self.work / "store" / "intents"
        data.mkdir()
        out.parent.mkdir()
        shutil.copy(shared / "data/banking77/train.csv", data)
        recipe = ["--steps", "12", "--batch-size", "16", "--max-length", "32", "--lr", "5e-4"]
        model = shared / "models/minilm"
        self.run("train", "classify", "--data", data, "--model", model, "--out", out, *recipe)
        return out


class Close:
    """Compares vectors with the expected ones, and remembers the largest difference."""

    def __init__(self, expected, within):
        self.expected, self.within, self.worst, self.count = expected, within, 0.0, 0

    def __call__(self, found):
        found = np.asarray(found, dtype=np.float64)
        assert found.shape == self.expected.shape, (found.shape, self.expected.shape)
        worst = float(np.abs(found - self.expected).max())
        assert worst <= self.within, f"they differ by {worst}"
        self.worst, self.count = max(self.worst, worst), self.count + 1


def near(found, expected):
    assert np.allclose(found, expected, rtol=0, atol=1e-5), (found, expected)


class Doors:
    """The checks, one method per client."""

    def __init__(self, url, sentences, golden, ranked, labels, filled, words, spans):
        self.url, self.sentences, self.labels = url, sentences, labels
        # The answers of `infer` for the blanks, and for the words and spans of the texts.
        self.filled, self.words, self.spans = filled, words, spans
        self.embeddings = Close(golden, 1e-5)
        # By text: label → score.
        self.ranked = ranked
        self.scores = Close(np.array([[r[l] for l in labels] for r in ranked]), 1e-5)

    def classified(self, rows):
        """Rows of label → score."""
        for row, ranked in zip(rows, self.ranked, strict=True):
            assert max(row, key=row.get) == max(ranked, key=ranked.get)
        self.scores([[row[label] for label in self.labels] for row in rows])

    def openai(self):
        client = openai.OpenAI(base_url=f"{self.url}/v1", api_key="any", max_retries=0)
        # The client asks for base64 by default.
        for more in [{}, {"encoding_format": "float"}]:
            answer = client.embeddings.create(model="minilm", input=self.sentences, **more)
            self.embeddings([item.embedding for item in answer.data])
            assert answer.usage.total_tokens > len(self.sentences)
        one = client.embeddings.create(model="minilm", input=self.sentences[0], dimensions=8)
        assert abs(np.linalg.norm(one.data[0].embedding) - 1) < 1e-6 and len(one.data[0].embedding) == 8
        ids = client.embeddings.create(model="minilm", input=[[101, 7632, 1012, 102]])
        expected = self.embeddings.expected[self.sentences.index("Hi.")]
        assert np.abs(np.array(ids.data[0].embedding) - expected).max() < 1e-5
        assert [m.id for m in client.models.list()] == ["minilm", "intents", "blanks", "names"]
        assert client.models.retrieve("minilm").id == "minilm"
        for bad, error in [
            ({"model": "none", "input": "a"}, openai.NotFoundError),
            ({"model": "minilm", "input": ""}, openai.BadRequestError),
            ({"model": "intents", "input": "a"}, openai.BadRequestError),
        ]:
            try:
                client.embeddings.create(**bad)
            except error as e:
                assert e.body["message"] and e.type == "invalid_request_error", e.body
            else:
                raise AssertionError(f"{bad} was answered")
        return "base64 and float, dimensions, token ids, models, three errors by their class"

    def langchain_openai(self):
        client = OpenAIEmbeddings(
            model="minilm", base_url=f"{self.url}/v1", api_key="any", check_embedding_ctx_length=False
        )
        self.embeddings(client.embed_documents(self.sentences))
        self.embeddings([client.embed_query(text) for text in self.sentences])
        return "embed_documents, embed_query"

    def huggingface_hub(self):
        client = InferenceClient(self.url)
        self.embeddings([client.feature_extraction(text)[0] for text in self.sentences])
        self.embeddings(client.feature_extraction(self.sentences))
        similar = client.sentence_similarity(self.sentences[0], other_sentences=self.sentences)
        assert abs(similar[0] - 1) < 1e-5
        expected = self.embeddings.expected @ self.embeddings.expected[0]
        assert np.abs(np.array(similar) - expected).max() < 1e-5
        intents = InferenceClient(f"{self.url}/models/intents")
        rows = [intents.text_classification(text, top_k=len(self.labels)) for text in TEXTS]
        self.classified([{item.label: item.score for item in row} for row in rows])
        assert len(intents.text_classification(TEXTS[0], top_k=3)) == 3
        by = lambda function: {
            item.label: item.score
            for item in intents.text_classification(TEXTS[0], top_k=len(self.labels), function_to_apply=function)
        }
        logits, sigmoids = by("none"), by("sigmoid")
        near([sigmoids[label] for label in logits], [1 / (1 + np.exp(-logit)) for logit in logits.values()])
        blanks = InferenceClient(f"{self.url}/models/blanks")
        for text, expected in zip(BLANKS, self.filled, strict=True):
            masks = [blanks.fill_mask(text, top_k=3)] if len(expected) == 1 else blanks.fill_mask(text, top_k=3)
            for found, fills in zip(masks, expected, strict=True):
                # For several masks the client leaves the lists as they are.
                found = [fill if isinstance(fill, dict) else vars(fill) for fill in found]
                same = lambda fills, word, id: [(fill[word], fill[id], fill["sequence"]) for fill in fills]
                assert same(found, "token_str", "token") == same(fills, "token", "id"), (found, fills)
                near([fill["score"] for fill in found], [fill["score"] for fill in fills])
        word = self.filled[0][0][-1]
        only = blanks.fill_mask(BLANKS[0], targets=[word["token"]])
        assert [(fill.token_str, fill.sequence) for fill in only] == [(word["token"], word["sequence"])], only
        near([only[0].score], [word["score"]])
        names = InferenceClient(f"{self.url}/models/names")
        for text, words, spans in zip(TEXTS, self.words, self.spans, strict=True):
            words = [word for word in words if word["label"] != "O"]
            for name, expected, more in [
                ("entity_group", spans, {}),
                ("entity", words, {"aggregation_strategy": "none"}),
            ]:
                found = names.token_classification(text, **more)
                place = [(f[name], f.word, f.start, f.end) for f in found]
                assert place == [(e["label"], e["text"], e["start"], e["end"]) for e in expected], found
                near([f.score for f in found], [e["score"] for e in expected])
        assert any(self.spans), "no word has a label"
        return (
            "feature_extraction, sentence_similarity, text_classification with top_k and functions, fill_mask of one "
            "mask, of several and of targets, token_classification of words and spans"
        )

    def tritonclient(self):
        client = triton.InferenceServerClient(self.url.removeprefix("http://"))
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("minilm")
        metadata = client.get_model_metadata("minilm")
        assert metadata["outputs"][0] == {"name": "EMBEDDING", "datatype": "FP32", "shape": [-1, 384]}
        assert client.get_model_config("minilm")["max_batch_size"] > 0

        def texts(values, shape, binary):
            tensor = triton.InferInput("TEXT", shape, "BYTES")
            values = np.array(values, dtype=np.object_).reshape(shape)
            tensor.set_data_from_numpy(values, binary_data=binary)
            return [tensor]

        count = len(self.sentences)
        for binary in [True, False]:
            for shape in [[count, 1], [count]]:
                wanted = [triton.InferRequestedOutput("EMBEDDING", binary_data=binary)]
                inputs = texts(self.sentences, shape, binary)
                self.embeddings(client.infer("minilm", inputs, outputs=wanted).as_numpy("EMBEDDING"))
        for way in ["gzip", "deflate"]:
            inputs = texts(self.sentences, [count], True)
            answer = client.infer("minilm", inputs, request_compression_algorithm=way)
            self.embeddings(answer.as_numpy("EMBEDDING"))
        wanted = [
            triton.InferRequestedOutput("SCORES", binary_data=True),
            triton.InferRequestedOutput("LABEL", binary_data=True),
        ]
        answer = client.infer("intents", texts(TEXTS, [len(TEXTS)], True), outputs=wanted, model_version="1")
        rows = answer.as_numpy("SCORES")
        self.classified([dict(zip(self.labels, row, strict=True)) for row in rows])
        best = [max(ranked, key=ranked.get) for ranked in self.ranked]
        assert [label.decode() for label in answer.as_numpy("LABEL")] == best
        wanted = [triton.InferRequestedOutput("SCORES", class_count=2)]
        classes = client.infer("intents", texts(TEXTS, [len(TEXTS)], True), outputs=wanted)
        first = classes.as_numpy("SCORES")[:, 0]
        assert [c.decode().split(":", 2)[2] for c in first] == best
        asked = client.async_infer("minilm", texts(self.sentences, [count], True))
        self.embeddings(asked.get_result().as_numpy("EMBEDDING"))
        try:
            client.infer("none", texts(["a"], [1], True))
        except InferenceServerException as e:
            assert "no model `none`" in e.message(), e
        else:
            raise AssertionError("a model that is not there answered")
        assert any(m["name"] == "minilm" for m in client.get_model_repository_index())
        client.load_model("intents")
        statistics = client.get_inference_statistics("minilm")["model_stats"][0]
        assert statistics["inference_stats"]["success"]["count"] >= 7
        client.close()
        return "binary and JSON tensors, gzip, deflate, classes, async, metadata, statistics, repository"

    def ask(self, path, code=200, **more):
        answer = requests.post(f"{self.url}{path}", timeout=60, **more)
        assert answer.status_code == code, answer.text
        return answer.json()

    def torchserve(self):
        assert requests.get(f"{self.url}/ping", timeout=60).json() == {"status": "Healthy"}
        path = "/predictions/minilm"
        self.embeddings([self.ask(path, data=text.encode()) for text in self.sentences])
        self.embeddings(self.ask(path, json=self.sentences))
        self.embeddings(self.ask(f"{path}/1.0", json={"data": self.sentences}))
        self.embeddings([self.ask(path, json=[{"data": text}])[0] for text in self.sentences])
        self.classified([self.ask("/predictions/intents", data=text.encode()) for text in TEXTS])
        self.classified([self.ask("/predictions/intents", data={"data": text}) for text in TEXTS])
        self.classified([self.ask("/predictions/intents", files={"data": text}) for text in TEXTS])
        error = self.ask("/predictions/none", code=404, data=b"a")
        assert (error["code"], error["type"]) == (404, "ModelNotFoundException")
        # Management: registers the trained folder again under another name.
        of = lambda method, path: requests.request(method, f"{self.url}{path}", timeout=60)
        added = of("POST", "/models?url=intents&model_name=again&initial_workers=1&synchronous=true")
        assert added.status_code == 200 and "registered" in added.json()["status"], added.text
        assert of("GET", "/models/again").json()[0]["workers"][0]["status"] == "READY"
        assert of("PUT", "/models/again?min_worker=2").status_code == 202
        self.classified([self.ask("/predictions/again", data=text.encode()) for text in TEXTS])
        assert of("DELETE", "/models/again").status_code == 200
        assert of("GET", "/models/again").json()["type"] == "ModelNotFoundException"
        return "raw, JSON, forms and versioned predictions, register, describe, scale, unregister"

    def tensorflow_serving(self):
        state = requests.get(f"{self.url}/v1/models/minilm", timeout=60).json()
        assert state["model_version_status"][0]["state"] == "AVAILABLE"
        path = "/v1/models/minilm"
        self.embeddings(self.ask(f"{path}:predict", json={"instances": self.sentences})["predictions"])
        self.embeddings(self.ask(f"{path}/versions/1:predict", json={"inputs": self.sentences})["outputs"])
        rows = [{"text": text} for text in self.sentences]
        body = {"signature_name": "serving_default", "instances": rows}
        self.embeddings(self.ask(f"{path}/labels/stable:predict", json=body)["predictions"])
        body = gzip.compress(json.dumps({"instances": self.sentences}).encode())
        zipped = self.ask(f"{path}:predict", data=body, headers={"Content-Encoding": "gzip"})
        self.embeddings(zipped["predictions"])
        rows = self.ask("/v1/models/intents:predict", json={"instances": TEXTS})["predictions"]
        self.classified([dict(zip(self.labels, row["scores"], strict=True)) for row in rows])
        examples = {"examples": [{"text": text} for text in TEXTS]}
        results = self.ask("/v1/models/intents:classify", json=examples)["results"]
        self.classified([dict(result) for result in results])
        assert "error" in self.ask("/v1/models/none:predict", code=404, json={"instances": ["a"]})
        return "predict by row and column, versions, labels, gzip, classify, status"

    def text_embeddings_inference(self):
        self.embeddings(self.ask("/embed", json={"inputs": self.sentences}))
        batch = self.ask("/predict", json={"inputs": [[text] for text in TEXTS]})
        self.classified([{item["label"]: item["score"] for item in row} for row in batch])
        many = [self.sentences[i % len(self.sentences)] for i in range(64)]
        with ThreadPoolExecutor(8) as pool:
            rows = list(pool.map(lambda text: self.ask("/embed", json={"inputs": text})[0], many))
        self.embeddings(rows[: len(self.sentences)])
        return "embed, predict, 64 requests from 8 threads"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", type=Path, required=True)
    parser.add_argument("--shared", type=Path, required=True)
    args = parser.parse_args()
    golden = load_file(args.shared / "golden/a_embed.safetensors")["sentence_embeddings"]
    sentences = json.loads((args.shared / "golden/a_embed.json").read_text())["sentences"]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        programs = Programs(args.programs.resolve(), Path(work))
        intents = programs.train(args.shared)
        rows = programs.run("infer", "classify", "--model", intents, "--top-k", "77", *TEXTS)
        ranked = [{item["label"]: item["score"] for item in row["labels"]} for row in rows]
        config = json.loads((intents / "config.json").read_text())
        labels = [config["id2label"][str(i)] for i in range(len(config["id2label"]))]
        assert labels == json.loads((args.shared / "data/banking77/labels.json").read_text())
        print(f"clients: a classifier trained in {time.monotonic() - began:.0f} s", flush=True)
        blanks, names = untrained(args.shared, intents.parent)
        fills = programs.run("infer", "fill-mask", "--model", blanks, "--top-k", "3", *BLANKS)
        tags = lambda *more: programs.run("infer", "tokens", "--model", names, *TEXTS, *more)
        words, spans = [row["words"] for row in tags()], [row["spans"] for row in tags("--aggregate")]
        command = [programs.folder / "serve", "--json", "--port", "0", "--model-store", intents.parent]
        command += ["--model", f"minilm={args.shared / 'models/minilm'}", "--model", f"intents={intents}"]
        command += ["--model", f"blanks={blanks}", "--model", f"names={names}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                url = json.loads(server.stdout.readline())["url"]
                filled = [row["masks"] for row in fills]
                doors = Doors(url, sentences, golden, ranked, labels, filled, words, spans)
                check(doors)
                server.terminate()
                assert server.wait(60) == 0
            finally:
                server.kill()
    print(f"clients: all passed in {time.monotonic() - began:.0f} s")


def check(doors):
    for client, package in [
        (doors.openai, "openai"),
        (doors.langchain_openai, "langchain-openai"),
        (doors.huggingface_hub, "huggingface_hub"),
        (doors.tritonclient, "tritonclient"),
        (doors.torchserve, "requests"),
        (doors.tensorflow_serving, "requests"),
        (doors.text_embeddings_inference, "requests"),
    ]:
        before = doors.embeddings.count, doors.scores.count
        what = client()
        embedded, scored = doors.embeddings.count - before[0], doors.scores.count - before[1]
        version = importlib.metadata.version(package)
        door = client.__name__.replace("_", "-")
        by = f"{door} {version}" if door.startswith(package.replace("_", "-")) else f"{door} by {package} {version}"
        print(f"clients: {by}: {what}; {embedded} × embeddings, {scored} × scores right", flush=True)
    print(
        f"clients: embeddings differ by {doors.embeddings.worst:.1e} at most, scores by {doors.scores.worst:.1e}"
    )


if __name__ == "__main__":
    main()
