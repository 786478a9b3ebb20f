//! Models to compare with: a tiny BERT of random weights, and a real one where there is one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use gradus_autograd::Var;
use gradus_models::{Encoder, EncoderConfig, EncoderInput, Encoding, PackedBatch, Pretrained};
use gradus_models::{Result, Tokenizer};
use gradus_nn::Store;
use gradus_tensor::io::safetensors::SafeTensors;
use gradus_tensor::{DType, Tensor, bail};
use gradus_tiny_model::Head;

use crate::compare::{is_near, report};
use crate::near;
use crate::shader::tell;

/// By how much a state may differ from the engine's, times its size if that is above 1.
const ALLOWED: f64 = 1e-5;

/// The weights of a model by name.
pub struct Weights(HashMap<String, Var>);

impl Weights {
    /// These weights.
    pub fn new(tensors: HashMap<String, Tensor>) -> Weights {
        Weights(tensors.into_iter().map(|(name, x)| (name, Var::leaf(x))).collect())
    }

    /// The weight of this name, such as `encoder.layer.0.output.dense.bias`.
    ///
    /// ```
    /// use std::collections::HashMap;
    ///
    /// let bias = gradus_tensor::Tensor::from_slice(&[1f32], &[1])?;
    /// let weights = check::models::Weights::new(HashMap::from([("dense.bias".to_string(), bias)]));
    /// assert!(weights.get("dense.bias").is_ok());
    /// let error = weights.get("dense.bais").unwrap_err().to_string();
    /// assert!(error.contains("dense.bais") && error.contains("dense.bias"), "{error}");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is none; the message has the names that are like it.
    pub fn get(&self, name: &str) -> gradus_tensor::Result<Var> {
        if let Some(weight) = self.0.get(name) {
            return Ok(weight.clone());
        }
        let mut names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        let common =
            |other: &str| name.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
        names.sort_by_key(|other| (std::cmp::Reverse(common(other)), other.len()));
        names.truncate(4);
        bail!("weights", "there is no weight `{name}`; the nearest names are {}", names.join(", "))
    }
}

/// The engine's own model, opened from a folder, beside which a learner's is run.
pub struct Model {
    /// The folder, in Hugging Face's layout.
    pub folder: PathBuf,
    /// Its config.json.
    pub config: EncoderConfig,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// The encoder.
    pub encoder: Encoder,
    /// Its parameters.
    pub store: Store,
    _temporary: Option<tempfile::TempDir>,
}

impl Model {
    /// A BERT of two layers and 32 numbers a token, with random weights, written into a folder and
    /// opened again.
    ///
    /// # Panics
    /// If the folder cannot be written.
    pub fn tiny() -> Model {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        gradus_tiny_model::write_model(folder.path(), Head::None);
        let model = Model::open(folder.path()).unwrap_or_else(|error| panic!("{error}"));
        Model { _temporary: Some(folder), ..model }
    }

    /// A trained BERT: the folder that `MODEL_DIR` names, or MiniLM in the reference data that
    /// `GRADUS_SHARED` names. Where there is none, a line says so.
    ///
    /// # Panics
    /// If the folder is there and holds no BERT.
    pub fn pretrained() -> Option<Model> {
        let named = std::env::var_os("MODEL_DIR").map(PathBuf::from);
        let shared = || {
            std::env::var_os("GRADUS_SHARED").map(|shared| Path::new(&shared).join("models/minilm"))
        };
        let Some(folder) = named.or_else(|| shared().filter(|folder| folder.is_dir())) else {
            tell(
                "skipped: no trained model here. Set MODEL_DIR to the folder of one, such as a clone of \
                 https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
            );
            return None;
        };
        let model = Model::open(&folder);
        Some(model.unwrap_or_else(|error| panic!("{}: {error}", folder.display())))
    }

    fn open(folder: &Path) -> Result<Model> {
        let name = folder.display().to_string();
        let Pretrained { folder, config, tokenizer, checkpoint, .. } = Pretrained::open(&name)?;
        let store = Store::with_source(0, checkpoint);
        let encoder = Encoder::new(&config.encoder_path(&store.root()), &config, false)?;
        Ok(Model { folder, config, tokenizer, encoder, store, _temporary: None })
    }

    /// The file of weights.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn file(&self) -> SafeTensors {
        SafeTensors::open(self.folder.join("model.safetensors")).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The encoder's weights. Their names begin at the encoder, without `bert.`.
    ///
    /// # Panics
    /// If a parameter cannot be read.
    pub fn weights(&self) -> Weights {
        let prefix = format!("{}.", self.config.encoder_path(&self.store.root()).name());
        let own = |name: &str| name.strip_prefix(&prefix).unwrap_or(name).to_string();
        Weights::new(self.store.parameters().iter().map(|p| (own(p.name()), p.tensor())).collect())
    }

    fn encode(&self, text: &str) -> Encoding {
        let encoding = self.tokenizer.encode(text, None, 64);
        encoding.unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// Texts as a packed batch.
    ///
    /// # Panics
    /// If a text cannot be encoded.
    pub fn input(&self, texts: &[&str]) -> EncoderInput {
        let encodings: Vec<Encoding> = texts.iter().map(|text| self.encode(text)).collect();
        let packed = PackedBatch::new(&encodings, &self.config);
        let input = packed.and_then(|batch| EncoderInput::new(&batch));
        input.unwrap_or_else(|error| panic!("{texts:?}: {error}"))
    }
}

/// Asserts that the states of the tokens of `texts`, `[tokens, width]`, are the expected ones up to
/// 1e-5.
///
/// # Panics
/// If they are not, with the first token that is wrong, and how many are.
#[track_caller]
pub fn same_states(what: &str, model: &Model, texts: &[&str], yours: &Var, expected: &Var) {
    let tokens: Vec<String> = texts.iter().flat_map(|text| model.encode(text).tokens).collect();
    same_rows(what, &format!("{texts:?}"), &tokens, yours.tensor(), expected.tensor());
}

/// As [`same_states`], of one row for each text.
///
/// # Panics
/// As [`same_states`].
#[track_caller]
pub fn same_vectors(what: &str, texts: &[&str], yours: &Var, expected: &Var) {
    let names: Vec<String> = texts.iter().map(|text| text.to_string()).collect();
    same_rows(what, &format!("{texts:?}"), &names, yours.tensor(), expected.tensor());
}

#[track_caller]
fn same_rows(what: &str, input: &str, names: &[String], yours: &Tensor, expected: &Tensor) {
    if yours.shape() != expected.shape() {
        return near(what, input, yours, expected, ALLOWED); // names the shapes
    }
    let width = expected.shape()[1].max(1);
    let (mine, theirs) = (yours.to_f64_vec(), expected.to_f64_vec());
    let near = |(a, b): (&f64, &f64)| is_near(*a, *b, ALLOWED);
    let rows: Vec<(&[f64], &[f64])> = mine.chunks(width).zip(theirs.chunks(width)).collect();
    let bad = |row: &(&[f64], &[f64])| !row.0.iter().zip(row.1).all(near);
    let Some(at) = rows.iter().position(bad) else { return };
    let (a, b) = rows[at];
    let column = a.iter().zip(b).position(|pair| !near(pair)).unwrap_or(0);
    let first = format!(
        "row {at} ({}), column {column}: yours {:.7}, expected {:.7}; {} of {} rows are wrong",
        names[at],
        a[column],
        b[column],
        rows.iter().filter(|row| bad(row)).count(),
        rows.len()
    );
    let begin = |row: &[f64]| {
        let numbers: Vec<String> = row.iter().take(8).map(|x| format!("{x:.5}")).collect();
        format!("row {at} begins {}", numbers.join(" "))
    };
    panic!("{}", report(what, input, &begin(a), &begin(b), &first));
}

/// A checkpoint with these tensors, under names that `rename` gives and in the dtype `dtype`, written
/// into a file and opened.
///
/// # Panics
/// If the file cannot be written.
pub fn renamed(
    model: &Model,
    dtype: DType,
    rename: impl Fn(&str) -> Option<String>,
) -> SafeTensors {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("model.safetensors");
    let file = model.file();
    let tensors = file.names().into_iter().filter_map(|name| {
        let tensor = file.tensor(&name).and_then(|x| x.to_dtype(dtype));
        Some((rename(&name)?, tensor.unwrap_or_else(|error| panic!("{error}"))))
    });
    let saved = gradus_tensor::io::safetensors::save(&path, tensors, None);
    // The file stays open after its folder is gone, or was read whole.
    saved.and_then(|()| SafeTensors::open(&path)).unwrap_or_else(|error| panic!("{error}"))
}
