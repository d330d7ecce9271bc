//! One client's connection: just enough of HTTP/1.1, one request after the other.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::BENCH;
use super::account::{Account, Ended, Usage, text_of};
use super::behaviour::{Behaviour, Fault};
use super::render;

/// Between two looks at a gate.
const LOOK: Duration = Duration::from_millis(2);

/// The client is gone.
struct Gone;

struct Request {
    line: String,
    body: BytesMut,
}

/// As much of a request as is always read.
#[derive(Deserialize)]
struct Peek {
    model: String,
}

pub(super) async fn serve(mut stream: TcpStream, account: &Account) {
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    let mut rendered: HashMap<String, Vec<u8>> = HashMap::new();
    while let Ok(request) = read(&mut stream, &mut buffer).await {
        let served = if request.line.contains("/chat/completions ") {
            complete(&mut stream, &request, account, &mut rendered).await
        } else if request.line.contains("/models ") {
            write(&mut stream, &render::whole(200, &json!({ "object": "list", "data": [] }))).await
        } else {
            write(&mut stream, &render::whole(404, &json!({ "error": "no such route" }))).await
        };
        if served.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut BytesMut) -> Result<Request, Gone> {
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        fill(stream, buffer).await?;
    };
    let text = String::from_utf8_lossy(&buffer[..head]).into_owned();
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let ours = name.eq_ignore_ascii_case("content-length");
        ours.then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    buffer.advance(head + 4);
    let length = length.unwrap_or(0);
    while buffer.len() < length {
        fill(stream, buffer).await?;
    }
    let line = text.lines().next().unwrap_or_default().to_owned();
    Ok(Request { line, body: buffer.split_to(length) })
}

async fn fill(stream: &mut TcpStream, buffer: &mut BytesMut) -> Result<(), Gone> {
    match stream.read_buf(buffer).await {
        Ok(0) | Err(_) => Err(Gone),
        Ok(_) => Ok(()),
    }
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), Gone> {
    stream.write_all(bytes).await.map_err(|_| Gone)
}

async fn complete(
    stream: &mut TcpStream,
    request: &Request,
    account: &Account,
    rendered: &mut HashMap<String, Vec<u8>>,
) -> Result<(), Gone> {
    let Ok(Peek { model }) = serde_json::from_slice(&request.body) else {
        return write(stream, &render::whole(400, &json!({ "error": "no JSON" }))).await;
    };
    if let Some(tokens) = model.strip_prefix(BENCH).and_then(|tokens| tokens.parse().ok()) {
        account.count();
        let answer = rendered.entry(model).or_insert_with_key(|name| render::bench(name, tokens));
        return write(stream, answer).await;
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let (message, begun) = asked(&body);
    let mut behaviour = Behaviour::of(&message);
    let streamed = body["stream"].as_bool().unwrap_or(false);
    let prompt = body["messages"].to_string().split_whitespace().count() as u64;
    let (index, earlier) = account.open(body, message.clone());
    if earlier >= behaviour.times {
        behaviour.fault = None;
    }
    let words = if behaviour.echo {
        render::echo(&message)
    } else if let Some(begun) = begun {
        render::rest(&begun, behaviour.tokens)
    } else {
        render::words(account.number(index), behaviour.tokens, behaviour.big)
    };
    let completion = behaviour.claims.unwrap_or(words.len()) as u64;
    let usage = (!behaviour.no_usage).then_some(Usage { prompt, completion });
    let mut answering =
        Answering { stream, account, index, model, message, behaviour, words, usage };
    let done = if streamed { answering.stream().await } else { answering.whole().await };
    account.change(index, |call| {
        call.ended_at = Some(Instant::now());
        call.ended = match &done {
            Ok(Served::Whole) => Ended::Whole,
            Ok(Served::Faulty) => Ended::Faulty,
            Err(Gone) => Ended::Abandoned,
        };
    });
    match done {
        // After a cut the connection is of no more use.
        Ok(Served::Faulty) => Err(Gone),
        other => other.map(|_| ()),
    }
}

/// The message to be answered, and the beginning of the answer where there is one.
fn asked(body: &Value) -> (String, Option<String>) {
    let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let text = |message: &Value| text_of(&message["content"]);
    match messages {
        [.., asked, begun] if begun["role"] == "assistant" => (text(asked), Some(text(begun))),
        _ => (messages.last().map(text).unwrap_or_default(), None),
    }
}

enum Served {
    Whole,
    Faulty,
}

/// One answer being given.
struct Answering<'a> {
    stream: &'a mut TcpStream,
    account: &'a Account,
    index: usize,
    model: String,
    message: String,
    behaviour: Behaviour,
    words: Vec<String>,
    usage: Option<Usage>,
}

impl Answering<'_> {
    async fn whole(&mut self) -> Result<Served, Gone> {
        if let Some(served) = self.refuse().await? {
            return Ok(served);
        }
        self.wait(self.behaviour.first).await?;
        self.gate().await?;
        let text = self.words.concat();
        let body = render::completion(&self.model, &text, self.usage);
        write(self.stream, &render::whole(200, &body)).await?;
        let (words, usage) = (self.words.len(), self.usage);
        self.account.change(self.index, |call| {
            (call.text, call.tokens, call.usage) = (text, words, usage);
        });
        Ok(Served::Whole)
    }

    async fn stream(&mut self) -> Result<Served, Gone> {
        if let Some(served) = self.refuse().await? {
            return Ok(served);
        }
        let mut bytes = render::HEAD.to_vec();
        bytes.extend(render::opening(&self.model));
        for number in 0..=self.words.len() {
            if self.behaviour.gate == Some(number) {
                write(self.stream, &std::mem::take(&mut bytes)).await?;
                self.gate().await?;
            }
            if let Some(served) = self.break_off(number, &mut bytes).await? {
                return Ok(served);
            }
            let Some(word) = self.words.get(number).cloned() else { break };
            let pause = if number == 0 { self.behaviour.first } else { self.behaviour.pause };
            if !pause.is_zero() {
                write(self.stream, &std::mem::take(&mut bytes)).await?;
                self.wait(pause).await?;
            }
            if number < self.behaviour.think {
                bytes.extend(render::thought(&self.model, &word));
                continue;
            }
            let so_far = self.so_far(number + 1);
            bytes.extend(match so_far {
                Some(usage) => render::counted(&self.model, &word, usage),
                None => render::token(&self.model, &word),
            });
            self.account.change(self.index, |call| {
                call.text.push_str(&word);
                call.tokens += 1;
                call.usage = so_far;
            });
        }
        for piece in 0..self.behaviour.call {
            write(self.stream, &std::mem::take(&mut bytes)).await?;
            self.wait(self.behaviour.pause).await?;
            bytes.extend(render::call(&self.model, piece));
        }
        for _ in 0..self.behaviour.finishes {
            bytes.extend(render::closing(&self.model, self.usage));
        }
        bytes.extend(render::END);
        let usage = self.usage;
        self.account.change(self.index, |call| call.usage = usage);
        write(self.stream, &bytes).await?;
        Ok(Served::Whole)
    }

    /// The usage up to the token `number`, where it is said on the way.
    fn so_far(&self, number: usize) -> Option<Usage> {
        let usage = self.usage.filter(|_| self.behaviour.counting)?;
        Some(Usage { completion: number as u64, ..usage })
    }

    /// Waits until the test lets the answer go on.
    async fn gate(&mut self) -> Result<(), Gone> {
        while self.behaviour.gate.is_some() && !self.account.is_open(&self.message) {
            self.wait(LOOK).await?;
        }
        Ok(())
    }

    /// The faults that come before any answer.
    async fn refuse(&mut self) -> Result<Option<Served>, Gone> {
        match self.behaviour.fault {
            Some(Fault::Status(status)) => {
                let error = json!({ "message": "scripted", "type": "scripted", "code": null });
                write(self.stream, &render::whole(status, &json!({ "error": error }))).await?;
                Ok(Some(Served::Whole))
            }
            Some(Fault::Hang) => self.wait(Duration::from_secs(3600)).await.map(|()| None),
            _ => Ok(None),
        }
    }

    /// The faults that come after `number` tokens.
    async fn break_off(
        &mut self,
        number: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<Option<Served>, Gone> {
        let last = match self.behaviour.fault {
            Some(Fault::Cut(at) | Fault::Stall(at)) if at == number => Vec::new(),
            Some(Fault::Malformed(at)) if at == number => render::data("{\"choices\": [{"),
            Some(Fault::Error(at)) if at == number => {
                render::data(r#"{"error":{"message":"scripted","type":"server_error"}}"#)
            }
            _ => return Ok(None),
        };
        bytes.extend(last);
        write(self.stream, bytes).await?;
        if matches!(self.behaviour.fault, Some(Fault::Stall(_))) {
            self.wait(Duration::from_secs(3600)).await?;
        }
        Ok(Some(Served::Faulty))
    }

    /// Waits, unless the client goes away meanwhile.
    async fn wait(&mut self, time: Duration) -> Result<(), Gone> {
        if time.is_zero() {
            return Ok(());
        }
        let mut unexpected = [0; 16];
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            read = self.stream.read(&mut unexpected) => match read {
                Ok(0) | Err(_) => Err(Gone),
                Ok(_) => panic!("a client that sends before it has its answer"),
            },
        }
    }
}
