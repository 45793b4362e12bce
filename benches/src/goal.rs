//! The goal of a ratio, and whether it is met.

use std::fmt;

use serde::{Serialize, Serializer};

/// A bound for a ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    /// Whether one of the values meets the goal. Returns `None` if there is no value.
    pub(crate) fn met(self, values: impl IntoIterator<Item = Option<f64>>) -> Option<bool> {
        let met = |value: f64| match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        };
        values.into_iter().flatten().map(met).reduce(|one, other| one || other)
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "≥ {least:.2}"),
            Self::AtMost(most) => write!(f, "≤ {most:.2}"),
        }
    }
}

impl Serialize for Goal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_value_decides() {
        assert_eq!(Goal::AtLeast(0.5).met([Some(0.4), Some(0.6)]), Some(true));
        assert_eq!(Goal::AtMost(0.5).met([Some(0.6), None]), Some(false));
        assert_eq!(Goal::AtMost(0.5).met([None, None]), None);
    }
}
