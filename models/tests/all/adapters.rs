//! Adapters: those of PEFT are read (`models/tests/golden/efficient.py` makes them), ours are folded,
//! merged and resumed, and what Gradus does not have is refused by name.

use std::path::{Path, PathBuf};

use crate::common::run;
use crate::efficient::trainer;
use crate::tasks::{config, encodings, golden};
use gradus_autograd::no_grad;
use gradus_models::tasks::Classification;
use gradus_models::training::{Lora, Recipe, Trainer};
use gradus_models::{
    Base, EncoderInput, Error, MaskedLm, ModelRef, PackedBatch, Pooling, Pretrained,
    SequenceClassifier, Tokenizer, merge,
};
use gradus_nn::{Forward, Store};
use gradus_tensor::Tensor;
use gradus_tensor::io::safetensors::{self, SafeTensors};
use serde_json::{Value, json};

fn peft(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/peft").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Logits of the twelve texts by a classifier with three labels.
fn logits(model: &SequenceClassifier) -> Vec<f32> {
    let encodings = encodings(&golden());
    let packed = PackedBatch::new(encodings.iter(), model.encoder().config()).unwrap();
    let input = EncoderInput::new(&packed).unwrap();
    let logits = no_grad(|| model.forward(&input, &Forward::inference())).unwrap();
    logits.tensor().to_vec().unwrap()
}

fn opened<'m>(model: impl Into<ModelRef<'m>>) -> gradus_models::Result<Vec<f32>> {
    let pretrained = Pretrained::open(model)?;
    let store = pretrained.store(0);
    let pooling = pretrained.config.pooling.unwrap_or(Pooling::Cls);
    let model = SequenceClassifier::new(&store.root(), &pretrained.config, pooling, 3)?;
    assert_eq!(store.missing(), [""; 0]);
    // A classifier of another pooling leaves the base's pooler out.
    let mut unused = pretrained.checkpoint.unexpected();
    unused.retain(|name| pooling == Pooling::Cls || !name.contains("pooler"));
    assert_eq!(unused, [""; 0]);
    Ok(logits(&model))
}

fn farthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn adapters_of_peft_give_its_logits() {
    let wanted = SafeTensors::open(peft("logits.safetensors")).unwrap();
    let base = peft("base");
    let of = |name: &str| wanted.tensor(name).unwrap().to_vec::<f32>().unwrap();
    assert!(farthest(&opened(text(&base)).unwrap(), &of("base")) < 1e-5);
    for name in ["lora", "lora_dense"] {
        let folder = peft(name);
        let model = ModelRef { base: Some(text(&base)), ..text(&folder).into() };
        let found = opened(model).unwrap();
        assert!(farthest(&found, &of(name)) < 1e-5, "{name}");
        assert!(farthest(&found, &of("base")) > 0.1, "{name} changes the model");
        let out = tempfile::tempdir().unwrap();
        merge(model, out.path()).unwrap();
        assert!(farthest(&opened(text(out.path())).unwrap(), &of(name)) < 1e-5, "{name}");
    }
}

/// The adapter of a masked language model, with changed tensors; its logits of all tokens.
fn words(change: Change) -> gradus_models::Result<Vec<f32>> {
    let (dir, base) = (copied("lora_words"), peft("base"));
    rewrite(dir.path(), change);
    let pretrained =
        Pretrained::open(ModelRef { base: Some(text(&base)), ..text(dir.path()).into() })?;
    pretrained.check_decoder()?;
    let store = pretrained.store(0);
    let model = MaskedLm::new(&store.root(), &pretrained.config)?;
    assert_eq!(store.missing(), [""; 0]);
    let packed = PackedBatch::new(encodings(&golden()).iter(), model.encoder().config())?;
    let all: Vec<u32> = (0..packed.ids.len() as u32).collect();
    let all = Tensor::from_slice(&all, &[all.len()])?;
    let input = EncoderInput::new(&packed)?;
    let logits = no_grad(|| model.forward(&input, &all, &Forward::inference()))?;
    Ok(logits.tensor().to_vec()?)
}

/// PEFT has the decoder under a name of its own. It must be the word embeddings.
#[test]
fn the_decoder_of_an_adapter_must_be_the_word_embeddings() {
    const DECODER: &str = "cls.predictions.decoder";
    let wanted = SafeTensors::open(peft("logits.safetensors")).unwrap();
    let wanted: Vec<f32> = wanted.tensor("lora_words").unwrap().to_vec().unwrap();
    let whole = words(&|name, t| Some((name.into(), t))).unwrap();
    assert!(farthest(&whole, &wanted) < 1e-5);
    let without = words(&|name, t| (!name.contains(DECODER)).then(|| (name.into(), t))).unwrap();
    assert!(without == whole);
    for part in ["weight", "bias"] {
        let name = format!("{DECODER}.{part}");
        let changed = |own: &str, t: Tensor| {
            let changed = own.ends_with(&name);
            Some((own.into(), if changed { t.add_scalar(1e-6).unwrap() } else { t }))
        };
        let error = words(&changed).unwrap_err().to_string();
        assert!(error.contains(&name) && error.contains("adapter_model.safetensors"), "{error}");
    }
    // PEFT's decoder would keep the words of the base.
    let error = words(&|name, t| match name.strip_suffix(&format!("{DECODER}.weight")) {
        Some(start) => {
            let words = format!("{start}bert.embeddings.word_embeddings.weight");
            Some((words, t.mul_scalar(2.0).unwrap()))
        }
        None => Some((name.into(), t)),
    });
    assert!(error.unwrap_err().to_string().contains("differs from `bert.embeddings.word"));
}

/// A classifier on the base of `efficient.py`, after some steps.
fn trained(lora: Lora) -> Trainer<Classification> {
    let recipe =
        Recipe { steps: Some(8), batch_size: 5, lr: 1e-2, lora: Some(lora), ..Recipe::default() };
    let mut trainer = trainer("random", recipe);
    trainer.set_base(base());
    run(&mut trainer, 4);
    trainer
}

fn base() -> Base {
    let folder = peft("base");
    let name = text(&folder).to_string();
    Pretrained::open(&name).unwrap().as_base(&name).unwrap()
}

fn tokenizer() -> Tokenizer {
    Tokenizer::from_folder(peft("base")).unwrap()
}

fn classifier_config(pooling: Pooling) -> gradus_models::EncoderConfig {
    let mut config = config(50);
    config.architectures = vec!["BertForSequenceClassification".into()];
    config.id2label = ["a", "b", "c"].map(String::from).to_vec();
    config.pooling = Some(pooling);
    config
}

#[test]
fn a_trained_adapter_is_folded_and_merged() {
    let wide = Lora { rank: 2, targets: vec![Lora::ALL_LINEAR.into()], ..Lora::default() };
    let dropped =
        Lora { rank: 4, dropout: 0.5, modules_to_save: vec!["pooler".into()], ..Lora::default() };
    for (lora, pooling) in [(dropped, Pooling::Cls), (wide, Pooling::Mean)] {
        let trainer = trained(lora);
        let dir = tempfile::tempdir().unwrap();
        let (folder, out) = (dir.path().join("adapter"), dir.path().join("merged"));
        let config = classifier_config(pooling);
        trainer.save_model(&folder, &config, &tokenizer()).unwrap();
        assert!(!folder.join("model.safetensors").exists());
        // The same parameters behind the pooling that the folder names.
        let apart = ModelRef { apart: true, ..text(&folder).into() };
        let pretrained = Pretrained::open(apart).unwrap();
        let store = pretrained.store(0);
        trainer.recipe().adapt(&store, &config).unwrap();
        let model = SequenceClassifier::new(&store.root(), &config, pooling, 3).unwrap();
        assert_eq!(store.missing(), [""; 0]);
        let unfolded = logits(&model);
        if pooling == Pooling::Cls {
            assert!(unfolded == logits(trainer.task().model()), "the adapter has every bit");
        }
        assert!(farthest(&unfolded, &opened(text(&peft("base"))).unwrap()) > 0.05);
        assert!(farthest(&unfolded, &opened(text(&folder)).unwrap()) < 1e-6);
        merge(text(&folder), &out).unwrap();
        assert!(farthest(&unfolded, &opened(text(&out)).unwrap()) < 1e-6);
        let error = merge(text(&out), &dir.path().join("again")).unwrap_err().to_string();
        assert!(error.contains("is a whole model"), "{error}");
    }
}

/// A whole model and an adapter never lie in one folder.
#[test]
fn an_adapter_replaces_a_whole_model_and_the_other_way_round() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, config) = (dir.path(), classifier_config(Pooling::Cls));
    let adapted = trained(Lora { rank: 4, ..Lora::default() });
    let whole = trainer("none", Recipe { steps: Some(1), ..Recipe::default() });
    for (trainer, adapter) in [(&adapted, true), (&whole, false), (&adapted, true)] {
        trainer.save_model(folder, &config, &tokenizer()).unwrap();
        assert_eq!(folder.join("adapter_config.json").exists(), adapter);
        assert_eq!(folder.join("adapter_model.safetensors").exists(), adapter);
        assert_eq!(folder.join("model.safetensors").exists(), !adapter);
        assert_eq!(Pretrained::open(text(folder)).unwrap().base.is_some(), adapter);
    }
}

#[test]
fn a_resumed_run_goes_on_bit_for_bit() {
    let lora =
        Lora { rank: 4, dropout: 0.3, modules_to_save: vec!["pooler".into()], ..Lora::default() };
    let mut whole = trained(lora);
    let dir = tempfile::tempdir().unwrap();
    let config = classifier_config(Pooling::Cls);
    let checkpoint = whole.save_checkpoint(dir.path(), &config, &tokenizer()).unwrap();
    run(&mut whole, 4);

    let resume = |base: Base| {
        let apart = ModelRef { apart: true, ..text(&checkpoint).into() };
        let store = Pretrained::open(apart).unwrap().store(7);
        let recipe = whole.recipe().clone();
        recipe.adapt(&store, &config).unwrap();
        let model = SequenceClassifier::new(&store.root(), &config, Pooling::Cls, 3).unwrap();
        assert_eq!(store.missing(), [""; 0]);
        let task = Classification::new(model, crate::efficient::examples());
        let mut trainer = Trainer::new(task, store, recipe).unwrap();
        trainer.set_base(base);
        trainer.resume(&checkpoint).map(|_| trainer)
    };
    let mut resumed = resume(base()).unwrap();
    run(&mut resumed, 4);
    let values = |store: &Store| {
        let mut values: Vec<(String, Vec<f32>)> = store
            .parameters()
            .iter()
            .map(|p| (p.name().to_string(), p.tensor().to_vec().unwrap()))
            .collect();
        values.sort_by(|a, b| a.0.cmp(&b.0));
        values
    };
    assert!(values(whole.store()) == values(resumed.store()));
    let other = Base { hash: "0".into(), ..base() };
    let error = resume(other).err().unwrap().to_string();
    assert!(error.contains("the weights of the base"), "{error}");
}

/// A copy of an adapter of PEFT's, to be changed.
fn copied(adapter: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(peft(adapter).join(name), dir.path().join(name)).unwrap();
    }
    dir
}

/// Changes the tensors of an adapter.
fn rewrite(folder: &Path, change: Change) {
    let path = folder.join("adapter_model.safetensors");
    let file = SafeTensors::open(&path).unwrap();
    let names = file.names().into_iter();
    let tensors: Vec<(String, Tensor)> =
        names.filter_map(|name| change(&name, file.tensor(&name).unwrap())).collect();
    safetensors::save(&path, tensors, None).unwrap();
}

fn with_setting(key: &str, value: Value) -> tempfile::TempDir {
    let dir = copied("lora");
    let path = dir.path().join("adapter_config.json");
    let mut settings: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    settings[key] = value;
    std::fs::write(&path, settings.to_string()).unwrap();
    dir
}

fn refused(folder: &Path, base: &Path) -> String {
    opened(ModelRef { base: Some(text(base)), ..text(folder).into() }).unwrap_err().to_string()
}

#[test]
fn settings_that_gradus_does_not_have_are_refused_by_name() {
    for (key, value) in [
        ("peft_type", json!("IA3")),
        ("task_type", json!("CAUSAL_LM")),
        ("use_dora", json!(true)),
        ("bias", json!("all")),
        ("lora_bias", json!(true)),
        ("rank_pattern", json!({"query": 2})),
        ("alpha_pattern", json!({"query": 2})),
        ("init_lora_weights", json!("pissa")),
        ("trainable_token_indices", json!([3])),
        ("r", json!(0)),
        ("lora_alpha", json!("big")),
        ("revision", json!("v2")),
    ] {
        let dir = with_setting(key, value);
        let error = refused(dir.path(), &peft("base"));
        assert!(error.contains("adapter_config.json") && error.contains(key), "{key}: {error}");
    }
    let notes = |dir: &tempfile::TempDir| {
        let base = peft("base");
        Pretrained::open(ModelRef { base: Some(text(&base)), ..text(dir.path()).into() })
            .unwrap()
            .notes
    };
    let told = notes(&with_setting("use_new_thing", json!(true)));
    assert!(told.iter().any(|note| note.contains("`use_new_thing`")), "{told:?}");
    // A scale of another value is obeyed.
    let dir = with_setting("lora_alpha", json!(0.0));
    let base = peft("base");
    let model = ModelRef { base: Some(text(&base)), ..text(dir.path()).into() };
    let scaled = opened(model).unwrap();
    let folder = peft("lora");
    let whole = opened(ModelRef { base: Some(text(&base)), ..text(&folder).into() }).unwrap();
    assert!(farthest(&scaled, &whole) > 0.01);
}

/// Another name and value for a tensor of an adapter; `None` to leave it out.
type Change<'a> = &'a dyn Fn(&str, Tensor) -> Option<(String, Tensor)>;

#[test]
fn tensors_that_do_not_fit_are_refused_by_name() {
    let changed = |change: Change| {
        let dir = copied("lora");
        rewrite(dir.path(), change);
        refused(dir.path(), &peft("base"))
    };
    let layer = "layer.0.attention.self.query";
    let lost = changed(&|name, t| {
        (!name.contains("layer.0.attention.self.query.lora_B")).then(|| (name.into(), t))
    });
    assert!(lost.contains(layer) && lost.contains("None"), "{lost}");
    let renamed = changed(&|name, t| Some((name.replace("lora_A", "lora_magnitude_vector"), t)));
    assert!(renamed.contains("lora_magnitude_vector"), "{renamed}");
    let narrow = changed(&|name, t| {
        let cut = name.contains("layer.0.attention.self.query.lora_A");
        Some((name.into(), if cut { t.narrow(1, 0, 8).unwrap().contiguous().unwrap() } else { t }))
    });
    assert!(
        narrow.contains("is not the base of the adapter") && narrow.contains("[16, 8]"),
        "{narrow}"
    );
    let elsewhere = changed(&|name, t| Some((name.replace("layer.1", "layer.7"), t)));
    assert!(elsewhere.contains("layer.7") && elsewhere.contains("is not here"), "{elsewhere}");
    let bare = changed(&|name, t| Some((name.replace("base_model.model.", ""), t)));
    assert!(bare.contains("does not begin with `base_model.model.`"), "{bare}");
    let headless = changed(&|name, t| (!name.contains("classifier")).then(|| (name.into(), t)));
    assert!(headless.contains("must bring its head"), "{headless}");
}

#[test]
fn a_base_that_is_not_there_or_an_adapter_is_refused() {
    for value in [json!(null), json!("no/such/folder"), json!(text(&peft("lora")))] {
        let dir = with_setting("base_model_name_or_path", value);
        let error = Pretrained::open(text(dir.path())).err().unwrap();
        assert!(matches!(error, Error::MissingBase { .. }), "{error}");
    }
    let dir = copied("lora");
    std::fs::remove_file(dir.path().join("adapter_model.safetensors")).unwrap();
    std::fs::write(dir.path().join("adapter_model.bin"), "pickle").unwrap();
    assert!(refused(dir.path(), &peft("base")).contains("pickle"));
}
