//! Tests of the registry's client.

use super::*;

fn assert_send<T: Send>(_: &T) {}

#[test]
fn futures_can_be_spawned() {
    let settings = RegistrySettings {
        urls: vec!["http://127.0.0.1:1".to_owned()],
        user: None,
        password: None,
        timeout: Duration::from_secs(1),
    };
    let registry = Registry::new(&settings).unwrap();
    assert_send(&registry.register("a", "b"));
    assert_send(&registry.schema(1));
}
