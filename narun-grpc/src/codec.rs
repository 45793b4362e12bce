mod counts;

use std::marker::PhantomData;

use bytes::Buf;
use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic_prost::{ProstCodec, ProstDecoder};

/// The initial buffer of a call in each direction, in bytes. tonic's 8 KiB would be most of the memory of an idle
/// subscription.
const BUFFER: usize = 1 << 10;

/// The bytes of a response stream that are sent at a time; tonic's default.
const AT_A_TIME: usize = 32 << 10;

/// Protobuf with small buffers that grow on demand, and with limits on what a request can become in memory.
pub(crate) struct LeanCodec<T, U>(PhantomData<(T, U)>);

pub(crate) struct LeanEncoder<T>(PhantomData<T>);

pub(crate) struct LeanDecoder<U>(ProstDecoder<U>);

fn settings() -> BufferSettings {
    BufferSettings::new(BUFFER, AT_A_TIME)
}

impl<T, U> Default for LeanCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for LeanCodec<T, U>
where
    T: Message + 'static,
    U: Message + Default + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = LeanEncoder<T>;
    type Decoder = LeanDecoder<U>;

    fn encoder(&mut self) -> LeanEncoder<T> {
        LeanEncoder(PhantomData)
    }

    fn decoder(&mut self) -> LeanDecoder<U> {
        LeanDecoder(ProstCodec::<T, U>::raw_decoder(settings()))
    }
}

impl<T: Message> Encoder for LeanEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // Reserve once: a large message would grow the buffer again and again.
        buf.reserve(item.encoded_len());
        item.encode_raw(buf);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        settings()
    }
}

impl<U: Message + Default + 'static> Decoder for LeanDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // tonic gives a message in one chunk.
        counts::check::<U>(buf.chunk())?;
        self.0.decode(buf)
    }

    fn buffer_settings(&self) -> BufferSettings {
        settings()
    }
}
