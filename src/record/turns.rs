//! Work in two steps on one piece after the other: the first step of a piece runs while the second one takes the piece
//! before. The steps are the same as without it, in the same order; only the time is less.

/// Makes something of each item with `make`, and hands it to `take` in order of the items.
///
/// # Errors
/// The first error of either step; the items behind it are left.
pub(crate) fn in_turns<I, T, E>(
    items: impl IntoIterator<Item = I>,
    make: impl Fn(I) -> Result<T, E> + Sync,
    mut take: impl FnMut(T) -> Result<(), E> + Send,
) -> Result<(), E>
where
    I: Send,
    T: Send,
    E: Send,
{
    let mut items = items.into_iter();
    let mut made = items.next().map(&make).transpose()?;
    while let Some(before) = made {
        let item = items.next();
        let (taken, next) = rayon::join(|| take(before), || item.map(&make).transpose());
        taken?;
        made = next?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_taken_in_order_and_the_first_error_ends_it() {
        let mut taken = Vec::new();
        let result = in_turns(
            0..9,
            |n| if n == 7 { Err(n) } else { Ok(n * 2) },
            |twice| {
                taken.push(twice);
                Ok(())
            },
        );
        assert_eq!((result, taken), (Err(7), vec![0, 2, 4, 6, 8, 10, 12]));
        assert_eq!(in_turns(0..9, Ok, |n| if n < 3 { Ok(()) } else { Err(n) }), Err(3));
        assert_eq!(in_turns(0..0, Ok::<_, ()>, |_| Err(())), Ok(()));
    }
}
