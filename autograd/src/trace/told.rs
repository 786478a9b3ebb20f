//! What an operation tells a trace of itself when it is recorded.

use gradus_tensor::Tensor;
use serde_json::{Map, Value};

use super::{MAX_VALUES, Saved, SavedTensor, Summary, run};

/// What an operation was told beside its inputs, and the tensors that its rule holds beside those
/// that [`Saves`](crate::Saves) names. Empty, and asked for nothing, while this thread traces
/// nothing.
pub(crate) struct Told(Option<Box<Notes>>);

/// What was told.
#[derive(Default)]
pub(crate) struct Notes {
    pub(super) settings: Map<String, Value>,
    pub(super) held: Vec<Saved>,
}

impl Told {
    #[inline]
    pub(crate) fn new() -> Told {
        Told(run::is_tracing().then(Box::default))
    }

    /// Tells a setting.
    #[inline]
    pub(crate) fn set(mut self, name: &str, value: impl FnOnce() -> Value) -> Told {
        if let Some(notes) = &mut self.0 {
            notes.settings.insert(name.into(), value());
        }
        self
    }

    /// Tells of a tensor that the rule holds, if it does.
    #[inline]
    pub(crate) fn holds<'t>(
        mut self,
        what: SavedTensor,
        tensors: impl IntoIterator<Item = &'t Tensor>,
    ) -> Told {
        if let Some(notes) = &mut self.0 {
            let bytes: usize =
                tensors.into_iter().map(|tensor| tensor.numel() * tensor.dtype().size()).sum();
            notes.held.extend((bytes > 0).then_some(Saved { what, bytes: bytes as u64 }));
        }
        self
    }

    /// What was told; `None` while this thread traces nothing.
    #[inline]
    pub(crate) fn notes(self) -> Option<Box<Notes>> {
        self.0
    }
}

/// The numbers of a setting; nothing where they are too many to show.
pub(crate) fn numbers(tensor: &Tensor) -> Value {
    match tensor.numel() {
        0..=MAX_VALUES => tensor.to_f64_vec().into_iter().map(|x| x as i64).collect(),
        _ => Value::Null,
    }
}

/// The tensor on which an operation works, as a setting.
pub(crate) fn summary(tensor: &Tensor) -> Value {
    serde_json::to_value(Summary::of(tensor)).unwrap_or_default()
}
