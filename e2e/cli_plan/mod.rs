//! `kubectl asts plan`, as the program that users run.

mod comparison;
mod plugin;

use comparison::what_is_planned_is_what_happens;

use crate::test_list;

test_list![what_is_planned_is_what_happens];
