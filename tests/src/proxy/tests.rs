use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;

/// A server that answers each byte with its successor, and a client of it by a proxy.
fn connected() -> (Proxy, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() {
                    byte[0] += 1;
                    if stream.write_all(&byte).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let proxy = Proxy::before(port, Protocol::Postgres);
    let client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    (proxy, client)
}

fn ask(client: &mut TcpStream, byte: u8) -> Option<u8> {
    client.write_all(&[byte]).ok()?;
    let mut answer = [0];
    client.read_exact(&mut answer).ok()?;
    Some(answer[0])
}

#[test]
fn a_silence_ends_with_what_was_held_back() {
    for silence in [Proxy::silence, Proxy::silence_to_server, Proxy::silence_to_client] {
        let (proxy, mut client) = connected();
        assert_eq!(ask(&mut client, 1), Some(2));
        // What has passed is counted a moment later.
        let give_up = std::time::Instant::now() + Duration::from_secs(5);
        while proxy.traffic().to_client == 0 && std::time::Instant::now() < give_up {
            std::thread::yield_now();
        }
        silence(&proxy);
        let before = proxy.traffic();
        assert_eq!(ask(&mut client, 5), None);
        let since = proxy.traffic().since(before);
        assert_eq!(since.to_client, 0, "{since:?}");
        assert!(proxy.traffic().held_back > 0, "{since:?}");
        proxy.pass();
        let mut late = [0];
        client.read_exact(&mut late).unwrap();
        assert_eq!(late, [6]);
    }
}

#[test]
fn a_cut_ends_the_connection_and_a_lost_answer_too() {
    let (proxy, mut client) = connected();
    assert_eq!(ask(&mut client, 1), Some(2));
    proxy.cut();
    assert_eq!(client.read(&mut [0]).unwrap_or_default(), 0);
    assert!(proxy.traffic().refused > 0);

    let (proxy, mut client) = connected();
    proxy.lose_answers(20);
    let answered = (0..100).take_while(|byte| ask(&mut client, *byte).is_some()).count();
    assert_eq!(answered, 19);
    assert_eq!(proxy.traffic().lost, 1);
}
