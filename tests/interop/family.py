#!/usr/bin/env python3
"""Checks that every model type goes to transformers and back. Run it by hand:

    pip install torch transformers safetensors tokenizers peft
    cargo build --release --bin train --bin infer
    python tests/interop/family.py [TYPE…]

For each type, a tiny model of random weights and a tokenizer of its kind (WordPiece, byte-level BPE, Unigram) are made
here. `infer` answers as transformers from the folder that transformers saved; transformers answers as `infer` from the
folders that `train` writes (with the type's own head, on the mean of the tokens, and for words), and peft as `infer` from an
adapter. Within 1e-5. GPT-2 goes on with texts in the place of filling masks: the same words.
"""
import json
import os
import subprocess
import sys
import tempfile

import torch
from peft import PeftModel
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSequenceClassification,
    AutoModelForTokenClassification, AutoTokenizer, BertConfig, CamembertConfig, DistilBertConfig, ElectraConfig, GPT2Config,
    GteConfig, ModernBertConfig, MPNetConfig, NomicBertConfig, PreTrainedTokenizerFast, RobertaConfig, XLMRobertaConfig,
)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = os.environ.get("GRADUS_PROGRAMS", f"{ROOT}/target/release")
TEXTS = ["the red apple is round", "who has seen a blue engine", "Is it a café? Yes, the naïve one!", "glass"]
CORPUS = TEXTS * 3 + [f"the {a} {b} is {c}" for a in ("red", "blue", "green") for b in ("apple", "door", "horse")
                      for c in ("round", "old", "fast")]
SIZES = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40, initializer_range=0.3)


def run(program, *args):
    out = subprocess.run([f"{PROGRAMS}/{program}", *args], capture_output=True, text=True, cwd=ROOT)
    assert out.returncode == 0, out.stderr
    return out.stdout


def wordpiece():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    t.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=150, special_tokens=special))
    t.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    t.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(tokenizer_object=t, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
                                   sep_token="[SEP]", mask_token="[MASK]")


ROBERTAS = dict(bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>", pad_token="<pad>", unk_token="<unk>",
                mask_token="<mask>")


def gpt2_words():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(tokenizer_object=t, bos_token=end, eos_token=end, unk_token=end, pad_token=end)


def byte_level():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=t, **ROBERTAS)


def unigram():
    t = Tokenizer(models.Unigram())
    t.normalizer, t.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    t.train_from_iterator(CORPUS, trainers.UnigramTrainer(
        vocab_size=200, unk_token="<unk>", special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"]))
    t.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    t.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=t, **ROBERTAS)


TYPES = {
    "bert": (BertConfig, wordpiece, {}),
    "roberta": (RobertaConfig, byte_level, dict(type_vocab_size=1, layer_norm_eps=1e-5)),
    "xlm-roberta": (XLMRobertaConfig, unigram, dict(type_vocab_size=1, layer_norm_eps=1e-5)),
    "camembert": (CamembertConfig, unigram, dict(type_vocab_size=1, layer_norm_eps=1e-5)),
    "distilbert": (DistilBertConfig, wordpiece, {}),
    "electra": (ElectraConfig, wordpiece, dict(embedding_size=16)),
    "mpnet": (MPNetConfig, byte_level, {}),
    "nomic_bert": (NomicBertConfig, wordpiece, {}),
    "gte": (GteConfig, unigram, {}),
    "modernbert": (ModernBertConfig, byte_level, dict(local_attention=6, bos_token_id=0, eos_token_id=2, cls_token_id=0,
                                                      sep_token_id=2)),
    "gpt2": (GPT2Config, gpt2_words, dict(bos_token_id=0, eos_token_id=0)),
}


def config_of(kind, tokenizer):
    cls, _, more = TYPES[kind]
    sizes = dict(SIZES)
    if kind == "distilbert":
        names = dict(hidden_size="dim", num_hidden_layers="n_layers", num_attention_heads="n_heads",
                     intermediate_size="hidden_dim")
        sizes = {names.get(key, key): value for key, value in SIZES.items()}
    if kind == "gpt2":
        sizes["n_inner"] = sizes.pop("intermediate_size")
    return cls(vocab_size=len(tokenizer), max_position_embeddings=40, num_labels=3, pad_token_id=tokenizer.pad_token_id,
               **sizes, **more)


def near(name, ours, theirs):
    worst = (torch.tensor(ours).double() - theirs.double()).abs().max().item()
    print(f"  {name}: within {worst:.1e}")
    assert worst < 1e-5, name


def probabilities(folder):
    lines = run("infer", "classify", "--model", folder, "--json", "--top-k", "9", *TEXTS).splitlines()
    return [{x["label"]: x["score"] for x in json.loads(line)["labels"]} for line in lines]


def classified(name, folder, model, tokenizer):
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False)
    theirs = model.eval()(**batch).logits.softmax(-1)
    names = [model.config.id2label[i] for i in range(theirs.shape[1])]
    near(name, [[row[label] for label in names] for row in probabilities(folder)], theirs)


def filled(folder, model, tokenizer):
    mask = tokenizer.mask_token
    text = f"the red {mask} is round"
    one = tokenizer([text], return_tensors="pt", return_token_type_ids=False)
    place = (one["input_ids"][0] == tokenizer.mask_token_id).nonzero().item()
    top = model.eval()(**one).logits[0, place].softmax(-1).topk(5)
    mine = json.loads(run("infer", "fill-mask", "--model", folder, "--json", "--top-k", "5", text))["masks"][0]
    assert [x["id"] for x in mine] == top.indices.tolist(), (mine, top)
    near("masked words", [x["score"] for x in mine], top.values)


def continued(folder, model, tokenizer):
    """Texts that go on: without draws, and the next word's probabilities, which --top-k and draws make visible."""
    for text in TEXTS[:2]:
        ids = tokenizer([text], return_tensors="pt")["input_ids"]
        theirs = model.eval().generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False,
                                       repetition_penalty=1.3, pad_token_id=0)[0, ids.shape[1]:]
        mine = json.loads(run("infer", "generate", "--model", folder, "--json", "--max-new-tokens", "12",
                              "--repetition-penalty", "1.3", text))
        assert mine["generated_text"] == tokenizer.decode(theirs, skip_special_tokens=True), (mine, theirs)
    print("  generated texts: the same")


def embedded(folder, model, tokenizer):
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False)
    states, mask = model.eval()(**batch).last_hidden_state, batch["attention_mask"][..., None]
    theirs = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1))
    lines = run("infer", "embed", "--model", folder, "--json", *TEXTS).splitlines()
    near("embeddings", [json.loads(line)["embedding"] for line in lines], theirs)


def trained(kind, folder, tmp, tokenizer):
    """What `train` makes of the folder goes back."""
    data = f"{tmp}/data.csv"
    with open(data, "w") as f:
        f.write("text,label\n" + "".join(f'"{text}",{"abc"[i % 3]}\n' for i, text in enumerate(CORPUS)))
    words = f"{tmp}/data.jsonl"
    with open(words, "w") as f:
        for text in CORPUS:
            tokens = text.split()
            f.write(json.dumps({"tokens": tokens, "tags": ["B-X" if t in ("red", "blue") else "O" for t in tokens]}) + "\n")
    recipe = ["--model", folder, "--steps", "8", "--max-length", "30", "--lr", "1e-3", "-q", "--overwrite", "--device", "cpu"]
    first = "lasttoken" if kind == "gpt2" else "cls"
    for pooling in (first, "mean"):
        own = pooling == first or kind == "modernbert"
        out = f"{tmp}/{pooling}"
        run("train", "classify", "--data", data, *recipe, "--pooling", pooling, "--out", out)
        model = AutoModelForSequenceClassification.from_pretrained(out, trust_remote_code=not own)
        classified(f"train → transformers, {pooling}", out, model, AutoTokenizer.from_pretrained(out))
    out = f"{tmp}/lora"
    run("train", "classify", "--data", data, *recipe, "--pooling", first, "--lora-rank", "2", "--out", out)
    base = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3, id2label=dict(enumerate("abc")))
    classified("train → peft", out, PeftModel.from_pretrained(base, out), AutoTokenizer.from_pretrained(out))
    out = f"{tmp}/tokens"
    run("train", "tokens", "--data", words, *recipe, "--out", out)
    model = AutoModelForTokenClassification.from_pretrained(out)
    assert type(model).__name__.endswith("ForTokenClassification")
    if kind == "gpt2":
        out = f"{tmp}/lm"
        run("train", "lm", "--data", f"{tmp}/text.txt", *recipe, "--out", out)
        continued(out, AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out))
        out = f"{tmp}/lm-lora"
        run("train", "lm", "--data", f"{tmp}/text.txt", *recipe, "--lora-rank", "2", "--out", out)
        base = AutoModelForCausalLM.from_pretrained(folder)
        return continued(out, PeftModel.from_pretrained(base, out), AutoTokenizer.from_pretrained(out))
    out = f"{tmp}/mlm"
    run("train", "mlm", "--data", f"{tmp}/text.txt", *recipe, "--out", out)
    filled(out, AutoModelForMaskedLM.from_pretrained(out), AutoTokenizer.from_pretrained(out))


@torch.no_grad()
def main():
    for kind in sys.argv[1:] or TYPES:
        tokenizer_of = TYPES[kind][1]
        print(kind)
        torch.manual_seed(0)
        tmp = tempfile.mkdtemp()
        with open(f"{tmp}/text.txt", "w") as f:
            f.write("\n\n".join(CORPUS * 4))
        tokenizer = tokenizer_of()
        for name, auto, check in [
            ("classifier", AutoModelForSequenceClassification, classified),
            ("words", *((AutoModelForCausalLM, continued) if kind == "gpt2" else (AutoModelForMaskedLM, filled))),
            ("encoder", AutoModel, embedded),
        ]:
            folder, model = f"{tmp}/{name}", auto.from_config(config_of(kind, tokenizer))
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            if check is classified:
                check("transformers → infer, classifier", folder, model, tokenizer)
            else:
                check(folder, model, tokenizer)
        trained(kind, f"{tmp}/encoder", tmp, tokenizer)


main()
