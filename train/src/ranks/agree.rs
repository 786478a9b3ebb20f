//! Ranks that would not train the same model refuse to begin.

use gradus_cli::{Failure, Outcome, VERSION};
use gradus_models::data::Fingerprint;
use gradus_models::training::{Task, Trainer};
use gradus_tensor::{Device, instruction_set};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Group, host::unreadable};
use crate::flags::{Adding, given};

/// What all ranks must have in common.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Ground {
    host: String,
    version: String,
    /// The instruction set of products; on a GPU the GPU's kind.
    instructions: String,
    data: Value,
    flags: Map<String, Value>,
    /// A hash of the first weights.
    weights: String,
}

/// Flags that may differ: paths, whose content is compared.
const FREE: [&str; 4] = ["data", "model", "out", "resume"];

/// Compares this rank with the others, before the first step.
///
/// # Errors
/// The first difference from rank 0, by name: on all ranks.
pub fn agree<T: Task>(
    group: &Group,
    data: &Fingerprint,
    flags: Map<String, Value>,
    trainer: &Trainer<T>,
) -> Outcome {
    let own = Ground {
        host: group.host.clone(),
        version: VERSION.into(),
        instructions: match trainer.store().device() {
            Device::Gpu(index) => {
                gradus_tensor::gpus().get(index).map_or(String::new(), |gpu| gpu.name.clone())
            }
            _ => format!("{}, {}", std::env::consts::ARCH, instruction_set()),
        },
        data: serde_json::to_value(data)?,
        flags: flags.into_iter().filter(|(name, _)| !FREE.contains(&name.as_str())).collect(),
        weights: trainer.hash_of_weights()?,
    };
    let all = group.communicator.all_gather(serde_json::to_vec(&own)?)?;
    let read = |(rank, said): (usize, &Vec<u8>)| {
        serde_json::from_slice(said).map_err(|_| unreadable(rank))
    };
    let all: Vec<Ground> = all.iter().enumerate().map(read).collect::<Result<_, _>>()?;
    let fast = group.flags.reduce == Some(Adding::Fast);
    let differs = all.iter().enumerate().find_map(|(rank, other)| {
        difference(&all[0], other, fast).map(|difference| (rank, other, difference))
    });
    differs.map_or(Ok(()), |(rank, other, difference)| {
        Err(Failure::error(format!(
            "rank {rank} (on {}) and rank 0 (on {}) cannot train together: {difference}",
            other.host, all[0].host
        )))
    })
}

/// The first difference between rank 0 and another, in words.
fn difference(first: &Ground, other: &Ground, fast: bool) -> Option<String> {
    let differ = |what: &str, first: &str, other: &str, advice: &str| {
        (first != other).then(|| format!("its {what} is {other}, that of rank 0 {first}{advice}"))
    };
    let advice = "; other instructions may round otherwise (--reduce fast allows it)";
    differ("version", &first.version, &other.version, "; install the same everywhere")
        .or_else(|| match fast {
            true => None,
            false => differ("processor", &first.instructions, &other.instructions, advice),
        })
        .or_else(|| flag_that_differs(first, other))
        .or_else(|| {
            (first.data != other.data).then(|| {
                "its data is not that of rank 0; copy the same data to every host".to_string()
            })
        })
        .or_else(|| {
            (first.weights != other.weights).then(|| {
                "its first weights are not those of rank 0; copy the same model to every host"
                    .to_string()
            })
        })
}

fn flag_that_differs(first: &Ground, other: &Ground) -> Option<String> {
    let names = first.flags.keys().chain(other.flags.keys());
    names.into_iter().find_map(|name| {
        let [first, other] =
            [first, other].map(|ground| ground.flags.get(name).filter(|value| given(value)));
        let show = |value: Option<&Value>| {
            value.map_or("not given".to_string(), |value| value.to_string())
        };
        (first != other)
            .then(|| format!("its --{name} is {}, that of rank 0 {}", show(other), show(first)))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ground() -> Ground {
        Ground {
            host: "a".into(),
            version: "1".into(),
            instructions: "AVX2".into(),
            data: json!(7),
            flags: Map::from_iter([("lr".to_string(), json!(0.1))]),
            weights: "w".into(),
        }
    }

    #[test]
    fn every_difference_is_named() {
        let first = ground();
        assert_eq!(difference(&first, &Ground { host: "b".into(), ..ground() }, false), None);
        let flags = Map::from_iter([("lr".to_string(), json!(0.2))]);
        for (other, named) in [
            (Ground { version: "2".into(), ..ground() }, "its version is 2, that of rank 0 1"),
            (Ground { instructions: "AMX".into(), ..ground() }, "its processor is AMX"),
            (Ground { flags, ..ground() }, "its --lr is 0.2, that of rank 0 0.1"),
            (Ground { flags: Map::new(), ..ground() }, "its --lr is not given"),
            (Ground { data: json!(8), ..ground() }, "its data"),
            (Ground { weights: "v".into(), ..ground() }, "its first weights"),
        ] {
            let told = difference(&first, &other, false).unwrap();
            assert!(told.contains(named), "{told}");
        }
        let other = Ground { instructions: "AMX".into(), ..ground() };
        assert_eq!(difference(&first, &other, true), None, "--reduce fast");
    }
}
