//! The greatest singular values of a matrix, by subspace iteration from random vectors (Halko, Martinsson and Tropp,
//! 2011, algorithms 4.4 and 5.1).
//!
//! The products with the matrix are those of the kernels, so that a quantised one is never dequantised as a whole and
//! no thread changes a bit; the small matrices are worked on in 64 bits.

use super::super::kernel::{LANES, Mode, Workspace, multiply};
use super::super::weights::Matrix;
use super::random;

/// Vectors that are computed beside those that are asked for: they take the error of the last ones.
const SPARE: usize = 8;
/// Rounds over the small symmetric matrix; it is diagonal after about ten.
const ROUNDS: usize = 40;

/// Vectors of the same length.
type Vectors = Vec<Vec<f64>>;

/// The greatest singular values, and their vectors, of `W ≈ Σ value · left rightᵀ`.
#[derive(Clone, Debug)]
pub(super) struct Truncated {
    /// As long as a column.
    pub(super) left: Vectors,
    /// From the greatest on.
    pub(super) values: Vec<f64>,
    /// As long as a row.
    pub(super) right: Vectors,
}

impl Truncated {
    /// Returns the `rank` greatest; `iterations` as `niter` of PyTorch's `svd_lowrank`.
    pub(super) fn of(weight: &Matrix, rank: usize, iterations: u32, seed: u64) -> Self {
        let count = (rank + SPARE).min(weight.rows()).min(weight.columns());
        let draw = |vector: usize| {
            let stream = random::mix(&[seed, random::name("singular vectors"), vector as u64]);
            (0..weight.columns() as u64).map(|place| f64::from(random::normal(random::mix(&[stream, place])))).collect()
        };
        let mut left = orthonormal(forth(weight, &(0..count).map(draw).collect()));
        for _ in 0..iterations {
            left = orthonormal(forth(weight, &orthonormal(back(weight, &left))));
        }
        // W ≈ Q (Wᵀ Q)ᵀ, whose singular values are the roots of the eigenvalues of (Wᵀ Q)ᵀ (Wᵀ Q).
        let through = back(weight, &left);
        let (squares, rotation) = eigen(through.iter().map(|a| through.iter().map(|b| dot(a, b)).collect()).collect());
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|a, b| squares[*b].total_cmp(&squares[*a]).then(a.cmp(b)));
        order.truncate(rank);
        let values: Vec<f64> = order.iter().map(|index| squares[*index].max(0.0).sqrt()).collect();
        let mixed = |vectors: &Vectors, index: usize| {
            let mut sum = vec![0.0; vectors[0].len()];
            for (vector, share) in vectors.iter().zip(&rotation[index]) {
                sum.iter_mut().zip(vector).for_each(|(sum, number)| *sum += share * number);
            }
            sum
        };
        let right = order.iter().zip(&values).map(|(index, value)| {
            let share = if *value > 0.0 { 1.0 / value } else { 0.0 };
            mixed(&through, *index).into_iter().map(|number| number * share).collect()
        });
        Self { left: order.iter().map(|index| mixed(&left, *index)).collect(), right: right.collect(), values }
    }
}

/// Returns `W x` of each vector.
fn forth(weight: &Matrix, vectors: &Vectors) -> Vectors {
    let (x_len, out_len) = (weight.columns() * LANES, weight.rows() * LANES);
    let x = panels(vectors, weight.columns());
    let mut out = vec![0.0; x.len() / x_len * out_len];
    weight.for_each_rows(&Workspace::default(), |tile| {
        multiply(tile.operand(), (&x, x_len), (&mut out[tile.first * LANES..], out_len), Mode::Fresh);
    });
    columns(&out, weight.rows(), vectors.len())
}

/// Returns `Wᵀ x` of each vector.
fn back(weight: &Matrix, vectors: &Vectors) -> Vectors {
    let (x_len, out_len) = (weight.rows() * LANES, weight.columns() * LANES);
    let x = panels(vectors, weight.rows());
    let mut out = vec![0.0; x.len() / x_len * out_len];
    weight.for_each_columns(&Workspace::default(), |tile| {
        multiply(tile.transposed(), (&x, x_len), (&mut out[tile.first * LANES..], out_len), Mode::Fresh);
    });
    columns(&out, weight.columns(), vectors.len())
}

/// Lays vectors side by side, sixteen to a panel.
fn panels(vectors: &Vectors, length: usize) -> Vec<f32> {
    let mut panels = vec![0.0; vectors.len().div_ceil(LANES) * length * LANES];
    for (index, vector) in vectors.iter().enumerate() {
        let panel = &mut panels[index / LANES * length * LANES..][..length * LANES];
        for (lanes, number) in panel.as_chunks_mut::<LANES>().0.iter_mut().zip(vector) {
            lanes[index % LANES] = *number as f32;
        }
    }
    panels
}

/// Returns the first `count` vectors of panels.
fn columns(panels: &[f32], length: usize, count: usize) -> Vectors {
    let column = |index: usize| {
        let panel = &panels[index / LANES * length * LANES..][..length * LANES];
        panel.as_chunks::<LANES>().0.iter().map(|lanes| f64::from(lanes[index % LANES])).collect()
    };
    (0..count).map(column).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Makes vectors orthonormal (Gram and Schmidt, twice against rounding). One that depends on the others becomes zero.
fn orthonormal(mut vectors: Vectors) -> Vectors {
    for index in 0..vectors.len() {
        let (done, rest) = vectors.split_at_mut(index);
        let vector = &mut rest[0];
        let before = dot(vector, vector).sqrt();
        for _ in 0..2 {
            for other in done.iter() {
                let share = dot(vector, other);
                vector.iter_mut().zip(other).for_each(|(number, other)| *number -= share * other);
            }
        }
        let length = dot(vector, vector).sqrt();
        let factor = if length > before * 1e-10 { 1.0 / length } else { 0.0 };
        for number in vector {
            *number *= factor;
        }
    }
    vectors
}

/// Returns eigenvalues and, in rows, eigenvectors of a symmetric matrix (Jacobi's rotations).
fn eigen(mut matrix: Vectors) -> (Vec<f64>, Vectors) {
    let size = matrix.len();
    let mut vectors: Vectors = (0..size).map(|row| (0..size).map(|at| f64::from(row == at)).collect()).collect();
    for _ in 0..ROUNDS {
        let beside: f64 = (0..size).flat_map(|p| (0..p).map(move |q| (p, q))).map(|(p, q)| matrix[p][q].powi(2)).sum();
        let along: f64 = (0..size).map(|at| matrix[at][at].powi(2)).sum();
        if beside <= along * 1e-30 {
            break;
        }
        for p in 1..size {
            for q in 0..p {
                rotate(&mut matrix, &mut vectors, p, q);
            }
        }
    }
    ((0..size).map(|at| matrix[at][at]).collect(), vectors)
}

/// Makes the element at `p`, `q` zero (Golub and Van Loan, 2013, section 8.5.2).
fn rotate(matrix: &mut Vectors, vectors: &mut Vectors, p: usize, q: usize) {
    if matrix[p][q] == 0.0 {
        return;
    }
    let half = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
    let tangent = half.signum() / (half.abs() + half.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    for row in matrix.iter_mut() {
        let (at_p, at_q) = (row[p], row[q]);
        row[p] = cosine * at_p - sine * at_q;
        row[q] = sine * at_p + cosine * at_q;
    }
    for rows in [matrix, vectors] {
        // `q` is before `p`.
        let (before, from_p) = rows.split_at_mut(p);
        for (at_p, at_q) in from_p[0].iter_mut().zip(&mut before[q]) {
            (*at_p, *at_q) = (cosine * *at_p - sine * *at_q, sine * *at_p + cosine * *at_q);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes `Σ 0.8^k · u_k v_kᵀ` with random orthonormal vectors.
    fn known(rows: usize, columns: usize) -> (Matrix, Vectors) {
        let draw = |length: usize, name: u64| {
            let vector = |k: usize| {
                (0..length).map(|at| f64::from(random::normal(random::mix(&[name, k as u64, at as u64])))).collect()
            };
            orthonormal((0..rows.min(columns)).map(vector).collect())
        };
        let (left, right) = (draw(rows, 1), draw(columns, 2));
        let mut data = vec![0.0; rows * columns];
        for (row, numbers) in data.chunks_mut(columns).enumerate() {
            for (column, number) in numbers.iter_mut().enumerate() {
                let terms = (0..left.len()).map(|k| 0.8_f64.powi(k as i32) * left[k][row] * right[k][column]);
                *number = terms.sum::<f64>() as f32;
            }
        }
        (Matrix::dense(rows, columns, data), left)
    }

    #[test]
    fn the_greatest_singular_values_and_vectors_are_found() {
        for (rows, columns) in [(40, 70), (70, 40), (33, 33)] {
            let (weight, left) = known(rows, columns);
            let found = Truncated::of(&weight, 6, 16, 1);
            for (k, value) in found.values.iter().enumerate() {
                assert!((value / 0.8_f64.powi(k as i32) - 1.0).abs() < 1e-5, "{k}: {value}");
                assert!(dot(&found.left[k], &left[k]).abs() > 1.0 - 1e-8, "{k}");
                assert!((dot(&found.right[k], &found.right[k]) - 1.0).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn a_matrix_of_small_rank_has_no_more_singular_values() {
        let data = (0..20 * 30).map(|at| ((at / 30) as f32 + 1.0) * ((at % 30) as f32 - 3.0)).collect();
        let found = Truncated::of(&Matrix::dense(20, 30, data), 4, 2, 1);
        assert!(found.values[0] > 1.0);
        assert!(found.values[1..].iter().all(|value| *value < 1e-3 * found.values[0]), "{:?}", found.values);
        assert!(found.right.iter().flatten().all(|number| number.is_finite()));
    }
}
