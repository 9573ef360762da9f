//! What is sent: a file or standard input, as the parameters of `mesh.send` and `mesh.publish` carry it (G-9).

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt as _},
};

use crate::{args::Message, exit::Exit};

/// No listener takes more (G-11).
const LARGEST: u64 = 1 << 20;

/// `d` and `t`.
pub(super) async fn read(message: &Message) -> Result<Value, Exit> {
    let bytes = match message.file.as_deref().filter(|path| *path != Path::new("-")) {
        None => all(tokio::io::stdin(), "standard input").await?,
        Some(path) => {
            let file = File::open(path).await.map_err(|e| Exit::local(path.display(), e))?;
            all(file, &path.display().to_string()).await?
        }
    };
    parameters(bytes, message.binary)
}

fn parameters(bytes: Vec<u8>, is_binary: bool) -> Result<Value, Exit> {
    if is_binary {
        return Ok(json!({"d": STANDARD.encode(bytes), "t": "binary"}));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(json!({"d": text, "t": "text"})),
        Err(_) => Err(Exit::Local("this is no text (UTF-8): send it with --binary".into())),
    }
}

async fn all(source: impl AsyncRead + Unpin, name: &str) -> Result<Vec<u8>, Exit> {
    let mut bytes = Vec::new();
    source.take(LARGEST + 1).read_to_end(&mut bytes).await.map_err(|e| Exit::local(name, e))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Exit::Local(format!("{name} has more than 1 MiB, which is the most that a client can be sent")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_as_it_is_and_bytes_in_base64() {
        assert_eq!(parameters(b"a\n".to_vec(), false).unwrap(), json!({"d": "a\n", "t": "text"}));
        assert_eq!(parameters(vec![0xff, 0], true).unwrap(), json!({"d": "/wA=", "t": "binary"}));
        assert!(matches!(parameters(vec![0xff], false), Err(Exit::Local(reason)) if reason.contains("--binary")));
    }

    #[tokio::test]
    async fn what_no_client_could_be_sent_is_not_read_to_its_end() {
        assert!(all(tokio::io::repeat(b'x'), "it").await.is_err());
    }
}
