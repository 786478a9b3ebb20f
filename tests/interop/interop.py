#!/usr/bin/env python3
"""Checks the interchange with transformers, both ways. Run it by hand:

    pip install torch transformers safetensors
    cargo build --release --bin train --bin infer
    python tests/interop/interop.py MODEL_DIR [DATA_DIR]

MODEL_DIR is a pretrained BERT in the Hugging Face layout. Three checks, logits within 1e-5 each:

1. a folder that `train` wrote with the pooler's head loads as AutoModelForSequenceClassification;
2. one with mean pooling loads with trust_remote_code, and with no class of transformers itself; AutoModel loads its
   encoder;
3. a folder that transformers saved (a classifier, and a masked LM) loads in `infer`.

A fourth check loads the folder's tokenizer.json into transformers' tokenizer.
"""
import json, os, subprocess, sys, tempfile
import torch
from transformers import (AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification,
                          AutoTokenizer, BertConfig, BertForMaskedLM, BertForSequenceClassification)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.abspath(sys.argv[1])
DATA = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 else f"{ROOT}/data/banking77"
TEXTS = ["How do I locate my card?", "I still have not received my new card, I ordered over a week ago.",
         "Why was I charged €12.50 for a naïve café transfer?", "top up"]


def run(program, *args):
    out = subprocess.run([f"{ROOT}/target/release/{program}", *args], capture_output=True, text=True, cwd=ROOT)
    assert out.returncode == 0, out.stderr
    return out.stdout


def ours(folder):
    """Probabilities of every label, in the order of the texts."""
    lines = run("infer", "classify", "--model", folder, "--json", "--top-k", "1000", *TEXTS).splitlines()
    return [{x["label"]: x["score"] for x in json.loads(line)["labels"]} for line in lines]


def compare(name, logits, labels, folder):
    worst = 0.0
    for row, mine in zip(logits.double(), ours(folder)):
        theirs = row.log_softmax(-1)
        for i, p in enumerate(theirs.exp().tolist()):
            worst = max(worst, abs(p - mine[labels[i]]))
            if p > 1e-30:  # log-probabilities differ from the logits by a shift
                worst = max(worst, abs(theirs[i].item() - torch.tensor(mine[labels[i]]).double().log().item()))
    print(f"{name}: within {worst:.1e}")
    assert worst < 1e-5, name


@torch.no_grad()
def main():
    tmp = tempfile.mkdtemp()
    recipe = ["--data", DATA, "--model", MODEL, "--steps", "30", "--max-length", "64", "--lr", "2e-4",
              "--eval-every", "1000", "-q", "--overwrite"]

    folder = f"{tmp}/pooler"
    run("train", "classify", *recipe, "--pooling", "cls", "--out", folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    labels = model.config.id2label
    compare("train → transformers, pooler", model(**batch).logits, labels, folder)

    folder = f"{tmp}/mean"
    run("train", "classify", *recipe, "--pooling", "mean", "--out", folder)
    AutoModel.from_pretrained(folder)
    try:
        AutoModelForSequenceClassification.from_pretrained(folder)
        raise AssertionError("a head without its pooling must not load")
    except RuntimeError:
        pass
    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True).eval()
    logits = model(**batch).logits
    compare("train → transformers, mean", logits, labels, folder)

    torch.manual_seed(0)
    folder = f"{tmp}/saved"
    config = BertConfig.from_pretrained(MODEL, num_labels=5, id2label={i: f"kind {i}" for i in range(5)},
                                        label2id={f"kind {i}": i for i in range(5)})
    model = BertForSequenceClassification.from_pretrained(MODEL, config=config).eval()
    model.classifier.weight.normal_(std=0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    compare("transformers → infer, classifier", model(**batch).logits, model.config.id2label, folder)

    folder = f"{tmp}/mlm"
    model = BertForMaskedLM.from_pretrained(MODEL).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    text = "Paris is the [MASK] of France."
    one = tokenizer([text], return_tensors="pt")
    place = (one["input_ids"][0] == tokenizer.mask_token_id).nonzero().item()
    theirs = model(**one).logits[0, place].softmax(-1).topk(5)
    line = json.loads(run("infer", "fill-mask", "--model", folder, "--json", "--top-k", "5", text))
    mine = line["masks"][0]
    assert [x["id"] for x in mine] == theirs.indices.tolist(), (mine, theirs)
    worst = max(abs(x["score"] - p) for x, p in zip(mine, theirs.values.tolist()))
    print(f"transformers → infer, masked LM: same words, within {worst:.1e}")
    assert worst < 1e-5


main()
