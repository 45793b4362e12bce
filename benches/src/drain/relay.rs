//! A TCP relay that delays all data, as a network does.

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::Error;

/// How many chunks may be delayed at a time in one direction.
const DELAYED: usize = 4096;

/// Accepts connections until it is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    port: u16,
    accepting: AbortHandle,
}

impl Relay {
    pub(super) async fn start(to: u16, delay: Duration) -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    // An error closes the connection on both sides; there is nothing else to do.
                    let _ = join(near, to, delay).await;
                });
            }
        });
        Ok(Self { port, accepting: accepting.abort_handle() })
    }

    pub(super) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn join(near: TcpStream, to: u16, delay: Duration) -> Result<(), Error> {
    let far = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::try_join!(pass(near_read, far_write, delay), pass(far_read, near_write, delay))?;
    Ok(())
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
) -> Result<(), Error> {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Bytes)>(DELAYED);
    let read = async {
        let mut buffer = BytesMut::new();
        while from.read_buf(&mut buffer).await? > 0 {
            sender.send((Instant::now() + delay, buffer.split().freeze())).await?;
        }
        drop(sender);
        Ok::<(), Error>(())
    };
    let write = async {
        while let Some((due, chunk)) = receiver.recv().await {
            sleep_until(due).await;
            to.write_all(&chunk).await?;
        }
        Ok(())
    };
    tokio::try_join!(read, write)?;
    Ok(())
}
