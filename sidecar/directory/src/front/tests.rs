//! The front as a caller meets it: requests in, answers out, on a directory in a folder of its own.

mod access;
mod answers;
mod bad;
mod counted;
mod failing;
mod lists;
mod log;
mod packed;
mod repeated;
mod schema;
mod signed;
mod together;
mod watched;
mod witnessed;

use std::{fs, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, header::AUTHORIZATION};
use ring::rand::SystemRandom;
use serde_json::{Value, json};

use super::{Content, Front, PREFIX, Shown};
use crate::{
    directory::{Directory, Place, Rules},
    keys::Keys,
    log::KeyName,
    metrics::Metrics,
};

/// A front with the directory behind it, and tokens of two central systems.
struct Stage {
    front: Arc<Front>,
    home: tempfile::TempDir,
    keys: Keys,
    yunqi: String,
    other: String,
}

/// An answer.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    /// HTTP's status and the code.
    fn codes(&self) -> (u16, u64) {
        (self.status, self.json()["code"].as_u64().unwrap_or_default())
    }
}

impl Stage {
    fn new() -> Self {
        Self::with(Rules::default())
    }

    fn with(rules: Rules) -> Self {
        let keys = Keys::make(KeyName::new("log.example/datanet").unwrap(), &SystemRandom::new()).unwrap();
        Self::on(tempfile::tempdir().unwrap(), keys, rules)
    }

    /// On what is in a folder.
    fn on(home: tempfile::TempDir, keys: Keys, rules: Rules) -> Self {
        let path = home.path().join("directory.redb");
        let store = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
        let directory = Directory::open(Place { store, path, keys: keys.clone() }, rules).unwrap();
        let token = |csid| directory.issue(csid, None, 1).unwrap();
        let (yunqi, other) = (token("yunqi"), token("other"));
        Self { front: Front::new(directory.into(), Metrics::default()).into(), home, keys, yunqi, other }
    }

    /// The same once its process has ended and somebody altered what it kept.
    fn altered(self, change: impl FnOnce(&redb::WriteTransaction)) -> Self {
        let Self { front, home, keys, .. } = self;
        drop(front);
        let database = redb::Database::open(home.path().join("directory.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        change(&transaction);
        transaction.commit().unwrap();
        drop(database);
        Self::on(home, keys, Rules::default())
    }

    /// What is said of a POST before its body is read.
    fn admits(&self, path: &str, token: &str, announced: Option<u64>) -> super::Admission {
        let request = Request::post(format!("{PREFIX}{path}")).header(AUTHORIZATION, format!("Bearer {token}"));
        self.front.admits(&request.body(()).unwrap().into_parts().0, &Shown::default(), announced)
    }

    async fn answer(&self, request: Request<Bytes>, shown: &Shown) -> Response<Content> {
        self.front.answer(request, shown).await
    }

    async fn send(&self, request: Request<Bytes>, shown: &Shown) -> Got {
        let (head, body) = self.answer(request, shown).await.into_parts();
        let Content::Whole(body) = body else { panic!("it does not end") };
        Got { status: head.status.as_u16(), headers: head.headers, body }
    }

    /// A POST of yunqi's.
    async fn post(&self, path: &str, body: impl Into<Bytes>) -> Got {
        self.post_by(&self.yunqi, path, body).await
    }

    async fn post_by(&self, token: &str, path: &str, body: impl Into<Bytes>) -> Got {
        let request = Request::post(format!("{PREFIX}{path}")).header(AUTHORIZATION, format!("Bearer {token}"));
        self.send(request.body(body.into()).unwrap(), &Shown::default()).await
    }

    /// A GET of yunqi's.
    async fn get(&self, path: &str) -> Got {
        let request = Request::get(format!("{PREFIX}{path}")).header(AUTHORIZATION, format!("Bearer {}", self.yunqi));
        self.send(request.body(Bytes::new()).unwrap(), &Shown::default()).await
    }

    /// A GET of nobody's.
    async fn get_unknown(&self, path: &str) -> Got {
        self.send(Request::get(format!("{PREFIX}{path}")).body(Bytes::new()).unwrap(), &Shown::default()).await
    }

    /// A message that is taken.
    async fn says(&self, path: &str, body: Value) -> Value {
        let got = self.post(path, message(body)).await;
        assert_eq!(got.codes(), (200, 200), "{:?}", got.body);
        got.json()
    }

    /// The central system of the seed, with its two classes and its two data systems.
    async fn settled(self) -> Self {
        self.says("/central-systems/connect", json!({"id": "yunqi", "endpoint": "1.2.3.4:9904"})).await;
        let class = |name: &str, protocol: &str, version: &str| json!({"className": name, "protocol": {"name": protocol, "version": version}});
        let classes = [class("odps-adapter", "ODPS", "aspara1.0"), class("mysql-adapter", "MySQL", "5.7")];
        self.says("/adapter-classes/sync", json!({"csid": "yunqi", "adapterClasses": classes})).await;
        let data = |n: u8, class: &str| {
            let address = format!("yunqi.BCAE345BCAE345F{n}");
            json!({"dataAddress": address, "name": "a data system", "endpoint": "1.2.3.4:9979", "adapterClass": class})
        };
        let data = [data(0, "odps-adapter"), data(1, "mysql-adapter")];
        self.says("/data-systems/sync", json!({"csid": "yunqi", "dataSystems": data})).await;
        self
    }
}

fn message(body: Value) -> String {
    let mut message = json!({"header": {"version": "datanet 1.0"}});
    message["body"] = body;
    message.to_string()
}
