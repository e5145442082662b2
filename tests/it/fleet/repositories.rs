//! repositories
