#!/usr/bin/env python3
"""Makes `base/`, a tiny BERT with a head of three labels, and `cases.json`: what transformers and sentence-transformers
answer for it when its folder says this or that. Run by hand where Python is at hand:

    pip install torch transformers sentence-transformers
    python models/tests/folders/make.py

A case changes files of `base/`: `files` maps a path to its new content (an object or list is JSON, a text is a text, null
removes the file, {"tensors": …} is a safetensors file). `kind`: `embed` is SentenceTransformer.encode, `classify` the softmax
of BertForSequenceClassification, `predict` CrossEncoder.predict of pairs.
"""
import json, logging, os, shutil, sys, tempfile, warnings

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", TOKENIZERS_PARALLELISM="false")
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
import numpy as np
import torch
from safetensors.numpy import save_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForSequenceClassification

HERE = os.path.dirname(os.path.abspath(__file__))
BASE = f"{HERE}/base"
WORDS = ("the card is lost my Card Lost where can i find it ##s ##ed late Pin pin how query : search café cafe naive "
         "naïve 中 文 , . ? ! covid ##19 e1 / [ ] <s> </s>").split()
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
TEXTS = ["the card is lost", "My Card Lost, where can i find it? naïve café 中文",
         "how late is it the card the card the card is lost where is my pin the card", "?"]
PAIRS = [["where is my card", "it is lost"], ["how late", "the pin the pin is late"], ["My Card Lost", "Pin"]]


def base():
    shutil.rmtree(BASE, ignore_errors=True)
    os.makedirs(BASE)
    torch.manual_seed(7)
    config = BertConfig(vocab_size=len(VOCAB) + 3, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=16, max_position_embeddings=24, initializer_range=0.5,
                        id2label={0: "late", 1: "lost", 2: "pin"}, label2id={"late": 0, "lost": 1, "pin": 2})
    model = BertForSequenceClassification(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("bias"):
                p.normal_(std=0.3)
    model.save_pretrained(BASE)
    write(f"{BASE}/vocab.txt", "\n".join(VOCAB) + "\n")
    write(f"{BASE}/tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": False})


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if content is None:
        os.remove(path)
    elif isinstance(content, dict) and "tensors" in content:
        save_file({k: np.array(v, np.float32) for k, v in content["tensors"].items()}, path, {"format": "pt"})
    else:
        text = content if isinstance(content, str) else json.dumps(content)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)


def module(idx, path, kind):
    return {"idx": idx, "name": str(idx), "path": path, "type": f"sentence_transformers.models.{kind}"}


def modules(*rest, first=""):
    return [module(0, first, "Transformer"), *(module(i + 1, path, kind) for i, (path, kind) in enumerate(rest))]


def numbers(*shape, scale=0.5):
    return np.round(np.random.default_rng(sum(shape)).normal(size=shape) * scale, 3).tolist()


POOL, NORM = ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")
MEAN = {"word_embedding_dimension": 8, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False}
CASED = {"tokenizer_class": "BertTokenizer", "do_lower_case": False}


def st(pooling=MEAN, *rest, **files):
    """A folder of sentence-transformers; files' names have `__` for `/` and `_json` for `.json`."""
    named = {name.replace("__", "/").replace("_json", ".json"): content for name, content in files.items()}
    return {"modules.json": modules(POOL, *(rest or [NORM])), "1_Pooling/config.json": pooling, **named}


def tokenizer_json(lower):
    """The base's vocabulary as a tokenizer.json that says `lower`."""
    with tempfile.TemporaryDirectory() as tmp:
        shutil.copy(f"{BASE}/vocab.txt", tmp)
        shutil.copy(f"{BASE}/config.json", tmp)
        write(f"{tmp}/tokenizer_config.json", {**CASED, "do_lower_case": lower})
        AutoTokenizer.from_pretrained(tmp).save_pretrained(tmp)
        return json.load(open(f"{tmp}/tokenizer.json", encoding="utf-8"))


def old(pooling):
    files = {name: open(f"{BASE}/{name}", encoding="utf-8").read() for name in ("vocab.txt",)}
    return {"modules.json": modules(POOL, first="0_Transformer"), "1_Pooling/config.json": pooling,
            "move": "0_Transformer"}


def cases():
    mode = lambda name: {"embedding_dimension": 8, "pooling_mode": name}
    legacy = lambda **on: {**MEAN, "pooling_mode_mean_tokens": False, **{f"pooling_mode_{k}": True for k in on}}
    yield "mean", "embed", st()
    for name in ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", ["cls", "mean"], ["max"]):
        yield f"new form {name}", "embed", st(mode(name))
    for name in ("cls_token", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"):
        yield f"older form {name}", "embed", st(legacy(**{name: 1}))
    yield "two modes in the older form", "embed", st(legacy(max_tokens=1, cls_token=1))
    yield "no mode at all", "embed", st(legacy())
    yield "pooling elsewhere", "embed", {"modules.json": modules(("pool", "Pooling"), NORM),
                                         "pool/config.json": legacy(cls_token=1)}
    yield "no normalize", "embed", {"modules.json": modules(POOL), "1_Pooling/config.json": MEAN}
    dense = {"in_features": 8, "out_features": 5, "bias": True,
             "activation_function": "torch.nn.modules.activation.Tanh"}
    weights = {"tensors": {"linear.weight": numbers(5, 8), "linear.bias": numbers(5)}}
    yield "dense", "embed", st(MEAN, ("2_Dense", "Dense"), ("3_Normalize", "Normalize"), **{
        "2_Dense__config_json": dense, "2_Dense__model.safetensors": weights})
    for kind in ("linear.Identity", "activation.ReLU", "activation.GELU", "activation.Sigmoid", "activation.SiLU"):
        yield f"dense {kind}", "embed", st(MEAN, ("2_Dense", "Dense"), **{
            "2_Dense__config_json": {**dense, "activation_function": f"torch.nn.modules.{kind}"},
            "2_Dense__model.safetensors": weights})
    yield "dense without bias", "embed", st(MEAN, ("2_Dense", "Dense"), **{
        "2_Dense__config_json": {**dense, "bias": False},
        "2_Dense__model.safetensors": {"tensors": {"linear.weight": numbers(5, 8)}}})
    yield "dense with a residual", "embed", st(MEAN, ("2_Dense", "Dense"), **{
        "2_Dense__config_json": {**dense, "out_features": 8, "use_residual": True},
        "2_Dense__model.safetensors": {"tensors": {"linear.weight": numbers(8, 8), "linear.bias": numbers(8)}}})
    yield "dense with a projected residual", "embed", st(MEAN, ("2_Dense", "Dense"), **{
        "2_Dense__config_json": {**dense, "use_residual": True},
        "2_Dense__model.safetensors": {"tensors": {**weights["tensors"], "residual.weight": numbers(5, 8)}}})
    yield "dense over two modes", "embed", st(mode(["mean", "max"]), ("2_Dense", "Dense"), **{
        "2_Dense__config_json": {**dense, "in_features": 16},
        "2_Dense__model.safetensors": {"tensors": {"linear.weight": numbers(5, 16), "linear.bias": numbers(5)}}})
    yield "layer norm and dropout", "embed", st(MEAN, ("2_LayerNorm", "LayerNorm"), ("3_Dropout", "Dropout"), **{
        "2_LayerNorm__config_json": {"dimension": 8}, "3_Dropout__config_json": {"dropout": 0.5},
        "2_LayerNorm__model.safetensors": {"tensors": {"norm.weight": numbers(8), "norm.bias": numbers(8)}}})
    prompts = {"prompts": {"query": "query : ", "search": "search the "}, "default_prompt_name": "query"}
    yield "default prompt", "embed", st(config_sentence_transformers_json=prompts)
    for name in ("mean", "cls", "max", "weightedmean", "lasttoken", "mean_sqrt_len_tokens"):
        yield f"prompt left out of {name}", "embed", st({**mode(name), "include_prompt": False},
                                                        config_sentence_transformers_json=prompts)
    yield "named prompt", "embed", st(config_sentence_transformers_json=prompts), {"prompt_name": "search"}
    yield "the empty prompt", "embed", st(config_sentence_transformers_json=prompts), {"prompt_name": "document"}
    yield "truncated vectors", "embed", st(config_sentence_transformers_json={"truncate_dim": 3})
    for name, sbc, tok in [("by sentence_bert_config", 7, None), ("by the tokenizer", None, 7), ("by both", 9, 6),
                           ("by null", "null", 6), ("by nothing", None, None)]:
        files = {"sentence_bert_config.json": {"max_seq_length": None if sbc == "null" else sbc}} if sbc else {}
        if tok:
            files["tokenizer_config.json"] = {**CASED, "model_max_length": tok}
        yield f"length {name}", "embed", {**st(), **files}
    for name, keys in [("above max_seq_length", {"max_seq_length": 9, "processor_kwargs": {"model_max_length": 6}}),
                       ("by an older name", {"max_seq_length": 6, "tokenizer_args": {"model_max_length": 9}}),
                       ("alone", {"processor_kwargs": {"model_max_length": 6}})]:
        yield f"length by the tokenizer's arguments, {name}", "embed", {**st(), "sentence_bert_config.json": keys}
    yield "length by an older name", "embed", {**st(), "sentence_roberta_config.json": {"max_seq_length": 6}}
    yield "cut on the left", "embed", {**st(), "tokenizer_config.json":
                                       {**CASED, "model_max_length": 7, "truncation_side": "left"}}
    yield "lower case by sentence_bert_config", "embed", {
        **st(), "sentence_bert_config.json": {"max_seq_length": 24, "do_lower_case": True}}
    yield "lower case by sentence_bert_config, accents stripped", "embed", {
        **st(), "sentence_bert_config.json": {"max_seq_length": 24, "do_lower_case": True},
        "tokenizer_config.json": {**CASED, "strip_accents": True}}
    yield "two Normalize, one before Dense", "embed", st(MEAN, ("2_Normalize", "Normalize"), ("3_Dense", "Dense"), **{
        "3_Dense__config_json": {**dense, "out_features": 5}, "3_Dense__model.safetensors": weights})
    yield "the oldest layout", "embed", old(legacy(cls_token=1))
    yield "the names of version 6", "embed", {
        "modules.json": [{"idx": 0, "name": "0", "path": "", "type":
                          "sentence_transformers.base.modules.transformer.Transformer"},
                         {"idx": 1, "name": "1", "path": "1_Pooling", "type":
                          "sentence_transformers.sentence_transformer.modules.pooling.Pooling"}],
        "1_Pooling/config.json": {"embedding_dimension": 8, "pooling_mode": "max", "include_prompt": True},
        "sentence_bert_config.json": {"transformer_task": "feature-extraction", "modality_config": {
            "text": {"method": "forward", "method_output_name": "last_hidden_state"}},
            "module_output_name": "token_embeddings"}}

    yield "cased", "classify", {}
    for name, keys in [("lower case", {"do_lower_case": True}), ("lower case by default", {"do_lower_case": None}),
                       ("accents kept", {"do_lower_case": True, "strip_accents": False}),
                       ("Chinese in words", {"tokenize_chinese_chars": False})]:
        config = {k: v for k, v in {**CASED, **keys}.items() if v is not None}
        yield name, "classify", {"tokenizer_config.json": config}
        yield f"{name}, against tokenizer.json", "classify", {
            "tokenizer_config.json": config, "tokenizer.json": tokenizer_json(not config.get("do_lower_case", True))}
    yield "tokenizer.json by another class", "classify", {
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": True},
        "tokenizer.json": tokenizer_json(False)}
    size = len(VOCAB)
    added = {"[E1]": size, "covid19": size + 1, "My Card": size + 2}
    yield "added_tokens.json", "classify", {
        "added_tokens.json": added, "special_tokens_map.json": {"additional_special_tokens": ["[E1]"]}}
    yield "added_tokens.json, lower case", "classify", {
        "added_tokens.json": added, "special_tokens_map.json": {"additional_special_tokens": ["[E1]"]},
        "tokenizer_config.json": {**CASED, "do_lower_case": True}}
    decoder = {str(i): {"content": t, "special": t == "[E1]", "lstrip": t == "covid19", "rstrip": False,
                        "single_word": t == "My Card", "normalized": False} for t, i in added.items()}
    yield "added_tokens_decoder", "classify", {"tokenizer_config.json": {**CASED, "added_tokens_decoder": decoder}}
    yield "added_tokens_decoder beside tokenizer.json", "classify", {
        "tokenizer_config.json": {**CASED, "added_tokens_decoder": decoder}, "tokenizer.json": tokenizer_json(False)}
    yield "added_tokens.json beside tokenizer.json", "classify", {
        "added_tokens.json": added, "tokenizer.json": tokenizer_json(False)}
    yield "extra special tokens", "classify", {
        "tokenizer_config.json": {**CASED, "extra_special_tokens": ["[E1]", "covid19"]}}
    yield "special tokens by other names", "classify", {
        "special_tokens_map.json": {"cls_token": "<s>", "sep_token": {"content": "</s>", "lstrip": False,
                                    "rstrip": False, "normalized": True, "single_word": False}}}
    yield "special tokens split", "classify", {"tokenizer_config.json": {**CASED, "split_special_tokens": True}}

    one = {"id2label": {"0": "score"}, "label2id": {"score": 0}}
    config = json.load(open(f"{BASE}/config.json"))
    head = {"head": 1}
    yield "cross-encoder", "predict", {"config.json": {**config, **one}, **head}
    for name, keys in [("Identity", {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}),
                       ("Sigmoid", {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"}}),
                       ("of version 3", {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"})]:
        yield f"cross-encoder {name}", "predict", {"config.json": {**config, **one, **keys}, **head}
    yield "cross-encoder of version 6", "predict", {
        "config.json": {**config, **one}, **head,
        "modules.json": [{"idx": 0, "name": "0", "path": "", "type":
                          "sentence_transformers.base.modules.transformer.Transformer"}],
        "sentence_bert_config.json": {"transformer_task": "sequence-classification", "modality_config": {
            "text": {"method": "forward", "method_output_name": "logits"}}, "module_output_name": "scores"},
        "config_sentence_transformers.json": {"model_type": "CrossEncoder", "prompts": {}, "default_prompt_name": None,
                                              "activation_fn": "torch.nn.modules.linear.Identity"}}
    yield "cross-encoder in lower case", "predict", {
        "config.json": {**config, **one}, **head,
        "modules.json": [{"idx": 0, "name": "0", "path": "", "type":
                          "sentence_transformers.base.modules.transformer.Transformer"}],
        "sentence_bert_config.json": {"transformer_task": "sequence-classification", "do_lower_case": True},
        "config_sentence_transformers.json": {"model_type": "CrossEncoder"}}
    yield "cross-encoder of three labels", "predict", {
        "config.json": {**config, "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}}


@torch.no_grad()
def answers(kind, folder, texts, extra):
    if kind == "embed":
        return SentenceTransformer(folder, device="cpu").encode(texts, **extra)
    if kind == "predict":
        return CrossEncoder(folder, device="cpu").predict(texts).reshape(len(texts), -1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    return np.concatenate([model(**tokenizer(t, return_tensors="pt", truncation=True, max_length=24)).logits
                           .softmax(-1).numpy() for t in texts])


def main():
    base()
    written = []
    for name, kind, files, *extra in cases():
        extra = extra[0] if extra else {}
        with tempfile.TemporaryDirectory() as tmp:
            folder = f"{tmp}/m"
            shutil.copytree(BASE, folder)
            below = files.get("move")
            if below:
                shutil.copytree(BASE, f"{folder}/{below}")
                for file in os.listdir(BASE):
                    os.remove(f"{folder}/{file}")
            if files.get("head"):
                from safetensors.numpy import load_file
                tensors = load_file(f"{folder}/model.safetensors")
                for part in ("classifier.weight", "classifier.bias"):
                    tensors[part] = np.ascontiguousarray(tensors[part][:files["head"]])
                save_file(tensors, f"{folder}/model.safetensors", {"format": "pt"})
            for path, content in files.items():
                if path not in ("move", "head"):
                    write(f"{folder}/{path}", content)
            texts = PAIRS if kind == "predict" else TEXTS + ["a [E1] covid19 in My Card covid19s [SEP] x"]
            expected = np.asarray(answers(kind, folder, texts, extra), np.float64)
            print(f"{kind:9} {name}")
        written.append({"name": name, "kind": kind, "files": files, **extra, "texts": texts,
                        "expected": [[round(float(v), 7) for v in row] for row in expected]})
    with open(f"{HERE}/cases.json", "w", encoding="utf-8") as f:
        lines = [json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in written]
        f.write("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
