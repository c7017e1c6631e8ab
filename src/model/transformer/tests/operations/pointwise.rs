//! What takes each token, or each number, by itself: normalisation, rotation, gate, bias, embedding, gathering.

use super::super::super::batch::Batch;
use super::super::super::block::{add_bias, add_sums, gated, gated_backward};
use super::super::super::rope::{Rotation, Turn};
use super::super::super::{norm, whole};
use super::*;
use crate::model::kernel::bands_len;

/// Large enough that a token of zeros has no gradient that towers above all others.
const EPSILON: f32 = 1e-2;

/// Normalises as many features together as there are weights.
fn normalised(x: &Rows, weight: &Rows) -> Rows {
    let weight = &weight[0];
    let head = |x: &[f64]| {
        let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        let scale = 1.0 / (mean + f64::from(EPSILON)).sqrt();
        x.iter().zip(weight).map(|(x, weight)| x * scale * weight).collect::<Vec<_>>()
    };
    x.iter().map(|x| x.chunks(weight.len()).flat_map(head).collect()).collect()
}

#[test]
fn normalisation_of_tokens_and_of_heads_is_its_definition_and_has_its_gradients() {
    for (count, features, weights) in [(0, 7, 7), (1, 7, 7), (5, 9, 3), (17, 19, 19), (33, 70, 35), (16, 130, 130)] {
        let what = format!("{count} tokens, {weights} of {features} features");
        let (mut x, more) = (rows(1, count, features), rows(2, count, features));
        if let Some(last) = x.last_mut().filter(|_| count > 1) {
            last.fill(0.0);
        }
        let (weight, back, past) = (rows(3, 1, weights), rows(4, count, features), rows(5, count, features));
        let (own, numbers) = (panels(&x, features), flat(&weight));
        let (out, scales) = norm::forward(&own, &numbers, EPSILON);
        check(&what, &tokens(&out, count), &normalised(&x, &weight));
        check(&what, &tokens(&norm::scaled(&own, &numbers, &scales), count), &normalised(&x, &weight));
        let mut sum = own.clone();
        let out = norm::add_and_forward(&mut sum, &panels(&more, features), &numbers, EPSILON).0;
        let added = tokens(&sum, count);
        check(&what, &tokens(&out, count), &normalised(&added, &weight));

        let (back_panels, past_panels) = (panels(&back, features), panels(&past, features));
        let alone = norm::backward(&own, &back_panels, &numbers, &scales, None);
        check_gradient(&what, &x, &tokens(&alone, count), |x| product(&normalised(x, &weight), &back));
        let with_past = norm::backward(&own, &back_panels, &numbers, &scales, Some(&past_panels));
        check_gradient(&what, &x, &tokens(&with_past, count), |x| {
            product(&normalised(x, &weight), &back) + product(x, &past)
        });
        // It is added to what is there.
        let mut of_weight = vec![1.0; weights];
        norm::add_weight_gradient(&own, &back_panels, &scales, &mut of_weight);
        let of_weight = vec![of_weight.into_iter().map(|number| f64::from(number) - 1.0).collect()];
        check_gradient(&what, &weight, &of_weight, |weight| product(&normalised(&x, weight), &back));
    }
}

#[test]
fn rotation_turns_each_head_by_the_position_in_its_row_and_back_again() {
    let frequencies = [1.0, 0.3, 0.01];
    for (lengths, heads) in [(vec![], 1), (vec![1], 1), (vec![0, 1, 5, 0, 20, 1], 3)] {
        let given = rows_of(&lengths);
        let batch = Batch::new((0..).zip(&given));
        let (count, features) = (batch.tokens(), heads * 2 * frequencies.len());
        let positions: Vec<usize> = lengths.iter().flat_map(|length| 0..*length).collect();
        let turned = |x: &Rows| -> Rows {
            let head = |(position, head): (usize, &[f64])| {
                let (first, second) = head.split_at(frequencies.len());
                let pair = |(at, sign): (usize, f64)| {
                    let angle = frequencies[at] * position as f64;
                    let (own, other) = if sign < 0.0 { (first, second) } else { (second, first) };
                    own[at] * angle.cos() + sign * other[at] * angle.sin()
                };
                let both = [-1.0, 1.0].into_iter().flat_map(|sign| (0..frequencies.len()).map(move |at| (at, sign)));
                both.map(pair).collect::<Vec<f64>>()
            };
            let token = |(x, position): (&Vec<f64>, &usize)| {
                x.chunks(2 * frequencies.len()).flat_map(|x| head((*position, x))).collect()
            };
            x.iter().zip(&positions).map(token).collect()
        };
        let (x, back) = (rows(1, count, features), rows(2, count, features));
        let rotation = Rotation::new(&frequencies, &batch, 0..batch.tokens());
        let [mut found, mut gradient] = [&x, &back].map(|numbers| panels(numbers, features));
        rotation.apply(&mut found, Turn::On);
        rotation.apply(&mut gradient, Turn::Back);
        check("turned", &tokens(&found, count), &turned(&x));
        check_gradient("turned back", &x, &tokens(&gradient, count), |x| product(&turned(x), &back));
    }
}

#[test]
fn the_gate_of_swiglu_is_its_definition_and_has_its_gradients() {
    let definition = |gate: &Rows, up: &Rows| -> Rows {
        let number = |(gate, up): (&f64, &f64)| gate / (1.0 + (-gate).exp()) * up;
        gate.iter().zip(up).map(|(gate, up)| gate.iter().zip(up).map(number).collect()).collect()
    };
    for (count, features) in [(0, 3), (1, 1), (17, 5), (33, 19)] {
        let larger =
            |rows: Rows| -> Rows { rows.into_iter().map(|row| row.iter().map(|x| 8.0 * x).collect()).collect() };
        let (gate, up, back) = (larger(rows(1, count, features)), rows(2, count, features), rows(3, count, features));
        let [gate_panels, up_panels, back_panels] = [&gate, &up, &back].map(|numbers| panels(numbers, features));
        check("gated", &tokens(&gated(&gate_panels, &up_panels), count), &definition(&gate, &up));
        let (of_gate, of_up) = gated_backward(&gate_panels, &up_panels, back_panels);
        check_gradient("gate", &gate, &tokens(&of_gate, count), |gate| product(&definition(gate, &up), &back));
        check_gradient("up", &up, &tokens(&of_up, count), |up| product(&definition(&gate, up), &back));
    }
}

#[test]
fn a_bias_is_added_to_each_token_and_its_gradient_is_their_sum() {
    for (count, features) in [(0, 3), (1, 1), (17, 5), (33, 19)] {
        let (x, bias, back) = (rows(1, count, features), rows(2, 1, features), rows(3, count, features));
        let definition = |bias: &Rows| -> Rows {
            x.iter().map(|x| x.iter().zip(&bias[0]).map(|(x, bias)| x + bias).collect()).collect()
        };
        let mut out = panels(&x, features);
        add_bias(&mut out, &flat(&bias));
        check("with a bias", &tokens(&out, count), &definition(&bias));
        let mut sums = vec![0.0; features];
        add_sums(&panels(&back, features), &mut sums);
        check_gradient("bias", &bias, &by_rows(&sums, features), |bias| product(&definition(bias), &back));
    }
}

#[test]
fn an_embedding_has_the_gradients_of_all_its_tokens() {
    let (vocabulary, features) = (11, 5);
    let row = |ids: Vec<u32>| TokenRow { trained: vec![false; ids.len()], ids };
    let given = [row(vec![]), row(vec![7]), row(vec![3, 3, 0, 3]), row(vec![10; 17])];
    let batch = Batch::new((0..).zip(&given));
    let back = rows(1, batch.tokens(), features);
    let table = rows(2, vocabulary, features);
    let embedded = |table: &Rows| -> Rows { batch.ids().iter().map(|id| table[*id as usize].clone()).collect() };
    let mut gradient = vec![0.0; bands_len(vocabulary, features)];
    whole::add_embeddings(&batch, &panels(&back, features), &mut gradient);
    let gradient = by_bands(&gradient, vocabulary, features);
    check_gradient("embedding", &table, &gradient, |table| product(&embedded(table), &back));
    assert!(gradient[1].iter().all(|number| *number == 0.0));
}

#[test]
fn gathered_tokens_give_their_gradients_back_to_where_they_were() {
    let features = 3;
    for (count, places) in [(0, vec![]), (1, vec![]), (1, vec![0, 0]), (35, vec![34, 2, 2, 17, 0, 2])] {
        let (x, back) = (rows(1, count, features), rows(2, places.len(), features));
        let gathered = |x: &Rows| -> Rows { places.iter().map(|place| x[*place].clone()).collect() };
        check("gathered", &tokens(&panels(&x, features).gather(&places), places.len()), &gathered(&x));
        let gradient = tokens(&panels(&back, features).scatter(&places, count), count);
        check_gradient("scattered", &x, &gradient, |x| product(&gathered(x), &back));
    }
}
