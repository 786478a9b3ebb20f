"""A BERT classifier on a pooling of the tokens' last states (config.json: `pooling`), as Gradus trains it.

transformers takes it with trust_remote_code=True:

    from transformers import pipeline
    classify = pipeline("text-classification", model=FOLDER, trust_remote_code=True)
"""
import torch
from torch import nn
from transformers import BertModel, BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


def pool(states, mask, how):
    """`states` [texts, tokens, hidden], `mask` [texts, tokens] → [texts, hidden]."""
    mask = mask.unsqueeze(-1).to(states.dtype)
    if how == "max":
        return states.masked_fill(mask == 0, float("-inf")).max(1).values
    if how == "lasttoken":
        places = torch.arange(1, states.shape[1] + 1, device=states.device)
        last = (mask.squeeze(-1) * places).argmax(1)
        return states[torch.arange(len(states), device=states.device), last]
    if how == "weightedmean":
        mask = mask * mask.cumsum(1)
    count = mask.sum(1).clamp(min=1e-9)
    return (states * mask).sum(1) / (count.sqrt() if how == "mean_sqrt_len_tokens" else count)


class BertForSequenceClassification(BertPreTrainedModel):
    """As in transformers, but for the pooling. The name is one that its pipelines know."""

    # Empty tensors under the usual name keep other classes from answering with a random pooler.
    _keys_to_ignore_on_load_unexpected = [r"^(pre_)?classifier\."]

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config, add_pooling_layer=False)
        dropout = config.classifier_dropout
        self.dropout = nn.Dropout(config.hidden_dropout_prob if dropout is None else dropout)
        self.pooled_classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, position_ids=None,
                inputs_embeds=None, labels=None, **kwargs):
        states = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids,
                           position_ids=position_ids, inputs_embeds=inputs_embeds).last_hidden_state
        if attention_mask is None:
            attention_mask = torch.ones(states.shape[:2], device=states.device)
        logits = self.pooled_classifier(self.dropout(pool(states, attention_mask, self.config.pooling)))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)
