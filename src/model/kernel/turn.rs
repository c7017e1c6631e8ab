//! Turning a matrix: rows become columns.

/// Rows, and columns, of a square that vectors turn.
const SQUARE: usize = 4;

/// Writes a matrix of `rows × columns`, whose rows lie `from_stride` numbers apart, turned: a row of `to` for each column,
/// `to_stride` numbers apart.
///
/// # Panics
/// When the slices are shorter than the shapes say.
pub(in crate::model) fn turn(
    (from, from_stride): (&[f32], usize),
    (rows, columns): (usize, usize),
    (to, to_stride): (&mut [f32], usize),
) {
    let squares = columns / SQUARE * SQUARE;
    for row in (0..rows).step_by(SQUARE) {
        let height = SQUARE.min(rows - row);
        let whole = if height == SQUARE { squares } else { 0 };
        let of: [&[f32]; SQUARE] =
            std::array::from_fn(|at| if at < height { &from[(row + at) * from_stride..][..columns] } else { &[] });
        for column in (0..whole).step_by(SQUARE) {
            let [a, b, c, d]: [&[f32; SQUARE]; SQUARE] =
                of.map(|row| row[column..].first_chunk().expect("a whole square"));
            for at in 0..SQUARE {
                to[(column + at) * to_stride + row..][..SQUARE].copy_from_slice(&[a[at], b[at], c[at], d[at]]);
            }
        }
        for column in whole..columns {
            for (at, of) in of[..height].iter().enumerate() {
                to[column * to_stride + row + at] = of[column];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "numbers are only moved")]
    fn every_number_is_moved_whatever_the_shape() {
        for (rows, columns) in [(12, 256), (64, 16), (7, 9), (1, 5), (8, 3), (5, 0)] {
            let (from_stride, to_stride) = (columns + 1, rows + 2);
            let from: Vec<f32> = (0..rows * from_stride).map(|index| index as f32).collect();
            let mut to = vec![-1.0; columns * to_stride];
            turn((&from, from_stride), (rows, columns), (&mut to, to_stride));
            for (index, found) in to.iter().enumerate() {
                let (column, row) = (index / to_stride, index % to_stride);
                assert_eq!(*found, if row < rows { from[row * from_stride + column] } else { -1.0 });
            }
        }
    }
}
