//! `ops/compose.yaml` without an engine: it is linted, and what must be true of it can be read in it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use yaml_rust2::{Yaml, YamlLoader, yaml};

const SECRETS: [&str; 6] = [
    "ROCKETMQ_ADMIN_USER",
    "ROCKETMQ_ADMIN_PASSWORD",
    "ROCKETMQ_CLIENT_USER",
    "ROCKETMQ_CLIENT_PASSWORD",
    "CONSOLE_USER",
    "CONSOLE_PASSWORD",
];
/// They do their work and end.
const ONE_SHOT: [&str; 2] = ["prepare", "acl"];

#[test]
fn the_topology_is_the_documents() {
    let services = services();
    let running: Vec<&str> = services.keys().map(String::as_str).filter(|name| !ONE_SHOT.contains(name)).collect();
    let servers = ["broker-1", "broker-2", "console", "controller", "name-server-1", "name-server-2"];
    let watching = ["grafana", "prometheus"];
    assert_eq!(running.iter().copied().collect::<BTreeSet<_>>(), servers.into_iter().chain(watching).collect());
    let broker = text(&ops("rocketmq/broker.conf"));
    for setting in ["enableControllerMode=true", "allAckInSyncStateSet=true", "flushDiskType=SYNC_FLUSH"] {
        assert!(broker.contains(setting), "a replica that takes over must have what was confirmed: {setting}");
    }
    for setting in ["authenticationEnabled=true", "authorizationEnabled=true", "autoCreateTopicEnable=false"] {
        assert!(broker.contains(setting), "only who may shall: {setting}");
    }
}

#[test]
fn images_are_pinned_and_everything_that_stays_is_restarted_and_watched() {
    for (name, service) in services() {
        let image = service["image"].as_str().unwrap();
        let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
        assert!(tag.split('.').count() == 3, "{name} uses {image}");
        if !ONE_SHOT.contains(&name.as_str()) {
            assert_eq!(service["restart"].as_str(), Some("unless-stopped"), "{name}");
            let health = &service["healthcheck"];
            assert!(health["test"].as_vec().is_some_and(|test| test.len() > 1), "{name} is not watched");
            assert!(health["interval"].as_str().is_some() && health["retries"].as_i64().is_some(), "{name}");
        }
    }
}

#[test]
fn brokers_wait_for_what_they_register_with() {
    let services = services();
    for broker in ["broker-1", "broker-2"] {
        for needed in ["name-server-1", "name-server-2", "controller"] {
            let condition = services[broker]["depends_on"][needed]["condition"].as_str();
            assert_eq!(condition, Some("service_healthy"), "{broker} and {needed}");
        }
    }
}

#[test]
fn only_what_people_look_at_is_reachable_and_only_from_this_machine() {
    let document = document();
    assert_eq!(document["networks"]["rocketmq"]["internal"].as_bool(), Some(true));
    let services = services();
    let flags: Vec<&str> =
        services["prometheus"]["command"].as_vec().unwrap().iter().filter_map(Yaml::as_str).collect();
    assert!(flags.contains(&"--web.listen-address=127.0.0.1:9090"), "{flags:?}");
    assert_eq!(environment(&services["grafana"])["GF_SERVER_HTTP_ADDR"], "127.0.0.1");
    for (name, service) in services {
        let is_on_host = service["network_mode"].as_str() == Some("host");
        assert_eq!(is_on_host, ["grafana", "prometheus"].contains(&name.as_str()), "{name}");
        let ports: Vec<&str> = service["ports"].as_vec().into_iter().flatten().filter_map(Yaml::as_str).collect();
        match name.as_str() {
            "console" => assert!(ports.iter().all(|port| port.starts_with("127.0.0.1:")), "{ports:?}"),
            _ => assert!(ports.is_empty(), "{name} publishes {ports:?}"),
        }
    }
}

#[test]
fn addresses_agree_with_each_other() {
    let services = services();
    let address = |name: &str| services[name]["networks"]["rocketmq"]["ipv4_address"].as_str().unwrap().to_owned();
    let name_servers = ["name-server-1", "name-server-2"].map(|name| format!("{}:9876", address(name))).join(";");
    for broker in ["broker-1", "broker-2"] {
        let environment = environment(&services[broker]);
        assert_eq!(environment["NAME_SERVERS"], name_servers);
        assert_eq!(environment["CONTROLLERS"], format!("{}:9878", address("controller")));
        assert_eq!(environment["BROKER_IP"], address(broker));
    }
    let brokers = ["broker-1", "broker-2"].map(|name| format!("{}:10911", address(name))).join(" ");
    assert_eq!(environment(&services["acl"])["BROKERS"], brokers);
    assert!(environment(&services["console"])["JAVA_OPTS"].contains(&name_servers));
    let peers = &environment(&services["controller"])["CONTROLLER_PEERS"];
    assert_eq!(peers, &format!("n0-{}:9878", address("controller")));
}

#[test]
fn prometheus_scrapes_the_brokers_and_grafana_asks_prometheus() {
    let services = services();
    let read = |path: &str| YamlLoader::load_from_str(&text(&ops(path))).unwrap().remove(0);
    let targets = read("prometheus/targets/rocketmq.yml");
    let targets: Vec<&str> = targets[0]["targets"].as_vec().unwrap().iter().filter_map(Yaml::as_str).collect();
    let exporter = |broker: &str| {
        let environment = environment(&services[broker]);
        format!("{}:{}", environment["BROKER_IP"], environment["METRICS_PORT"])
    };
    assert_eq!(targets, [exporter("broker-1"), exporter("broker-2")]);
    let source = read("grafana/provisioning/datasources/prometheus.yml");
    assert_eq!(source["datasources"][0]["url"].as_str(), Some("http://127.0.0.1:9090"));
    let provider = read("grafana/provisioning/dashboards/order-ledger.yml");
    let path = provider["providers"][0]["options"]["path"].as_str().unwrap();
    let mounts = services["grafana"]["volumes"].as_vec().unwrap();
    assert!(mounts.iter().any(|mount| mount.as_str() == Some(&format!("./grafana:{path}:ro"))), "{mounts:?}");
}

#[test]
fn volumes_are_declared_and_each_server_has_its_own() {
    let document = document();
    let declared: BTreeSet<&str> = document["volumes"].as_hash().unwrap().keys().filter_map(Yaml::as_str).collect();
    let mut used = BTreeMap::new();
    for (name, service) in services().iter().filter(|(name, _)| *name != "prepare") {
        let mounts = service["volumes"].as_vec().into_iter().flatten().filter_map(Yaml::as_str);
        for volume in mounts.filter_map(|mount| mount.split_once(':').map(|(source, _)| source.to_owned())) {
            if volume.starts_with("./") {
                assert!(ops(&volume).is_dir(), "{name} mounts {volume}");
            } else {
                assert_eq!(used.insert(volume.clone(), name.clone()), None, "{volume} is shared");
            }
        }
    }
    assert_eq!(used.keys().map(String::as_str).collect::<BTreeSet<_>>(), declared);
}

#[test]
fn a_server_is_given_every_name_its_configuration_asks_for() {
    let services = services();
    for (service, file) in [
        ("name-server-1", "name-server.conf"),
        ("name-server-2", "name-server.conf"),
        ("controller", "controller.conf"),
        ("broker-1", "broker.conf"),
        ("broker-2", "broker.conf"),
        ("acl", "tools.yml"),
    ] {
        let environment = environment(&services[service]);
        for name in names_in(&text(&ops(&format!("rocketmq/{file}")))) {
            assert!(environment.contains_key(&name), "{service} lacks {name}");
        }
    }
}

#[test]
fn no_secret_is_built_in() {
    let whole = text(&ops("compose.yaml"));
    for secret in SECRETS {
        assert!(whole.contains(&format!("${{{secret}:?")), "{secret} has no default and must be set");
        assert!(text(&ops("env.example")).contains(&format!("{secret}=\n")), "{secret} is named, and empty");
    }
    for (name, service) in services() {
        for (key, value) in environment(&service) {
            let is_secret = ["PASSWORD", "SECRETKEY", "ACCESSKEY"].iter().any(|word| key.ends_with(word));
            assert!(!is_secret || (value.starts_with("${") && value.contains(":?")), "{name} has {key} built in");
        }
    }
}

#[test]
fn it_is_a_compose_file() {
    let lint = Command::new(ops("lint.sh")).output().unwrap();
    match lint.status.code() {
        Some(3) => eprintln!("skipped: neither docker compose nor Go is here to lint ops/compose.yaml"),
        code => assert_eq!(code, Some(0), "{}", String::from_utf8_lossy(&lint.stderr)),
    }
}

fn ops(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("ops").join(path)
}

fn text(path: &std::path::Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn document() -> Yaml {
    let documents = YamlLoader::load_from_str(&text(&ops("compose.yaml"))).unwrap();
    merged(&documents[0])
}

fn services() -> BTreeMap<String, Yaml> {
    let document = document();
    let services = document["services"].as_hash().unwrap();
    services.iter().map(|(name, service)| (name.as_str().unwrap().to_owned(), service.clone())).collect()
}

/// With `<<` taken in, as compose reads it: what stands beside it wins.
fn merged(node: &Yaml) -> Yaml {
    match node {
        Yaml::Array(items) => Yaml::Array(items.iter().map(merged).collect()),
        Yaml::Hash(entries) => {
            let merge_key = Yaml::String("<<".into());
            let mut all = yaml::Hash::new();
            if let Some(Yaml::Hash(base)) = entries.get(&merge_key).map(merged) {
                all = base;
            }
            for (key, value) in entries.iter().filter(|(key, _)| **key != merge_key) {
                all.insert(key.clone(), merged(value));
            }
            Yaml::Hash(all)
        }
        other => other.clone(),
    }
}

fn environment(service: &Yaml) -> BTreeMap<String, String> {
    let entries = service["environment"].as_hash().into_iter().flatten();
    entries.map(|(key, value)| (key.as_str().unwrap().to_owned(), value.as_str().unwrap().to_owned())).collect()
}

/// The names in `${…}`.
fn names_in(text: &str) -> BTreeSet<String> {
    let after = text.split("${").skip(1);
    after.filter_map(|rest| rest.split_once('}').map(|(name, _)| name.to_owned())).collect()
}
