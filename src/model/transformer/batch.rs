//! Rows laid end to end, what they begin with in common laid once.

use std::ops::Range;

use super::super::kernel::LANES;
use super::super::rows::TokenRow;

/// So many tokens at the least are shared: fewer would not be worth a boundary.
const LEAST_SHARED: usize = LANES;

/// Rows laid end to end, each attending only to itself, with positions from 0.
///
/// Rows that begin with the same tokens, such as those of the system's message, share them: these are laid once, and what
/// follows of each row attends to them. Since attention is causal, a row's loss is what it is alone; the gradient of shared
/// tokens sums over their rows. Tokens are in the order of a tree of prefixes, parents before their children, so that
/// one number tells who sees a token: all from it on, up to the end of what descends from it.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    ids: Vec<u32>,
    /// Each token's position in its row.
    positions: Vec<usize>,
    /// The length of the first row that has each token.
    lengths: Vec<usize>,
    /// The end of the tokens that see each token, for whole panels.
    ends: Vec<usize>,
    /// The trained tokens, row after row, and the places that predict them.
    targets: (Vec<u32>, Vec<usize>),
    /// What tells a token from all others of the run, for dropout: a shared token has that of its first row.
    identities: Vec<u64>,
    segments: Vec<Segment>,
}

/// Tokens laid together that the same rows share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Where they are.
    pub(super) tokens: Range<usize>,
    /// Where what comes before them in their rows is, from the rows' first token on.
    pub(super) before: Vec<Range<usize>>,
}

impl Batch {
    /// Lays rows end to end; each comes with a number that tells its appearance in training from all others.
    pub fn new<'r>(rows: impl IntoIterator<Item = (u64, &'r TokenRow)>) -> Self {
        let rows: Vec<(u64, &TokenRow)> = rows.into_iter().collect();
        let mut tree = Tree::default();
        let leaves: Vec<usize> = (0..rows.len()).map(|row| tree.insert(&rows, row)).collect();
        let mut batch = Self::default();
        let mut starts = vec![0; tree.segments.len()];
        for root in tree.roots.clone() {
            batch.lay(&rows, &tree, root, &mut starts);
        }
        batch.ends.extend(batch.ids.len() + 1..=batch.ids.len().next_multiple_of(LANES));
        for ((_, row), leaf) in rows.iter().zip(leaves) {
            if row.ids.is_empty() {
                continue;
            }
            let places = tree.places(leaf, &starts);
            for (place, (id, trained)) in places.iter().zip(row.ids.iter().zip(&row.trained).skip(1)) {
                if *trained {
                    batch.targets.0.push(*id);
                    batch.targets.1.push(*place);
                }
            }
        }
        batch
    }

    /// Lays a segment and all that descends from it.
    fn lay(&mut self, rows: &[(u64, &TokenRow)], tree: &Tree, index: usize, starts: &mut [usize]) {
        let segment = &tree.segments[index];
        let (identity, row) = rows[segment.row];
        starts[index] = self.ids.len();
        self.ids.extend_from_slice(&row.ids[segment.tokens.clone()]);
        self.positions.extend(segment.tokens.clone());
        self.lengths.resize(self.ids.len(), row.ids.len());
        self.identities.extend(segment.tokens.clone().map(|token| identity << 32 | token as u64));
        let own = starts[index]..starts[index] + segment.tokens.len();
        self.segments.push(Segment { tokens: own.clone(), before: tree.before(index, starts) });
        for child in &segment.children {
            self.lay(rows, tree, *child, starts);
        }
        self.ends.resize(self.ids.len(), 0);
        self.ends[own].fill(self.ids.len());
    }

    /// Returns the number of tokens that are computed: shared ones count once.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Returns the number of tokens whose prediction is trained.
    pub fn trained_tokens(&self) -> usize {
        self.targets.0.len()
    }

    pub(super) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Returns the trained targets and the places that predict them; a place can predict tokens of several rows.
    pub(super) fn targets(&self) -> (&[u32], &[usize]) {
        (&self.targets.0, &self.targets.1)
    }

    /// Returns the segments, in the order of their tokens, which are all tokens.
    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Returns the token's position in its row.
    pub(super) fn position(&self, token: usize) -> usize {
        self.positions[token]
    }

    /// Returns the number of tokens of the token's row; of the first, if several rows share the token.
    pub(super) fn row_length(&self, token: usize) -> usize {
        self.lengths[token]
    }

    /// Returns what tells the token from all others.
    pub(super) fn identity(&self, token: usize) -> u64 {
        self.identities.get(token).copied().unwrap_or(u64::MAX)
    }

    /// Returns for each key of a panel the end of the queries that see it; the first is the key itself. A token behind the
    /// last sees itself alone.
    pub(super) fn ends(&self, panel: usize) -> &[usize; LANES] {
        self.ends[panel * LANES..].first_chunk().expect("whole panels")
    }

    /// Returns the end of the panels that have queries which see keys of some panels.
    pub(super) fn queries_of(&self, keys: Range<usize>) -> usize {
        let ends = keys.flat_map(|panel| self.ends(panel));
        ends.max().map_or(0, |end| end.div_ceil(LANES))
    }

    /// Returns the runs of panels that have keys which queries of some panels see.
    pub(super) fn keys_of(&self, queries: Range<usize>) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for panel in 0..queries.end {
            let seen = self.ends(panel).iter().any(|end| *end > queries.start * LANES);
            match runs.last_mut() {
                Some(run) if seen && run.end == panel => run.end += 1,
                _ if seen => runs.push(panel..panel + 1),
                _ => {}
            }
        }
        runs
    }

    /// Returns how many pairs of a query and a key that it sees there are.
    pub(super) fn pairs(&self) -> usize {
        (0..self.tokens()).map(|key| self.ends[key] - key).sum()
    }
}

/// Rows by what they begin with.
#[derive(Default)]
struct Tree {
    segments: Vec<Shared>,
    roots: Vec<usize>,
}

/// Tokens that the same rows share, before they are laid.
struct Shared {
    parent: Option<usize>,
    children: Vec<usize>,
    /// A row that has them, and their places in it.
    row: usize,
    tokens: Range<usize>,
}

impl Tree {
    /// Adds a row and returns the segment that it ends with.
    fn insert(&mut self, rows: &[(u64, &TokenRow)], row: usize) -> usize {
        let ids = &rows[row].1.ids;
        let (mut parent, mut done) = (None, 0);
        while done < ids.len() {
            let siblings = parent.map_or(&self.roots, |parent: usize| &self.segments[parent].children);
            let common = |segment: usize| {
                let segment = &self.segments[segment];
                let tokens = &rows[segment.row].1.ids[segment.tokens.clone()];
                tokens.iter().zip(&ids[done..]).take_while(|(a, b)| a == b).count()
            };
            let best =
                siblings.iter().map(|segment| (common(*segment), *segment)).rev().max_by_key(|(common, _)| *common);
            let Some((common, segment)) = best.filter(|(common, _)| *common >= LEAST_SHARED) else {
                return self.push(parent, row, done..ids.len());
            };
            done += common;
            parent = Some(self.split(segment, common));
        }
        // A row without tokens has no segment; nobody asks for it.
        parent.unwrap_or(0)
    }

    fn push(&mut self, parent: Option<usize>, row: usize, tokens: Range<usize>) -> usize {
        let index = self.segments.len();
        self.segments.push(Shared { parent, children: Vec::new(), row, tokens });
        parent.map_or(&mut self.roots, |parent| &mut self.segments[parent].children).push(index);
        index
    }

    /// Cuts a segment after some tokens and returns the first part; the second keeps the segment's index, since rows end
    /// with it.
    fn split(&mut self, index: usize, length: usize) -> usize {
        if length == self.segments[index].tokens.len() {
            return index;
        }
        let first = self.segments.len();
        let segment = &mut self.segments[index];
        let (parent, row, at) = (segment.parent, segment.row, segment.tokens.start + length);
        let tokens = segment.tokens.start..at;
        (segment.parent, segment.tokens.start) = (Some(first), at);
        let siblings = parent.map_or(&mut self.roots, |parent| &mut self.segments[parent].children);
        siblings.iter_mut().filter(|sibling| **sibling == index).for_each(|sibling| *sibling = first);
        self.segments.push(Shared { parent, children: vec![index], row, tokens });
        first
    }

    /// Returns where the tokens of a row that ends with a segment were laid.
    fn places(&self, leaf: usize, starts: &[usize]) -> Vec<usize> {
        let own = self.laid(leaf, starts);
        self.before(leaf, starts).into_iter().chain([own]).flatten().collect()
    }

    /// Returns where what comes before a segment was laid, from the first token on.
    fn before(&self, segment: usize, starts: &[usize]) -> Vec<Range<usize>> {
        let parent = |segment: &usize| self.segments[*segment].parent;
        let mut path: Vec<_> =
            std::iter::successors(parent(&segment), parent).map(|segment| self.laid(segment, starts)).collect();
        path.reverse();
        path
    }

    fn laid(&self, segment: usize, starts: &[usize]) -> Range<usize> {
        starts[segment]..starts[segment] + self.segments[segment].tokens.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ids: impl IntoIterator<Item = u32>) -> TokenRow {
        let ids: Vec<u32> = ids.into_iter().collect();
        TokenRow { trained: (0..ids.len()).map(|token| token > 30).collect(), ids }
    }

    #[test]
    fn beginnings_are_laid_once_whatever_the_order_of_rows() {
        let rows = [
            row(0..40),
            row((0..20).chain(100..120)),
            row(0..36),
            row(200..203),
            row((0..20).chain(100..118).chain(300..310)),
            row(0..36),
            row([]),
            // Fifteen tokens in common are too few.
            row((0..15).chain(400..410)),
        ];
        let batch = Batch::new((0..).zip(&rows));
        let expected = (0..40).chain(100..118).chain(118..120).chain(300..310);
        let expected: Vec<u32> = expected.chain(200..203).chain((0..15).chain(400..410)).collect();
        assert_eq!(batch.ids(), expected);
        let at = |id: u32| batch.ids().iter().position(|found| *found == id).unwrap();
        assert_eq!([0, 19, 31, 39, 117, 119, 309, 202].map(|id| batch.ends[at(id)]), [70, 70, 40, 40, 70, 60, 70, 73]);
        assert_eq!([0, 39, 100, 300, 200].map(|id| batch.position(at(id))), [0, 39, 20, 38, 0]);
        assert!(batch.segments().iter().flat_map(|segment| segment.tokens.clone()).eq(0..batch.tokens()));
        let last = batch.segments().iter().find(|segment| segment.tokens.contains(&at(309))).unwrap();
        assert_eq!((last.tokens.clone(), last.before.as_slice()), (60..70, &[0..20, 40..58][..]));
        let (targets, places) = batch.targets();
        assert_eq!(targets.len(), rows.iter().map(TokenRow::trained_tokens).sum::<usize>());
        // Token 31 is predicted for three rows, from the same place.
        let of_31 = targets.iter().zip(places).filter(|(target, _)| **target == 31).map(|(_, place)| *place);
        assert_eq!(of_31.collect::<Vec<_>>(), [30; 3]);
        assert_eq!([0, 119, 309].map(|id| batch.row_length(at(id))), [40, 40, 48]);
        assert_eq!(batch.identity(at(119)), (1 << 32) + 39);
        assert_eq!(batch.identity(at(19)), 19);
        let only_run = |queries| match batch.keys_of(queries).as_slice() {
            [run] => run.clone(),
            runs => panic!("{runs:?}"),
        };
        assert_eq!([only_run(4..5), only_run(5..6)], [0..5, 4..6]);
    }
}
