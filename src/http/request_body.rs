//! Request bodies: read whole before anyone works on them, within bounds of size, time and memory.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{Extensions, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::{
    connection::{Phase, Reading},
    error::HttpError,
};

/// Up to here a body counts as small: no request has to wait for the memory that it takes.
const SMALL: usize = 64 * 1024;
/// What all large bodies together may take, in bytes. A larger one waits until it is alone.
const ALL_LARGE: usize = 8 * 1024 * 1024;
/// The most values that a JSON text may have: far more than any tool takes, and so few that their
/// memory, a hundred times that of their text, is small for all requests in flight together.
const MAX_VALUES: usize = 2_000;

/// The memory that large bodies share.
#[derive(Debug, Clone)]
pub(super) struct Memory(Arc<Semaphore>);

impl Default for Memory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ALL_LARGE)))
    }
}

/// The bytes of a large body with their share of the memory.
struct Large(BytesMut, #[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Memory {
    /// Reads a body of at most `limit` bytes. A large one gets its share of the memory, all that it
    /// may need, once its client has sent so much that it is no mere announcement; it gives it back
    /// when the last of its bytes is dropped.
    ///
    /// # Errors
    /// When it is too large or too complex, breaks off, or takes longer than `time`.
    pub(super) async fn read(
        &self,
        body: Body,
        of: &Extensions,
        limit: usize,
        time: Duration,
    ) -> Result<Bytes, HttpError> {
        let announced = body.size_hint();
        if announced.lower() > limit as u64 {
            return Err(too_large(limit));
        }
        let deadline = Instant::now() + time;
        let _reading = (!body.is_end_stream()).then(|| Reading::begin(of, Phase::Body));
        let mut body = Limited::new(body, limit);
        let (mut bytes, mut share) = (BytesMut::new(), None);
        while let Some(frame) =
            timeout_at(deadline, body.frame()).await.map_err(|_elapsed| too_slow())?
        {
            let frame = frame.map_err(|error| unreadable(&*error, limit))?;
            let Ok(data) = frame.into_data() else { continue };
            if share.is_none() && bytes.len() + data.len() > SMALL {
                let most = announced.exact().map_or(limit, |exact| exact as usize);
                share = Some(timeout_at(deadline, self.share(most)).await.map_err(|_| crowded())?);
                bytes.reserve((announced.lower() as usize).saturating_sub(bytes.len()));
            }
            bytes.extend_from_slice(&data);
        }
        if has_too_many_values(&bytes) {
            return Err(too_complex());
        }
        Ok(match share.flatten() {
            Some(share) => Bytes::from_owner(Large(bytes, share)),
            None => bytes.freeze(),
        })
    }

    /// `None` only if the semaphore is closed, which it never is.
    async fn share(&self, size: usize) -> Option<OwnedSemaphorePermit> {
        let size = size.min(ALL_LARGE) as u32;
        Arc::clone(&self.0).acquire_many_owned(size).await.ok()
    }
}

/// Whether a JSON text begins more than [`MAX_VALUES`], by what separates them outside of strings.
/// Of what is no JSON no parser reads more than it takes to see that.
fn has_too_many_values(json: &[u8]) -> bool {
    if json.len() <= MAX_VALUES {
        return false;
    }
    let mut values = 0;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b'[' | b'{' | b',' => values += 1,
            _ => {}
        }
        if values > MAX_VALUES {
            return true;
        }
    }
    false
}

fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.find(|byte| matches!(byte, b'"' | b'\\')) {
        if *byte == b'"' {
            return;
        }
        bytes.next();
    }
}

fn too_large(limit: usize) -> HttpError {
    let message = format!("the request body is larger than {limit} bytes");
    HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, "INVALID_INPUT", message)
}

fn too_complex() -> HttpError {
    let message = format!("the request body has more than {MAX_VALUES} values");
    HttpError::new(StatusCode::BAD_REQUEST, "INVALID_INPUT", message)
}

fn too_slow() -> HttpError {
    HttpError::new(StatusCode::REQUEST_TIMEOUT, "INVALID_INPUT", "the request body took too long")
}

fn crowded() -> HttpError {
    let message = "too many large request bodies at once; try again";
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE", message)
}

fn unreadable(error: &(dyn std::error::Error + 'static), limit: usize) -> HttpError {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    if causes.any(|cause| cause.is::<LengthLimitError>()) {
        return too_large(limit);
    }
    HttpError::new(StatusCode::BAD_REQUEST, "INVALID_INPUT", "the request body broke off")
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use futures_util::stream;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MIB: usize = 1024 * 1024;

    async fn read(memory: &Memory, body: Body) -> Result<Bytes, StatusCode> {
        let read = memory.read(body, &Extensions::new(), 4 * MIB, SECOND).await;
        read.map_err(|error| error.into_response().status())
    }

    fn chunked(lengths: &[usize]) -> Body {
        let chunks: Vec<_> = lengths.iter().map(|&n| Ok::<_, axum::Error>(vec![b' '; n])).collect();
        Body::from_stream(stream::iter(chunks))
    }

    #[tokio::test(start_paused = true)]
    async fn large_bodies_share_a_bounded_memory_and_small_ones_need_none() {
        let memory = Memory::default();

        let first = read(&memory, vec![b' '; 4 * MIB].into()).await.unwrap();
        let second = read(&memory, chunked(&[SMALL, 1])).await.unwrap();
        let refused = read(&memory, vec![b' '; 2 * SMALL].into()).await.unwrap_err();
        let small = read(&memory, vec![b' '; SMALL].into()).await.unwrap();
        drop((first, second));
        let waiting = read(&memory, vec![b' '; 4 * MIB].into()).await.unwrap();

        assert_eq!(refused, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!((small.len(), waiting.len()), (SMALL, 4 * MIB));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_read_whole_or_refused_with_its_reason() {
        let memory = Memory::default();
        let status = async |body: Body| read(&memory, body).await.map(|read| read.len());

        assert_eq!(status(chunked(&[])).await, Ok(0));
        assert_eq!(status(chunked(&[1, 2, MIB])).await, Ok(MIB + 3));
        assert_eq!(status(chunked(&[MIB; 4])).await, Ok(4 * MIB));
        assert_eq!(status(chunked(&[MIB; 5])).await, Err(StatusCode::PAYLOAD_TOO_LARGE));
        let too_long = vec![0; 4 * MIB + 1].into();
        assert_eq!(status(too_long).await, Err(StatusCode::PAYLOAD_TOO_LARGE));
        let never = Body::from_stream(stream::pending::<Result<Bytes, axum::Error>>());
        assert_eq!(status(never).await, Err(StatusCode::REQUEST_TIMEOUT));
        let broken = stream::iter([Err::<Bytes, _>(std::io::Error::other("broken"))]);
        assert_eq!(status(Body::from_stream(broken)).await, Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn values_are_counted_outside_of_strings_only() {
        let half = MAX_VALUES / 2;
        let text = |json: String| has_too_many_values(json.as_bytes());

        assert!(!text(format!("[{}0]", "0,".repeat(MAX_VALUES - 1))));
        assert!(text(format!("[{}0]", "0,".repeat(MAX_VALUES))));
        assert!(text(format!("[{}0]", "[0],".repeat(half))));
        assert!(text(format!("[{}0]", r#"{"":0},"#.repeat(half))));
        assert!(!text(format!(r#"["{}"]"#, "[{,".repeat(MAX_VALUES))));
        assert!(!text(format!(r#"["{}"]"#, r#"\",["#.repeat(MAX_VALUES))));
        assert!(text(format!(r#"["\\",{}0]"#, "0,".repeat(MAX_VALUES))));
        assert!(!text("\"".repeat(3 * MAX_VALUES + 1)));
    }
}
