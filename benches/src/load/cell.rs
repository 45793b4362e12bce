//! A cell of the table.

use super::setting::Setting;
use crate::figures::Figures;

/// A setting with its figures.
#[derive(Clone, Debug)]
pub(super) struct LoadCell {
    pub(super) setting: Setting,
    pub(super) figures: Figures,
}
