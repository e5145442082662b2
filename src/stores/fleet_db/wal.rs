//! Whether the log beside the database is damaged, or ends where a crash broke off.
//!
//! SQLite takes a log up to the first frame that does not check, and leaves out the rest without
//! a word, for that is how a crash ends it. Damage looks the same to it, and what was committed
//! after it would be gone; all of it, if the log's header is hit.
//!
//! What a crash can leave: the header is synced before the first frame is written, and each
//! commit before the next one begins. So after the first frame that does not check there may be
//! frames of commits that were never answered, but each of them was the last of its time: no two
//! commits follow each other in one chain of checksums.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The last bit tells the order of bytes in the words that are summed.
const MAGIC: u32 = 0x377f_0682;
const PAGE_SIZES: std::ops::RangeInclusive<u32> = 512..=65536;

/// Sums as SQLite makes them, two words wide.
type Sum = (u32, u32);

struct Header {
    word: fn([u8; 4]) -> u32,
    page: usize,
    salt: [u8; 8],
    sum: Sum,
}

/// Reads the log; what is damaged in it, if anything is.
pub(super) fn find_damage(path: &Path) -> io::Result<Option<&'static str>> {
    damage(BufReader::new(File::open(path)?))
}

fn damage(mut log: impl Read) -> io::Result<Option<&'static str>> {
    let Some(header) = read(&mut log, HEADER)? else { return Ok(None) };
    // Longer than a header: it was synced.
    let Some(header) = Header::parse(&header) else {
        let has_frames = log.read(&mut [0])? > 0;
        return Ok(has_frames.then_some("its header makes no sense"));
    };
    // The sum of the frame before, as that frame has it; none if that is no frame of this log.
    let mut before = Some(header.sum);
    let mut is_whole = true;
    let mut commits = 0;
    while let Some(frame) = read(&mut log, FRAME_HEADER + header.page)? {
        let (head, page) = frame.split_at(FRAME_HEADER);
        if head[8..16] != header.salt {
            (before, is_whole, commits) = (None, false, 0);
            continue;
        }
        let sum = sum_at(head, 16);
        let follows = before.is_some_and(|before| {
            let first = header.add(before, &head[..8]);
            header.add(first, page) == sum
        });
        if !follows {
            (is_whole, commits) = (false, 0);
        }
        let is_commit = number_at(head, 4) != 0;
        if !is_whole && is_commit {
            commits += 1;
        }
        if commits > 1 {
            return Ok(Some("something in its middle is not what was written"));
        }
        before = Some(sum);
    }
    Ok(None)
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let magic = number_at(bytes, 0);
        let page = number_at(bytes, 8);
        let header = Self {
            word: if magic == MAGIC { u32::from_le_bytes } else { u32::from_be_bytes },
            page: usize::try_from(page).ok()?,
            salt: bytes[16..24].try_into().ok()?,
            sum: sum_at(bytes, 24),
        };
        let makes_sense = magic & !1 == MAGIC
            && PAGE_SIZES.contains(&page)
            && page.is_power_of_two()
            && header.add((0, 0), &bytes[..24]) == header.sum;
        makes_sense.then_some(header)
    }

    /// Adds pairs of words to a sum.
    fn add(&self, sum: Sum, bytes: &[u8]) -> Sum {
        let (pairs, _) = bytes.as_chunks::<8>();
        pairs.iter().fold(sum, |(first, second), &[a, b, c, d, e, f, g, h]| {
            let first = first.wrapping_add((self.word)([a, b, c, d])).wrapping_add(second);
            let second = second.wrapping_add((self.word)([e, f, g, h])).wrapping_add(first);
            (first, second)
        })
    }
}

fn number_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn sum_at(bytes: &[u8], at: usize) -> Sum {
    (number_at(bytes, at), number_at(bytes, at + 4))
}

/// So many bytes; `None` if there are fewer.
fn read(log: &mut impl Read, length: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; length];
    match log.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}
