//! The log's files and proofs over HTTP (contract 5.2 and 5.4).

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{
    HeaderValue, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use serde_json::{Value, json};

use super::{
    Front,
    call::{self, given_up},
    get::pairs,
    now,
    paths::{self, Proof},
    who::Who,
};
use crate::{
    DirectoryError,
    error::{Code, Why},
    proofs,
    publish::{self, Readers},
    state::Kind,
};

/// A checkpoint may be some seconds old; a client that wants a newer one asks for it.
const CHECKPOINT: &str = "public, max-age=2";

/// Tiles and bodies never change (a year, as long as caches keep anything).
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The same for what not everybody may have.
const FOR_EVER_OWN: &str = "private, max-age=31536000, immutable";

impl Front {
    /// A file of the log.
    pub(super) async fn log_file(&self, path: &str, who: &Who) -> Result<Response<Bytes>, DirectoryError> {
        let reading = self.directory().rules().reading;
        if publish::readers(path).ok_or_else(paths::unknown)? == Readers::OfRecords {
            who.may_read(reading)?;
        }
        let (directory, path) = (self.directory().clone(), path.to_owned());
        let found = tokio::task::spawn_blocking(move || {
            let (shown, published) = (directory.shown(now()), directory.view().published());
            publish::resource(directory.store(), &shown.note, published.size, &path)
        });
        let found = found.await.map_err(|_| given_up())?;
        let found = found.map_err(|error| DirectoryError::of_store(&error))?;
        let resource = found.ok_or_else(|| {
            let text = "the log has nothing there yet: its checkpoint says how long it is";
            DirectoryError::new(Code::BadRequest, Why::Missing, text)
        })?;
        let cached = match (resource.immutable, resource.readers) {
            (false, _) => CHECKPOINT,
            (true, Readers::All) => FOR_EVER,
            (true, Readers::OfRecords) => FOR_EVER_OWN,
        };
        let mut answer = Response::new(Bytes::from(resource.bytes));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(resource.media_type));
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cached));
        Ok(answer)
    }

    /// A proof.
    pub(super) async fn proof(&self, proof: Proof, query: Option<&str>, who: &Who) -> Result<Value, DirectoryError> {
        let pairs = pairs(query.unwrap_or_default())?;
        let directory = self.directory().clone();
        let proven = match proof {
            Proof::State => {
                who.may_read(directory.rules().reading)?;
                let (kind, key) = (text(&pairs, "kind")?, text(&pairs, "key")?);
                let kind =
                    Kind::read(kind).ok_or_else(|| DirectoryError::malformed("kind is csid, class or address"))?;
                directory.view().read(|state| call::proof(state, kind, key))?
            }
            Proof::Receipt => {
                who.may_read(directory.rules().reading)?;
                let index = needed(&pairs, "index")?;
                let receipt = tokio::task::spawn_blocking(move || directory.receipt(index, now()));
                json!({"receipt": receipt.await.map_err(|_| given_up())??})
            }
            Proof::Inclusion | Proof::Consistency => {
                let proven = tokio::task::spawn_blocking(move || {
                    let (store, size) = (directory.store().as_ref(), directory.view().published().size);
                    match proof {
                        Proof::Inclusion => {
                            let index = needed(&pairs, "index")?;
                            proofs::inclusion(store, size, index, number(&pairs, "size")?.unwrap_or(size))
                        }
                        _ => {
                            let first = needed(&pairs, "first")?;
                            proofs::consistency(store, size, first, number(&pairs, "second")?.unwrap_or(size))
                        }
                    }
                });
                proven.await.map_err(|_| given_up())??
            }
        };
        let mut answer = json!({"code": 200, "revision": self.directory().view().published().size});
        if let (Some(members), Value::Object(proven)) = (answer.as_object_mut(), proven) {
            members.extend(proven);
        }
        Ok(answer)
    }
}

fn text<'p>(pairs: &'p BTreeMap<String, String>, name: &str) -> Result<&'p str, DirectoryError> {
    let text = pairs.get(name).map(String::as_str).filter(|text| !text.is_empty());
    text.ok_or_else(|| DirectoryError::malformed(format!("{name} is missing")))
}

fn needed(pairs: &BTreeMap<String, String>, name: &str) -> Result<u64, DirectoryError> {
    number(pairs, name)?.ok_or_else(|| DirectoryError::malformed(format!("{name} is missing")))
}

fn number(pairs: &BTreeMap<String, String>, name: &str) -> Result<Option<u64>, DirectoryError> {
    let wrong = || DirectoryError::malformed(format!("{name} is not a whole number"));
    pairs.get(name).map(|text| text.parse().map_err(|_| wrong())).transpose()
}
