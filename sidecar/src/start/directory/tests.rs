//! Keys, names and logs that were begun, as a node opens its directory with them.

use mesh_directory::{
    ledger::{By, Submission},
    state::{Act, Connect, Guard},
};
use serde_json::json;

use super::*;

const NONE: Given<'static> = Given { keys: None, begun: None };

fn keys(given: &str) -> Given<'_> {
    Given { keys: Some(given), begun: None }
}

async fn write(directory: &Directory) {
    connect(directory, "a:1").await;
}

async fn connect(directory: &Directory, endpoint: &str) {
    let body = json!({"id": "yunqi", "endpoint": endpoint});
    let connect = Connect { endpoint: endpoint.to_owned(), desc: None, ttl: None };
    let (act, guard, by) = (Act::Connect(connect), Guard::default(), By::Token);
    directory.submit(Submission { csid: "yunqi".to_owned(), act, guard, body, by }, now()).await.unwrap();
}

#[tokio::test]
async fn a_log_is_called_as_its_node_until_it_has_an_entry_and_keeps_its_keys() {
    let home = tempfile::tempdir().unwrap();
    let config = crds::Directory::default();
    let first = open(home.path(), &config, "LX0", NONE).unwrap();
    let (custodian, token) = (*first.custodian(), first.issue("yunqi", None, now()).unwrap());
    drop(first);
    let named = open(home.path(), &config, "LX1", NONE).unwrap();
    assert_eq!((named.log_key().name().as_str(), named.custodian()), ("LX1/datanet", &custodian));
    assert_eq!(named.holder(&token, now()), Ok("yunqi".to_owned()), "tokens stay");
    write(&named).await;
    let key = named.log_key().to_string();
    drop(named);
    let again = open(home.path(), &config, "LX2", NONE).unwrap();
    assert_eq!(again.log_key().to_string(), key, "a node that is called otherwise has the same log");
    drop(again);
    let renamed = crds::Directory { origin: "other".into(), ..config };
    assert!(open(home.path(), &renamed, "LX1", NONE).unwrap_err().said.contains("keeps its name"));
}

#[test]
fn a_log_without_its_keys_is_not_gone_on_with() {
    let home = tempfile::tempdir().unwrap();
    drop(open(home.path(), &crds::Directory::default(), "LX1", NONE).unwrap());
    fs::remove_file(home.path().join(KEYS)).unwrap();
    assert!(open(home.path(), &crds::Directory::default(), "LX1", NONE).unwrap_err().said.contains("restore it"));
}

/// A volume that is gone takes no identity with it, and one that has an identity of its own is not given another.
#[tokio::test]
async fn the_keys_that_the_operator_keeps_are_those_of_every_new_volume() {
    let (config, random) = (crds::Directory::default(), SystemRandom::new());
    let text = || Keys::make(KeyName::new("LX1/datanet").unwrap(), &random).unwrap().text();
    let (given, others) = (text(), text());
    let key = |directory: &Directory| (directory.log_key().to_string(), *directory.custodian());
    let wanted = {
        let home = tempfile::tempdir().unwrap();
        key(&open(home.path(), &config, "LX1", keys(&given)).unwrap())
    };
    let home = tempfile::tempdir().unwrap();
    drop(open(home.path(), &config, "LX1", NONE).unwrap());
    let directory = open(home.path(), &config, "LX1", keys(&given)).unwrap();
    assert_eq!(key(&directory), wanted, "keys that signed nothing give way");
    write(&directory).await;
    drop(directory);
    let problem = open(home.path(), &config, "LX1", keys(&others)).unwrap_err().said;
    assert!(problem.contains("other keys") && !problem.contains(&others), "{problem}");
    assert_eq!(key(&open(home.path(), &config, "LX1", keys(&given)).unwrap()), wanted);
    fs::remove_file(home.path().join(KEYS)).unwrap();
    assert_eq!(key(&open(home.path(), &config, "LX1", keys(&given)).unwrap()), wanted, "they are kept elsewhere");
    assert!(open(home.path(), &config, "LX1", keys("{}")).unwrap_err().said.starts_with("directory.key: "));
}

/// Whoever remembered a checkpoint of the first log found a fork.
#[tokio::test]
async fn a_log_that_was_begun_is_not_begun_again_on_a_volume_that_does_not_hold_it() {
    let (config, random) = (crds::Directory::default(), SystemRandom::new());
    let of = |name: &str| Keys::make(KeyName::new(name).unwrap(), &random).unwrap().text();
    let (given, successor) = (of("LX1/datanet"), of("LX1/datanet"));
    let homes = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let at = |home: usize, begun: Option<&str>| {
        open(homes[home].path(), &config, "LX1", Given { keys: Some(&given), begun })
    };
    let begun = {
        let directory = at(0, None).unwrap();
        write(&directory).await;
        directory.view().published().note.encode()
    };
    at(0, Some(&begun)).unwrap();
    let lost = at(1, Some(&begun)).unwrap_err();
    let name = lost.lost.clone().unwrap();
    assert!(name.starts_with("LX1/datanet+") && name.len() == 20, "{name}");
    assert!(lost.said.contains(&name) && lost.said.contains("1 entries at least; this volume has 0"), "{}", lost.said);
    assert!(homes[1].path().join(KEYS).exists() && !homes[1].path().join(STORE).exists(), "nothing was begun");

    // Neither one that was begun before anybody knew, nor one that is as long and another.
    drop(at(1, None).unwrap());
    assert_eq!(at(1, Some(&begun)).unwrap_err().lost.as_ref(), Some(&name));
    connect(&at(1, None).unwrap(), "a:2").await;
    assert_eq!(at(1, Some(&begun)).unwrap_err().lost.as_ref(), Some(&name), "another entry");
    assert_eq!(at(0, Some("no note")).unwrap_err().lost, None);

    // Who says so begins another one, under another key.
    let another = open(homes[2].path(), &config, "LX1", keys(&successor)).unwrap();
    assert_ne!(another.log_key().to_string(), at(0, Some(&begun)).unwrap().log_key().to_string());
}

/// A gateway read all of another log each second, for as long as nobody did something.
#[tokio::test]
async fn a_log_that_is_lost_is_looked_for_again_where_something_has_changed() {
    let (config, random) = (crds::Directory::default(), SystemRandom::new());
    let given = Keys::make(KeyName::new("LX1/datanet").unwrap(), &random).unwrap().text();
    let homes = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut begun = Vec::new();
    for (home, endpoint) in homes.iter().zip(["a:1", "a:2"]) {
        let directory = open(home.path(), &config, "LX1", keys(&given)).unwrap();
        connect(&directory, endpoint).await;
        begun.push(directory.view().published().note.encode());
    }
    let (home, store) = (homes[1].path(), homes[1].path().join(STORE));
    let [first, other] = [0, 1].map(|of: usize| Given { keys: Some(&given), begun: Some(&begun[of]) });
    let (start, mut tried) = (Instant::now(), Tried::default());
    let mut open_at = |config: &crds::Directory, node: &str, given: Given<'_>, seconds| {
        tried.open(home, config, node, given, start + Duration::from_secs(seconds)).map(drop)
    };
    let lost = open_at(&config, "LX1", first, 0).unwrap_err();
    assert!(lost.lost.is_some() && lost.remedy().contains("mesh directory import"), "{lost:?}");
    assert!(lost.said.ends_with("this volume has 1, and not all of them (move its directory.redb away first)"));

    // Whoever opens it now hears that somebody else has it.
    let held = fs::File::open(&store).unwrap();
    held.lock().unwrap();
    assert_eq!(open_at(&config, "LX1", first, 59), Err(lost.clone()), "nobody looked");
    let strict = crds::Directory { strict: true, ..config.clone() };
    for (config, node, given, seconds) in [
        (&strict, "LX1", first, 1),
        (&config, "LX2", first, 1),
        (&config, "LX1", other, 1),
        (&config, "LX1", first, 60),
    ] {
        let looked = open_at(config, node, given, seconds).unwrap_err();
        assert_eq!(looked.lost, None, "{looked:?}");
        held.unlock().unwrap();
        assert_eq!(open_at(&crds::Directory::default(), "LX1", first, 0), Err(lost.clone()));
        held.lock().unwrap();
        assert_eq!(open_at(&crds::Directory::default(), "LX1", first, 1), Err(lost.clone()), "nobody looked");
    }
    held.unlock().unwrap();

    // The other log is moved away, and this one comes into its place.
    let restored = home.join("restored");
    fs::copy(homes[0].path().join(STORE), &restored).unwrap();
    fs::rename(&restored, &store).unwrap();
    assert_eq!(open_at(&config, "LX1", first, 1), Ok(()));
}
