//! `mesh tunnel ...` as people and scripts call it, with joiners that use what it prints.

use std::os::unix::fs::PermissionsExt as _;

use proto::nc::{CheckConnStateRequest, GetBootStrapTokenRequest};

use super::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_legacy_nodes_is_made_used_listed_and_taken_back() {
    let stage = Stage::new().await;
    let shown = stage.mesh(&["tunnel", "token", "create", "--legacy", "--max-uses", "0", "--label", "site=lab"]);
    let (token, at) = shown.split_once('@').unwrap();
    assert_eq!((token.len(), at), (16, stage.bootstrap.to_string().as_str()));
    let joined = stage.joins(token).await;
    assert_eq!((joined.code.as_str(), joined.message.as_str()), ("200", "ok"));
    let nodes = stage.json(&["tunnel", "ls"]);
    assert_eq!(nodes["subnet"], "10.1.1.1/24");
    assert_eq!((&nodes["nodes"][0]["id"], &nodes["nodes"][0]["labels"]["site"]), (&"n1".into(), &"lab".into()));
    let tokens = stage.json(&["tunnel", "token", "ls"]);
    let row = &tokens["tokens"][0];
    assert_eq!((row["uses"].as_u64(), row["revoked"].as_bool()), (Some(1), Some(false)));
    assert!(!tokens.to_string().contains(token));
    stage.mesh(&["tunnel", "token", "revoke", row["id"].as_str().unwrap()]);
    let refused = stage.joins(token).await;
    assert_eq!((refused.code.as_str(), refused.message.as_str()), ("400", "fail to find such item"));
    assert_eq!(refused.network_server_ip, "127.0.0.1");
    assert!(stage.mesh(&["status"]).contains("tunnel       0 of 1 nodes connected, at 127.0.0.1 in 10.1.1.1/24"));
    let log = stage.node.log();
    for secret in [token, &joined.token] {
        assert!(!log.contains(secret), "the log tells a secret");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_our_form_pins_the_authority_and_is_good_once() {
    let stage = Stage::new().await;
    let shown = stage.mesh(&["tunnel", "token", "create"]);
    let (token, at) = shown.split_once('@').unwrap();
    assert_eq!(at, stage.bootstrap.to_string());
    let pin = token.split_once('#').unwrap().1;
    let authority = std::fs::read_to_string(stage.node.home().join("tunnel/admin/ca.pem")).unwrap();
    assert_eq!(mesh_pki::CertificateInfo::from_pem(&authority).unwrap().sha256, pin);
    assert_eq!(stage.joins(token).await.code, "200");
    assert_eq!(stage.joins(token).await.code, "400");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admins_files_open_the_register_plane_and_are_nobody_elses() {
    let stage = Stage::new().await;
    for name in ["ca.pem", "client.pem", "client-key.pem"] {
        let path = stage.node.home().join("tunnel/admin").join(name);
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    let mut admin = stage.as_admin().await;
    let minted = admin.get_boot_strap_token(GetBootStrapTokenRequest { expire_time: 10 }).await.unwrap().into_inner();
    assert_eq!((minted.code.as_str(), minted.port), ("200", stage.bootstrap.port().to_string()));
    let joined = stage.joins(&minted.boot_strap_token).await;
    let ask = |token: &str| CheckConnStateRequest { token: token.to_owned() };
    let state = admin.check_conn_state(ask(&joined.token)).await.unwrap().into_inner();
    assert_eq!((state.code.as_str(), state.conn_state), ("200", -1));
    stage.mesh(&["tunnel", "kick", "n1"]);
    stage.mesh(&["tunnel", "kick", "n1", "--unregister"]);
    let gone = admin.check_conn_state(ask(&joined.token)).await.unwrap().into_inner();
    assert_eq!((gone.code.as_str(), gone.message.as_str()), ("400", "fail to find such item"));
    let unknown = stage.command(&["tunnel", "kick", "n1"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrators_certificate_that_leaked_is_refused_and_there_is_another_one() {
    let stage = Stage::new().await;
    let mut open = stage.as_admin().await;
    let ask = || GetBootStrapTokenRequest { expire_time: 10 };
    assert_eq!(open.get_boot_strap_token(ask()).await.unwrap().into_inner().code, "200");
    let file = stage.node.home().join("tunnel/admin/client.pem");
    let leaked = std::fs::read_to_string(&file).unwrap();
    let said = stage.mesh(&["tunnel", "deny", file.to_str().unwrap()]);
    let key = mesh_pki::CertificateInfo::from_pem(&leaked).unwrap().spki_sha256;
    assert_eq!(said, format!("certificates of the key {key} are refused"));
    assert!(open.get_boot_strap_token(ask()).await.is_err(), "on a connection that was open");
    assert_ne!(std::fs::read_to_string(&file).unwrap(), leaked);
    assert_eq!(stage.as_admin().await.get_boot_strap_token(ask()).await.unwrap().into_inner().code, "200");
    // A node's, by its key.
    let token = stage.mesh(&["tunnel", "token", "create", "--legacy"]);
    let joined = stage.joins(token.split_once('@').unwrap().0).await;
    let key = mesh_pki::CertificateInfo::from_pem(&super::pem(&joined.network_client_cert)).unwrap().spki_sha256;
    assert!(stage.mesh(&["tunnel", "deny", &key.to_uppercase()]).ends_with("which is of n1"));
    for wrong in ["nothing", &key[1..]] {
        assert_eq!(stage.command(&["tunnel", "deny", wrong]).status.code(), Some(5), "{wrong}");
    }
    // The authorities of both planes are in force, and stay.
    let listed = stage.mesh(&["tunnel", "authority", "ls"]);
    let rows: Vec<Vec<&str>> = listed.lines().skip(1).map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(
        rows.iter().map(|row| row[1..3].to_vec()).collect::<Vec<_>>(),
        [["register", "inForce"], ["join", "inForce"]]
    );
    for (kept, why) in [(rows[0][0], "only one that was replaced"), (&"0".repeat(64)[..], "no authority has that")] {
        let refused = stage.command(&["tunnel", "authority", "forget", kept]);
        assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains(why), "{refused:?}");
    }
}
