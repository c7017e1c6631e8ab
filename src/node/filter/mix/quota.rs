//! How many rows each source may have, so that none has more than its share of what stays.

/// What is known of one source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stock {
    /// Its rows, once its `max` is applied.
    pub(super) rows: u64,
    /// The largest share of all rows that it may have.
    pub(super) share: Option<f64>,
}

/// Returns how many rows of each source stay: as many as the shares allow. Nothing when they allow none, as where every
/// source has a share and they sum to less than 1.
pub(super) fn quotas(stocks: &[Stock]) -> Option<Vec<u64>> {
    let total: u64 = stocks.iter().map(|stock| stock.rows).sum();
    let mut size = total as f64;
    // What one source loses may put another over its share; each round puts one more there, or is the last.
    for _ in stocks {
        let over = |stock: &&Stock| stock.share.is_some_and(|share| stock.rows as f64 > share * size);
        let shares: f64 = stocks.iter().filter(over).filter_map(|stock| stock.share).sum();
        let rest: u64 = stocks.iter().filter(|stock| !over(stock)).map(|stock| stock.rows).sum();
        let next = if shares > 0.0 { rest as f64 / (1.0 - shares) } else { rest as f64 };
        if next >= size {
            break;
        }
        size = next;
    }
    let quota = |stock: &Stock| match stock.share {
        // A share that is met exactly must not lose a row to rounding.
        Some(share) => stock.rows.min((share * size + 1e-6) as u64),
        None => stock.rows,
    };
    let quotas: Vec<u64> = stocks.iter().map(quota).collect();
    (total == 0 || quotas.iter().any(|quota| *quota > 0)).then_some(quotas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stocks: &[(u64, Option<f64>)], expect: Option<&[u64]>) {
        let stocks: Vec<Stock> = stocks.iter().map(|(rows, share)| Stock { rows: *rows, share: *share }).collect();
        assert_eq!(quotas(&stocks).as_deref(), expect, "{stocks:?}");
    }

    #[test]
    fn no_source_has_more_than_its_share_and_nothing_is_dropped_beyond_that() {
        check(&[(700, None), (300, None)], Some(&[700, 300]));
        check(&[(700, None), (300, Some(0.3))], Some(&[700, 300]));
        check(&[(700, None), (900, Some(0.3))], Some(&[700, 300]));
        check(&[(700, None), (200, Some(0.3))], Some(&[700, 200]));
        check(&[(500, None), (900, Some(0.3)), (900, Some(0.2))], Some(&[500, 300, 200]));
        check(&[(500, Some(0.5)), (100, Some(0.5))], Some(&[100, 100]));
        check(&[(0, Some(0.5))], Some(&[0]));
    }

    #[test]
    fn shares_that_leave_no_row_are_told() {
        check(&[(500, Some(0.5)), (500, Some(0.3))], None);
    }
}
