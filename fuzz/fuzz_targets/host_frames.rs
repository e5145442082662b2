//! The bytes between daemon and agent host: where a stream is cut changes nothing, no line is longer than it
//! may be, and a frame that is understood is written so that it means the same.

#![no_main]

use fleet_mcp::agents::host::frames::{
    Frame, FromHost, MAX_FRAME, MAX_PIECE, Splitter, ToHost, decode, encode, pieces,
};
use fleet_mcp_fuzz::byte;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    // A few inputs stand for long streams, so that frames that are too long are within reach.
    let is_long = byte(&mut data) == 0xff;
    let chunk = usize::from(byte(&mut data)) + 1;
    let mut stream = data.to_vec();
    if let (true, Some(first)) = (is_long, data.first()) {
        stream.splice(..0, std::iter::repeat_n(*first, MAX_FRAME - data.len() / 2));
    }

    let whole = lines(&stream, stream.len().max(1));
    let in_chunks = lines(&stream, chunk);

    assert_eq!(whole, in_chunks);
    let expected = stream.split(|byte| *byte == b'\n');
    let mut expected: Vec<_> = expected.map(<[u8]>::to_vec).collect();
    // What follows the last line end is no line yet.
    expected.pop();
    expected.retain(|line| line.len() <= MAX_FRAME);
    assert_eq!(whole, expected);
    for line in &whole {
        if let Some(frame) = decode::<ToHost>(line) {
            same(&frame);
        }
        if let Some(frame) = decode::<FromHost>(line) {
            same(&frame);
        }
    }
    let text = String::from_utf8_lossy(&stream);
    let cut: Vec<_> = pieces(&text).collect();
    assert_eq!(cut.iter().map(|(piece, _)| *piece).collect::<String>(), text);
    assert!(cut.iter().all(|(piece, _)| piece.len() <= MAX_PIECE));
});

fn lines(stream: &[u8], chunk: usize) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut splitter = Splitter::default();
    for bytes in stream.chunks(chunk) {
        splitter.push(bytes, |line| lines.push(line.to_vec()));
    }
    lines
}

fn same<B>(frame: &Frame<B>)
where
    B: PartialEq + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let line = encode(frame);
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert_eq!(decode::<B>(&line[..line.len() - 1]).as_ref(), Some(frame));
}
