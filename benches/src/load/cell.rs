//! A cell of the table.

use super::setting::Setting;
use crate::figures::Figures;

/// The figures that were measured under a setting.
#[derive(Clone, Debug)]
pub(super) struct LoadCell {
    pub(super) setting: Setting,
    pub(super) figures: Figures,
}
