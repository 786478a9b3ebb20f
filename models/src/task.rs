//! The tasks of models.

use crate::EncoderConfig;

/// What a model does with a text. Its head decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// Texts to vectors: [`TextEmbedder`](crate::pipelines::TextEmbedder).
    Embed,
    /// Texts, or pairs of texts, to labels: [`TextClassifier`](crate::pipelines::TextClassifier).
    Classify,
    /// Words for `[MASK]`: [`FillMask`](crate::pipelines::FillMask).
    FillMask,
    /// A label for every word: [`TokenTagger`](crate::pipelines::TokenTagger).
    Tag,
    /// The part of a text that answers a question:
    /// [`QuestionAnswerer`](crate::pipelines::QuestionAnswerer).
    Answer,
    /// The words after a text: [`TextGenerator`](crate::pipelines::TextGenerator).
    Generate,
}

impl Task {
    /// Hugging Face's name of the task.
    pub fn name(self) -> &'static str {
        match self {
            Task::Embed => "feature-extraction",
            Task::Classify => "text-classification",
            Task::FillMask => "fill-mask",
            Task::Tag => "token-classification",
            Task::Answer => "question-answering",
            Task::Generate => "text-generation",
        }
    }

    /// The class of `transformers` that has the head, without the model type before it: see
    /// [`EncoderConfig::architecture`].
    pub(crate) fn class(self) -> &'static str {
        match self {
            Task::Embed => "Model",
            Task::Classify => "ForSequenceClassification",
            Task::FillMask => "ForMaskedLM",
            Task::Tag => "ForTokenClassification",
            Task::Answer => "ForQuestionAnswering",
            Task::Generate => "LMHeadModel",
        }
    }

    /// What a model for this task does; for a message to a user who wants another task.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Task::Embed => "it turns texts into vectors: use it as an embedder",
            Task::Classify => "it labels whole texts: use it as a classifier",
            Task::FillMask => "it fills masks: use it as a masked language model",
            Task::Tag => "it labels words: use it as a token classifier",
            Task::Answer => "it answers questions about texts: use it as a question answerer",
            Task::Generate => "it goes on with a text: use it as a generator",
        }
    }
}

impl EncoderConfig {
    /// The task of the head that `architectures` names; without a head the model embeds.
    pub fn task(&self) -> Task {
        let has = |head: &str| self.architectures.iter().any(|name| name.contains(head));
        // Earlier versions of Gradus called a classifier on the mean of the tokens a BertModel.
        let classifies = self.problem_type.is_some() && !self.id2label.is_empty();
        match () {
            () if has("SequenceClassification") => Task::Classify,
            () if has("TokenClassification") => Task::Tag,
            () if has("MaskedLM") => Task::FillMask,
            () if has("QuestionAnswering") => Task::Answer,
            () if has("LMHeadModel") && self.family().causal_lm.is_some() => Task::Generate,
            () if classifies => Task::Classify,
            () => Task::Embed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_decides() {
        let mut config = EncoderConfig::tiny(10);
        assert_eq!(config.task(), Task::Embed);
        let mut gpt2 = EncoderConfig { model_type: "gpt2".into(), ..config.clone() };
        gpt2.architectures = vec![gpt2.architecture(Task::Generate)];
        assert_eq!(
            (gpt2.architectures[0].as_str(), gpt2.task()),
            ("GPT2LMHeadModel", Task::Generate)
        );
        for task in [Task::Embed, Task::Classify, Task::FillMask, Task::Answer, Task::Tag] {
            config.architectures = vec![config.architecture(task)];
            assert_eq!(config.task(), task);
        }
        // An architecture with a head says more than the type of problem.
        config.problem_type = Some("single_label_classification".into());
        config.id2label = vec!["a".into(), "b".into()];
        assert_eq!(config.task(), Task::Tag);
        config.architectures = vec!["BertModel".into()];
        assert_eq!(config.task(), Task::Classify);
    }
}
