use bytes::Bytes;

use super::*;
use crate::Limits;

/// Passes all DATA of the sender to the receiver, and returns their number.
fn deliver(sender: &mut Sender, receiver: &mut Receiver) -> usize {
    let mut count = 0;
    while let Some(payload) = sender.poll() {
        let Ok(crate::frame::Frame::Data(data)) = crate::frame::Frame::decode(&payload, &Limits::default())
        else {
            panic!("no DATA");
        };
        receiver.data(data).expect("within the rules");
        count += 1;
    }
    count
}

#[test]
fn a_body_in_tiny_parts_goes_on_while_it_is_read() {
    for total in [1024, Budget::DEFAULT] {
        let config = FlowConfig { budget: Arc::new(Budget::new(total)), ..FlowConfig::default() };
        let (mut sender, mut receiver) =
            (Sender::new(&config, 0, 0), Receiver::new(&config, Bytes::new(), 0));
        receiver.ask();
        let mut read = 0;
        for _ in 0..10_000 {
            if let Some(credit) = receiver.poll_grant() {
                sender.credit(credit);
            }
            assert!(sender.wants_data(), "after {read} bytes");
            sender.push(Bytes::from_static(b"a"));
            assert_eq!(deliver(&mut sender, &mut receiver), 1, "after {read} bytes");
            while let Poll::Ready(Some(_)) = receiver.read() {
                read += 1;
            }
        }
        assert_eq!(read, 10_000);
    }
}

#[test]
fn an_unread_body_in_tiny_parts_is_queued_in_few_frames() {
    let config = FlowConfig::default();
    let (mut sender, mut receiver) = (Sender::new(&config, 0, 0), Receiver::new(&config, Bytes::new(), 0));
    receiver.ask();
    sender.credit(receiver.poll_grant().expect("a window"));
    let mut frames = 0;
    while sender.wants_data() {
        sender.push(Bytes::from_static(b"a"));
        frames += deliver(&mut sender, &mut receiver);
        assert_eq!(receiver.poll_grant(), None);
    }
    assert_eq!(receiver.queued() as u64, config.window);
    assert!(frames < 300, "{frames}");
}

#[test]
fn a_closed_flow_keeps_only_a_complete_body() {
    for end in [false, true] {
        let config = FlowConfig::default();
        let mut receiver = Receiver::new(&config, Bytes::new(), 1000);
        let body = Bytes::from_static(b"abc");
        receiver.data(Data { sequence: 1, body, end, trailers: None }).expect("within the rules");
        let sender = Some(Sender::new(&config, 0, 0));
        let mut flow = Flow { sender, receiver: Some(receiver), broken: None };
        flow.close(BodyErrorKind::TimedOut);
        assert!(flow.is_sent() && !flow.wants_data() && !flow.is_waiting());
        assert_eq!(flow.queued(), if end { 3 } else { 0 });
        match flow.read() {
            Poll::Ready(Some(Ok(data))) => assert!(end && data.is_data()),
            Poll::Ready(Some(Err(kind))) => assert!(!end && kind == BodyErrorKind::TimedOut),
            other => panic!("{other:?}"),
        }
    }
}
