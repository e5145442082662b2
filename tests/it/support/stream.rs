//! An answer that arrives bit by bit.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Instant,
};

use serde_json::Value;

use super::{PATIENCE, Request, eventually};

/// A connection on which such an answer arrives.
pub(crate) struct Stream {
    came: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<Instant>,
}

impl Stream {
    pub(crate) fn open(address: SocketAddr, request: &Request) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&request.bytes()).unwrap();
        let came = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&came);
        let reader = thread::spawn(move || {
            let mut chunk = [0; 4096];
            loop {
                match stream.read(&mut chunk) {
                    // A reset ends it too; a timeout does not.
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        panic!("the stream does not end")
                    }
                    Ok(0) | Err(_) => return Instant::now(),
                    Ok(count) => sink.lock().unwrap().extend(&chunk[..count]),
                }
            }
        });
        Self { came, reader }
    }

    pub(crate) fn so_far(&self) -> String {
        String::from_utf8(self.came.lock().unwrap().clone()).unwrap()
    }

    /// The events that came so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        events(&self.so_far())
    }

    pub(crate) fn until(&self, text: &str) {
        eventually(text, || self.so_far().contains(text).then_some(()));
    }

    /// Waits for its end: when that was, and all that came.
    pub(crate) fn end(self) -> (Instant, String) {
        let end = self.reader.join().unwrap();
        let came = self.came.lock().unwrap().clone();
        (end, String::from_utf8(came).unwrap())
    }
}

/// The events in what came.
pub(crate) fn events(came: &str) -> Vec<Value> {
    let data = came.lines().filter_map(|line| line.strip_prefix("data:"));
    data.filter_map(|data| serde_json::from_str(data.trim()).ok()).collect()
}
