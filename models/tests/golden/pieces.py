#!/usr/bin/env python3
"""Makes tiny masked language models with the byte-level and the Unigram tokenizer of `tokenizing/`, and writes what
`transformers`' fill-mask pipeline and sentence-transformers' `SparseEncoder` answer: `pieces/`. Run by hand:

    pip install torch transformers sentence-transformers
    python models/tests/golden/pieces.py
"""
import json, logging, os, shutil, tempfile, warnings

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", TOKENIZERS_PARALLELISM="false")
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
import torch
from sentence_transformers import SparseEncoder
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, pipeline

HERE = os.path.dirname(os.path.abspath(__file__))
DIR = f"{HERE}/pieces"
MASKED = ["Paris is the <mask> of France.", "<mask> is my card?", "a caf<mask> and a <mask>!", "😀 <mask> über"]
TEXTS = ["Where is my card?", "naïve 😀"]
POOLINGS = [{}, {"pooling_strategy": "sum"}, {"activation_function": "log1p_relu"}]


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(json.dumps(content, ensure_ascii=False) + "\n")


def make(name):
    to = f"{DIR}/{name}"
    os.makedirs(to)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(f"{HERE}/tokenizing/{name}_json/{file}", to)
    tokenizer = AutoTokenizer.from_pretrained(to)
    torch.manual_seed(3)
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=8, max_position_embeddings=64, initializer_range=0.6)
    model = BertForMaskedLM(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    model.save_pretrained(to)
    return to


def sparse(folder):
    """The vectors for each setting of the pooling, as pairs of an id and a number."""
    answers = []
    for settings in POOLINGS:
        with tempfile.TemporaryDirectory() as copy:
            shutil.copytree(folder, copy, dirs_exist_ok=True)
            write(f"{copy}/modules.json", [
                {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.sparse_encoder.models.MLMTransformer"},
                {"idx": 1, "name": "1", "path": "1_SpladePooling",
                 "type": "sentence_transformers.sparse_encoder.models.SpladePooling"}])
            write(f"{copy}/1_SpladePooling/config.json", settings)
            write(f"{copy}/config_sentence_transformers.json",
                  {"model_type": "SparseEncoder", "prompts": {"query": "the card "}, "default_prompt_name": None})
            write(f"{copy}/sentence_bert_config.json", {"max_seq_length": 12, "do_lower_case": False})
            model = SparseEncoder(copy, device="cpu")
            for prompt in [None, "query"]:
                rows = model.encode(TEXTS, prompt_name=prompt, convert_to_sparse_tensor=False)
                rows = [[[int(i), round(float(row[i]), 6)] for i in row.nonzero().flatten()] for row in rows]
                answers.append({"settings": settings, "prompt": prompt, "rows": rows})
    return answers


def main():
    shutil.rmtree(DIR, ignore_errors=True)
    expected = {"masked": MASKED, "texts": TEXTS, "models": {}}
    for name in ["roberta_prefix", "xlm_roberta"]:
        folder = make(name)
        fill = pipeline("fill-mask", model=folder, device="cpu", top_k=12)
        fills = [fill(text) for text in MASKED]
        fills = [mask if isinstance(mask[0], list) else [mask] for mask in fills]
        expected["models"][name] = {"fills": fills, "sparse": sparse(folder)}
    write(f"{DIR}/expected.json", expected)


if __name__ == "__main__":
    main()
