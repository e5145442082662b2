//! `fleet-mcp`: an authenticated MCP server that runs a fleet of coding agents, and `fleetctl`,
//! which controls it over a Unix socket.
//!
//! This file is the map. Bands in reading order; each may use the bands above it, never below:
//!
//! | band | modules | what may not happen there |
//! |---|---|---|
//! | core | [`auth`], [`fleet`] | I/O, clock, async runtime, frameworks |
//! | app | [`app`] | HTTP, files, sockets, process exit |
//! | tools | [`tools`] | knowing who serves them |
//! | edges | [`agents`], [`config`], [`http`], [`control`], [`stores`], [`systemd`], [`log`] | importing another edge |
//! | programs | [`doctor`], [`daemon`], [`cli`] | being imported by anything but the two `main`s |
//!
//! The invariants, and the tests that keep them, are in `docs/ARCHITECTURE.md`.

pub mod exit;

pub mod auth;
pub mod fleet;

pub mod app;

pub mod tools;

pub mod agents;
pub mod config;
pub mod control;
pub mod http;
pub mod log;
pub mod stores;
pub mod systemd;

pub mod doctor;

pub mod cli;
pub mod daemon;
