//! The daemon under a service manager: agents in slots, descriptors that outlive it.

mod listeners;
mod load;
mod slots;
mod takeover;
