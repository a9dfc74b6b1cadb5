//! What node and worker say to each other: frames of a length (4 bytes, little-endian) and a bincode body.

use std::io::{self, Read, Write};

use ao_protocol::message::{Env, Message};
use ao_protocol::outcome::Outcome;
use ao_protocol::reference::Named;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Largest body of a frame in bytes: several items of the maximum size, or several outcomes.
pub(super) const MAX_FRAME_BYTES: usize = 64 * 1024 * 1024;
/// Largest snapshot that leaves a worker, in bytes.
pub const MAX_SNAPSHOT_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// A batch ends before its messages exceed this many bytes; one message always fits.
pub(super) const MAX_BATCH_BYTES: usize = 16 * 1024 * 1024;

/// What a message takes in a frame beyond its data and tags: ids, addresses, an RSA signature.
const MESSAGE_OVERHEAD: usize = 2048;

/// About how many bytes a message takes in a frame; rather too many.
pub(super) fn message_bytes(message: &Message) -> usize {
    let tags = message.tags.iter().map(|tag| tag.name.len() + tag.value.len() + 8);
    message.data.as_ref().map_or(0, Vec::len) + tags.sum::<usize>() + MESSAGE_OVERHEAD
}

/// What the node asks for. Borrowing on the way out, owning on the way in.
#[derive(Serialize, Deserialize)]
pub(super) enum Request<Text, Environment, Batch> {
    /// The first frame. Answered with [`Reply::Ready`].
    /// Requests may take so many seconds of processor time each.
    Start { source: Text, env: Environment, memory_bytes: u64, instructions: u64, seconds: u64 },
    /// Evaluate and keep, in order; the slot is the first message's. Patiently: within more processor time. The heap
    /// may take so many bytes from now on.
    Apply { first_slot: u64, messages: Batch, patiently: bool, granted: u64 },
    /// Evaluate one message and forget that it happened.
    Dry { message: Batch },
    /// Show the variables, or one of them.
    View { name: Option<Text> },
    /// Take on the state after a slot; so many bytes follow the frame. Answered with [`Reply::Ready`].
    Restore { slot: u64, bytes: u64 },
    /// Give the state.
    Save,
}

/// A request as it is read.
pub(super) type OwnedRequest = Request<String, Env, Vec<Message>>;

/// A state whose bytes follow the frame.
#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    /// It is the state after this slot.
    pub(super) slot: u64,
    /// How many bytes.
    pub(super) bytes: u64,
}

/// What the worker answers.
#[derive(Serialize, Deserialize)]
pub(super) enum Reply {
    /// The program is loaded, or the state; whether the worker's system calls are confined, and what the heap took.
    Ready { confined: bool, heap_bytes: u64 },
    /// Outcomes of the first messages, at least one or else the data that the first one lacks; the state that was saved
    /// before them, because the slot before them was a rebuild point; and what the heap took so far.
    Outcomes { outcomes: Vec<Outcome>, missing: Option<Named>, saved: Option<Saved>, heap_bytes: u64 },
    /// No answer yet: the evaluation reads this. The node sends a byte, and with it the file if it has it; see
    /// [`super::passing`].
    Wants(Named),
    /// The state.
    Saved(Saved),
    /// The variables as JSON.
    View(String),
    /// Nothing was evaluated; the text says why.
    Refused(String),
}

/// A frame of a value: length and body.
pub(super) fn encode(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    bincode::serde::encode_into_std_write(value, &mut frame, bincode::config::standard()).map_err(io::Error::other)?;
    let length = frame.len() - 4;
    let header = u32::try_from(length).ok().filter(|_| length <= MAX_FRAME_BYTES);
    let header = header.ok_or_else(|| too_large(length))?;
    frame[..4].copy_from_slice(&header.to_le_bytes());
    Ok(frame)
}

/// The length of a body, from the first four bytes of its frame.
pub(super) fn body_length(header: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_le_bytes(header) as usize;
    if length > MAX_FRAME_BYTES { Err(too_large(length)) } else { Ok(length) }
}

/// The value in a body.
pub(super) fn decode<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    let config = bincode::config::standard().with_limit::<MAX_FRAME_BYTES>();
    let (value, read) = bincode::serde::decode_from_slice(body, config).map_err(io::Error::other)?;
    if read != body.len() {
        return Err(io::Error::other(format!("{} bytes after the end of a frame's value", body.len() - read)));
    }
    Ok(value)
}

/// Reads a frame; none at the end of the stream.
pub(super) fn read<T: DeserializeOwned>(stream: &mut impl Read) -> io::Result<Option<T>> {
    let mut header = [0; 4];
    match stream.read_exact(&mut header) {
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut body = vec![0; body_length(header)?];
    stream.read_exact(&mut body)?;
    decode(&body).map(Some)
}

/// Writes a frame.
pub(super) fn write(stream: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    stream.write_all(&encode(value)?)
}

fn too_large(bytes: usize) -> io::Error {
    io::Error::other(format!("a frame of {bytes} bytes; at most {MAX_FRAME_BYTES} are allowed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_follow_each_other_and_end_with_the_stream() {
        let mut stream = Vec::new();
        write(&mut stream, &Reply::Refused("no".into())).unwrap();
        write(&mut stream, &Reply::Ready { confined: true, heap_bytes: 7 }).unwrap();
        let mut stream = stream.as_slice();
        assert!(matches!(read(&mut stream), Ok(Some(Reply::Refused(text))) if text == "no"));
        assert!(matches!(read(&mut stream), Ok(Some(Reply::Ready { confined: true, heap_bytes: 7 }))));
        assert!(matches!(read::<Reply>(&mut stream), Ok(None)));
    }

    #[test]
    fn a_frame_that_claims_too_much_is_refused_before_memory_is_taken() {
        let mut stream: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0];
        assert!(read::<Reply>(&mut stream).is_err());
        assert!(decode::<Reply>(&[2, 0xfc, 0xff, 0xff, 0xff, 0x7f]).is_err());
        assert!(decode::<Reply>(&[0, 0, 0, 0]).is_err());
    }
}
