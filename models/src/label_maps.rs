//! The two maps of labels in `config.json`, as `serde` field formats.

/// `{"0": "a", "1": "b"}` on disk, `["a", "b"]` in memory.
pub(crate) mod by_id {
    use std::collections::BTreeMap;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(names: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(names.iter().enumerate().map(|(id, n)| (id.to_string(), n)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<String>, D::Error> {
        let map =
            Option::<BTreeMap<String, String>>::deserialize(deserializer)?.unwrap_or_default();
        let mut by_id = BTreeMap::new();
        for (key, name) in map {
            let id: usize = key
                .parse()
                .map_err(|_| D::Error::custom(format!("id2label: key `{key}` is not an id")))?;
            by_id.insert(id, name);
        }
        if let Some(missing) = (0..by_id.len()).find(|id| !by_id.contains_key(id)) {
            return Err(D::Error::custom(format!(
                "id2label: id {missing} is missing; ids must run from 0 without a gap"
            )));
        }
        Ok(by_id.into_values().collect())
    }
}

/// `{"a": 0, "b": 1}` on disk, pairs sorted by id in memory.
pub(crate) mod by_name {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(
        pairs: &[(String, usize)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(pairs.iter().map(|(name, id)| (name, id)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(String, usize)>, D::Error> {
        let map = Option::<BTreeMap<String, usize>>::deserialize(deserializer)?.unwrap_or_default();
        let mut pairs: Vec<_> = map.into_iter().collect();
        pairs.sort_by_key(|pair| pair.1);
        Ok(pairs)
    }
}
