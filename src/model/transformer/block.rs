//! One block: attention and feed-forward, each behind a normalisation and added to the residual stream.

use rayon::prelude::*;

use super::super::Result;
use super::super::kernel::{Features, LANES, Mode, Panels, add_outer_bands, sigmoid, widest};
use super::super::lora::Projection;
use super::super::weights::{Base, Matrix, Storage};
use super::attention::{Heads, Inputs, Statistics};
use super::linear::{self, Backward, Kept};
use super::rope::Turn;
use super::text::Earlier;
use super::whole::{BlockParameter, Parameter};
use super::{Pass, norm};

/// The weights of one block.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) layer: usize,
    pub(super) heads: Heads,
    pub(super) attention_norm: Vec<f32>,
    pub(super) feed_forward_norm: Vec<f32>,
    /// In the order of [`Projection::ALL`].
    pub(super) projections: Vec<Matrix>,
    /// In the same order; `None` for a projection without.
    pub(super) biases: Vec<Option<Vec<f32>>>,
    /// What the heads of queries and keys are normalised with, where the architecture does that.
    pub(super) head_norms: Option<HeadNorms>,
}

/// The weights of the norms of each head of queries and keys.
#[derive(Debug)]
pub(super) struct HeadNorms {
    pub(super) q: Vec<f32>,
    pub(super) k: Vec<f32>,
}

/// Queries or keys before their heads were normalised, and what they were multiplied with.
struct PlainHeads {
    x: Panels,
    scales: Vec<[f32; LANES]>,
}

/// What the backward pass needs of the forward pass. What a pass over memory makes of it is not kept: the normalised
/// inputs, and the gated features.
pub(super) struct BlockState {
    x: Panels,
    attention_scales: Vec<[f32; LANES]>,
    q: Panels,
    k: Panels,
    v: Panels,
    plain_heads: Option<[PlainHeads; 2]>,
    mixed: Panels,
    statistics: Statistics,
    middle: Panels,
    feed_forward_scales: Vec<[f32; LANES]>,
    gate: Panels,
    up: Panels,
    /// What the adapters need, in the order of [`Projection::ALL`].
    adapted: Vec<Kept>,
}

impl Block {
    /// Reads a block's weights.
    pub(super) fn load(base: &Base, layer: usize, storage: Storage) -> Result<Self> {
        let config = base.config();
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        let (mut projections, mut biases) = (Vec::new(), Vec::new());
        for projection in Projection::ALL {
            let (inputs, outputs) = projection.shape(config);
            projections.push(base.matrix(&name(projection.path()), outputs, inputs, storage)?);
            let bias = format!("model.layers.{layer}.{}.bias", projection.path());
            let bias = projection.has_bias(config).then(|| base.vector(&bias, outputs));
            biases.push(bias.transpose()?);
        }
        let norm = |part: &str| base.vector(&name(part), config.head_dim);
        let head_norms = if config.has_head_norms() {
            Some(HeadNorms { q: norm("self_attn.q_norm")?, k: norm("self_attn.k_norm")? })
        } else {
            None
        };
        Ok(Self {
            layer,
            heads: Heads { queries: config.heads, keys: config.kv_heads, size: config.head_dim },
            attention_norm: base.vector(&name("input_layernorm"), config.hidden)?,
            feed_forward_norm: base.vector(&name("post_attention_layernorm"), config.hidden)?,
            projections,
            biases,
            head_norms,
        })
    }

    /// Returns the block's output, and what its backward pass needs.
    pub(super) fn forward(&self, pass: &Pass<'_>, x: Panels) -> (BlockState, Panels) {
        self.forward_after(pass, x, None)
    }

    /// As [`Self::forward`], for the tokens of the pass' batch after those whose keys and values are there already.
    pub(super) fn forward_after(
        &self,
        pass: &Pass<'_>,
        x: Panels,
        earlier: Option<&mut Earlier>,
    ) -> (BlockState, Panels) {
        let mut adapted = Vec::with_capacity(Projection::ALL.len());
        let mut project = |projection: Projection, x: &Panels| {
            let (mut out, kept) = linear::forward(
                self.weight(projection),
                pass.low(self.layer, projection).map(|(low, _)| low).as_ref(),
                x,
                pass.dropout.map(|dropout| (dropout, pass.batch)),
            );
            adapted.push(kept);
            if let Some(bias) = &self.biases[projection as usize] {
                add_bias(&mut out, bias);
            }
            out
        };
        let (attention_in, attention_scales) = norm::forward(&x, &self.attention_norm, pass.epsilon);
        let mut q = project(Projection::Q, &attention_in);
        let mut k = project(Projection::K, &attention_in);
        let v = project(Projection::V, &attention_in);
        let plain_heads = self.head_norms.as_ref().map(|norms| {
            [(&mut q, &norms.q), (&mut k, &norms.k)].map(|(x, weight)| {
                let (normalised, scales) = norm::forward(x, weight, pass.epsilon);
                PlainHeads { x: std::mem::replace(x, normalised), scales }
            })
        });
        pass.rotation.apply(&mut q, Turn::On);
        pass.rotation.apply(&mut k, Turn::On);
        let inputs = Inputs { heads: self.heads, q: &q, k: &k, v: &v, batch: pass.batch, first: 0 };
        let (mixed, statistics) = match earlier {
            None => inputs.forward(),
            Some(earlier) => {
                let all = earlier.with([&k, &v]);
                let mixed = Inputs { k: &all[0], v: &all[1], first: earlier.panels(), ..inputs }.forward();
                earlier.keep(&all);
                mixed
            }
        };
        let mut middle = project(Projection::O, &mixed);
        let (feed_forward_in, feed_forward_scales) =
            norm::add_and_forward(&mut middle, &x, &self.feed_forward_norm, pass.epsilon);
        let gate = project(Projection::Gate, &feed_forward_in);
        let up = project(Projection::Up, &feed_forward_in);
        let gated = gated(&gate, &up);
        let mut out = project(Projection::Down, &gated);
        out.add(&middle);
        let state = BlockState {
            x,
            attention_scales,
            q,
            k,
            v,
            plain_heads,
            mixed,
            statistics,
            middle,
            feed_forward_scales,
            gate,
            up,
            adapted,
        };
        (state, out)
    }

    /// Returns the gradient of the block's input from that of its output, and adds those of parameters to `gradient`.
    pub(super) fn backward(&self, pass: &Pass<'_>, state: BlockState, back: &Panels, gradient: &mut [f32]) -> Panels {
        let through = |projection, (x, back): (&Panels, &Panels), input: &mut Panels, mode, gradient: &mut [f32]| {
            Backward {
                weight: self.weight(projection),
                low: pass.low(self.layer, projection),
                x,
                kept: &state.adapted[projection as usize],
                drop: pass.dropout.map(|dropout| (dropout, pass.batch)),
            }
            .run(back, input, mode, gradient);
            self.add_projection(pass, projection, (x, back), gradient);
        };
        let gated = gated(&state.gate, &state.up);
        let mut gated_back = gated.like(gated.features());
        through(Projection::Down, (&gated, back), &mut gated_back, Mode::Fresh, gradient);
        drop(gated);
        let (gate_back, up_back) = gated_backward(&state.gate, &state.up, gated_back);
        let mut inner = back.like(back.features());
        let feed_forward_in = norm::scaled(&state.middle, &self.feed_forward_norm, &state.feed_forward_scales);
        through(Projection::Gate, (&feed_forward_in, &gate_back), &mut inner, Mode::Fresh, gradient);
        through(Projection::Up, (&feed_forward_in, &up_back), &mut inner, Mode::Sum, gradient);
        drop((feed_forward_in, gate_back, up_back));
        let scales = &state.feed_forward_scales;
        let middle_back = norm::backward(&state.middle, &inner, &self.feed_forward_norm, scales, Some(back));
        let place = |parameter| pass.place(Parameter::Block(self.layer, parameter));
        if let Some(place) = place(BlockParameter::FeedForwardNorm) {
            norm::add_weight_gradient(&state.middle, &inner, scales, &mut gradient[place]);
        }

        let mut mixed_back = back.like(state.mixed.features());
        through(Projection::O, (&state.mixed, &middle_back), &mut mixed_back, Mode::Fresh, gradient);
        let inputs = Inputs { heads: self.heads, q: &state.q, k: &state.k, v: &state.v, batch: pass.batch, first: 0 };
        let [mut q, mut k, v] = inputs.backward(&state.mixed, &mixed_back, &state.statistics);
        pass.rotation.apply(&mut q, Turn::Back);
        pass.rotation.apply(&mut k, Turn::Back);
        if let (Some(norms), Some([plain_q, plain_k])) = (&self.head_norms, &state.plain_heads) {
            for (parameter, plain, back) in
                [(BlockParameter::QueryNorm, plain_q, &q), (BlockParameter::KeyNorm, plain_k, &k)]
            {
                if let Some(place) = place(parameter) {
                    norm::add_weight_gradient(&plain.x, back, &plain.scales, &mut gradient[place]);
                }
            }
            q = norm::backward(&plain_q.x, &q, &norms.q, &plain_q.scales, None);
            k = norm::backward(&plain_k.x, &k, &norms.k, &plain_k.scales, None);
        }
        let attention_in = norm::scaled(&state.x, &self.attention_norm, &state.attention_scales);
        through(Projection::Q, (&attention_in, &q), &mut inner, Mode::Fresh, gradient);
        through(Projection::K, (&attention_in, &k), &mut inner, Mode::Sum, gradient);
        through(Projection::V, (&attention_in, &v), &mut inner, Mode::Sum, gradient);
        if let Some(place) = place(BlockParameter::AttentionNorm) {
            norm::add_weight_gradient(&state.x, &inner, &state.attention_scales, &mut gradient[place]);
        }
        norm::backward(&state.x, &inner, &self.attention_norm, &state.attention_scales, Some(&middle_back))
    }

    /// Adds the gradients of a projection's weight and bias, where they are trained, from its input and what came back.
    fn add_projection(
        &self,
        pass: &Pass<'_>,
        projection: Projection,
        (x, back): (&Panels, &Panels),
        gradient: &mut [f32],
    ) {
        let place = |parameter: fn(Projection) -> BlockParameter| {
            pass.place(Parameter::Block(self.layer, parameter(projection)))
        };
        if let Some(place) = place(BlockParameter::Weight) {
            add_outer_bands(back.workspace(), Features::of(back), Features::of(x), &mut gradient[place]);
        }
        if let Some(place) = place(BlockParameter::Bias) {
            add_sums(back, &mut gradient[place]);
        }
    }

    /// Returns the numbers of multiplications of a token with the block's weights, and the block's heads.
    pub(super) fn work(&self) -> (usize, Heads) {
        (self.projections.iter().map(|matrix| matrix.rows() * matrix.columns()).sum(), self.heads)
    }

    /// Returns the frozen projections.
    pub(super) fn matrices(&self) -> &[Matrix] {
        &self.projections
    }

    /// Returns a projection's frozen weight.
    pub(super) fn weight(&self, projection: Projection) -> &Matrix {
        &self.projections[projection as usize]
    }
}

/// Adds a bias to every token.
pub(super) fn add_bias(x: &mut Panels, bias: &[f32]) {
    let len = x.panel_len();
    x.data_mut().par_chunks_mut(len).for_each(|panel| {
        for (feature, bias) in panel.as_chunks_mut::<LANES>().0.iter_mut().zip(bias) {
            for value in feature {
                *value += bias;
            }
        }
    });
}

/// Adds each feature's sum over the tokens to `out`: the gradient of a bias.
pub(super) fn add_sums(back: &Panels, out: &mut [f32]) {
    out.par_iter_mut().enumerate().for_each(|(feature, out)| {
        let mut sums = [0.0_f32; LANES];
        for panel in 0..back.panels() {
            for (sum, number) in sums.iter_mut().zip(&back.panel(panel)[feature * LANES..]) {
                *sum += number;
            }
        }
        *out += sums.iter().sum::<f32>();
    });
}

/// Returns `gate · sigmoid(gate) · up`.
pub(super) fn gated(gate: &Panels, up: &Panels) -> Panels {
    let mut out = gate.like(gate.features());
    let len = out.panel_len();
    let parts = out.data_mut().par_chunks_mut(len).zip(gate.data().par_chunks(len)).zip(up.data().par_chunks(len));
    parts.for_each(|((out, gate), up)| {
        widest(|| {
            for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                *out = gate * sigmoid(*gate) * up;
            }
        });
    });
    out
}

/// Returns the gradients of gate and up from that of [`gated`].
pub(super) fn gated_backward(gate: &Panels, up: &Panels, mut back: Panels) -> (Panels, Panels) {
    let mut up_back = gate.like(gate.features());
    let len = gate.panel_len();
    let pairs = back.data_mut().par_chunks_mut(len).zip(up_back.data_mut().par_chunks_mut(len));
    let inputs = gate.data().par_chunks(len).zip(up.data().par_chunks(len));
    pairs.zip(inputs).for_each(|((back, up_back), (gate, up))| {
        widest(|| {
            for ((back, up_back), (gate, up)) in back.iter_mut().zip(up_back).zip(gate.iter().zip(up)) {
                let share = sigmoid(*gate);
                let silu = gate * share;
                let slope = share * (1.0 + gate * (1.0 - share));
                *up_back = *back * silu;
                *back = *back * up * slope;
            }
        });
    });
    (back, up_back)
}
