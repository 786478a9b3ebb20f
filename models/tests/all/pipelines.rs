//! Pipelines on small models with random weights: they answer what the model computes, text by
//! text, and refuse what they cannot answer.

use gradus_models::pipelines::{
    self, FillMask, Pipeline, Tag, TextClassifier, TextEmbedder, TokenTagger, WordLabel, best,
    spans,
};
use gradus_models::{
    Checkpoint, Encoder, EncoderConfig, EncoderInput, Encoding, Labels, MaskedLm, PackedBatch,
    Pooling, SequenceClassifier, Task, TokenClassifier, Tokenizer, save_folder,
};
use gradus_nn::{Forward, Store};
use gradus_tensor::io::safetensors;
use gradus_tensor::{DType, Tensor};
use gradus_testing::assert_near;

const TEXTS: [&str; 4] =
    ["My card is lost.", "Where is the card?", "The rates of exchange", "how do I track my card"];

/// A folder with a model, and what is in it.
struct Small {
    folder: tempfile::TempDir,
    config: EncoderConfig,
    tokenizer: Tokenizer,
    store: Store,
}

impl Small {
    fn new(task: Task, labels: &[&str], build: impl FnOnce(&Store, &EncoderConfig)) -> Small {
        let tokenizer = Tokenizer::train_wordpiece(&TEXTS, 120).unwrap();
        let mut config = EncoderConfig::new(tokenizer.vocab_size(), 2, 16, 2, 32);
        config.initializer_range = 0.5;
        config.max_position_embeddings = 32;
        config.architectures = vec![config.architecture(task)];
        if !labels.is_empty() {
            let names = labels.iter().map(|label| label.to_string()).collect();
            config.set_labels(&Labels::from_names(names).unwrap());
        }
        let store = Store::new(7);
        build(&store, &config);
        let small = Small { folder: tempfile::tempdir().unwrap(), config, tokenizer, store };
        small.save();
        small
    }

    fn save(&self) {
        save_folder(self.folder.path(), &self.config, &self.tokenizer, &self.store).unwrap();
    }

    fn path(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    fn encode(&self, text: &str) -> Encoding {
        self.tokenizer.encode(text, None, 32).unwrap()
    }

    /// One text as the model reads it.
    fn input(&self, text: &str) -> EncoderInput {
        EncoderInput::new(&PackedBatch::new([&self.encode(text)], &self.config).unwrap()).unwrap()
    }

    /// Makes the first number of a parameter NaN.
    fn spoil(&self, name: &str) {
        let parameter = self.store.get(name).unwrap();
        let mut values = parameter.tensor().to_vec::<f32>().unwrap();
        values[0] = f32::NAN;
        parameter.set(Tensor::from_slice(&values, parameter.tensor().shape()).unwrap()).unwrap();
        self.save();
    }
}

fn classifier(labels: &[&str]) -> (Small, SequenceClassifier) {
    let mut model = None;
    let small = Small::new(Task::Classify, labels, |store, config| {
        model = SequenceClassifier::new(&store.root(), config, Pooling::Cls, labels.len()).ok();
    });
    (small, model.unwrap())
}

fn tagger(labels: &[&str]) -> (Small, TokenClassifier) {
    let mut model = None;
    let small = Small::new(Task::Tag, labels, |store, config| {
        model = TokenClassifier::new(&store.root(), config, labels.len()).ok();
    });
    (small, model.unwrap())
}

fn masked() -> (Small, MaskedLm) {
    let mut model = None;
    let small = Small::new(Task::FillMask, &[], |store, config| {
        model = MaskedLm::new(&store.root(), config).ok();
    });
    (small, model.unwrap())
}

fn pairs(texts: &[&str]) -> Vec<(String, Option<String>)> {
    texts.iter().map(|text| (text.to_string(), None)).collect()
}

fn softmax(logits: &Tensor) -> Tensor {
    logits.softmax(-1).unwrap()
}

#[test]
fn a_classifier_answers_text_by_text() {
    let (small, model) = classifier(&["lost", "found", "late"]);
    let mut pipeline = TextClassifier::open(small.path()).unwrap();
    assert_eq!(pipeline.labels(), ["lost", "found", "late"]);
    assert_eq!(pipeline.unexpected(), [""; 0]);
    pipeline.set_batch_size(2).unwrap();
    let logits = pipeline.text_logits(&pairs(&TEXTS)).unwrap();
    let probabilities = pipeline.probabilities(&pairs(&TEXTS)).unwrap();
    for ((text, logits), probabilities) in TEXTS.iter().zip(&logits).zip(&probabilities) {
        let truth = model.forward(&small.input(text), &Forward::inference()).unwrap();
        assert_near(text, &logits[..], &truth.tensor().to_vec::<f32>().unwrap()[..], |_| 1e-5);
        let truth = softmax(truth.tensor()).to_vec::<f32>().unwrap();
        assert_near(text, &probabilities[..], &truth[..], |_| 1e-6);
    }
    // p of the logits 0, 0 and ln 2.
    let scores = pipeline.scores(&[0.0, 0.0, 2f32.ln()]).unwrap();
    assert_near("scores", &scores[..], &[0.25f32, 0.25, 0.5][..], |_| 1e-6);
    assert!(pipeline.scores(&[0.0, 1.0]).is_err(), "there are three labels");
    let top = pipeline.predict(&pairs(&TEXTS[..1]), Some(1)).unwrap();
    let (at, score) = best(&probabilities[0]);
    assert_eq!((top[0].len(), top[0][0].label.as_str()), (1, pipeline.labels()[at].as_str()));
    assert!((top[0][0].score - score).abs() < 1e-6);
}

#[test]
fn limits_of_a_pipeline() {
    let (small, _) = classifier(&["lost", "found"]);
    let mut pipeline = TextClassifier::open(small.path()).unwrap();
    let error = pipeline.set_batch_size(0).unwrap_err().to_string();
    assert!(error.contains("the batch size is 0"), "{error}");
    let whole = pipeline.text_logits(&pairs(&TEXTS)).unwrap();
    for (size, tokens) in [(1, 1000), (3, 9), (100, 1)] {
        pipeline.set_batch_size(size).unwrap();
        pipeline.set_batch_tokens(tokens);
        let parts = pipeline.text_logits(&pairs(&TEXTS)).unwrap();
        assert_near("batches", &parts.concat()[..], &whole.concat()[..], |_| 1e-5);
    }
    assert_eq!((pipeline.max_length(), pipeline.truncated()), (32, 0));
    pipeline.set_max_length(3).unwrap();
    assert_ne!(pipeline.text_logits(&pairs(&TEXTS[..1])).unwrap()[0], whole[0]);
    assert_eq!((pipeline.max_length(), pipeline.truncated()), (3, 1));
    for (length, part) in [(0, "1 to 32"), (33, "1 to 32"), (1, "")] {
        let error = pipeline.set_max_length(length).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_weight_that_is_not_a_number_is_named() {
    let (small, _) = classifier(&["lost", "found"]);
    small.spoil("classifier.bias");
    let pipeline = TextClassifier::open(small.path()).unwrap();
    let error = pipeline.text_logits(&pairs(&TEXTS)).unwrap_err().to_string();
    assert!(error.contains("classifier.bias"), "{error}");
    let checkpoint = Checkpoint::open(small.folder.path()).unwrap();
    assert_eq!(checkpoint.first_not_finite().as_deref(), Some("classifier.bias"));
    let (sound, _) = classifier(&["lost", "found"]);
    assert_eq!(Checkpoint::open(sound.folder.path()).unwrap().first_not_finite(), None);
}

#[test]
fn an_embedder_pools_what_the_encoder_says() {
    let mut model = None;
    let small = Small::new(Task::Embed, &[], |store, config| {
        model = Encoder::new(&store.root(), config, false).ok();
    });
    let model = model.unwrap();
    let pipeline = TextEmbedder::open(small.path(), Some(Pooling::Mean), true).unwrap();
    let encodings = TEXTS.map(|text| small.encode(text));
    let (pooled, states) =
        (pipeline.pooled(&encodings).unwrap(), pipeline.states(&encodings).unwrap());
    let unit = pipeline.embed(&TEXTS).unwrap();
    assert_eq!((pooled.len(), unit.shape()), (4, &[4, 16][..]));
    for (i, text) in TEXTS.iter().enumerate() {
        let truth = model.forward(&small.input(text), &Forward::inference()).unwrap();
        let truth = truth.tensor();
        assert_near(text, &states[i][..], &truth.to_vec::<f32>().unwrap()[..], |_| 1e-5);
        let mean = truth.mean(&[0], false).unwrap();
        assert_near(text, &pooled[i][..], &mean.to_vec::<f32>().unwrap()[..], |_| 1e-5);
        let length = mean.square().unwrap().sum(&[], false).unwrap().item().unwrap().sqrt();
        let row = unit.i(i).unwrap().to_vec::<f32>().unwrap();
        let truth = mean.mul_scalar(1.0 / length).unwrap().to_vec::<f32>().unwrap();
        assert_near(text, &row[..], &truth[..], |_| 1e-5);
    }
}

#[test]
fn masks_are_filled_with_the_most_probable_tokens() {
    let (small, model) = masked();
    let pipeline = FillMask::open(small.path()).unwrap();
    assert_eq!(pipeline.mask(), "[MASK]");
    let texts = ["My [MASK] is lost.", "[MASK] is the [MASK]?"];
    let filled = pipeline.fill_all(&texts, 3).unwrap();
    assert_eq!(filled.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
    let encodings = texts.map(|text| small.encode(text));
    let wanted = [5, 20, 33];
    let of_wanted = pipeline.fill_targets(&texts, &encodings, &[&wanted, &wanted]).unwrap();
    for (i, text) in texts.iter().enumerate() {
        let places = encodings[i].ids.iter().enumerate().filter(|(_, id)| **id == 4);
        let places: Vec<u32> = places.map(|(at, _)| at as u32).collect();
        let at = Tensor::from_slice(&places, &[places.len()]).unwrap();
        let logits = model.forward(&small.input(text), &at, &Forward::inference()).unwrap();
        for mask in 0..places.len() {
            let p = softmax(&logits.tensor().i(mask).unwrap()).to_vec::<f32>().unwrap();
            let mut order: Vec<u32> = (0..p.len() as u32).collect();
            order.sort_by(|&a, &b| p[b as usize].total_cmp(&p[a as usize]));
            let ids: Vec<u32> = filled[i][mask].iter().map(|fill| fill.id).collect();
            assert_eq!(ids, order[..3], "{text}");
            order.retain(|id| wanted.contains(id));
            let ids: Vec<u32> = of_wanted[i][mask].iter().map(|fill| fill.id).collect();
            assert_eq!(ids, order, "{text}");
            for fill in filled[i][mask].iter().chain(&of_wanted[i][mask]) {
                assert!((fill.score - p[fill.id as usize]).abs() < 1e-6, "{text}: {fill:?}");
                assert_eq!(Some(&fill.token), small.tokenizer.token(fill.id).as_ref());
            }
        }
    }
    let one = pipeline.fill("My [MASK] is lost.", 1).unwrap();
    assert_eq!((one.len(), one[0].len(), one[0][0].id), (1, 1, filled[0][0][0].id));
}

#[test]
fn a_text_without_a_mask_is_refused() {
    let (small, _) = masked();
    let mut pipeline = FillMask::open(small.path()).unwrap();
    let error = pipeline.fill_all(&["My [MASK].", "My card."], 1).unwrap_err().to_string();
    assert!(error.contains("no [MASK] in the text: \"My card.\""), "{error}");
    let encodings = [small.encode("My [MASK].")];
    let targets = |ids: &[u32]| {
        pipeline.fill_targets(&["My [MASK]."], &encodings, &[ids]).unwrap_err().to_string()
    };
    let vocab = small.config.vocab_size;
    for error in [targets(&[]), targets(&[5, vocab as u32])] {
        assert!(error.contains(&format!("ids of the vocabulary of {vocab}")), "{error}");
    }
    assert!(pipeline.fill_encoded(&["My [MASK].", "[MASK]"], &encodings, 1).is_err());
    pipeline.set_max_length(4).unwrap();
    let error = pipeline.fill("My card is [MASK]", 1).unwrap_err().to_string();
    assert!(error.contains("after the first 4 tokens"), "{error}");
}

#[test]
fn words_get_the_labels_of_their_tokens() {
    let labels = ["O", "B-THING", "I-THING"];
    let (small, model) = tagger(&labels);
    let pipeline = TokenTagger::open(small.path()).unwrap();
    assert_eq!(pipeline.labels(), labels);
    let tagged = pipeline.tag(&TEXTS).unwrap();
    let encodings = TEXTS.map(|text| small.encode(text));
    let by_first = pipeline.tag_encoded(&TEXTS, &encodings, &[WordLabel::First; 4]).unwrap();
    assert_eq!(tagged, by_first);
    let words = tagged[0].iter().map(|tag| tag.text.as_str()).collect::<Vec<_>>();
    assert_eq!(words, ["My", "card", "is", "lost", "."]);
    for ((text, tags), encoding) in TEXTS.iter().zip(&tagged).zip(&encodings) {
        let logits = model.forward(&small.input(text), &Forward::inference()).unwrap();
        let rows = softmax(logits.tensor()).to_vec::<f32>().unwrap();
        let rows: Vec<&[f32]> = rows.chunks(3).collect();
        let firsts = encoding.first_tokens(tags.len());
        for (tag, first) in tags.iter().zip(&firsts) {
            let (label, score) = best(rows[first.unwrap()]);
            assert_eq!(
                (tag.label.as_str(), &text[tag.start..tag.end]),
                (labels[label], &*tag.text)
            );
            assert!((tag.score - score).abs() < 1e-5, "{text}: {tag:?}");
        }
    }
    let found = pipeline.tag_spans(&TEXTS).unwrap();
    let truth: Vec<Vec<Tag>> = TEXTS.iter().zip(&tagged).map(|(t, w)| spans(t, w)).collect();
    assert_eq!(found, truth);
    assert!(found.iter().any(|spans| !spans.is_empty()), "no word has a label but O");
    assert!(pipeline.tag_encoded(&TEXTS, &encodings[..3], &[WordLabel::First; 4]).is_err());
    // Words that were given are tagged as the words of the text.
    let given = pipeline.tag_words(&[&words[..]]).unwrap();
    for (row, tag) in given[0].iter().zip(&tagged[0]) {
        let (label, score) = best(row.as_ref().unwrap());
        assert_eq!(labels[label], tag.label);
        assert!((score - tag.score).abs() < 1e-5);
    }
}

#[test]
fn the_first_of_equal_numbers_is_the_best() {
    assert_eq!(best(&[0.25, 0.5, 0.5, 0.1]), (1, 0.5));
    assert_eq!(best(&[-3.0]), (0, -3.0));
}

#[test]
fn a_folder_opens_as_the_pipeline_of_its_head() {
    let (sequence, _) = classifier(&["lost", "found"]);
    let (tokens, _) = tagger(&["O", "B-X"]);
    let (words, _) = masked();
    for (small, task) in
        [(&sequence, Task::Classify), (&tokens, Task::Tag), (&words, Task::FillMask)]
    {
        let pipeline = pipelines::open(small.path()).unwrap();
        assert_eq!((pipeline.task(), pipeline.width()), (task, 16));
        let labels: &[String] = pipeline.labels();
        assert_eq!(labels, small.config.id2label);
        assert_eq!(pipeline.encoder().config().hidden_size, 16);
    }
    assert!(matches!(pipelines::open(words.path()).unwrap(), Pipeline::FillMask(_)));
    let error = TokenTagger::open(sequence.path()).err().unwrap().to_string();
    assert!(error.contains("BertForSequenceClassification"), "{error}");
    let error = FillMask::open(sequence.path()).err().unwrap().to_string();
    assert!(error.contains("cls.predictions"), "{error}");
}

/// What the model does not read is told, without what is known to be no parameter.
#[test]
fn weights_that_nothing_reads_are_told() {
    let (small, _) = classifier(&["lost", "found"]);
    let parameters = small.store.parameters();
    let own = parameters.iter().map(|p| (p.name().to_string(), p.tensor()));
    let zeros = |n: usize| Tensor::zeros(&[n], DType::F32).unwrap();
    let more = [
        ("cls.seq_relationship.bias", zeros(2)),
        ("bert.embeddings.position_ids", zeros(32)),
        ("cls.predictions.decoder.weight", zeros(3)),
    ];
    let more = more.map(|(name, tensor)| (name.to_string(), tensor));
    let path = small.folder.path().join("model.safetensors");
    safetensors::save(&path, own.chain(more), None).unwrap();
    let pipeline = TextClassifier::open(small.path()).unwrap();
    assert_eq!(pipeline.unexpected(), ["cls.seq_relationship.bias"]);
    // An index beside whole weights is not read.
    std::fs::write(small.folder.path().join("model.safetensors.index.json"), "{}").unwrap();
    assert_eq!(Checkpoint::open(small.folder.path()).unwrap().path(), path);
    std::fs::remove_file(&path).unwrap();
    let error = Checkpoint::open(small.folder.path()).err().unwrap().to_string();
    assert!(error.contains("weight_map"), "{error}");
}

#[test]
fn layers_that_are_not_used_are_told() {
    let (mut small, _) = classifier(&["lost", "found"]);
    assert_eq!(TextClassifier::open(small.path()).unwrap().notes(), [""; 0]);
    small.config.num_hidden_layers = 1;
    small.save();
    let pipeline = TextClassifier::open(small.path()).unwrap();
    assert_eq!(pipeline.notes().len(), 1);
    assert!(pipeline.notes()[0].contains("has 2 layers; the model uses the first 1"));
}
