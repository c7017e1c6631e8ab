//! Characters that no one sees: one list for the sources, which drop what is of use to nobody, and for the making of rows,
//! which looks at each of the others where it stands.

/// Returns whether a character is neither seen nor of use to any text: zero-width spaces, marks and controls of direction,
/// byte order marks, annotations, tags.
pub(crate) const fn is_useless(character: char) -> bool {
    matches!(
        character,
        '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// Returns whether nobody sees a character; some of these have work to do in some texts: joiners, variation selectors, soft
/// hyphens, Mongolian and Arabic marks, musical ones.
pub(super) const fn is_invisible(character: char) -> bool {
    is_useless(character)
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200c}'
                | '\u{200d}'
                | '\u{206a}'..='\u{206f}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0080}'..='\u{e0fff}'
        )
}
