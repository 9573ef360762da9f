//! The service of bank B: it answers every GET with its path, and with the node that its own node says is calling.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

/// Starts the service; it runs until the program ends.
pub(crate) async fn start(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    Ok(())
}

async fn answer(stream: TcpStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut path, mut caller) = (String::new(), String::from("nobody"));
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            match line.trim_end() {
                "" => break,
                head if path.is_empty() => path = head.split(' ').nth(1).unwrap_or_default().to_owned(),
                header => {
                    if let Some((name, value)) = header.split_once(": ")
                        && name.eq_ignore_ascii_case("x-ptp-source-node-id")
                    {
                        value.clone_into(&mut caller);
                    }
                }
            }
        }
        let body = format!("score 0.97 from {path}, asked by {caller}");
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.get_mut().write_all((head + &body).as_bytes()).await?;
    }
}
