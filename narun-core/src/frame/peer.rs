//! The address of an HTTP client: 4 or 16 bytes and the port, in network order.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::reader::Reader;
use super::writer::Writer;
use super::{DecodeError, key};

/// Writes the address. An IPv6 address loses its flow information and scope, which have no meaning on other machines.
pub(super) fn write(writer: &mut Writer, peer: SocketAddr) {
    let mut bytes = [0; 18];
    let length = match peer {
        SocketAddr::V4(peer) => {
            bytes[..4].copy_from_slice(&peer.ip().octets());
            4
        }
        SocketAddr::V6(peer) => {
            bytes[..16].copy_from_slice(&peer.ip().octets());
            16
        }
    };
    bytes[length..length + 2].copy_from_slice(&peer.port().to_be_bytes());
    writer.bytes(key::request::PEER, &bytes[..length + 2]);
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<SocketAddr, DecodeError> {
    let bytes = reader.bytes()?;
    let malformed = DecodeError::Malformed("a peer is 6 or 18 bytes");
    let (address, port) = bytes.split_last_chunk::<2>().ok_or(malformed.clone())?;
    let port = u16::from_be_bytes(*port);
    if let Ok(v4) = <[u8; 4]>::try_from(address) {
        return Ok((Ipv4Addr::from(v4), port).into());
    }
    let v6 = <[u8; 16]>::try_from(address).map_err(|_| malformed)?;
    Ok((Ipv6Addr::from(v6), port).into())
}
