//! A cell of the table: a case under one setting, and what came of it.

use serde::Serialize;

use super::case::Variant;
use crate::figures::Figures;

/// A setting with its figures.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) setting: Setting,
    pub(super) figures: Figures,
}

/// What makes a cell another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) variant: Variant,
    pub(super) runtime: Runtime,
    pub(super) body: usize,
    pub(super) connections: usize,
}

/// What the programs of a case run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Runtime {
    CurrentThread,
    MultiThread,
}

impl Runtime {
    pub(super) const ALL: [Self; 2] = [Self::CurrentThread, Self::MultiThread];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CurrentThread => "current_thread",
            Self::MultiThread => "multi_thread",
        }
    }

    /// As [`Job`](crate::role::Job) takes it.
    pub(super) fn workers(self) -> Option<usize> {
        match self {
            Self::CurrentThread => None,
            Self::MultiThread => Some(2),
        }
    }
}
