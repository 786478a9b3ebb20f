//! Files of Apache Parquet, the form in which the hub keeps data sets.
//!
//! A row becomes a JSON object, so that it is read like a line of a `.jsonl` file. Where the file
//! says what its labels are called (`ClassLabel` in the metadata that Hugging Face's `datasets`
//! writes), the names stand in the place of the numbers; -1, which stands for no label there, stays.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use serde_json::{Map, Number, Value, json};

use crate::error::{Error, Result};

/// The key of the metadata that `datasets` writes.
const METADATA: &str = "huggingface";

/// The rows of a file.
pub(super) struct Rows {
    path: PathBuf,
    rows: RowIter<'static>,
    /// The row that was read last, counted from 1.
    row: u64,
    /// The names of the labels in each column that has some.
    names: Vec<(String, Vec<String>)>,
}

impl Rows {
    /// The rows of a file in memory.
    ///
    /// # Errors
    /// [`Error::Data`] when it is not a Parquet file.
    pub fn of_bytes(path: &Path, bytes: Vec<u8>) -> Result<Rows> {
        Rows::new(path, opened(path, Bytes::from(bytes))?)
    }

    /// The rows of a file on disk, of which a part at a time is in memory.
    ///
    /// # Errors
    /// As [`Rows::of_bytes`]; [`Error::Io`] when it cannot be opened.
    pub fn of_file(path: &Path) -> Result<Rows> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        Rows::new(path, opened(path, file)?)
    }

    fn new(path: &Path, reader: Box<dyn FileReader>) -> Result<Rows> {
        let metadata = reader.metadata().file_metadata();
        let own = metadata.key_value_metadata().into_iter().flatten();
        let own = own.filter(|pair| pair.key == METADATA).find_map(|pair| pair.value.as_deref());
        let names = own.map(class_names).unwrap_or_default();
        let rows =
            guarded(|| RowIter::from_file_into(reader)).map_err(|e| failed(path, None, &e))?;
        Ok(Rows { path: path.to_path_buf(), rows, row: 0, names })
    }

    fn object(&self, row: Row) -> Result<Map<String, Value>> {
        let fail = |message| Error::data(&self.path, self.row, message);
        let mut object = object(row);
        for (column, names) in &self.names {
            if let Some(value) = object.get_mut(column) {
                put_names(value, names).map_err(|why| fail(format!("`{column}`: {why}")))?;
            }
        }
        Ok(object)
    }
}

impl Iterator for Rows {
    type Item = Result<(u64, Map<String, Value>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = guarded(|| self.rows.next()).unwrap_or_else(|e| Some(Err(e)))?;
        self.row += 1;
        let row = row.map_err(|e| failed(&self.path, Some(self.row), &e));
        Some(row.and_then(|row| Ok((self.row, self.object(row)?))))
    }
}

/// Whether a file has a column of this name.
///
/// # Errors
/// As [`Rows::of_bytes`].
pub(super) fn has_column(path: &Path, bytes: Vec<u8>, name: &str) -> Result<bool> {
    let reader = opened(path, Bytes::from(bytes))?;
    let columns = reader.metadata().file_metadata().schema().get_fields();
    Ok(columns.iter().any(|column| column.name() == name))
}

fn opened(path: &Path, file: impl ChunkReader + 'static) -> Result<Box<dyn FileReader>> {
    let reader = guarded(|| SerializedFileReader::new(file)).and_then(|reader| reader);
    Ok(Box::new(reader.map_err(|e| failed(path, None, &e))?))
}

/// Calls the crate, which panics over some damaged files, where others are errors.
fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, ParquetError> {
    catch_unwind(AssertUnwindSafe(call))
        .map_err(|_| ParquetError::General("the values do not fit the lengths of lists".into()))
}

fn failed(path: &Path, row: Option<u64>, error: &ParquetError) -> Error {
    let told = error.to_string();
    let message = match told.rsplit_once("Disabled feature at compile time: ") {
        Some((_, codec)) => format!(
            "the file is compressed with {codec}, which Gradus does not read; write it with \
             snappy (pandas: compression=\"snappy\") or gzip"
        ),
        None => format!("not a Parquet file, or a damaged one: {told}"),
    };
    Error::data(path, row, message)
}

/// The names of the labels in each column, by the metadata of `datasets`.
fn class_names(metadata: &str) -> Vec<(String, Vec<String>)> {
    let metadata: Value = serde_json::from_str(metadata).unwrap_or_default();
    let features = metadata["info"]["features"].as_object().into_iter().flatten();
    features.filter_map(|(column, feature)| Some((column.clone(), names(feature)?))).collect()
}

/// The names of a `ClassLabel`, or of a list of them.
fn names(feature: &Value) -> Option<Vec<String>> {
    if let Some(elements) = feature.as_array() {
        return names(elements.first()?);
    }
    match feature["_type"].as_str()? {
        "ClassLabel" => serde_json::from_value(feature["names"].clone()).ok(),
        "Sequence" | "List" | "LargeList" => names(&feature["feature"]),
        _ => None,
    }
}

/// Puts names in the place of numbers.
fn put_names(value: &mut Value, names: &[String]) -> Result<(), String> {
    if let Value::Array(elements) = value {
        return elements.iter_mut().try_for_each(|element| put_names(element, names));
    }
    let Some(number) = value.as_i64().filter(|number| *number != -1) else { return Ok(()) };
    let name = usize::try_from(number).ok().and_then(|number| names.get(number));
    let name = name.ok_or_else(|| {
        format!("the label {number} has no name: the file names {} labels", names.len())
    })?;
    *value = json!(name);
    Ok(())
}

fn object(row: Row) -> Map<String, Value> {
    row.into_columns().into_iter().map(|(name, field)| (name, value(field))).collect()
}

/// A value as JSON: what JSON cannot hold (NaN, bytes that are no text) becomes null, and dates
/// and decimals become text.
fn value(field: Field) -> Value {
    let float = |number: f64| Number::from_f64(number).map_or(Value::Null, Value::Number);
    // The shortest decimal, as other programs show it: 0.1 and not 0.10000000149011612.
    let single = |number: f32| number.to_string().parse().map_or(Value::Null, float);
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => json!(value),
        Field::Byte(number) => json!(number),
        Field::Short(number) => json!(number),
        Field::Int(number) => json!(number),
        Field::Long(number) => json!(number),
        Field::UByte(number) => json!(number),
        Field::UShort(number) => json!(number),
        Field::UInt(number) => json!(number),
        Field::ULong(number) => json!(number),
        Field::Float16(number) => single(number.to_f32()),
        Field::Float(number) => single(number),
        Field::Double(number) => float(number),
        Field::Str(text) => Value::String(text),
        Field::Bytes(bytes) => bytes.as_utf8().map_or(Value::Null, |text| json!(text)),
        Field::Group(row) => Value::Object(object(row)),
        Field::ListInternal(list) => list.elements().iter().cloned().map(value).collect(),
        Field::MapInternal(map) => {
            let pair = |(key, of): &(Field, Field)| (plain(key), value(of.clone()));
            map.entries().iter().map(pair).collect()
        }
        other => Value::String(plain(&other)),
    }
}

/// A value as text, without the quotes of a string.
fn plain(field: &Field) -> String {
    match field {
        Field::Str(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[path = "parquet_tests.rs"]
mod tests;
