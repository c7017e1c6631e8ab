//! A gate's condition: `questions.pass >= 0.9`, `questions.loss < questions.base-loss`.

use std::fmt;
use std::str::FromStr;

/// One condition over the fields of other nodes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    /// What is held against the bound.
    pub left: Field,
    /// How.
    pub comparison: Comparison,
    /// The bound.
    pub right: Operand,
}

/// A field of a node: `NODE.FIELD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// The node, maybe with the values of axes.
    pub node: String,
    /// The field; it may have dots, as `Q4_K_M.kl` of a ladder has.
    pub field: String,
}

/// What stands right of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    /// A number.
    Number(f64),
    /// Another node's field, or another field of the same node.
    Field(Field),
}

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
    /// `!=`
    Other,
}

impl Comparison {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Less, "<"),
        (Self::AtMost, "<="),
        (Self::More, ">"),
        (Self::AtLeast, ">="),
        (Self::Equal, "=="),
        (Self::Other, "!="),
    ];

    /// Returns whether the comparison holds; nothing holds for what is not a number.
    #[expect(clippy::float_cmp, reason = "`==` is what the user wrote")]
    pub(super) fn holds(self, left: f64, right: f64) -> bool {
        if left.is_nan() || right.is_nan() {
            return false;
        }
        match self {
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::More => left > right,
            Self::AtLeast => left >= right,
            Self::Equal => left == right,
            Self::Other => left != right,
        }
    }
}

impl FromStr for Condition {
    /// What is wrong.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [left, comparison, right] = parts[..] else {
            return Err(format!("`{text}` is not of the form `NODE.FIELD COMPARISON BOUND`"));
        };
        let Some((comparison, _)) = Comparison::ALL.into_iter().find(|(_, sign)| *sign == comparison) else {
            return Err(format!("`{comparison}` is no comparison"));
        };
        let left = field(left).ok_or_else(|| format!("`{left}` names no field of a node"))?;
        let right = match right.parse::<f64>() {
            Ok(number) if number.is_finite() => Operand::Number(number),
            _ => Operand::Field(field(right).ok_or_else(|| format!("`{right}` is neither a number nor `NODE.FIELD`"))?),
        };
        Ok(Self { left, comparison, right })
    }
}

fn field(text: &str) -> Option<Field> {
    crate::field::parse(text).map(|(node, field)| Field { node: node.into(), field: field.into() })
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(comparison, _)| comparison == self).map_or("", |(_, sign)| sign))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.field)
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Field(field) => write!(f, "{field}"),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.left, self.comparison, self.right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_as_they_are_written() {
        for text in ["questions.pass >= 0.9", "a.loss < b@rank=8.base-loss", "a.b.c != -2"] {
            assert_eq!(text.parse::<Condition>().unwrap().to_string(), text);
        }
        let fault = |text: &str| text.parse::<Condition>().unwrap_err();
        assert_eq!(fault("a.b => 1"), "`=>` is no comparison");
        assert_eq!(fault("pass >= 1"), "`pass` names no field of a node");
        assert_eq!(fault("a.b >= 90%"), "`90%` is neither a number nor `NODE.FIELD`");
        assert_eq!(fault("a.b>=1"), "`a.b>=1` is not of the form `NODE.FIELD COMPARISON BOUND`");
    }

    #[test]
    fn nothing_holds_for_what_is_no_number() {
        assert!(Comparison::AtLeast.holds(0.9, 0.9) && !Comparison::More.holds(0.9, 0.9));
        assert!(Comparison::ALL.into_iter().all(|(comparison, _)| !comparison.holds(f64::NAN, 1.0)));
    }
}
