mod counts;

use std::marker::PhantomData;

use bytes::Buf;
use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic_prost::{ProstCodec, ProstDecoder};

/// Bytes that are set aside for a call, in each direction, before there is a message: tonic's own 8 KiB would be most
/// of what an idle subscription takes.
const BUFFER: usize = 1 << 10;

/// How much of a stream is sent at a time, if there is more; as tonic has it.
const AT_A_TIME: usize = 32 << 10;

/// Protobuf, in buffers that grow as they need to, and requests in no more memory than there is a reason for.
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
        // All at once, as a large message would grow it again and again.
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
        // It is all in one piece.
        counts::check::<U>(buf.chunk())?;
        self.0.decode(buf)
    }

    fn buffer_settings(&self) -> BufferSettings {
        settings()
    }
}
