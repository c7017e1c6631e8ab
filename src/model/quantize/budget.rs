//! Which type each tensor gets where a file's size is what is asked for.
//!
//! All begin with the smallest. Then, again and again, the tensor whose error falls most for each byte gets the larger type,
//! for as long as one fits. That is the greedy solution of a knapsack with several choices for each item: what is left over
//! at the end is less than the smallest step of any tensor.

/// A way to store one tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Bytes in the file.
    pub bytes: u64,
    /// How much is lost; 0 for nothing.
    pub error: f64,
}

/// Returns which of its candidates each tensor gets so that they fit into `budget` bytes; nothing where not even the
/// smallest do.
pub fn choose(tensors: &[Vec<Candidate>], budget: u64) -> Option<Vec<usize>> {
    let smallest = |candidates: &Vec<Candidate>| {
        (0..candidates.len()).min_by_key(|&at| (candidates[at].bytes, at)).unwrap_or_default()
    };
    let mut chosen: Vec<usize> = tensors.iter().map(smallest).collect();
    let bytes = |chosen: &[usize]| chosen.iter().zip(tensors).map(|(&at, tensor)| tensor[at].bytes).sum::<u64>();
    let mut left = budget.checked_sub(bytes(&chosen))?;
    while let Some((tensor, at)) = best_step(tensors, &chosen, left) {
        left -= tensors[tensor][at].bytes - tensors[tensor][chosen[tensor]].bytes;
        chosen[tensor] = at;
    }
    Some(chosen)
}

/// Returns the tensor and the candidate by which most error falls for each byte, among those that fit; of equal ones the
/// first.
fn best_step(tensors: &[Vec<Candidate>], chosen: &[usize], left: u64) -> Option<(usize, usize)> {
    let mut best: Option<(f64, usize, usize)> = None;
    for (index, (candidates, &now)) in tensors.iter().zip(chosen).enumerate() {
        let now = candidates[now];
        for (at, next) in candidates.iter().enumerate() {
            let Some(more) = next.bytes.checked_sub(now.bytes).filter(|more| (1..=left).contains(more)) else {
                continue;
            };
            let gain = (now.error - next.error) / more as f64;
            if gain > 0.0 && best.is_none_or(|(most, ..)| gain > most) {
                best = Some((gain, index, at));
            }
        }
    }
    best.map(|(_, index, at)| (index, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(all: &[(u64, f64)]) -> Vec<Candidate> {
        all.iter().map(|&(bytes, error)| Candidate { bytes, error }).collect()
    }

    #[test]
    fn bytes_go_where_they_help_most_until_none_fits() {
        let tensors = [
            candidates(&[(100, 8.0), (150, 2.0), (200, 0.0)]),
            candidates(&[(100, 8.0), (150, 7.0), (200, 0.0)]),
            // Larger and worse: never chosen.
            candidates(&[(10, 1.0), (20, 1.5)]),
        ];
        let chosen = |budget| choose(&tensors, budget);
        assert_eq!(chosen(209), None);
        assert_eq!(chosen(210), Some(vec![0, 0, 0]));
        assert_eq!(chosen(259), Some(vec![0, 0, 0]));
        assert_eq!(chosen(260), Some(vec![1, 0, 0]));
        // The step from 100 to 200 of the second helps more a byte than any other that still fits.
        assert_eq!(chosen(360), Some(vec![1, 2, 0]));
        assert_eq!(chosen(1_000), Some(vec![2, 2, 0]));
    }
}
