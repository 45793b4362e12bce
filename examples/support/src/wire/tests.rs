//! Requests to a server that is a thread of the test.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use super::*;

/// Accepts one connection, sends the greeting, and passes the connection to `serve`.
fn server<T: Send + 'static>(
    serve: impl FnOnce(BufReader<TcpStream>) -> T + Send + 'static,
) -> (u16, JoinHandle<T>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.write_all(b"INFO {}\r\n").expect("a greeting sent");
        serve(BufReader::new(stream))
    });
    (port, serving)
}

/// The next request, from its command to its payload.
fn read_request(stream: &mut BufReader<TcpStream>) -> String {
    let mut request = String::new();
    while !request.ends_with("\r\n\r\npayload\r\n") {
        let read = stream.read_line(&mut request).expect("a line");
        assert!(read > 0, "an unfinished request: {request:?}");
        if let Some(start) = request.find("HPUB ") {
            request.drain(..start);
        }
    }
    request
}

#[test]
fn a_request_that_is_not_answered_is_sent_again() {
    let (port, serving) = server(|mut stream| {
        let first = read_request(&mut stream);
        let second = read_request(&mut stream);
        // In two parts, the second of which comes after a read has timed out.
        stream.get_mut().write_all(b"PING\r\nMSG respo").expect("half a response");
        read_request(&mut stream);
        stream.get_mut().write_all(b"nse 1 4\r\ndone\r\n").expect("a response");
        (first, second)
    });
    let connection = Connection::open(port).expect("a connection");
    let response = connection.request("a.subject", "payload", Duration::from_secs(60)).expect("a response");
    assert_eq!(response, "done");
    let (first, second) = serving.join().expect("no panic");
    assert!(first.starts_with("HPUB a.subject response "), "{first:?}");
    assert_eq!(first, second, "both have the same message id");
}

#[test]
fn a_request_times_out() {
    let (port, serving) = server(|mut stream| {
        while stream.fill_buf().is_ok_and(|data| !data.is_empty()) {
            let size = stream.buffer().len();
            stream.consume(size);
        }
    });
    let connection = Connection::open(port).expect("a connection");
    let error = connection.request("a.subject", "payload", Duration::from_millis(1)).expect_err("a timeout");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    serving.join().expect("no panic");
}

#[test]
fn a_closed_connection_is_an_error() {
    let (port, serving) = server(|mut stream| drop(read_request(&mut stream)));
    let connection = Connection::open(port).expect("a connection");
    let error = connection.request("a.subject", "payload", Duration::from_secs(60)).expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    serving.join().expect("no panic");
}
