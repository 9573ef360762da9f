//! What starts a gateway anew, and what does not.

use super::*;

/// A rollout of the gateway breaks connections: only what the pod itself needs may start one.
#[test]
fn no_change_of_the_configuration_starts_a_rollout() {
    let template = |found: &Found| value(set(&objects_of(found).gateway.unwrap()));
    let before = template(&with_gateway(|_| {}));
    assert_eq!(template(&with_gateway_and_parts(9)), before);
    let changed = with_gateway(|node| {
        node.spec.display_name = "another".into();
        node.spec.address = "elsewhere.example:7304".into();
        node.spec.transport.plaintext_from = vec!["10.0.0.0/8".into()];
        node.spec.certificates.leaf_lifetime = crds::Span::hours(24);
        node.spec.expose.service.annotations = [("a".into(), "b".into())].into();
    });
    assert_eq!(template(&changed), before);
    let larger = with_gateway(|node| node.spec.transport.total_bytes = crds::ByteSize::gib(8));
    assert_eq!(
        template(&larger)["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"],
        "8704Mi",
        "the one exception: queues are held in memory"
    );
}

#[test]
fn a_tunnel_has_its_ports_and_starts_its_gateway_anew_for_what_is_read_at_the_start_alone() {
    let mut found = with_rooms(|_| {});
    let first = objects_of(&found);
    let room = first.new_roots.iter().find(|secret| secret.name_any().starts_with("mesh-rooms.")).unwrap();
    let kept: BTreeMap<_, _> = room.data.clone().unwrap().into_iter().map(|(file, bytes)| (file, bytes.0)).collect();
    let ports = |ports: &Value, member: &str| -> Vec<u64> {
        ports.as_array().unwrap().iter().filter_map(|port| port[member].as_u64()).collect()
    };
    let set = value(set(first.gateway.as_ref().unwrap()));
    let template = &set["spec"]["template"];
    let container = &template["spec"]["containers"][0];
    assert_eq!(ports(&container["ports"], "containerPort"), [7304, 7305, 6439, 6440, 6441]);
    assert_eq!(restricted::refusals(&template["spec"]), Vec::<String>::new());
    assert_eq!(ports(&value(&first.service)["spec"]["ports"], "port"), [7304, 6439, 6440, 6441]);
    let ingress = &value(first.policy.as_ref().unwrap())["spec"]["ingress"][0]["ports"];
    assert_eq!(ports(ingress, "port"), [7304, 7305, 6439, 6440, 6441]);

    let annotation = |found: &mut Found| {
        found.rooms.kept = crate::node::Keys(kept.clone());
        value(self::set(&objects_of(found).gateway.unwrap()))["spec"]["template"]["metadata"]["annotations"]
            ["interconn.dev/tunnel"]
            .clone()
    };
    let sum = template["metadata"]["annotations"]["interconn.dev/tunnel"].clone();
    assert_eq!(annotation(&mut found), sum);
    let mut followed = with_rooms(|tunnel| {
        tunnel.interconnection = true;
        tunnel.forwards = vec![crds::Forward { port: 80, address: "web.shop.svc:80".into() }];
        tunnel.policy = vec![crds::TunnelRule::default()];
        tunnel.limits.joins.burst = 500;
    });
    assert_eq!(annotation(&mut followed), sum, "rules, forwards and limits are followed");
    assert_ne!(annotation(&mut with_rooms(|tunnel| tunnel.subnet = "10.2.0.1/22".into())), sum);
    let egress = value(&objects_of(&followed).policy.unwrap())["spec"]["egress"].to_string();
    assert!(egress.contains("\"shop\""), "{egress}");
}

#[test]
fn a_gateway_starts_anew_for_other_servers_of_its_backplane_and_for_renewed_credentials() {
    let annotation = |url: &str, word: &str| {
        let mut found = with_gateway(|_| {});
        let nats = json!({"url": url, "credentialsSecretRef": {"name": "nats"}});
        Arc::make_mut(&mut found.node).spec.backplane = serde_json::from_value(json!({"nats": nats})).unwrap();
        found.secrets.insert("nats".into(), sample::secret(&[("nats.creds", word)]));
        let template = value(set(&objects_of(&found).gateway.unwrap()))["spec"]["template"].clone();
        assert!(!template.to_string().contains(word), "it is in the template");
        template["metadata"]["annotations"]["interconn.dev/backplane"].as_str().unwrap().to_owned()
    };
    let first = annotation("nats://nats:4222", "user:one");
    assert_eq!(annotation("nats://nats:4222", "user:one"), first);
    assert_ne!(annotation("nats://other:4222", "user:one"), first);
    assert_ne!(annotation("nats://nats:4222", "user:two"), first);
}
