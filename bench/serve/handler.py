"""TorchServe's handler for the comparison: embeddings of a sentence-transformers folder, mean-pooled and normalised.

It is the code that a user of `transformers` writes, tuned: padded batches, inference mode, one worker with all threads.
"""

import os

import torch
from transformers import AutoModel, AutoTokenizer
from ts.torch_handler.base_handler import BaseHandler


class Embedder(BaseHandler):
    def initialize(self, context):
        torch.set_num_threads(int(os.environ.get("EMBEDDER_THREADS", os.cpu_count())))
        folder = os.environ["EMBEDDER_MODEL"]
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).eval()
        self.initialized = True

    def handle(self, data, context):
        bodies = [row.get("data") or row.get("body") for row in data]
        texts = [bytes(body).decode() if not isinstance(body, str) else body for body in bodies]
        inputs = self.tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            states = self.model(**inputs).last_hidden_state
            mask = inputs["attention_mask"].unsqueeze(-1)
            pooled = (states * mask).sum(1) / mask.sum(1)
            return torch.nn.functional.normalize(pooled).tolist()
