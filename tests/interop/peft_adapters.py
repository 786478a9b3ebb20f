#!/usr/bin/env python3
"""Checks the interchange of adapters with PEFT, both ways. Run it by hand:

    pip install torch transformers peft safetensors
    cargo build --release --workspace --bins
    python tests/interop/peft_adapters.py MODEL_DIR [PROGRAMS_DIR]

MODEL_DIR is a pretrained BERT in the Hugging Face layout, PROGRAMS_DIR (or the variable GRADUS_PROGRAMS) the folder of
`train` and `infer`.
Probabilities (of classifiers and masked words their logarithms) agree within 1e-5:

1. adapters that `train` wrote (a classifier, one with mean pooling, a tagger, a masked language model, an embedder) load as
   PeftModel;
2. adapters that PEFT wrote (a classifier, a masked language model) load in `infer`, and `train merge` folds them; a
   masked language model whose decoder is no longer its word embeddings is refused.
"""
import json, math, os, subprocess, sys, tempfile
import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from transformers import (AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoModelForTokenClassification,
                          AutoTokenizer)
from transformers.dynamic_module_utils import get_class_from_dynamic_module

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.abspath(sys.argv[1])
PROGRAMS = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 else os.environ.get("GRADUS_PROGRAMS", f"{ROOT}/target/release")
TEXTS = ["How do I locate my card?", "I still have not received my new card, I ordered over a week ago.",
         "Why was I charged €12.50 for a naïve café transfer?", "top up"]
WORDS = ["Ada", "lives", "in", "Rome"]
TMP = tempfile.mkdtemp()
LORA = ["--lora-rank", "4", "--lora-dropout", "0.1", "--lr", "2e-3", "--steps", "10", "-q", "--model", MODEL]


def run(program, *args):
    out = subprocess.run([f"{PROGRAMS}/{program}", *args], capture_output=True, text=True, cwd=ROOT)
    assert out.returncode == 0, out.stderr
    return [json.loads(line) for line in out.stdout.splitlines() if line.startswith("{")]


def near(name, theirs, mine):
    worst = max(abs(a - b) for a, b in zip(theirs, mine, strict=True))
    print(f"{name}: within {worst:.1e}")
    assert worst < 1e-5, name


def labels(folder, *more):
    """The probability of each label, by name, for each text."""
    lines = run("infer", "classify", "--model", folder, *more, "--json", "--top-k", "1000", *TEXTS)
    return [{x["label"]: x["score"] for x in line["labels"]} for line in lines]


def compare_classifier(name, model, names, found):
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    with torch.no_grad():
        logits = [model(**tokenizer(text, return_tensors="pt")).logits[0] for text in TEXTS]
    # Log-probabilities differ from the logits by a shift.
    theirs = [p for row in logits for p in row.double().log_softmax(-1).tolist()]
    near(name, theirs, [math.log(row[label]) for row in found for label in names])


def few_texts():
    """A data set that takes no time: the first texts of Banking77, without an evaluation."""
    path = f"{TMP}/texts.csv"
    with open(f"{ROOT}/data/banking77/train.csv") as source, open(path, "w") as file:
        file.writelines(line for line, _ in zip(source, range(400)))
    return ["--data", path, "--dev-fraction", "0", "--max-length", "48"]


def classifier():
    folder = f"{TMP}/classify"
    run("train", "classify", *LORA, *few_texts(), "--pooling", "cls", "--out", folder)
    with open(f"{folder}/config.json") as file:
        names = list(json.load(file)["id2label"].values())
    base = AutoModelForSequenceClassification.from_pretrained(MODEL, num_labels=len(names))
    compare_classifier("train classify → PEFT", PeftModel.from_pretrained(base, folder).eval(), names, labels(folder))



def pooled():
    folder = f"{TMP}/pooled"
    run("train", "classify", *LORA, *few_texts(), "--pooling", "mean", "--out", folder)
    config = AutoConfig.from_pretrained(folder)
    # The class is in the adapter's folder, the encoder's weights in that of the base.
    own = get_class_from_dynamic_module("modeling_gradus.BertForSequenceClassification", folder)
    model = PeftModel.from_pretrained(own.from_pretrained(MODEL, config=config), folder).eval()
    compare_classifier("train classify --pooling mean → PEFT", model, list(config.id2label.values()), labels(folder))


def embedder():
    folder, merged, data = f"{TMP}/embed", f"{TMP}/embed-merged", f"{TMP}/pairs.jsonl"
    with open(data, "w") as file:
        for i in range(40):
            file.write(json.dumps({"anchor": f"where is card {i}", "positive": f"I look for card {i}"}) + "\n")
    run("train", "embed", *LORA, "--data", data, "--out", folder, "--pooling", "mean")
    run("train", "merge", folder, "--out", merged, "--json")
    model, tokenizer = PeftModel.from_pretrained(AutoModel.from_pretrained(MODEL), folder).eval(), AutoTokenizer.from_pretrained(MODEL)
    theirs = []
    with torch.no_grad():
        for text in TEXTS:
            vector = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
            theirs += torch.nn.functional.normalize(vector, dim=0).tolist()
    for name, of in ("train embed → PEFT", folder), ("train merge → PEFT", merged):
        lines = run("infer", "embed", "--model", of, "--json", *TEXTS)
        near(name, theirs, [x for line in lines for x in line["embedding"]])


def tagger():
    folder, data = f"{TMP}/tokens", f"{TMP}/train.conll"
    with open(data, "w") as file:
        file.write("Ada B-PER\nlives O\nin O\nRome B-LOC\n\nthe O\nroad O\nto O\nOslo B-LOC\n\n" * 8)
    run("train", "tokens", *LORA, "--lora-targets", "query,dense", "--data", data, "--out", folder)
    [line] = run("infer", "tokens", "--model", folder, "--json", " ".join(WORDS))
    base = AutoModelForTokenClassification.from_pretrained(MODEL, num_labels=3)
    model, tokenizer = PeftModel.from_pretrained(base, folder).eval(), AutoTokenizer.from_pretrained(MODEL)
    batch = tokenizer(WORDS, is_split_into_words=True, return_tensors="pt")
    with torch.no_grad():
        rows = model(**batch).logits[0].softmax(-1)
    firsts = [batch.word_ids().index(i) for i in range(len(WORDS))]
    near("train tokens → PEFT", rows[firsts].max(-1).values.tolist(), [word["score"] for word in line["words"]])


def compare_fills(name, model, folder, *more):
    text = "the [MASK] saw the dog ."
    [line] = run("infer", "fill-mask", "--model", folder, *more, "--json", "--top-k", "5", text)
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    batch = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        row = model(**batch).logits[0, batch["input_ids"][0].tolist().index(tokenizer.mask_token_id)]
    row, [found] = row.double().log_softmax(-1), line["masks"]
    near(name, [row[fill["id"]].item() for fill in found], [math.log(fill["score"]) for fill in found])


def masked():
    folder, data = f"{TMP}/mlm", f"{TMP}/text.txt"
    with open(data, "w") as file:
        file.write("the cat saw the dog and the dog saw the cat in the rain .\n" * 200)
    run("train", "mlm", *LORA, "--data", data, "--out", folder, "--max-length", "32")
    model = PeftModel.from_pretrained(AutoModelForMaskedLM.from_pretrained(MODEL), folder).eval()
    compare_fills("train mlm → PEFT", model, folder)


def masked_of_peft():
    torch.manual_seed(0)
    settings = LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], init_lora_weights=False,
                          modules_to_save=["cls"])
    model = get_peft_model(AutoModelForMaskedLM.from_pretrained(MODEL), settings).eval()
    folder, merged = f"{TMP}/peft-mlm", f"{TMP}/peft-mlm-merged"
    model.save_pretrained(folder)
    compare_fills("PEFT → infer fill-mask", model, folder, "--base", MODEL)
    # The base's config.json may name another head, and an adapter without one follows it.
    AutoConfig.from_pretrained(MODEL, architectures=["BertForMaskedLM"]).save_pretrained(folder)
    run("train", "merge", folder, "--out", merged, "--json")
    compare_fills("PEFT → train merge", model, merged)
    compare_fills("train merge → transformers", AutoModelForMaskedLM.from_pretrained(merged).eval(), merged)
    # PEFT trains the decoder of its copy.
    model.base_model.model.cls.modules_to_save["default"].predictions.decoder.weight.data[7] += 0.1
    model.save_pretrained(folder)
    out = subprocess.run([f"{PROGRAMS}/infer", "fill-mask", "--model", folder, "a [MASK]"], capture_output=True, text=True)
    assert out.returncode != 0 and "decoder.weight` differs" in out.stderr, out.stderr
    print("PEFT's own decoder is refused")


def of_peft():
    torch.manual_seed(0)
    base = AutoModelForSequenceClassification.from_pretrained(MODEL, num_labels=3)
    settings = LoraConfig(task_type=TaskType.SEQ_CLS, r=4, lora_alpha=8, target_modules=["key", "dense"],
                          init_lora_weights=False, modules_to_save=["pooler"], exclude_modules=["pooler.dense"])
    model = get_peft_model(base, settings)
    folder, merged = f"{TMP}/peft", f"{TMP}/merged"
    model.save_pretrained(folder)
    names = ["LABEL_0", "LABEL_1", "LABEL_2"]
    compare_classifier("PEFT → infer", model.eval(), names, labels(folder, "--base", MODEL))
    run("train", "merge", folder, "--out", merged, "--json")
    compare_classifier("PEFT → train merge", model, names, labels(merged))
    whole = AutoModelForSequenceClassification.from_pretrained(merged).eval()
    compare_classifier("train merge → transformers", whole, names, labels(merged))


if __name__ == "__main__":
    classifier()
    pooled()
    embedder()
    tagger()
    masked()
    of_peft()
    masked_of_peft()
