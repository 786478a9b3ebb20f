//! A trace of one training step of a BERT.

use gradus_autograd::trace;
use gradus_models::training::Task;
use gradus_models::{EncoderConfig, EncoderInput, PackedBatch, Pooling, SequenceClassifier};
use gradus_nn::{CrossEntropy, Forward, Store};
use gradus_tensor::Tensor;

#[test]
fn every_operation_of_a_step_has_its_module() {
    let config = EncoderConfig::new(50, 2, 8, 2, 16);
    let store = Store::new(0);
    let model = SequenceClassifier::new(&store.root(), &config, Pooling::Cls, 3).unwrap();
    let ids = [2u32, 7, 9, 3];
    let batch = PackedBatch::from_parts([(&ids[..], &[0; 4][..])], &config).unwrap();
    let input = EncoderInput::new(&batch).unwrap();
    let step = || {
        let logits = model.forward(&input, &Forward::training(0, 1)).unwrap();
        let loss =
            logits.cross_entropy(&Tensor::from_slice(&[1u32], &[1])?, &CrossEntropy::default())?;
        let gradients = loss.backward()?;
        let all = store.parameters();
        let of = |p: &gradus_nn::Parameter| p.grad(&gradients).map(|g| g.to_f64_vec());
        Ok((loss.item()?, all.iter().map(of).collect::<Vec<_>>()))
    };
    let plain = step().unwrap();
    let (traced, trace) = trace(step).unwrap();
    assert!(plain == traced, "the same bits");

    let module = |op: &str| -> Vec<&str> {
        let of = trace.nodes.iter().filter(|node| node.op == op);
        of.map(|node| node.module.as_str()).collect()
    };
    let layers = |end: &str| [0, 1].map(|i| format!("bert.encoder.layer.{i}.{end}"));
    assert_eq!(module("attention_qkvpacked"), layers("attention.self"));
    assert_eq!(module("linear_cat"), layers("attention.self.query"));
    assert_eq!(module("linear_gelu"), layers("intermediate.dense"));
    assert_eq!(module("dropout_add_layer_norm").len(), 5);
    // Without a name are the loss and what pools: no module computes them.
    let nameless = trace.nodes.iter().filter(|node| node.module.is_empty());
    let nameless: Vec<&str> = nameless.map(|node| node.op).collect();
    assert!(nameless.len() <= 5, "{nameless:?}");
    let leaves = trace.nodes.iter().filter(|node| node.is_leaf()).count();
    assert_eq!(leaves, store.parameters().len(), "each parameter is there once, by its name");
}

/// For a trace a task tells the tokens that its model reads, neither more nor fewer.
pub fn tells_what_is_read(task: &impl Task) {
    let batch: Vec<usize> = (0..task.lengths().len().min(3)).rev().collect();
    let told = task.sequences(&batch, &[]);
    let tokens: usize = told.iter().map(|read| read.ids.len()).sum();
    assert!(tokens > 0, "the first examples have tokens");
    assert_eq!(tokens, batch.iter().map(|&i| task.lengths()[i]).sum::<usize>());
}
