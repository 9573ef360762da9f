//! What the backplane's references lead to (`spec.backplane`).

use crds::BackplaneSecrets;
use mesh_pki::{check_pair, parse_certificates};

use crate::node::{Found, Object, Problem};

const ROOTS: &str = "spec.backplane.nats.tls.caConfigMapRef";
const PAIR: &str = "spec.backplane.nats.tls.clientCertificateSecretRef";

/// Reads all that the backplane refers to, and checks that certificates and keys are such.
pub(super) fn secrets(found: &Found) -> Result<BackplaneSecrets, Problem> {
    let Some(backplane) = &found.node.spec.backplane else { return Ok(BackplaneSecrets::default()) };
    let secrets = BackplaneSecrets::read(backplane, |need| {
        let missing = |key: Option<&str>| Problem::MissingReference {
            field: need.field,
            object: if need.is_config_map { Object::ConfigMap } else { Object::Secret },
            name: need.object.to_owned(),
            key: key.map(str::to_owned),
        };
        let text = if need.is_config_map {
            let map = found.config_maps.get(need.object).ok_or_else(|| missing(None))?;
            map.get(need.key).map(String::as_str).filter(|text| !text.trim().is_empty())
        } else {
            found.secrets.get(need.object).ok_or_else(|| missing(None))?.text(need.key)
        };
        text.map(str::to_owned).ok_or_else(|| missing(Some(need.key)))
    })?;
    if let Some((chain, key)) = &secrets.pair {
        check_pair(chain, key).map_err(|e| Problem::BadPair { field: PAIR.to_owned(), why: e.to_string() })?;
    }
    if let Some(roots) = &secrets.roots {
        let bad = |why: String| Problem::BadRoot { field: ROOTS.to_owned(), why };
        let certificates = parse_certificates(roots).map_err(|e| bad(e.to_string()))?;
        if certificates.is_empty() {
            return Err(bad("it has no certificate: put those in that the servers' certificates lead to".into()));
        }
    }
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use serde_json::json;

    use super::*;
    use crate::node::{
        Keys,
        sample::{self, days, secret},
    };

    fn found(secrets: &[(&str, Keys)], roots: Option<&str>) -> Found {
        let mut node = sample::node("bank-a", "LX1");
        node.spec.backplane = serde_json::from_value(json!({"nats": {
            "url": "tls://nats:4222",
            "credentialsSecretRef": {"name": "nats", "key": "user.creds"},
            "tls": {"caConfigMapRef": {"name": "nats-ca", "key": "ca.crt"}, "clientCertificateSecretRef": {"name": "pair"}},
        }}))
        .unwrap();
        let mut found = sample::found(node, Vec::new());
        found.secrets = secrets.iter().map(|(name, keys)| ((*name).to_owned(), keys.clone())).collect();
        let map = roots.map(|roots| ("nats-ca".to_owned(), BTreeMap::from([("ca.crt".to_owned(), roots.to_owned())])));
        found.config_maps = map.into_iter().collect();
        found
    }

    #[test]
    fn whatever_is_missing_or_none_refuses_the_node_by_its_field() {
        let root = sample::root("LX1", days(99));
        let leaf = sample::leaf(&root, "LX1", days(9));
        let pair = |key: &str| ("pair", secret(&[("tls.crt", &leaf.chain_pem), ("tls.key", key)]));
        let credentials = ("nats", secret(&[("user.creds", "user:planted")]));
        let good = [credentials.clone(), pair(leaf.key.expose())];
        let read = secrets(&found(&good, Some(root.certificate_pem()))).unwrap();
        assert_eq!(read.credentials.as_deref(), Some("user:planted"));
        assert_eq!(read.files().count(), 4);
        let none = sample::found(sample::node("bank-a", "LX1"), Vec::new());
        assert_eq!(secrets(&none).unwrap(), BackplaneSecrets::default());

        let other = sample::root("LX2", days(9));
        let roots = Some(root.certificate_pem());
        let empty = ("nats", secret(&[("user.creds", " ")]));
        type Row<'r> = (&'r [(&'r str, Keys)], Option<&'r str>, &'r str);
        let table: [Row<'_>; 6] = [
            (&[], roots, "spec.backplane.nats.credentialsSecretRef: Secret nats "),
            (&[empty], roots, "spec.backplane.nats.credentialsSecretRef: Secret nats "),
            (&good[..1], roots, "spec.backplane.nats.tls.clientCertificateSecretRef: Secret pair "),
            (&[credentials, pair(other.key().expose())], roots, "spec.backplane.nats.tls.clientCertificateSecretRef: "),
            (&good, None, "spec.backplane.nats.tls.caConfigMapRef: ConfigMap nats-ca "),
            (&good, Some("no certificate"), "spec.backplane.nats.tls.caConfigMapRef: "),
        ];
        for (given, roots, expected) in table {
            let said = secrets(&found(given, roots)).unwrap_err().to_string();
            assert!(said.starts_with(expected) && !said.contains("planted"), "{said}");
        }
    }

    #[test]
    fn all_that_it_refers_to_is_fetched() {
        let node = Arc::clone(&found(&[], None).node);
        let wanted = crate::node::references(&node, []);
        assert_eq!(wanted.secrets.into_iter().collect::<Vec<_>>(), ["nats", "pair"]);
        assert_eq!(wanted.config_maps.into_iter().collect::<Vec<_>>(), ["nats-ca"]);
    }
}
