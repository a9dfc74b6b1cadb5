//! Requests and responses on a stream: a length of four bytes, most significant first, then a frame of
//! [`ao_protocol::wire`]. Lengths are checked before anything is read, and memory grows only with what arrived.

use std::io;

use ao_protocol::wire::{self, MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, Request, Response};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};
use serde::de::DeserializeOwned;

/// The protocol's name.
pub(super) const PROTOCOL: StreamProtocol = StreamProtocol::new("/ao/request/1");

/// What is set aside for a frame before its first byte is there.
const FIRST_ALLOCATION_BYTES: usize = 64 * 1024;

/// Reads and writes requests and responses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Codec;

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Request;
    type Response = Response;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, MAX_REQUEST_BYTES).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, MAX_RESPONSE_BYTES).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Request) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &wire::encode(&request), MAX_REQUEST_BYTES).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, response: Response) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let mut frame = wire::encode(&response);
        if frame.len() > MAX_RESPONSE_BYTES {
            let text = format!("the answer has {} bytes; at most {MAX_RESPONSE_BYTES} are sent", frame.len());
            frame = wire::encode(&Response::Busy(text));
        }
        write(io, &frame, MAX_RESPONSE_BYTES).await
    }
}

async fn read<T: DeserializeOwned>(io: &mut (impl AsyncRead + Unpin), limit: usize) -> io::Result<T> {
    let invalid = |cause: String| io::Error::new(io::ErrorKind::InvalidData, cause);
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > limit {
        return Err(invalid(format!("a frame of {length} bytes was begun; at most {limit} are read")));
    }
    let mut frame = Vec::with_capacity(length.min(FIRST_ALLOCATION_BYTES));
    io.take(length as u64).read_to_end(&mut frame).await?;
    if frame.len() < length {
        return Err(invalid(format!("the stream ended after {} of {length} bytes", frame.len())));
    }
    wire::decode(&frame).map_err(|cause| invalid(cause.to_string()))
}

async fn write(io: &mut (impl AsyncWrite + Unpin), frame: &[u8], limit: usize) -> io::Result<()> {
    if frame.len() > limit {
        let text = format!("{} bytes are too many for one request; at most {limit} are sent", frame.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    io.write_all(&(frame.len() as u32).to_be_bytes()).await?;
    io.write_all(frame).await?;
    io.flush().await
}

#[cfg(test)]
mod tests {
    use ao_protocol::wire::ItemBytes;
    use futures::executor::block_on;
    use futures::io::Cursor;
    use libp2p::request_response::Codec as _;

    use super::*;

    fn read_request(bytes: &[u8]) -> io::Result<Request> {
        block_on(Codec.read_request(&PROTOCOL, &mut Cursor::new(bytes.to_vec())))
    }

    #[test]
    fn requests_and_responses_come_back() {
        let request = Request::Tips { after: None };
        let mut stream = Cursor::new(Vec::new());
        block_on(Codec.write_request(&PROTOCOL, &mut stream, request.clone())).unwrap();
        assert_eq!(read_request(stream.get_ref()).unwrap(), request);

        let response = Response::Item(Some(ItemBytes(vec![7; 1_000_000])));
        let mut stream = Cursor::new(Vec::new());
        block_on(Codec.write_response(&PROTOCOL, &mut stream, response.clone())).unwrap();
        stream.set_position(0);
        assert_eq!(block_on(Codec.read_response(&PROTOCOL, &mut stream)).unwrap(), response);
    }

    #[test]
    fn a_response_that_is_too_large_becomes_a_reason() {
        let mut stream = Cursor::new(Vec::new());
        let response = Response::Item(Some(ItemBytes(vec![7; MAX_RESPONSE_BYTES])));
        block_on(Codec.write_response(&PROTOCOL, &mut stream, response)).unwrap();
        stream.set_position(0);
        let read = block_on(Codec.read_response(&PROTOCOL, &mut stream)).unwrap();
        assert!(matches!(&read, Response::Busy(text) if text.contains("bytes")), "{read:?}");
    }

    #[test]
    fn garbage_is_an_error_and_nothing_else() {
        for bytes in [&b""[..], b"\0\0", b"\0\0\0\x05ab", b"\0\0\0\x02\x01\xff", b"\0\0\0\x02\x09\x00"] {
            assert!(read_request(bytes).is_err(), "{bytes:?}");
        }
        let cause = read_request(&u32::MAX.to_be_bytes()).unwrap_err();
        assert!(cause.to_string().contains("at most"), "{cause}");
    }
}
