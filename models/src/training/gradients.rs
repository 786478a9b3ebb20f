//! The loss of a step and its gradients, from its micro-batches.

use std::time::Instant;

use gradus_autograd::{Gradients, Var, no_grad};
use gradus_nn::Forward;
use gradus_tensor::Tensor;

use super::micro::{Piece, is_exhausted, pieces, smaller};
use super::ranks::{Doing, Exchange};
use super::tree::{Part, Sums};
use super::{StepLoss, Task, Trainer};
use crate::{Error, Result};

impl<T: Task> Trainer<T> {
    /// The loss of a step and its gradients. Where the memory does not suffice, batches are cut
    /// smaller, in this step and in later ones; then the result says how small.
    /// `whole`: on ranks that update a part of the parameters each, every rank needs all gradients.
    pub(super) fn fitting_gradients(
        &mut self,
        batches: &[Vec<usize>],
        whole: bool,
    ) -> Result<(Tensor, Gradients, Option<usize>)> {
        let before = self.fits;
        loop {
            let lengths = self.task.lengths();
            let pieces = pieces(batches, lengths, self.fits);
            let mut exchange =
                self.ranks.as_ref().map(|ranks| Exchange::new(ranks, batches.len(), whole));
            let mut compute = || self.own_sums(batches, &pieces, exchange.as_mut());
            let result = match &self.ranks {
                Some(ranks) => ranks.computing(compute),
                None => compute(),
            };
            // What other ranks have got already cannot be taken back.
            let joint = self.task.step_loss().is_some();
            let again = exchange.as_ref().is_none_or(|exchange| !joint && !exchange.has_begun());
            match result {
                Ok((sums, loss)) => {
                    let total = match exchange {
                        Some(exchange) => exchange.finish(&sums)?,
                        None => sums.into_total().unwrap_or_default(),
                    };
                    let loss = loss.or(total.loss).ok_or_else(nothing_to_learn)?;
                    let cut = self.fits.filter(|_| self.fits != before);
                    return Ok((loss, total.gradients, cut));
                }
                Err(error) if is_exhausted(&error) && self.task.can_split() && again => {
                    self.fits = Some(smaller(&pieces, lengths).ok_or(error)?);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The sums of this rank's micro-batches; and the loss, where every rank knows it.
    fn own_sums(
        &self,
        batches: &[Vec<usize>],
        pieces: &[Piece],
        exchange: Option<&mut Exchange>,
    ) -> Result<(Sums<Part>, Option<Tensor>)> {
        match self.task.step_loss() {
            Some(joint) if pieces.len() > 1 => self.joint_sums(joint, batches.len(), pieces),
            _ => Ok((self.mean_sums(batches, pieces, exchange)?, None)),
        }
    }

    /// The micro-batches of this rank, of a step that has `all`.
    fn own(&self, all: usize) -> std::ops::Range<usize> {
        self.ranks.as_ref().map_or(0..all, |ranks| ranks.own_micro_batches(all))
    }

    /// A training pass over a piece of the step.
    fn forward(&self, piece: &Piece) -> Forward {
        let first = self.step * self.recipe.accumulate as u64;
        Forward::training(self.recipe.seed, piece.stream(first))
            .with_checkpointing(self.recipe.activation_checkpointing)
    }

    /// The loss over all pieces together, and its gradients; see [`StepLoss`].
    fn joint_sums(
        &self,
        joint: &dyn StepLoss,
        all: usize,
        pieces: &[Piece],
    ) -> Result<(Sums<Part>, Option<Tensor>)> {
        let precision = self.recipe.precision;
        let own = self.own(all);
        let represent = |piece: &Piece| {
            precision.run(|| joint.represent(&piece.examples, &self.forward(piece)))
        };
        let represented = pieces
            .iter()
            .filter(|piece| own.contains(&(piece.batch as usize)))
            .map(|piece| Ok(no_grad(|| represent(piece))?.into_tensor()))
            .collect::<Result<Vec<Tensor>>>()?;
        let represented = match &self.ranks {
            Some(ranks) => ranks.all_tensors(&represented, self.store.device())?,
            None => represented,
        };
        let leaves: Vec<Var> = represented.into_iter().map(Var::leaf).collect();
        let batches: Vec<&[usize]> = pieces.iter().map(|piece| &piece.examples[..]).collect();
        let loss = precision.run(|| joint.loss_of(&batches, &leaves))?;
        let mut toward = self.guard.backward(&loss)?;
        let mut sums = Sums::new(all);
        for batch in own {
            let mut part = Part::default();
            for (piece, leaf) in
                pieces.iter().zip(&leaves).filter(|(p, _)| p.batch as usize == batch)
            {
                if let Some(grad) = toward.remove(leaf) {
                    let grads = represent(piece)?.backward_with(Some(grad), Default::default())?;
                    part.gradients.accumulate(grads)?;
                }
            }
            sums.push(batch, part, Part::add)?;
        }
        Ok((sums, Some(loss.into_tensor())))
    }

    /// Notes for the timeline of ranks what was done with a micro-batch since `begin`. Returns the
    /// time.
    fn note(&self, what: Doing, batch: usize, begin: Instant) -> Instant {
        let now = Instant::now();
        if let Some(ranks) = &self.ranks {
            ranks.note(what, batch, None, [begin, now]);
        }
        now
    }

    /// The mean loss over the terms of all pieces, and its gradients.
    fn mean_sums(
        &self,
        batches: &[Vec<usize>],
        pieces: &[Piece],
        mut exchange: Option<&mut Exchange>,
    ) -> Result<Sums<Part>> {
        let all: f64 = batches.iter().map(|batch| self.task.terms(batch)).sum();
        let (mut sums, own) = (Sums::new(batches.len()), self.own(batches.len()));
        let last = pieces.iter().rposition(|piece| piece.batch as usize + 1 == own.end);
        for batch in own {
            let mut part = Part::default();
            for (at, piece) in pieces.iter().enumerate().filter(|(_, p)| p.batch as usize == batch)
            {
                let terms = self.task.terms(&piece.examples);
                if terms == 0.0 {
                    continue; // nothing in it to learn from
                }
                let (forward, begin) = (self.forward(piece), Instant::now());
                let loss =
                    self.recipe.precision.run(|| self.task.loss(&piece.examples, &forward))?;
                // Weighted by the terms: the sum is the mean over the whole step.
                let loss = loss.mul_scalar(terms / all)?;
                let begin = self.note(Doing::Forward, batch, begin);
                let own = match exchange.as_mut().filter(|_| Some(at) == last) {
                    None => self.guard.backward(&loss)?,
                    Some(exchange) => self.guard.backward_with_hook(&loss, |leaf, grad| {
                        exchange.announce(leaf, grad, &sums, &part);
                        Ok(())
                    })?,
                };
                self.note(Doing::Backward, batch, begin);
                let own = Part { loss: Some(loss.into_tensor()), gradients: own };
                part = part.add(own)?;
            }
            sums.push(batch, part, Part::add)?;
        }
        Ok(sums)
    }
}

fn nothing_to_learn() -> Error {
    Error::Input("no example of the step has anything to learn from".into())
}
