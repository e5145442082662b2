//! Claims about the real programs, a module per family. Each test starts its own daemon on a port
//! that the kernel chooses, in a directory of its own, and ends it.

mod support;

mod first_light;
