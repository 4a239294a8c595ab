//! Real clusters for the scenarios in `tests/`.
